//! Placement by the planner, held against a plain scan of the scheduler's own books; and what changes with time alone.

use proptest::prelude::*;

use super::super::tests::{SETTLED, alive, assignments, beat, delivery, leader, node, spec, submit};
use super::super::{Beat, GpuSlot, NodeSpec, NodeState, PolicyName, RunningSign, SchedulerConfig};
use super::*;
use crate::job::{AttemptOutcome, EndedAttempt, GPU_MILLI, JobSpec, Told};
use crate::node::{GpuTelemetry, Health};

/// Whether the node would take the job now, by what the scheduler itself has written down.
fn has_room(node: &NodeState, spec: &JobSpec, config: &SchedulerConfig, now_ms: u64) -> bool {
    let heard = node.last_heartbeat_ms.is_some_and(|last| now_ms < last + config.silent_after_ms);
    let takes_jobs = node.health == Health::Alive && heard && !node.draining && !node.leaving && !node.refusals.is_paused(now_ms);
    let would_do = |slot: &&GpuSlot| {
        !slot.out_of_service
            && slot.used_milli + spec.demand.milli_per_gpu() <= GPU_MILLI
            && slot.reserved_mib + spec.demand.gpu_memory_mib <= slot.gpu.memory_mib
    };
    takes_jobs
        && node.attempts.len() < node.spec.slots as usize
        && node.slots.iter().filter(would_do).count() >= spec.demand.gpu_count() as usize
}

/// Nothing that waits has room anywhere, and the planner agrees on which nodes are open.
pub(in crate::scheduler) fn check(scheduler: &Scheduler, now_ms: u64) {
    scheduler.sanity_check();
    assert!(!scheduler.has_more_to_place());
    for node in scheduler.nodes.values() {
        assert_eq!(scheduler.planner.closed(node.id), node.closed(scheduler.config.silent_after_ms, now_ms), "{}", node.spec.node);
    }
    for held in scheduler.jobs.values().filter(|held| matches!(held.state, HeldState::Waiting { .. })) {
        let room = scheduler.nodes.values().find(|node| has_room(node, &held.spec, &scheduler.config, now_ms));
        assert!(room.is_none(), "{} waits, and {:?} has room for it", held.spec.id, room);
    }
}

#[derive(Debug, Clone)]
pub(in crate::scheduler) enum Step {
    Submit { milli: u32, mib: u32 },
    End { pick: usize, told: Told },
    Beat { node: u8, broken: Option<usize>, leaving: bool, honest: bool },
    Verdict { node: u8, health: Health },
    Register { node: u8, gpus: usize, slots: u32, incarnation: u64 },
    Leave { node: u8 },
    Drain { node: u8, on: bool },
    Cancel { pick: usize },
    Wait { ms: u64 },
}

pub(in crate::scheduler) fn step() -> impl Strategy<Value = Step> {
    let node = || 1_u8..5;
    let told = prop_oneof![3 => Just(Told::ByWorker), 1 => Just(Told::Refused)];
    let health = prop_oneof![2 => Just(Health::Alive), 1 => Just(Health::Suspect), 1 => Just(Health::Dead)];
    let broken = proptest::option::weighted(0.3, 0_usize..3);
    prop_oneof![
        6 => (prop_oneof![Just(0_u32), Just(300), Just(1000), Just(2000)], prop_oneof![Just(1_000_u32), Just(13_000)])
            .prop_map(|(milli, mib)| Step::Submit { milli, mib }),
        4 => (0_usize..9, told).prop_map(|(pick, told)| Step::End { pick, told }),
        8 => (node(), broken, proptest::bool::weighted(0.1), proptest::bool::weighted(0.9))
            .prop_map(|(node, broken, leaving, honest)| Step::Beat { node, broken, leaving, honest }),
        2 => (node(), health).prop_map(|(node, health)| Step::Verdict { node, health }),
        2 => (node(), 0_usize..4, 1_u32..4, 1_u64..4).prop_map(|(node, gpus, slots, incarnation)| Step::Register { node, gpus, slots, incarnation }),
        1 => node().prop_map(|node| Step::Leave { node }),
        1 => (node(), any::<bool>()).prop_map(|(node, on)| Step::Drain { node, on }),
        1 => (0_usize..9).prop_map(|pick| Step::Cancel { pick }),
        4 => (0_u64..2_500).prop_map(|ms| Step::Wait { ms }),
    ]
}

