//! Queues and stops through the dispatcher: small clusters in which one can see what must happen, and random ones in which nothing may break.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn queue(number: u32, quota: Option<u64>, limit: Option<u64>) -> QueueSettings {
    let gpus = |gpus: Option<u64>| Bounds { gpu_milli: gpus.map(|gpus| 1000 * gpus), ..Bounds::default() };
    QueueSettings { quota: gpus(quota), limit: gpus(limit), ..QueueSettings::new(number, format!("q{number}")) }
}

const STOPS: PreemptionSettings = PreemptionSettings { by_priority: true, reclaim: true, min_run_ms: 0 };

fn queues(queues: &[QueueSettings], blocking: Blocking) -> DispatchSettings {
    DispatchSettings { queues: queues.to_vec(), blocking, ..DispatchSettings::default() }
}

impl Desk {
    fn ask(&mut self, queue: u32, priority: u8, gpus: u16) -> JobNumber {
        self.submit_as(Ask { tasks: 1, gpus, ms: 1000 }, |request| (request.queue, request.priority) = (queue, priority))
    }

    /// All that is decided until nothing is left to decide.
    fn settle(&mut self) -> Vec<Dispatch> {
        let mut decisions = Vec::new();
        loop {
            let pass = self.dispatcher.pass(self.now_ms, Limits::default());
            decisions.extend(pass.decisions);
            if !pass.unfinished {
                return decisions;
            }
        }
    }

    /// Stops as (job, for whom), starts as (job, itself).
    fn moves(&mut self) -> Vec<(JobNumber, JobNumber)> {
        let of = |decision| match decision {
            Dispatch::Preempt { job, for_job } => Some((job, for_job)),
            Dispatch::Start { job, .. } => Some((job, job)),
            Dispatch::Reserve { .. } | Dispatch::Resize { .. } => None,
        };
        self.settle().into_iter().filter_map(of).collect()
    }
}

#[test]
fn queues_take_turns_by_what_they_hold_of_their_share() {
    let settings = queues(&[queue(0, None, None), queue(1, None, None)], Blocking::Skip);
    let mut desk = Desk::new(&settings, &[4]);
    let of_one: Vec<_> = (0..4).map(|_| desk.ask(0, 0, 1)).collect();
    let of_other: Vec<_> = (0..4).map(|_| desk.ask(1, 0, 1)).collect();
    assert_eq!(desk.starts(), [of_one[0], of_other[0], of_one[1], of_other[1]]);
    // A queue without settings is a third one with weight 1.
    let of_third = desk.ask(7, 0, 1);
    desk.end(of_one[0]);
    assert_eq!(desk.starts(), [of_third]);
    let shares: Vec<_> = desk.dispatcher.queues().iter().map(|share| (share.number, share.held.gpu_milli, share.fair[0])).collect();
    assert_eq!(shares, [(0, 1000, 1500.0), (1, 2000, 1500.0), (7, 1000, 1000.0)]);
}

#[test]
fn users_of_a_queue_take_turns() {
    let mut desk = Desk::new(&with(OrderName::Fair, Blocking::Skip), &[3]);
    let ask = |desk: &mut Desk, user| desk.submit_as(Ask { tasks: 1, gpus: 1, ms: 10 }, |request| request.user = user);
    let (a, b): (Vec<_>, Vec<_>) =
        ((0..4).map(|_| ask(&mut desk, 1)).collect::<Vec<_>>(), (0..2).map(|_| ask(&mut desk, 2)).collect::<Vec<_>>());
    assert_eq!(desk.starts(), [a[0], b[0], a[1]]);
    // One of the first user's jobs would come to three, and the second user has none left that runs.
    assert_eq!(desk.end(b[0]).starts(), [b[1]]);
    assert_eq!(desk.end(a[0]).starts(), [a[2]]);
    // At the same priority. A more urgent job goes first, whoever has submitted it.
    let urgent = desk.submit_as(Ask { tasks: 1, gpus: 1, ms: 10 }, |request| (request.user, request.priority) = (1, 1));
    let other = ask(&mut desk, 2);
    assert_eq!((desk.end(b[1]).starts(), desk.end(a[1]).starts()), (vec![urgent], vec![other]));
}

