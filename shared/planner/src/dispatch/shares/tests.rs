//! Shares that are worked out by hand, and what holds for all of them.

use proptest::prelude::*;

use super::*;

const HOUR_MS: u64 = 3_600_000;

fn gpus(gpus: u64) -> Amounts {
    Amounts { gpu_milli: 1000 * gpus, ..Amounts::default() }
}

fn queue(number: u32, quota: u64, weight: f64) -> QueueSettings {
    let quota = Bounds { gpu_milli: (quota > 0).then_some(1000 * quota), ..Bounds::default() };
    QueueSettings { quota, weight, ..QueueSettings::new(number, format!("q{number}")) }
}

/// Queues on so many GPUs, each of which waits for so many.
fn waiting(cluster: u64, queues: &[(QueueSettings, u64)], history: Option<HistorySettings>) -> Shares {
    let settings: Vec<_> = queues.iter().map(|(settings, _)| settings.clone()).collect();
    let mut shares = Shares::new(&settings, history).unwrap();
    shares.set_cluster(gpus(cluster));
    for (settings, asked) in queues {
        shares.waits(settings.number, &gpus(*asked));
    }
    shares.divide(0);
    shares
}

fn fair_gpus(shares: &Shares) -> Vec<f64> {
    shares.overview().iter().map(|share| (share.fair[0] / 1000.0 * 1e6).round() / 1e6).collect()
}

#[test]
fn the_quota_comes_first_and_the_weight_divides_the_rest() {
    let both = [(queue(0, 4, 1.0), 16), (queue(1, 4, 3.0), 16)];
    assert_eq!(fair_gpus(&waiting(16, &both, None)), [6.0, 10.0]);
    // What one does not ask for goes to the other, its quota included.
    let one_asks_little = [(queue(0, 4, 1.0), 16), (queue(1, 4, 3.0), 3)];
    assert_eq!(fair_gpus(&waiting(16, &one_asks_little, None)), [13.0, 3.0]);
    // When nodes are gone, each gets the same part of its quota.
    let lent_twice = [(queue(0, 8, 1.0), 16), (queue(1, 4, 3.0), 16)];
    assert_eq!(fair_gpus(&waiting(6, &lent_twice, None)), [4.0, 2.0]);
}

#[test]
fn a_higher_over_quota_priority_gets_all_that_it_asks_for_before_a_lower_one() {
    let mut urgent = queue(0, 0, 1.0);
    urgent.over_quota_priority = 1;
    let queues = [(urgent, 5), (queue(1, 0, 1.0), 16), (queue(2, 2, 0.0), 16)];
    assert_eq!(fair_gpus(&waiting(16, &queues, None)), [5.0, 9.0, 2.0]);
}

#[test]
fn a_tree_is_divided_from_the_top() {
    let beneath = |number, parent, weight| QueueSettings { parent: Some(parent), ..queue(number, 0, weight) };
    let queues =
        [(queue(0, 0, 1.0), 0), (queue(1, 0, 1.0), 0), (beneath(2, 0, 1.0), 16), (beneath(3, 0, 3.0), 16), (beneath(4, 1, 1.0), 16)];
    let mut shares = waiting(16, &queues, None);
    assert_eq!(fair_gpus(&shares), [8.0, 8.0, 2.0, 6.0, 8.0]);
    let first = |shares: &Shares, queues: &[u32]| {
        let candidates: Vec<_> = queues.iter().map(|queue| (*queue, gpus(1))).collect();
        queues[shares.first(&candidates).unwrap()]
    };
    // One more is 5 of 8 for the branch of 4, and 2 of 8 for the other one. There 3 would hold 2 of 6, and 2 half of its share.
    shares.starts(4, &gpus(4), &gpus(4), true, 0);
    shares.starts(3, &gpus(1), &gpus(1), true, 0);
    assert_eq!((first(&shares, &[4, 3, 2]), first(&shares, &[2, 4])), (3, 2));
    // Now it would be 6 of 8 there, so 4 goes before 2 and 3, though 2 holds a smaller part of its share than 4 does.
    shares.starts(3, &gpus(4), &gpus(4), true, 0);
    assert_eq!((first(&shares, &[2, 3, 4]), first(&shares, &[2, 3])), (4, 2));
}

