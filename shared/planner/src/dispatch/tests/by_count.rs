//! On nodes with one slot each, jobs are counts, and the rules can be written down in a few lines that scan everything. Random jobs must start
//! at the same instants.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Copy)]
struct Job {
    submit_ms: u64,
    tasks: u32,
    runs_ms: u64,
    estimate_ms: u64,
    priority: u8,
}

/// What waits and runs, kept as plain lists.
struct Count<'a> {
    jobs: &'a [Job],
    order: OrderName,
    free: u32,
    waiting: Vec<usize>,
    /// Expected end, and number.
    running: Vec<(u64, usize)>,
    first: Option<(usize, u64)>,
    started: BTreeMap<usize, u64>,
}

impl Count<'_> {
    fn sorted(&self, now_ms: u64) -> Vec<usize> {
        let place = |job: &usize| {
            let Job { submit_ms, estimate_ms, priority, tasks, .. } = self.jobs[*job];
            let (wait, estimate) = ((now_ms - submit_ms) as f64 / 1000.0, estimate_ms as f64 / 1000.0);
            let rank = match self.order {
                OrderName::Fifo => 0.0,
                OrderName::Sjf => estimate,
                OrderName::Wfp3 => -(wait / estimate).powi(3) * f64::from(tasks),
                other => unreachable!("{other}"),
            };
            (u8::MAX - priority, rank, submit_ms, *job)
        };
        let mut sorted = self.waiting.clone();
        sorted.sort_by(|one, other| place(one).partial_cmp(&place(other)).unwrap());
        sorted
    }

    fn start(&mut self, job: usize, now_ms: u64) {
        self.free -= self.jobs[job].tasks;
        self.waiting.retain(|other| *other != job);
        self.running.push((now_ms + self.jobs[job].estimate_ms, job));
        self.started.insert(job, now_ms);
    }

    fn fits(&self, job: usize) -> bool {
        self.jobs[job].tasks <= self.free
    }

    /// When the job fits by the estimates, and how many are left then.
    fn shadow(&self, job: usize, now_ms: u64) -> (u64, u32) {
        let mut ends: Vec<(u64, u32)> = self.running.iter().map(|(end, job)| (now_ms.max(*end), self.jobs[*job].tasks)).collect();
        ends.sort_unstable();
        let (mut free, mut at_ms) = (self.free, now_ms);
        for (end_ms, tasks) in ends {
            if free >= self.jobs[job].tasks && end_ms > at_ms {
                break;
            }
            (free, at_ms) = (free + tasks, end_ms);
        }
        (at_ms, free - self.jobs[job].tasks)
    }

    fn pass(&mut self, blocking: Blocking, now_ms: u64) {
        loop {
            let sorted = self.sorted(now_ms);
            let kept = self.first.filter(|_| matches!(blocking, Blocking::Sticky | Blocking::ByTime));
            let Some(first) = kept.map(|(job, _)| job).or(sorted.first().copied()) else { return };
            if self.fits(first) {
                self.start(first, now_ms);
                self.first = None;
                continue;
            }
            let (shadow_ms, mut extra) = self.shadow(first, now_ms);
            let start_ms = kept.map_or(shadow_ms, |(_, start_ms)| start_ms);
            self.first = Some((first, start_ms));
            match blocking {
                Blocking::Strict | Blocking::Sticky => return,
                Blocking::Skip => sorted.iter().for_each(|job| {
                    if self.fits(*job) {
                        self.start(*job, now_ms);
                    }
                }),
                Blocking::ByTime => {
                    let mut submitted = sorted;
                    submitted.sort_by_key(|job| (self.jobs[*job].submit_ms, *job));
                    for job in submitted {
                        if job != first && self.fits(job) && now_ms + self.jobs[job].estimate_ms < start_ms {
                            self.start(job, now_ms);
                        }
                    }
                }
                Blocking::Easy | Blocking::EasyShortest => {
                    let mut behind = sorted[1..].to_vec();
                    if blocking == Blocking::EasyShortest {
                        behind.sort_by_key(|job| (u8::MAX - self.jobs[*job].priority, self.jobs[*job].estimate_ms));
                    }
                    for job in behind {
                        let is_short = now_ms + self.jobs[job].estimate_ms <= shadow_ms;
                        if self.fits(job) && (is_short || self.jobs[job].tasks <= extra) {
                            extra -= if is_short { 0 } else { self.jobs[job].tasks };
                            self.start(job, now_ms);
                        }
                    }
                }
                Blocking::StrictPerPool | Blocking::Conservative | Blocking::ByCount => unreachable!("it is not compared here"),
            }
            return;
        }
    }
}