#[test]
fn a_limit_holds_jobs_back_and_says_so() {
    for blocking in [Blocking::Skip, Blocking::Strict, Blocking::StrictPerPool, Blocking::Easy] {
        let mut desk = Desk::new(&queues(&[queue(0, Some(1), Some(2)), queue(1, None, None)], blocking), &[8]);
        let (first, large, small) = (desk.ask(0, 0, 1), desk.ask(0, 0, 2), desk.ask(0, 0, 1));
        let other = desk.ask(1, 0, 4);
        let starts = desk.starts();
        // The large one blocks its queue where the first one blocks, and never the other queue.
        let goes_ahead = matches!(blocking, Blocking::Skip | Blocking::Easy);
        assert_eq!(starts, if goes_ahead { vec![first, other, small] } else { vec![first, other] }, "{blocking}");
        let why = desk.dispatcher.why_waiting(large).unwrap();
        let held = if goes_ahead { 2000 } else { 1000 };
        let bound = Bound { queue: 0, kind: BoundKind::Limit, resource: Resource::Gpu, held, asked: 2000, most: 2000 };
        assert_eq!((why.bound, why.ahead), (Some(bound), 0));
        assert!(desk.end(first).starts().is_empty() || !goes_ahead);
    }
}

#[test]
fn an_elastic_job_starts_with_as_many_tasks_as_its_limit_lets_in() {
    let mut desk = Desk::new(&queues(&[queue(0, None, Some(3))], Blocking::Skip), &[8]);
    let elastic = desk.submit_as(Ask { tasks: 8, gpus: 1, ms: 10 }, |request| request.min_tasks = 2);
    assert_eq!((desk.starts(), desk.nodes(elastic).len()), (vec![elastic], 3));
    desk.end(elastic);
    assert_eq!(desk.dispatcher.queues()[0].held, Amounts::default());
}

#[test]
fn a_job_that_cannot_be_preempted_stays_within_the_quota() {
    let mut desk = Desk::new(&queues(&[queue(0, Some(2), None)], Blocking::Skip), &[8]);
    let firm = |desk: &mut Desk, gpus| desk.submit_as(Ask { tasks: 1, gpus, ms: 10 }, |request| request.preemptible = false);
    let (first, second) = (firm(&mut desk, 2), firm(&mut desk, 1));
    let preemptible = desk.ask(0, 0, 1);
    assert_eq!(desk.starts(), [first, preemptible]);
    assert_eq!(desk.dispatcher.why_waiting(second).unwrap().bound.unwrap().kind, BoundKind::Quota);
    assert_eq!(desk.end(first).starts(), [second]);
}

#[test]
fn an_urgent_job_takes_the_place_of_the_one_that_loses_least() {
    let settings = DispatchSettings { preemption: STOPS, ..DispatchSettings::default() };
    let mut desk = Desk::new(&settings, &[4, 4, 4]);
    let (a, b, c) = (desk.ask(0, 1, 4), desk.ask(0, 1, 4), desk.ask(0, 1, 4));
    assert_eq!(desk.starts().len(), 3);
    desk.at(100).dispatcher.checkpointed(b, 90);
    let urgent = desk.ask(0, 2, 4);
    assert_eq!(desk.moves(), [(b, urgent), (urgent, urgent)]);
    // It waits again, at its old place, and 90 ms of its 1,000 are done.
    assert_eq!((desk.dispatcher.waiting(), desk.dispatcher.running()), (1, 3));
    assert!(desk.dispatcher.interrupted(b, 100, Remaining { estimate_ms: Some(905) }));
    assert!(!desk.dispatcher.interrupted(b, 100, Remaining { estimate_ms: Some(905) }), "said once");
    assert_eq!(desk.end(a).moves(), [(b, b)]);
    assert_eq!((desk.end(b).moves(), desk.end(c).moves(), desk.end(urgent).moves()), (vec![], vec![], vec![]));
}