#[test]
fn the_queue_furthest_below_its_share_goes_first() {
    let mut shares = waiting(16, &[(queue(0, 4, 1.0), 16), (queue(1, 0, 3.0), 16)], None);
    assert_eq!(fair_gpus(&shares), [7.0, 9.0]);
    // Within the quota comes first, however much of the share is held.
    shares.starts(0, &gpus(3), &gpus(3), true, 0);
    assert_eq!(shares.first(&[(0, gpus(1)), (1, gpus(1))]), Some(0));
    assert_eq!(shares.first(&[(0, gpus(2)), (1, gpus(1))]), Some(1));
    // 5 of 7 against 7 of 9, and then 6 of 7: the job that is about to start counts.
    shares.starts(0, &gpus(1), &gpus(1), true, 0);
    shares.starts(1, &gpus(6), &gpus(6), true, 0);
    assert_eq!(shares.first(&[(1, gpus(1)), (0, gpus(1))]), Some(1));
    assert_eq!(shares.first(&[(1, gpus(1)), (0, gpus(2))]), Some(0));
    assert_eq!((shares.first(&[(0, gpus(1))]), shares.first(&[])), (Some(0), None));
}

/// The paper's first example again, job by job: three of the one and two of the other, and then nothing fits.
#[test]
fn jobs_of_the_queue_that_goes_first_lead_to_equal_dominant_shares() {
    let of = [Amounts { gpu_milli: 0, cpu_milli: 1000, memory_mib: 4096 }, Amounts { gpu_milli: 0, cpu_milli: 3000, memory_mib: 1024 }];
    let mut shares = Shares::new(&[queue(0, 0, 1.0), queue(1, 0, 1.0)], None).unwrap();
    let mut free = Amounts { gpu_milli: 0, cpu_milli: 9000, memory_mib: 18 * 1024 };
    shares.set_cluster(free);
    for _ in 0..100 {
        (0..2).for_each(|queue| shares.waits(queue, &of[queue as usize]));
    }
    shares.divide(0);
    let mut started = [0, 0];
    loop {
        let first = shares.first(&[(0, of[0]), (1, of[1])]).unwrap();
        let fits = |queue: usize| Resource::ALL.into_iter().all(|resource| free.get(resource) >= of[queue].get(resource));
        let Some(queue) = [first, 1 - first].into_iter().find(|queue| fits(*queue)) else { break };
        shares.starts(queue as u32, &of[queue], &of[queue], true, 0);
        free = free.minus(&of[queue]);
        started[queue] += 1;
    }
    assert_eq!(started, [3, 2]);
}

#[test]
fn limits_and_quotas_forbid_starts_and_say_by_what() {
    let top = QueueSettings { limit: Bounds { gpu_milli: Some(10_000), ..Bounds::default() }, ..queue(0, 0, 1.0) };
    let leaf = QueueSettings {
        parent: Some(0),
        limit: Bounds { gpu_milli: Some(8000), cpu_milli: Some(0), ..Bounds::default() },
        ..queue(1, 4, 1.0)
    };
    let other = QueueSettings { parent: Some(0), ..queue(2, 0, 1.0) };
    let mut shares = waiting(16, &[(top, 0), (leaf, 20), (other, 20)], None);
    let bound = |queue, kind, held, asked, most| Some(Bound { queue, kind, resource: Resource::Gpu, held, asked, most });
    assert_eq!(shares.bound(1, &gpus(8), true), None);
    assert_eq!(shares.bound(1, &gpus(9), true), bound(1, BoundKind::Limit, 0, 9000, 8000));
    assert_eq!(shares.bound(1, &gpus(5), false), bound(1, BoundKind::Quota, 0, 5000, 4000));
    shares.starts(1, &gpus(3), &gpus(3), false, 0);
    shares.starts(1, &gpus(2), &gpus(2), true, 0);
    // What preemptible jobs hold does not count against the quota.
    assert_eq!(shares.bound(1, &gpus(1), false), None);
    assert_eq!(shares.bound(1, &gpus(2), false), bound(1, BoundKind::Quota, 3000, 2000, 4000));
    shares.starts(2, &gpus(5), &gpus(5), true, 0);
    assert_eq!(shares.bound(1, &gpus(1), false), bound(0, BoundKind::Limit, 10_000, 1000, 10_000));
    // A queue without a quota lets jobs hold any amount that cannot be preempted; a queue without settings has no bounds at all.
    assert_eq!((shares.bound(9, &gpus(99), false), shares.bound(2, &gpus(0), false)), (None, None));
    shares.ends(2, &gpus(5), true, 0);
    assert_eq!(shares.bound(2, &gpus(5), false), None);
}

