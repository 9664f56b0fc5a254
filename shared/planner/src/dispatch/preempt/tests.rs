//! Victims that are worked out by hand, and random worlds against all sets of victims that there are.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::shares::{Bounds, HistorySettings, QueueSettings};
use super::*;

/// Nodes with so many free GPUs, and where jobs hold how many. A job that wants to start takes `each` from each of `tasks` nodes.
#[derive(Debug, Clone, Default)]
struct Nodes {
    free: Vec<u64>,
    held: BTreeMap<JobNumber, Vec<(usize, u64)>>,
    each: u64,
    tasks: usize,
}

impl Nodes {
    fn places(&self) -> Option<Vec<(usize, u64)>> {
        let places: Vec<_> = (0..self.free.len()).filter(|node| self.free[*node] >= self.each).map(|node| (node, self.each)).collect();
        (places.len() >= self.tasks).then(|| places[..self.tasks].to_vec())
    }

    fn start(&mut self, job: JobNumber) {
        let places = self.places().unwrap();
        places.iter().for_each(|(node, gpus)| self.free[*node] -= gpus);
        self.held.insert(job, places);
    }
}

impl Trial for Nodes {
    fn take_out(&mut self, job: JobNumber) {
        self.held[&job].iter().for_each(|(node, gpus)| self.free[*node] += gpus);
    }

    fn put_back(&mut self, job: JobNumber) {
        self.held[&job].iter().for_each(|(node, gpus)| self.free[*node] -= gpus);
    }

    fn fits(&mut self) -> bool {
        self.places().is_some()
    }
}

fn gpus(gpus: u64) -> Amounts {
    Amounts { gpu_milli: 1000 * gpus, ..Amounts::default() }
}

fn running(job: JobNumber, queue: u32, priority: u8, of_gpus: u64) -> Running {
    Running { job, queue, priority, preemptible: true, amounts: gpus(of_gpus), started_ms: 0, kept_ms: 0 }
}

fn wanting(queue: u32, priority: u8, of_gpus: u64) -> Wanting {
    Wanting { queue, priority, preemptible: true, amounts: gpus(of_gpus) }
}

const BOTH: PreemptionSettings = PreemptionSettings { by_priority: true, reclaim: true, min_run_ms: 0 };

/// Queues with these quotas, jobs that run, and one that wants to start.
fn shares(cluster: u64, quotas: &[u64], jobs: &[Running], wants: &Wanting) -> Shares {
    let queues: Vec<_> = (0..)
        .zip(quotas)
        .map(|(number, quota)| QueueSettings {
            quota: Bounds { gpu_milli: (*quota > 0).then_some(1000 * quota), ..Bounds::default() },
            ..QueueSettings::new(number, format!("q{number}"))
        })
        .collect();
    let mut shares = Shares::new(&queues, None).unwrap();
    shares.set_cluster(gpus(cluster));
    for job in jobs {
        shares.waits(job.queue, &job.amounts);
        shares.starts(job.queue, &job.amounts, &job.amounts, job.preemptible, 0);
    }
    shares.waits(wants.queue, &wants.amounts);
    shares.divide(0);
    shares
}

/// Each job alone on a node that it fills.
fn a_node_each(jobs: &[Running], each: u64, tasks: usize) -> Nodes {
    let held = jobs.iter().enumerate().map(|(node, job)| (job.job, vec![(node, job.amounts.gpu_milli / 1000)]));
    Nodes { free: vec![0; jobs.len()], held: held.collect(), each, tasks }
}

fn chosen(jobs: &[Running], wants: &Wanting, quotas: &[u64], nodes: &mut Nodes, settings: PreemptionSettings, now_ms: u64) -> Choice {
    let cluster = jobs.iter().map(|job| job.amounts.gpu_milli / 1000).sum::<u64>() + nodes.free.iter().sum::<u64>();
    choose(wants, jobs.iter().copied(), &shares(cluster, quotas, jobs, wants), &settings, now_ms, nodes)
}