#[test]
fn a_job_is_left_alone_until_it_has_run_for_the_minimum() {
    let preemption = PreemptionSettings { min_run_ms: 500, ..STOPS };
    let mut desk = Desk::new(&DispatchSettings { preemption, ..DispatchSettings::default() }, &[1]);
    let low = desk.ask(0, 0, 1);
    assert_eq!(desk.moves(), [(low, low)]);
    let urgent = desk.at(10).ask(0, 1, 1);
    assert_eq!((desk.moves(), desk.dispatcher.next_ms()), (vec![], Some(500)));
    assert_eq!(desk.at(500).moves(), [(low, urgent), (urgent, urgent)]);
}

#[test]
fn a_queue_gets_back_what_it_lent() {
    let settings = DispatchSettings { preemption: STOPS, ..queues(&[queue(0, Some(4), None), queue(1, Some(4), None)], Blocking::Skip) };
    let mut desk = Desk::new(&settings, &[8]);
    let lent: Vec<_> = (0..8).map(|_| desk.ask(1, 9, 1)).collect();
    assert_eq!(desk.starts(), lent);
    let gang = desk.at(1).submit_as(Ask { tasks: 3, gpus: 1, ms: 10 }, |request| request.queue = 0);
    assert_eq!(desk.moves(), [(lent[7], gang), (lent[6], gang), (lent[5], gang), (gang, gang)]);
    let more = (desk.ask(0, 0, 1), desk.ask(0, 0, 1));
    assert_eq!(desk.moves(), [(lent[4], more.0), (more.0, more.0)], "and no more than its quota");
}

#[test]
fn past_usage_makes_room_for_the_other_queue() {
    let history = HistorySettings { half_life_ms: 1000, strength: 3.0, entry_ms: 0 };
    let preemption = PreemptionSettings { by_priority: false, ..STOPS };
    let settings =
        DispatchSettings { history: Some(history), preemption, ..queues(&[queue(0, None, None), queue(1, None, None)], Blocking::Skip) };
    // Each wants all of it, which is twice its share: only what the holder has used by and by lets the other one have it (KAI's first story).
    let mut desk = Desk::new(&settings, &[16]);
    let (first, second) = (desk.ask(0, 0, 16), desk.ask(1, 0, 16));
    assert_eq!(desk.moves(), [(first, first)]);
    let mut changes = Vec::new();
    while changes.len() < 2 {
        let next_ms = desk.dispatcher.next_ms().unwrap();
        changes.extend(Some(desk.at(next_ms).moves()).filter(|moves| !moves.is_empty()).map(|moves| (next_ms, moves)));
        assert!(next_ms < 10_000, "{changes:?}");
    }
    // Both have half of the weights. The holder has none left once it used two thirds: 1/2 + 3 x (1/2 - 2/3) = 0. That is after log2(3) half-lives,
    // 1,585 ms, and 15 ms lie between two looks. Then the other one holds all of it, and as long after it is its turn.
    let first_again = (3180, vec![(second, first), (first, first)]);
    assert_eq!(changes, [(1590, vec![(first, second), (second, second)]), first_again]);
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    let error = Dispatcher::new(&queues(&[queue(0, None, None)], Blocking::ByTime)).unwrap_err().to_string();
    let expected =
        "blocking `by-time` knows one queue only, and stops no job: leave out queues, history, and preemption, or use another blocking";
    assert_eq!(error, expected);
    let error = Dispatcher::new(&queues(&[queue(0, None, None), queue(0, None, None)], Blocking::Skip)).unwrap_err().to_string();
    assert_eq!(error, "queue `q0` has the number 0 of another queue: give each its own");
}

