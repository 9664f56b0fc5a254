//! A job that has waited too long is given nodes, and starts no later than it was told then, whatever else comes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::settings::{PolicyName, Settings};

#[derive(Debug, Clone, Copy)]
struct Job {
    gap_ms: u64,
    tasks: u32,
    gpus: u16,
    ms: u64,
    priority: u8,
}

/// Runs all jobs, each for exactly as long as it is expected to, and checks each reservation of a job that waited too long. Returns how many there
/// were, and the longest wait.
fn run(jobs: &[Job], settings: &DispatchSettings, nodes: &[usize]) -> (usize, u64) {
    let after_ms = settings.reserve_after_ms.unwrap();
    let mut desk = Desk::new(settings, nodes);
    let (mut now_ms, mut told, mut reservations, mut longest_ms) = (0, BTreeMap::new(), 0, 0);
    let mut arrivals: BTreeMap<(u64, usize), Job> = BTreeMap::new();
    for (at, job) in jobs.iter().enumerate() {
        now_ms += job.gap_ms;
        arrivals.insert((now_ms, at), *job);
    }
    let mut ends: BTreeMap<(u64, JobNumber), ()> = BTreeMap::new();
    let mut submitted = BTreeMap::new();
    while !arrivals.is_empty() || desk.dispatcher.waiting() > 0 || !ends.is_empty() {
        let comes = arrivals.first_key_value().map(|((at_ms, _), _)| *at_ms);
        let done = ends.first_key_value().map(|((at_ms, _), ())| *at_ms);
        let now_ms =
            comes.into_iter().chain(done).chain(desk.dispatcher.next_ms()).min().expect("the jobs that wait are never looked at again");
        desk.at(now_ms);
        while let Some(((at_ms, job), ())) = ends.first_key_value().map(|(key, ())| (*key, ()))
            && at_ms == now_ms
        {
            ends.pop_first();
            desk.end(job);
        }
        while let Some(((at_ms, _), job)) = arrivals.first_key_value().map(|(key, job)| (*key, *job))
            && at_ms == now_ms
        {
            arrivals.pop_first();
            let number = desk.submit_as(Ask { tasks: job.tasks, gpus: job.gpus, ms: job.ms }, |request| request.priority = job.priority);
            submitted.insert(number, (now_ms, job.ms));
        }
        for decision in desk.decide() {
            match decision {
                Dispatch::Preempt { .. } | Dispatch::Resize { .. } => panic!("nothing is stopped for anything"),
                Dispatch::Reserve { job, at_ms, .. } => {
                    let at_ms = at_ms.expect("all have an estimate");
                    if settings.blocking == Blocking::Conservative || now_ms >= submitted[&job].0 + after_ms {
                        reservations += 1;
                        let first_ms = *told.entry(job).or_insert(at_ms);
                        assert!(at_ms <= first_ms, "{job} was to start at {first_ms}, now at {at_ms}");
                    }
                }
                Dispatch::Start { job, .. } => {
                    assert!(told.get(&job).is_none_or(|at_ms| now_ms <= *at_ms), "{job} started at {now_ms}: {told:?}");
                    longest_ms = longest_ms.max(now_ms - submitted[&job].0);
                    ends.insert((now_ms + submitted[&job].1, job), ());
                }
            }
        }
    }
    (reservations, longest_ms)
}

fn some_jobs() -> impl Strategy<Value = Vec<Job>> {
    let gpus = prop_oneof![6 => Just(1_u16), 2 => Just(2_u16), 1 => Just(4_u16)];
    let tasks = prop_oneof![6 => Just(1_u32), 1 => 2_u32..4];
    let job = (0_u64..12, tasks, gpus, 1_u64..60, prop_oneof![3 => Just(1_u8), 1 => Just(0_u8)]);
    proptest::collection::vec(job.prop_map(|(gap_ms, tasks, gpus, ms, priority)| Job { gap_ms, tasks, gpus, ms, priority }), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_job_starts_when_it_was_told_or_before(
        jobs in some_jobs(),
        nodes in proptest::collection::vec(Just(4_usize), 3..6),
        order in prop_oneof![Just(OrderName::Fifo), Just(OrderName::Sjf), Just(OrderName::Wfp3)],
        blocking in prop_oneof![Just(Blocking::Skip), Just(Blocking::Strict), Just(Blocking::StrictPerPool)],
        policy in prop_oneof![Just(PolicyName::LeastLoaded), Just(PolicyName::BestFit), Just(PolicyName::Random)],
        after_ms in 0_u64..200,
    ) {
        let placement = Settings { policy, ..Settings::default() };
        run(&jobs, &DispatchSettings { placement, order, blocking, reserve_after_ms: Some(after_ms), ..DispatchSettings::default() }, &nodes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Conservative backfilling tells each job at once.
    #[test]
    fn none_is_postponed_by_those_behind(
        jobs in some_jobs(),
        nodes in proptest::collection::vec(Just(4_usize), 3..6),
        policy in prop_oneof![Just(PolicyName::LeastLoaded), Just(PolicyName::BestFit)],
    ) {
        let jobs: Vec<Job> = jobs.into_iter().map(|job| Job { priority: 0, ..job }).collect();
        let placement = Settings { policy, ..Settings::default() };
        let settings = DispatchSettings { placement, blocking: Blocking::Conservative, reserve_after_ms: Some(0), ..DispatchSettings::default() };
        run(&jobs, &settings, &nodes);
    }
}

/// One job for a whole node, and a stream of small ones that never leaves one empty: under `skip` it waits for the end of the stream, and with a
/// bound for the bound and the longest small job.
#[test]
fn a_stream_of_small_jobs_keeps_no_large_one_waiting() {
    let small = |at: u64| Job { gap_ms: 5, tasks: 1, gpus: 1, ms: 20 + at % 7, priority: 0 };
    let mut jobs: Vec<Job> = (0..2_000).map(small).collect();
    jobs[50] = Job { gpus: 4, ms: 10, ..jobs[50] };
    let settings = |reserve_after_ms| DispatchSettings { reserve_after_ms: Some(reserve_after_ms), ..DispatchSettings::default() };
    let (reservations, longest_ms) = run(&jobs, &settings(1_000_000), &[4, 4]);
    assert!((reservations, longest_ms > 5_000) == (0, true), "it waited for {longest_ms} ms");
    let (reservations, longest_ms) = run(&jobs, &settings(100), &[4, 4]);
    assert!(reservations > 0 && longest_ms <= 100 + 26, "it waited for {longest_ms} ms");
}