#[test]
fn the_lowest_priority_goes_then_the_least_lost_work_then_the_youngest() {
    let mut jobs = vec![running(1, 0, 2, 8), running(2, 0, 1, 8), running(3, 0, 1, 8), running(4, 0, 1, 8), running(5, 0, 3, 8)];
    // Job 2 loses 8 GPUs x 10 s; 3 and 4 lose 8 x 5 s each, and 4 is younger.
    (jobs[2].kept_ms, jobs[3].kept_ms, jobs[3].started_ms) = (5000, 5000, 4000);
    let wants = wanting(0, 3, 8);
    let take = |tasks: usize| {
        let wants = Wanting { amounts: gpus(8 * tasks as u64), ..wants };
        chosen(&jobs, &wants, &[0], &mut a_node_each(&jobs, 8, tasks), BOTH, 10_000)
    };
    assert_eq!(take(1), Choice::Victims(vec![4]));
    assert_eq!(take(2), Choice::Victims(vec![4, 3]));
    assert_eq!(take(4), Choice::Victims(vec![4, 3, 2, 1]));
    // The fifth has the same priority and stays, whatever is asked for.
    assert_eq!(take(5), Choice::Nothing { ask_again_ms: None });
    let none = chosen(&jobs, &wants, &[0], &mut a_node_each(&jobs, 8, 1), PreemptionSettings { by_priority: false, ..BOTH }, 10_000);
    assert_eq!(none, Choice::Nothing { ask_again_ms: None });
}

#[test]
fn jobs_that_do_not_help_are_given_back() {
    // The cheapest one is on a node that is too small, and goes back once the second makes room.
    let jobs = [running(1, 0, 0, 2), running(2, 0, 1, 8)];
    let mut nodes = a_node_each(&jobs, 8, 1);
    assert_eq!(chosen(&jobs, &wanting(0, 5, 8), &[0], &mut nodes, BOTH, 1), Choice::Victims(vec![2]));
    assert_eq!(nodes.free, [0, 8]);
    // Nothing is stopped when it does not help.
    let mut nodes = a_node_each(&jobs, 8, 2);
    assert_eq!(chosen(&jobs, &wanting(0, 5, 16), &[0], &mut nodes, BOTH, 1), Choice::Nothing { ask_again_ms: None });
    assert_eq!(nodes.free, [0, 0]);
}

#[test]
fn a_job_runs_for_the_minimum_before_it_is_stopped() {
    let jobs = [Running { started_ms: 1000, ..running(1, 0, 0, 8) }, Running { started_ms: 2000, ..running(2, 0, 0, 8) }];
    let settings = PreemptionSettings { min_run_ms: 60_000, ..BOTH };
    let at = |now_ms| chosen(&jobs, &wanting(0, 1, 8), &[0], &mut a_node_each(&jobs, 8, 1), settings, now_ms);
    assert_eq!(at(60_999), Choice::Nothing { ask_again_ms: Some(61_000) });
    assert_eq!(at(61_000), Choice::Victims(vec![1]));
    let firm = jobs.map(|job| Running { preemptible: false, ..job });
    let none = chosen(&firm, &wanting(0, 1, 8), &[0], &mut a_node_each(&firm, 8, 1), settings, 99_000);
    assert_eq!(none, Choice::Nothing { ask_again_ms: None });
}

#[test]
fn a_queue_takes_back_what_it_lent() {
    // Both have a quota of 4. Queue 1 has 8, so 0 gets 4 of them back, whatever the priorities, and not a fifth.
    let jobs: Vec<_> = (0..8).map(|job| running(job, 1, 9, 1)).collect();
    let take = |tasks: usize| chosen(&jobs, &wanting(0, 0, tasks as u64), &[4, 4], &mut a_node_each(&jobs, 1, tasks), BOTH, 1);
    assert_eq!(take(1), Choice::Victims(vec![7]));
    assert_eq!(take(4), Choice::Victims(vec![7, 6, 5, 4]));
    assert_eq!(take(5), Choice::Nothing { ask_again_ms: None });
    let off = PreemptionSettings { reclaim: false, ..BOTH };
    let none = chosen(&jobs, &wanting(0, 0, 1), &[4, 4], &mut a_node_each(&jobs, 1, 1), off, 1);
    assert_eq!(none, Choice::Nothing { ask_again_ms: None });
}

#[test]
fn a_large_job_that_would_put_its_queue_over_its_share_stops_nothing() {
    // Each may have 4: a job of 5 would leave queue 0 with more than its part, so the other one could take it back.
    let jobs = [running(1, 1, 0, 8)];
    let nodes = || a_node_each(&jobs, 5, 1);
    assert_eq!(chosen(&jobs, &wanting(0, 9, 5), &[0, 0], &mut nodes(), BOTH, 1), Choice::Nothing { ask_again_ms: None });
    let mut smaller = Nodes { each: 4, ..nodes() };
    assert_eq!(chosen(&jobs, &wanting(0, 0, 4), &[0, 0], &mut smaller, BOTH, 1), Choice::Victims(vec![1]));
}