#[derive(Debug, Clone)]
enum Event {
    Submit { queue: u32, priority: u8, tasks: u32, min_tasks: u32, gpus: u16, preemptible: bool, ms: u64 },
    End(usize),
    Interrupt(usize),
    Withdraw(usize),
    Checkpoint(usize),
    Close(usize, bool),
    Pass(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let submit = (0_u32..3, 0_u8..3, 1_u32..4, 1_u32..4, 0_u16..5, any::<bool>(), 1_u64..50).prop_map(
        |(queue, priority, tasks, min_tasks, gpus, preemptible, ms)| Event::Submit {
            queue,
            priority,
            tasks,
            min_tasks: min_tasks.min(tasks),
            gpus,
            preemptible,
            ms,
        },
    );
    let event = prop_oneof![
        6 => submit,
        2 => any::<usize>().prop_map(Event::End),
        1 => any::<usize>().prop_map(Event::Interrupt),
        1 => any::<usize>().prop_map(Event::Withdraw),
        1 => any::<usize>().prop_map(Event::Checkpoint),
        1 => (0_usize..4, any::<bool>()).prop_map(|(node, closed)| Event::Close(node, closed)),
        6 => (0_u64..20).prop_map(Event::Pass),
    ];
    proptest::collection::vec(event, 1..60)
}

/// What the owner of a dispatcher knows of its jobs.
#[derive(Default)]
struct Owner {
    requests: BTreeMap<JobNumber, Request>,
    running: BTreeMap<JobNumber, usize>,
    waiting: BTreeSet<JobNumber>,
}

impl Owner {
    fn nth<T: Copy>(mut of: impl ExactSizeIterator<Item = T>, at: usize) -> Option<T> {
        let len = of.len();
        (len > 0).then(|| of.nth(at % len)).flatten()
    }