/// When each job starts, by whoever decides: it is told of one event, and says what starts.
fn simulate(jobs: &[Job], mut decide: impl FnMut(Event, u64) -> Vec<usize>) -> BTreeMap<usize, u64> {
    let mut events: BTreeMap<(u64, u8, usize), Event> =
        jobs.iter().enumerate().map(|(at, job)| ((job.submit_ms, 0, at), Event::Arrives(at))).collect();
    let mut started = BTreeMap::new();
    while let Some(((now_ms, ..), event)) = events.pop_first() {
        for job in decide(event, now_ms) {
            started.insert(job, now_ms);
            events.insert((now_ms + jobs[job].runs_ms, 1, job), Event::Ends(job));
        }
    }
    started
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Arrives(usize),
    Ends(usize),
}

fn naive(jobs: &[Job], nodes: u32, order: OrderName, blocking: Blocking) -> BTreeMap<usize, u64> {
    let (waiting, running, started) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut count = Count { jobs, order, free: nodes, waiting, running, first: None, started };
    simulate(jobs, |event, now_ms| {
        match event {
            Event::Arrives(job) => count.waiting.push(job),
            Event::Ends(job) => {
                count.free += jobs[job].tasks;
                count.running.retain(|(_, other)| *other != job);
            }
        }
        let before = count.started.clone();
        count.pass(blocking, now_ms);
        count.started.keys().filter(|job| !before.contains_key(job)).copied().collect()
    })
}

fn dispatched(jobs: &[Job], nodes: u32, order: OrderName, blocking: Blocking) -> BTreeMap<usize, u64> {
    let mut desk = Desk::new(&with(order, blocking), &vec![1; nodes as usize]);
    let mut reserved: Option<(JobNumber, u64)> = None;
    simulate(jobs, |event, now_ms| {
        desk.at(now_ms);
        match event {
            Event::Arrives(at) => {
                let Job { tasks, estimate_ms, priority, .. } = jobs[at];
                let request = desk.request(Ask { tasks, gpus: 1, ms: estimate_ms });
                assert!(desk.dispatcher.submit(at as u64, Request { priority, ..request }));
            }
            Event::Ends(job) => assert!(desk.dispatcher.ended(job as u64, now_ms)),
        }
        let mut started = Vec::new();
        for decision in desk.decide() {
            match decision {
                Dispatch::Start { job, tasks } => {
                    assert_eq!(tasks.len(), jobs[job as usize].tasks as usize);
                    started.push(job as usize);
                }
                Dispatch::Preempt { .. } | Dispatch::Resize { .. } => panic!("nothing is stopped for anything"),
                Dispatch::Reserve { job, at_ms, .. } => {
                    let at_ms = at_ms.expect("all have an estimate");
                    // Jobs end when they are expected to, or earlier: nothing but what goes before it postpones the start of the first.
                    let is_displaced = order != OrderName::Fifo || jobs.iter().any(|job| job.priority > 0);
                    let is_earlier = |(other, former_ms)| other != job || at_ms <= former_ms;
                    assert!(is_displaced || reserved.is_none_or(is_earlier), "{job} at {at_ms}");
                    reserved = Some((job, at_ms));
                }
            }
        }
        started
    })
}

fn some_jobs() -> impl Strategy<Value = Vec<Job>> {
    let priority = prop_oneof![4 => Just(0_u8), 1 => 0_u8..3];
    let job = (0_u64..40, 1_u32..9, 1_u64..60, 0_u64..40, priority);
    let jobs = proptest::collection::vec(job, 1..80);
    jobs.prop_map(|jobs| {
        let mut submit_ms = 0;
        let job = |(gap_ms, tasks, runs_ms, more_ms, priority): (u64, u32, u64, u64, u8)| {
            submit_ms += gap_ms.saturating_sub(20);
            Job { submit_ms, tasks, runs_ms, estimate_ms: runs_ms + more_ms, priority }
        };
        jobs.into_iter().map(job).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn jobs_start_as_in_a_plain_simulation(
        jobs in some_jobs(),
        nodes in 8_u32..14,
        order in prop_oneof![Just(OrderName::Fifo), Just(OrderName::Sjf), Just(OrderName::Wfp3)],
        blocking in proptest::sample::select(&Blocking::ALL[..]).prop_filter("compared elsewhere", |blocking| !matches!(blocking, Blocking::StrictPerPool | Blocking::Conservative | Blocking::ByCount)),
    ) {
        prop_assert_eq!(dispatched(&jobs, nodes, order, blocking), naive(&jobs, nodes, order, blocking));
    }
}