#[test]
fn a_limit_lets_a_job_take_the_place_of_one_of_its_own_queue_only() {
    let limited = QueueSettings { limit: Bounds { gpu_milli: Some(2000), ..Bounds::default() }, ..QueueSettings::new(0, "q0".into()) };
    let jobs = [running(1, 0, 0, 2), running(2, 1, 0, 2)];
    let wants = wanting(0, 1, 2);
    let mut shares = Shares::new(&[limited], Some(HistorySettings::default())).unwrap();
    shares.set_cluster(gpus(4));
    for job in &jobs {
        shares.waits(job.queue, &job.amounts);
        shares.starts(job.queue, &job.amounts, &job.amounts, true, 0);
    }
    shares.waits(0, &wants.amounts);
    shares.divide(0);
    // Two GPUs are free, yet only stopping job 1 brings the queue below its limit.
    let mut nodes = a_node_each(&jobs, 2, 1);
    nodes.free.push(2);
    assert_eq!(choose(&wants, jobs.into_iter(), &shares, &BOTH, 1, &mut nodes), Choice::Victims(vec![1]));
}

/// (queue, priority, GPUs, node, preemptible)
type Drawn = (u32, u8, u64, usize, bool);

/// Jobs, quotas, GPUs that are free on each node, and what wants to start: (queue, priority, GPUs of a task, tasks).
type World = (Vec<Drawn>, Vec<u64>, u64, (u32, u8, u64, usize));

fn world() -> impl Strategy<Value = World> {
    let job = (0_u32..3, 0_u8..3, 1_u64..5, 0_usize..4, proptest::bool::weighted(0.9));
    let wants = (0_u32..3, 0_u8..4, 1_u64..9, 1_usize..4);
    (proptest::collection::vec(job, 1..9), proptest::collection::vec(0_u64..9, 3), 0_u64..3, wants)
}

/// Jobs on nodes that are full but for `spare` GPUs each.
fn build(drawn: &[Drawn], spare: u64, each: u64, tasks: usize) -> (Vec<Running>, Nodes) {
    let mut nodes = Nodes { free: vec![spare; 4], held: BTreeMap::new(), each, tasks };
    let mut jobs = Vec::new();
    for (job, (queue, priority, gpus, node, preemptible)) in (0..).zip(drawn) {
        jobs.push(Running { preemptible: *preemptible, kept_ms: 7 * job % 5, ..running(job, *queue, *priority, *gpus) });
        nodes.held.insert(job, vec![(*node, *gpus)]);
    }
    (jobs, nodes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, max_global_rejects: 1 << 20, ..ProptestConfig::default() })]

    /// What is chosen is enough and allowed, and none of it can be given back. With priorities alone, something is chosen whenever some set of
    /// jobs would do, and no set does with a lower highest priority.
    #[test]
    fn the_set_is_enough_and_none_of_it_is_too_much((drawn, quotas, spare, (queue, priority, each, tasks)) in world(), one_queue in any::<bool>()) {
        let drawn: Vec<Drawn> = drawn.into_iter().map(|job| if one_queue { (0, job.1, job.2, job.3, job.4) } else { job }).collect();
        let queue = if one_queue { 0 } else { queue };
        let (jobs, mut nodes) = build(&drawn, spare, each, tasks);
        let wants = wanting(queue, priority, each * tasks as u64);
        prop_assume!(!nodes.fits());
        let cluster = 4 * spare + jobs.iter().map(|job| job.amounts.gpu_milli / 1000).sum::<u64>();
        let shares = shares(cluster, &quotas, &jobs, &wants);
        let before = nodes.clone();
        let choice = choose(&wants, jobs.iter().copied(), &shares, &BOTH, 100, &mut nodes);
        let rules = Rules { wanting: &wants, shares: &shares };
        let enough = |set: &[Running]| {
            let mut nodes = before.clone();
            set.iter().for_each(|job| nodes.take_out(job.job));
            rules.hold(set) && nodes.fits()
        };
        let may_go: Vec<Running> = jobs.iter().copied().filter(|job| job.preemptible && (job.queue != queue || job.priority < priority)).collect();
        let sets = (1_u32..1 << may_go.len()).map(|set| (0..may_go.len()).filter(|at| set & 1 << at != 0).map(|at| may_go[at]).collect::<Vec<_>>());
        match choice {
            Choice::Victims(victims) => {
                let victims: Vec<Running> = victims.iter().map(|job| jobs[*job as usize]).collect();
                prop_assert!(nodes.fits() && enough(&victims), "{victims:?}");
                prop_assert!(victims.iter().all(|job| may_go.iter().any(|other| other.job == job.job)), "{victims:?}");
                for left_out in 0..victims.len() {
                    let mut fewer = victims.clone();
                    fewer.remove(left_out);
                    prop_assert!(!enough(&fewer), "{:?} can be given back of {victims:?}", victims[left_out]);
                }
                let highest = |set: &[Running]| set.iter().map(|job| job.priority).max();
                if one_queue {
                    let best = sets.filter(|set| enough(set)).map(|set| highest(&set)).min().unwrap();
                    prop_assert_eq!(highest(&victims), best);
                }
            }
            Choice::Nothing { .. } => {
                prop_assert_eq!(&nodes.free, &before.free);
                if one_queue {
                    let any = sets.into_iter().find(|set| enough(set));
                    prop_assert!(any.is_none(), "{any:?} would do");
                }
            }
        }
    }

    /// Whatever waits takes what it may from what runs, again and again. At one instant it ends with no job stopped twice. If time goes on with
    /// every start and nothing is submitted or ends, it ends as well, be there quotas or priorities: taking back and forth would not. With both,
    /// queues can take turns, as often as the minimum run time allows.
    #[test]
    fn nothing_goes_in_a_circle((mut drawn, mut quotas, spare, _) in world(), time_goes_on in any::<bool>(), by_quota in any::<bool>()) {
        if time_goes_on && by_quota {
            drawn.iter_mut().for_each(|(_, priority, ..)| *priority = 0);
        } else if time_goes_on {
            quotas = vec![0; 3];
        }
        let (jobs, nodes) = build(&drawn, spare, 0, 0);
        let cluster = 4 * spare + jobs.iter().map(|job| job.amounts.gpu_milli / 1000).sum::<u64>();
        let nothing = Wanting { amounts: Amounts::default(), ..wanting(0, 0, 0) };
        let shares = shares(cluster, &quotas, &jobs, &nothing);
        let mut cluster = Cluster { jobs, waiting: Vec::new(), nodes, shares, now_ms: 1 };
        // The same jobs once more wait.
        for job in cluster.jobs.clone() {
            cluster.shares.waits(job.queue, &job.amounts);
            cluster.waiting.push(Running { job: job.job + 100, ..job });
        }
        let mut stopped = BTreeSet::new();
        for starts in 0.. {
            let Some(victims) = cluster.start_one() else { break };
            prop_assert!(starts < 200, "starts and stops do not end");
            for victim in victims {
                prop_assert!(stopped.insert(victim) || time_goes_on, "{victim} was stopped twice");
            }
            cluster.now_ms += u64::from(time_goes_on);
        }
    }
}