    /// What a queue's jobs hold, and those of it that are not preemptible.
    fn held(&self, queue: u32) -> (u64, u64) {
        let of_queue =
            self.running.iter().map(|(job, tasks)| (&self.requests[job], *tasks as u64)).filter(|(request, _)| request.queue == queue);
        of_queue.fold((0, 0), |(all, firm), (request, tasks)| {
            let gpu_milli = tasks * u64::from(request.user) * 1000;
            (all + gpu_milli, if request.preemptible { firm } else { firm + gpu_milli })
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever comes: books agree with the owner's, limits and quotas hold, gangs are whole, who is stopped is so for one that starts right
    /// behind, and nobody is stopped at the instant of his start.
    #[test]
    fn books_and_bounds_hold(
        events in events(),
        blocking in prop_oneof![Just(Blocking::Skip), Just(Blocking::Strict), Just(Blocking::StrictPerPool), Just(Blocking::Easy)],
        reserve_after_ms in proptest::option::of(1_u64..60),
        history in any::<bool>(),
        order in prop_oneof![Just(OrderName::Fifo), Just(OrderName::Fair), Just(OrderName::Sjf)],
        small_limits in any::<bool>(),
    ) {
        let decisions = if small_limits { 2 } else { 1024 };
        let settings = DispatchSettings {
            preemption: PreemptionSettings { min_run_ms: 5, ..STOPS },
            reserve_after_ms,
            order,
            history: history.then_some(HistorySettings { half_life_ms: 50, strength: 1.0, entry_ms: 10 }),
            ..queues(&[queue(0, Some(4), None), queue(1, Some(3), Some(8)), queue(2, None, Some(10))], blocking)
        };
        let mut desk = Desk::new(&settings, &[4, 4, 2, 6]);
        let nodes: Vec<_> = (0..4).map(|node| desk.dispatcher.planner().node(&format!("n{node}")).unwrap()).collect();
        let mut owner = Owner::default();
        for event in events {
            match event {
                Event::Submit { queue, priority, tasks, min_tasks, gpus, preemptible, ms } => {
                    let mut request = desk.request(Ask { tasks, gpus, ms });
                    // The user's number says how many GPUs each task takes.
                    (request.queue, request.priority, request.min_tasks) = (queue, priority, min_tasks);
                    (request.preemptible, request.user) = (preemptible, gpus.into());
                    desk.next += 1;
                    prop_assert!(desk.dispatcher.submit(desk.next, request));
                    owner.requests.insert(desk.next, request);
                    owner.waiting.insert(desk.next);
                }
                Event::End(at) => {
                    if let Some(job) = Owner::nth(owner.running.keys().copied().collect::<Vec<_>>().into_iter(), at) {
                        prop_assert!(desk.dispatcher.ended(job, desk.now_ms));
                        owner.running.remove(&job);
                    }
                }
                Event::Interrupt(at) => {
                    if let Some(job) = Owner::nth(owner.running.keys().copied().collect::<Vec<_>>().into_iter(), at) {
                        let remaining = Remaining { estimate_ms: Some(7) };
                        prop_assert!(desk.dispatcher.interrupted(job, desk.now_ms, remaining));
                        owner.running.remove(&job);
                        owner.waiting.insert(job);
                    }
                }
                Event::Withdraw(at) => {
                    if let Some(job) = Owner::nth(owner.waiting.iter().copied().collect::<Vec<_>>().into_iter(), at) {
                        prop_assert!(desk.dispatcher.withdraw(job));
                        owner.waiting.remove(&job);
                    }
                }
                Event::Checkpoint(at) => {
                    if let Some(job) = Owner::nth(owner.running.keys().copied().collect::<Vec<_>>().into_iter(), at) {
                        desk.dispatcher.checkpointed(job, desk.now_ms);
                    }
                }
                Event::Close(node, closed) => desk.dispatcher.close(nodes[node], closed.then_some(Closed::Draining)),
                Event::Pass(later_ms) => {
                    desk.now_ms += later_ms;
                    let mut started_now = BTreeSet::new();
                    let mut passes = 0;
                    loop {
                        let pass = desk.dispatcher.pass(desk.now_ms, Limits { decisions, ..Limits::default() });
                        let mut for_whom = None;
                        for decision in pass.decisions {
                            match decision {
                                Dispatch::Preempt { job, for_job } => {
                                    prop_assert!(for_whom.is_none_or(|other| other == for_job));
                                    prop_assert!(owner.running.remove(&job).is_some() && !started_now.contains(&job));
                                    prop_assert!(owner.requests[&job].preemptible);
                                    owner.waiting.insert(job);
                                    for_whom = Some(for_job);
                                }
                                Dispatch::Start { job, tasks } => {
                                    prop_assert!(for_whom.take().is_none_or(|other| other == job) && owner.waiting.remove(&job));
                                    let request = owner.requests[&job];
                                    prop_assert!((request.min_tasks as usize..=request.tasks as usize).contains(&tasks.len()));
                                    owner.running.insert(job, tasks.len());
                                    started_now.insert(job);
                                }
                                Dispatch::Resize { .. } => panic!("nothing is resized"),
                                Dispatch::Reserve { .. } => prop_assert!(for_whom.is_none()),
                            }
                        }
                        prop_assert!(for_whom.is_none());
                        passes += 1;
                        prop_assert!(passes < 300, "the passes of one instant do not end");
                        if !pass.unfinished {
                            break;
                        }
                    }
                }
            }
            prop_assert_eq!((desk.dispatcher.running(), desk.dispatcher.waiting()), (owner.running.len(), owner.waiting.len()));
            for share in desk.dispatcher.queues() {
                let (held, firm) = owner.held(share.number);
                prop_assert_eq!(share.held.gpu_milli, held);
                prop_assert!(held <= [u64::MAX, 8000, 10_000][share.number as usize] && firm <= [4000, 3000, u64::MAX][share.number as usize]);
            }
        }
    }
}