pub(in crate::scheduler) fn act(scheduler: &mut Scheduler, step: &Step, number: u128, now_ms: u64) {
    let name = |node: &u8| format!("gpu-node-{node:02}");
    let incarnation = |scheduler: &Scheduler, node: &u8| scheduler.node(&name(node)).map_or(1, |node| node.spec.incarnation);
    match step {
        Step::Submit { milli, mib } => {
            let mut job = spec(number, *milli);
            job.demand.gpu_memory_mib = *mib;
            scheduler.on_delivered(delivery(job, false), now_ms);
        }
        Step::End { pick, told } => {
            let running = scheduler.nodes().flat_map(|node| node.attempts.iter().map(|(attempt, job)| (*attempt, *job)));
            let Some((attempt, job)) = running.collect::<Vec<_>>().get(*pick).copied() else { return };
            let outcome = if *told == Told::Refused { AttemptOutcome::Lost } else { AttemptOutcome::Committed };
            let (node, detail) = (String::new(), String::new());
            let ended = EndedAttempt {
                job,
                attempt,
                node,
                outcome,
                detail,
                at_ms: now_ms,
                retry_delay_ms: 0,
                told: *told,
                row: None,
                ran_ms: None,
            };
            scheduler.on_ended(&ended, now_ms);
        }
        Step::Beat { node, broken, leaving, honest } => {
            let name = name(node);
            let known = scheduler.node(&name).filter(|_| *honest);
            let sign = |(attempt, job): (&AttemptId, &JobId)| RunningSign { attempt: *attempt, job: *job, progress_permille: 5, epoch: 0 };
            let running: Vec<RunningSign> = known.map(|node| node.attempts.iter().map(sign).collect()).unwrap_or_default();
            let telemetry = [0, 1, 2].map(|gpu| GpuTelemetry { out_of_service: *broken == Some(gpu), ..GpuTelemetry::default() });
            let beat = Beat { telemetry: &telemetry, leaving: *leaving, ..alive(incarnation(scheduler, node), &running) };
            scheduler.on_heartbeat(&name, beat, now_ms);
        }
        Step::Verdict { node, health } => {
            let incarnation = incarnation(scheduler, node);
            scheduler.on_verdict(&name(node), incarnation, *health, "drawn", 10, now_ms);
        }
        Step::Register { node: index, gpus, slots, incarnation } => {
            let running = scheduler.node(&name(index)).map_or(0, |node| node.attempts.len() as u32);
            scheduler.on_registered(NodeSpec { slots: running.max(*slots), ..node(*index, *gpus, *incarnation) }, now_ms);
        }
        Step::Leave { node } => drop(scheduler.on_left(&name(node), u64::MAX, now_ms)),
        Step::Drain { node, on } => drop(scheduler.on_drain(&name(node), *on, now_ms)),
        Step::Cancel { pick } => {
            if let Some(job) = scheduler.jobs.keys().nth(*pick).copied() {
                scheduler.on_cancelled(job, now_ms);
            }
        }
        Step::Wait { .. } => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_waits_has_room_nowhere(policy in proptest::sample::select(&PolicyName::ALL[..]), steps in proptest::collection::vec(step(), 1..150), seed in any::<u64>()) {
        let mut scheduler = Scheduler::new(SchedulerConfig::default(), policy, seed, 0);
        let mut now_ms = 2_000;
        for (number, step) in (0..).zip(&steps) {
            now_ms += if let Step::Wait { ms } = step { *ms } else { 1 };
            act(&mut scheduler, step, number, now_ms);
            let actions = scheduler.advance(now_ms);
            check(&scheduler, now_ms);
            for assignment in assignments(&actions) {
                let node = scheduler.node(&assignment.node).unwrap();
                prop_assert_eq!(node.closed(scheduler.config.silent_after_ms, now_ms), None);
                prop_assert_eq!(assignment.gpus.len(), assignment.spec.demand.gpu_count() as usize);
            }
        }
    }
}

#[test]
fn a_pass_is_bounded_and_says_that_it_is_not_done() {
    let mut scheduler = leader(&[1, 1]);
    for index in 1..=2 {
        scheduler.on_registered(NodeSpec { slots: 2_000, ..node(index, 1, 1) }, SETTLED);
    }
    for number in 0..1_500 {
        scheduler.on_delivered(delivery(spec(number, 0), false), SETTLED);
    }
    let first = scheduler.advance(SETTLED);
    assert_eq!((assignments(&first).len(), scheduler.has_more_to_place(), scheduler.waiting()), (1_024, true, 476));
    let rest = scheduler.advance(SETTLED);
    assert_eq!((assignments(&rest).len(), scheduler.has_more_to_place(), scheduler.waiting()), (476, false, 0));
    scheduler.sanity_check();
}

#[test]
fn silence_closes_a_node_and_the_end_of_a_pause_opens_it_at_their_moments() {
    let mut scheduler = leader(&[1]);
    let placed = submit(&mut scheduler, spec(1, 100), SETTLED);
    let assignment = assignments(&placed)[0].clone();
    let refused = EndedAttempt {
        job: assignment.spec.id,
        attempt: assignment.attempt,
        node: assignment.node.clone(),
        outcome: AttemptOutcome::Lost,
        detail: String::new(),
        at_ms: SETTLED,
        retry_delay_ms: 0,
        told: Told::Refused,
        row: None,
        ran_ms: None,
    };
    scheduler.on_ended(&refused, SETTLED);
    assert!(assignments(&submit(&mut scheduler, spec(2, 100), SETTLED + 10)).is_empty());
    assert!(assignments(&scheduler.advance(SETTLED + 499)).is_empty());
    assert_eq!(assignments(&scheduler.advance(SETTLED + 500)).len(), 1, "the first pause takes half a second");
    assert_eq!(assignments(&submit(&mut scheduler, spec(3, 100), SETTLED + 2_999)).len(), 1);
    assert!(assignments(&submit(&mut scheduler, spec(4, 100), SETTLED + 3_000)).is_empty(), "silent for three seconds");
    assert_eq!(scheduler.why_waiting(JobId::new(0, 4), SETTLED + 3_000).unwrap().summary, "1 node: not alive");
    beat(&mut scheduler, 1, SETTLED + 3_001);
    assert_eq!(assignments(&scheduler.advance(SETTLED + 3_001)).len(), 1);
    for second in 4..60 {
        beat(&mut scheduler, 1, SETTLED + second * 1_000);
        scheduler.advance(SETTLED + second * 1_000);
        assert!(scheduler.moments.len() <= 2, "heartbeats pile up moments");
    }
}

#[test]
fn a_node_that_registers_other_slots_keeps_what_it_runs() {
    let mut scheduler = leader(&[2]);
    let actions = submit(&mut scheduler, spec(1, 600), SETTLED);
    let kept = assignments(&actions)[0].attempt;
    scheduler.on_registered(NodeSpec { slots: 1, ..node(1, 2, 1) }, SETTLED + 10);
    assert!(assignments(&submit(&mut scheduler, spec(2, 100), SETTLED + 10)).is_empty());
    assert_eq!(scheduler.why_waiting(JobId::new(0, 2), SETTLED + 10).unwrap().summary, "1 node: slots taken");
    scheduler.on_registered(NodeSpec { slots: 2, ..node(1, 2, 1) }, SETTLED + 20);
    assert_eq!(assignments(&scheduler.advance(SETTLED + 20)).len(), 1);
    assert!(scheduler.node("gpu-node-01").unwrap().attempts.contains_key(&kept));
    scheduler.sanity_check();
}

#[test]
fn the_reason_for_a_node_is_what_it_was_like_before_the_job_came() {
    let why = |policy| {
        let mut scheduler = Scheduler::new(SchedulerConfig::default(), policy, 1, 0);
        for index in 1..=3 {
            scheduler.on_registered(node(index, 2, 1), 0);
        }
        beat(&mut scheduler, 2, SETTLED);
        let mut actions = Vec::new();
        for number in 1..=3 {
            actions.extend(submit(&mut scheduler, spec(number, 500), SETTLED));
        }
        assignments(&actions)[2].why_words()
    };
    // The third of three jobs: two of the three nodes can be heard.
    assert_eq!(why(PolicyName::LeastLoaded), "least-loaded: 75 % free, best of 2 of 3 nodes");
    assert_eq!(why(PolicyName::BestFit), "best-fit: score 96.88 of 100, best of 2 of 3 nodes");
    assert_eq!(why(PolicyName::FirstFit), "first-fit: the first by name, best of 2 of 3 nodes");
    assert_eq!(why(PolicyName::RoundRobin), "round-robin: its turn, best of 2 of 3 nodes");
    assert_eq!(why(PolicyName::Random), "random: drawn, best of 2 of 3 nodes");
    assert_eq!(why(PolicyName::GpuPacking), "gpu-packing: score 49 of 100, best of 2 of 3 nodes");
}

#[test]
fn a_gpu_beyond_those_that_can_be_planned_for_gets_nothing() {
    let mut scheduler = leader(&[18]);
    for number in 1..=20 {
        submit(&mut scheduler, spec(number, 1_000), SETTLED);
    }
    assert_eq!((scheduler.running(), scheduler.waiting()), (16, 4));
    let telemetry = [GpuTelemetry { out_of_service: true, ..GpuTelemetry::default() }; 18];
    scheduler.on_heartbeat("gpu-node-01", Beat { telemetry: &telemetry, ..alive(1, &[]) }, SETTLED + 1);
    scheduler.sanity_check();
}