#[test]
fn what_a_queue_used_moves_its_weight() {
    let history = HistorySettings { half_life_ms: HOUR_MS, strength: 1.0, entry_ms: 0 };
    let mut shares = waiting(16, &[(queue(0, 0, 1.0), 16), (queue(1, 0, 1.0), 16)], Some(history));
    assert_eq!(fair_gpus(&shares), [8.0, 8.0]);
    shares.starts(0, &gpus(8), &gpus(8), true, 0);
    // After an hour the average is 4 of 16: the weights are 1/2 + (1/2 - 1/4) and 1/2 + 1/2, so 3 to 4.
    shares.divide(HOUR_MS);
    assert_eq!(fair_gpus(&shares), [6.857143, 9.142857]);
    // When the past speaks against all that ask, the plain weights count.
    shares.waits_no_longer(1, &gpus(16));
    shares.divide(HOUR_MS);
    assert_eq!(fair_gpus(&shares), [16.0, 0.0]);
    // Another hour later 6 of 16 were used; with 16 in use it would be more than half, which leaves no weight while others ask.
    shares.waits(1, &gpus(16));
    shares.starts(0, &gpus(8), &gpus(8), true, HOUR_MS);
    shares.divide(100 * HOUR_MS);
    assert_eq!(fair_gpus(&shares), [0.0, 16.0]);
}

#[test]
fn a_burst_counts_before_it_has_run() {
    let history = HistorySettings { half_life_ms: HOUR_MS, strength: 1.0, entry_ms: HOUR_MS };
    let mut shares = waiting(16, &[(queue(0, 0, 1.0), 16), (queue(1, 0, 1.0), 16)], Some(history));
    shares.starts(0, &gpus(8), &gpus(8), true, 0);
    shares.divide(0);
    assert_eq!(fair_gpus(&shares), [6.857143, 9.142857]);
}

#[test]
fn nodes_that_do_not_say_what_they_have_limit_no_share() {
    let mut shares = Shares::new(&[queue(0, 2, 1.0), queue(1, 0, 1.0)], None).unwrap();
    shares.set_cluster(Amounts { gpu_milli: 8000, cpu_milli: u64::MAX, memory_mib: 0 });
    let asks = Amounts { gpu_milli: 8000, cpu_milli: 80_000, memory_mib: 100 };
    (0..2).for_each(|queue| shares.waits(queue, &asks));
    shares.divide(0);
    let fair: Vec<_> = shares.overview().iter().map(|share| share.fair.map(f64::round)).collect();
    assert_eq!(fair, [[5000.0, 80_000.0, 0.0], [3000.0, 80_000.0, 0.0]]);
    shares.starts(
        0,
        &Amounts { gpu_milli: 2500, cpu_milli: 25_000, memory_mib: 50 },
        &Amounts { gpu_milli: 2500, cpu_milli: 25_000, memory_mib: 50 },
        true,
        0,
    );
    assert!((shares.overview()[0].level - 0.5).abs() < 1e-9, "{:?}", shares.overview());
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let error = |settings: &[QueueSettings], history| Shares::new(settings, history).unwrap_err().to_string();
    let beneath = |number, parent| QueueSettings { parent: Some(parent), ..queue(number, 0, 1.0) };
    assert_eq!(error(&[queue(3, 0, 1.0), queue(3, 0, 1.0)], None), "queue `q3` has the number 3 of another queue: give each its own");
    assert_eq!(error(&[beneath(1, 7)], None), "queue `q1` has an unknown parent, number 7: add that queue, or leave the parent out");
    let circle = error(&[beneath(1, 2), beneath(2, 1)], None);
    assert_eq!(circle, "queue `q1` is its own ancestor: let the path of parents end at a queue without one");
    assert_eq!(error(&[queue(1, 0, f64::NAN)], None), "queue `q1` has an invalid weight, NaN: use 0 or a positive number");
    let above = QueueSettings { limit: Bounds { gpu_milli: Some(1), ..Bounds::default() }, ..queue(1, 1, 1.0) };
    let expected = "queue `q1` has a quota of 1000 GPU milli above its limit of 1: lower the quota or raise the limit";
    assert_eq!(error(&[above], None), expected);
    let history = HistorySettings { half_life_ms: 0, ..HistorySettings::default() };
    assert_eq!(error(&[], Some(history)), "the half-life of usage is 0: use at least 1 ms, or leave the history out");
}