struct Cluster {
    jobs: Vec<Running>,
    waiting: Vec<Running>,
    nodes: Nodes,
    shares: Shares,
    now_ms: u64,
}

impl Cluster {
    /// Starts the first job that can, and says which ones it stopped for it.
    fn start_one(&mut self) -> Option<Vec<JobNumber>> {
        self.shares.divide(self.now_ms);
        self.waiting.sort_by_key(|job| (Reverse(job.priority), job.job));
        let mut left: Vec<usize> = (0..self.waiting.len()).collect();
        loop {
            let heads: BTreeMap<u32, usize> = left.iter().rev().map(|at| (self.waiting[*at].queue, *at)).collect();
            let candidates: Vec<(u32, Amounts)> = heads.iter().map(|(queue, at)| (*queue, self.waiting[*at].amounts)).collect();
            let at = heads[&candidates[self.shares.first(&candidates)?].0];
            let job = self.waiting[at];
            (self.nodes.each, self.nodes.tasks) = (job.amounts.gpu_milli / 1000, 1);
            let wants = Wanting { queue: job.queue, priority: job.priority, preemptible: job.preemptible, amounts: job.amounts };
            if self.shares.bound(job.queue, &job.amounts, job.preemptible).is_none() && self.nodes.fits() {
                self.start(at, &[]);
                return Some(Vec::new());
            }
            let running = self.jobs.iter().copied();
            if let Choice::Victims(victims) = choose(&wants, running, &self.shares, &BOTH, self.now_ms, &mut self.nodes) {
                self.start(at, &victims);
                return Some(victims);
            }
            left.retain(|other| *other != at);
        }
    }

    fn start(&mut self, at: usize, victims: &[JobNumber]) {
        let starts = Running { started_ms: self.now_ms, kept_ms: self.now_ms, ..self.waiting.remove(at) };
        for victim in victims {
            let at = self.jobs.iter().position(|job| job.job == *victim).unwrap();
            let victim = self.jobs.remove(at);
            self.nodes.held.remove(&victim.job);
            self.shares.ends(victim.queue, &victim.amounts, victim.preemptible, self.now_ms);
            self.shares.waits(victim.queue, &victim.amounts);
            self.waiting.push(victim);
        }
        self.shares.starts(starts.queue, &starts.amounts, &starts.amounts, starts.preemptible, self.now_ms);
        self.nodes.start(starts.job);
        self.jobs.push(starts);
    }
}