fn some_queues() -> impl Strategy<Value = Vec<(QueueSettings, [u64; 3])>> {
    let one = (0_u64..20, 0_u8..3, 1_u32..5, [0_u64..40, 0_u64..40, 0_u64..40], proptest::option::of(10_u64..30));
    proptest::collection::vec(one, 1..8).prop_map(|queues| {
        let queues = (0..).zip(queues).map(|(number, (quota, priority, weight, asks, limit))| {
            let mut settings = queue(number, 0, f64::from(weight));
            settings.quota.gpu_milli = Some(quota.min(limit.unwrap_or(u64::MAX)));
            (settings.over_quota_priority, settings.limit.gpu_milli) = (priority, limit);
            (settings, asks)
        });
        queues.collect()
    })
}

proptest! {
    /// All that is asked for and is there is given; never more than that; the quota to everyone if there is enough for all quotas; and of one
    /// resource, those who do not have what they ask for got the same for each unit of weight, or more before the others.
    #[test]
    fn shares_are_fair(queues in some_queues(), cluster in 1_u64..100, one_resource in any::<bool>()) {
        let settings: Vec<_> = queues.iter().map(|(settings, _)| settings.clone()).collect();
        let mut shares = Shares::new(&settings, None).unwrap();
        let cluster = Amounts { gpu_milli: cluster, cpu_milli: 60, memory_mib: u64::MAX };
        shares.set_cluster(cluster);
        for (settings, asks) in &queues {
            let others = if one_resource { 0 } else { 1 };
            shares.waits(settings.number, &Amounts { gpu_milli: asks[0], cpu_milli: others * asks[1], memory_mib: others * asks[2] });
        }
        shares.divide(0);
        let overview = shares.overview();
        for (at, resource) in Resource::ALL.into_iter().enumerate() {
            let (fair, asked): (f64, f64) = overview.iter().fold((0.0, 0.0), |(fair, asked), share| (fair + share.fair[at], asked + share.asked[at]));
            prop_assert!((fair - asked.min(cluster.get(resource) as f64)).abs() < 1e-6, "{overview:?}");
            prop_assert!(overview.iter().all(|share| share.fair[at] <= share.asked[at] + 1e-6), "{overview:?}");
        }
        let guaranteed = |at: usize| (settings[at].quota.gpu_milli.unwrap() as f64).min(overview[at].asked[0]);
        let all_guaranteed: f64 = (0..queues.len()).map(guaranteed).sum();
        if all_guaranteed <= cluster.gpu_milli as f64 {
            prop_assert!((0..queues.len()).all(|at| overview[at].fair[0] >= guaranteed(at) - 1e-6), "{overview:?}");
            for (a, b) in (0..queues.len()).flat_map(|a| (0..queues.len()).map(move |b| (a, b))) {
                let above = |at: usize| (overview[at].fair[0] - guaranteed(at)) / settings[at].weight;
                let is_short = overview[a].fair[0] < overview[a].asked[0] - 1e-6;
                let priority = |at: usize| settings[at].over_quota_priority;
                if one_resource && is_short && priority(a) == priority(b) {
                    prop_assert!(above(a) >= above(b) - 1e-6, "{a} and {b} of {overview:?}");
                }
                if one_resource && is_short && priority(a) > priority(b) {
                    prop_assert!(above(b) < 1e-6, "{a} and {b} of {overview:?}");
                }
            }
        }
    }
}
