use proptest::prelude::*;

use super::super::statistics::{FaultRecord, FaultStatistics};
use super::super::{FaultPreset, Fleet, TRACE_INTER_ARRIVAL_CV};
use super::*;

const MIN_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 3600 * 1000;

fn node(index: usize) -> FaultyNode {
    FaultyNode { index, incarnation: 1, gpus: 8 }
}

fn injector(profile: FaultProfile, seed: u64) -> FaultInjector {
    FaultInjector::new(profile, seed, node(1))
}

/// Ticks for `duration_ms`; gives the faults that began and the time in which the node was healthy.
fn live(injector: &mut FaultInjector, duration_ms: u64, tick_ms: u64, heat: f64) -> (Vec<Fault>, u64) {
    let (mut began, mut healthy_ms, mut now_ms) = (Vec::new(), 0, 0);
    while now_ms < duration_ms {
        for transition in injector.tick(now_ms, heat) {
            if let FaultTransition::Began(fault) = transition {
                began.push(fault);
            }
        }
        healthy_ms += if injector.active().next().is_none() { tick_ms } else { 0 };
        now_ms += tick_ms;
    }
    (began, healthy_ms)
}

fn ordered(kind: FaultKind, gpu: u8, for_ms: u64) -> Injection {
    Injection { kind, gpu, for_ms, factor: f64::NAN }
}

/// What changed, without the ids.
fn words(transitions: &[FaultTransition]) -> Vec<String> {
    let words = |transition: &FaultTransition| match transition {
        FaultTransition::Began(fault) => format!("+{} {:?} {}..{}", fault.kind, fault.gpu, fault.from_ms, fault.until_ms),
        FaultTransition::Ended { fault, at_ms } => format!("-{} {:?} {at_ms}", fault.kind, fault.gpu),
    };
    transitions.iter().map(words).collect()
}

#[test]
fn seed_node_and_incarnation_decide_everything() {
    let began = |seed, node| live(&mut FaultInjector::new(FaultProfile::classroom(8), seed, node), DAY_MS, 1000, 1.0).0;
    assert_eq!(began(7, node(1)), began(7, node(1)));
    assert_ne!(began(7, node(1)), began(8, node(1)));
    assert_ne!(began(7, node(1)), began(7, node(2)));
    assert_ne!(began(7, node(1)), began(7, FaultyNode { incarnation: 2, ..node(1) }));
}

#[test]
fn the_size_of_the_ticks_does_not_change_the_faults() {
    for profile in [FaultProfile::classroom(8), FaultProfile::wear_out(), FaultProfile::correlated()] {
        let fine = live(&mut injector(profile.clone(), 3), DAY_MS / 2, 250, 1.0).0;
        let coarse = live(&mut injector(profile, 3), DAY_MS / 2, MIN_MS, 1.0).0;
        assert!(fine.len() > 60 && fine.len().abs_diff(coarse.len()) <= 1, "{} and {}", fine.len(), coarse.len());
        for (one, other) in fine.iter().zip(&coarse) {
            assert_eq!((one.kind, one.factor, one.gpu), (other.kind, other.factor, other.gpu));
            assert!(one.from_ms.abs_diff(other.from_ms) <= 1 && one.until_ms.abs_diff(other.until_ms) <= 1);
        }
    }
}

fn of_the_node(transition: &FaultTransition) -> bool {
    matches!(transition, FaultTransition::Began(fault) if fault.gpu.is_none())
}

#[test]
fn something_fails_every_half_minute_on_eight_classroom_nodes_and_most_of_it_hits_a_gpu() {
    let (mut of_nodes, mut of_gpus) = (0, 0);
    let hours = 50;
    for index in 1..=8 {
        let gpus = crate::device::default_node(index).gpu_count as u8;
        let node = FaultyNode { gpus, ..node(index) };
        let (faults, _) = live(&mut FaultInjector::new(FaultProfile::classroom(index), 3, node), hours * 60 * MIN_MS, 1000, 1.0);
        of_gpus += faults.iter().filter(|fault| fault.gpu.is_some()).count();
        of_nodes += faults.iter().filter(|fault| fault.gpu.is_none()).count();
        assert!(faults.iter().filter_map(|fault| fault.gpu).all(|gpu| gpu < gpus));
    }
    let every_s = |count: usize| hours as f64 * 3600.0 / count as f64;
    // A node that is down does not fail: 84 s and 46 s of nodes that are up.
    assert!((80.0..105.0).contains(&every_s(of_nodes)), "{} s", every_s(of_nodes));
    assert!((42.0..54.0).contains(&every_s(of_gpus)), "{} s", every_s(of_gpus));
    assert!((25.0..36.0).contains(&every_s(of_nodes + of_gpus)), "{} s", every_s(of_nodes + of_gpus));
}

#[test]
fn classroom_nodes_fail_at_the_rate_they_state() {
    for index in 1..=8 {
        let profile = FaultProfile::classroom(index);
        let expected = 4.0 + index as f64;
        // 20,000 minutes in which the node either fails or does not, each watched from its start.
        let mut failed = 0;
        for minute in 0..20_000_u64 {
            let mut injector = FaultInjector::new(profile.clone(), minute, node(index));
            injector.tick(0, 1.0);
            failed += u32::from(injector.tick(MIN_MS, 1.0).iter().any(of_the_node));
        }
        let percent = f64::from(failed) / 200.0;
        // Four standard deviations.
        let tolerance = 4.0 * (expected * (100.0 - expected) / 20_000.0).sqrt();
        assert!((percent - expected).abs() < tolerance, "node {index}: {percent} %");
    }
}

#[test]
fn over_virtual_days_rate_and_kinds_are_as_documented() {
    let profile = FaultProfile { gpu_errors: None, ..FaultProfile::classroom(4) };
    let (faults, healthy_ms) = live(&mut injector(profile.clone(), 11), 60 * DAY_MS, 1000, 1.0);
    let hazard_per_min = faults.len() as f64 / (healthy_ms as f64 / MIN_MS as f64);
    let expected = -(1.0_f64 - 0.08).ln();
    assert!((hazard_per_min / expected - 1.0).abs() < 0.05, "{hazard_per_min} instead of {expected}");
    for kind in FaultKind::ALL {
        let share = faults.iter().filter(|fault| fault.kind == kind).count() as f64 / faults.len() as f64;
        assert!((share - profile.weights.share(kind)).abs() < 0.03, "{kind}: {share}");
    }
    assert!(faults.iter().all(|fault| fault.cause == FaultCause::Hazard && fault.domain.is_none() && fault.gpu.is_none()));
}

#[test]
fn a_lemon_fails_far_more_often_than_the_others() {
    let faults = |index| live(&mut FaultInjector::new(FaultProfile::lemon(), 5, node(index)), 5 * DAY_MS, 1000, 1.0).0.len();
    let mut counts: Vec<usize> = (1..=8).map(faults).collect();
    counts.sort_unstable();
    // Twelve times as often while it is healthy, and it is often not.
    assert!(counts[7] > 6 * counts[6] && counts[6] < 2 * counts[0], "{counts:?}");
}

#[test]
fn nodes_that_wear_out_fail_at_a_similar_age() {
    let (faults, _) = live(&mut injector(FaultProfile::wear_out(), 5), 60 * DAY_MS, 1000, 1.0);
    let lives: Vec<f64> = faults.windows(2).map(|pair| (pair[1].from_ms - pair[0].until_ms) as f64 / MIN_MS as f64).collect();
    let mean = lives.iter().sum::<f64>() / lives.len() as f64;
    let deviation = (lives.iter().map(|life| (life - mean).powi(2)).sum::<f64>() / lives.len() as f64).sqrt();
    // Weibull with shape 4 has a coefficient of variation of 0.281.
    assert!((mean / 10.0 - 1.0).abs() < 0.03 && (deviation / mean / 0.281 - 1.0).abs() < 0.08, "{mean} {}", deviation / mean);
}

#[test]
fn an_outage_breaks_all_nodes_of_the_domain_at_once_and_they_come_back_together() {
    let mut injectors: Vec<FaultInjector> = (1..=8)
        .map(|index| FaultInjector::new(FaultProfile { hazard: Hazard::Never, ..FaultProfile::correlated() }, 9, node(index)))
        .collect();
    let mut outages: BTreeMap<(FailureDomain, u64, u64), Vec<usize>> = BTreeMap::new();
    for now_ms in (0..DAY_MS).step_by(2_000) {
        for (at, injector) in injectors.iter_mut().enumerate() {
            for transition in injector.tick(now_ms, 1.0) {
                if let FaultTransition::Began(fault) = transition {
                    assert_eq!((fault.cause, fault.gpu), (FaultCause::Correlated, None));
                    let domain = fault.domain.unwrap();
                    assert_eq!(fault.kind, domain.part.fault());
                    outages.entry((domain, fault.from_ms, fault.until_ms)).or_default().push(at + 1);
                }
            }
        }
    }
    let whole = outages.iter().filter(|((domain, ..), nodes)| {
        let members: Vec<usize> = (1..=8).filter(|index| FailureDomain::of_node(*index).contains(domain)).collect();
        nodes.iter().all(|node| members.contains(node)) && **nodes == members
    });
    // A node that another outage has broken for longer does not notice: few.
    assert!(outages.len() > 500 && whole.count() * 100 > outages.len() * 95, "{}", outages.len());
}

#[test]
fn a_node_that_starts_in_an_outage_is_in_it() {
    let profile = FaultProfile { hazard: Hazard::Never, ..FaultProfile::correlated() };
    let mut first = injector(profile.clone(), 9);
    let fault = live(&mut first, DAY_MS, 1000, 1.0).0.remove(3);
    let mut restarted = FaultInjector::new(profile, 9, FaultyNode { incarnation: 2, ..node(1) });
    let joined = restarted.tick(fault.from_ms + 1, 1.0);
    assert!(joined.contains(&FaultTransition::Began(fault.clone())), "the same fault under the same id: {joined:?}");
}

/// A fleet of 400 nodes over ten times the length of the trace, under the published rates.
#[test]
fn the_calibrated_fleet_is_as_bursty_and_as_uneven_as_the_trace() {
    let (days, nodes) = (1740, 400);
    let mut records = Vec::new();
    for index in 1..=nodes {
        let mut injector =
            FaultInjector::new(FaultProfile::calibrated(Fleet::InfiniteHbd, 1.0), 2, FaultyNode { index, incarnation: 1, gpus: 8 });
        for day in (0..=days).step_by(30) {
            for transition in injector.tick(day * DAY_MS, 1.0) {
                if let FaultTransition::Began(fault) = transition {
                    let day = |at_ms: u64| at_ms as f64 / DAY_MS as f64;
                    records.push(FaultRecord {
                        start_day: day(fault.from_ms),
                        end_day: day(fault.until_ms),
                        node: index.to_string(),
                        class: fault.kind.to_string(),
                    });
                }
            }
        }
    }
    records.retain(|record| record.start_day > 0.0);
    let statistics = FaultStatistics::of(&records, nodes, days as f64).unwrap();
    let near = |value: f64, expected: f64, tolerance: f64| (value / expected - 1.0).abs() < tolerance;
    // Repairs take 4 % of the time, in which a node does not fail.
    assert!(near(statistics.per_1000_node_days, 4.48 * 0.96, 0.06), "{statistics:?}");
    assert!(near(statistics.inter_arrival_cv, TRACE_INTER_ARRIVAL_CV, 0.15), "{statistics:?}");
    assert!(near(statistics.simultaneous, 0.16, 0.2), "{statistics:?}");
    // In the trace the variance between nodes is 2.3 times what a Poisson process has, at 0.78 faults a node.
    let uneven = (statistics.per_node_variance - statistics.per_node_mean) / statistics.per_node_mean.powi(2);
    assert!(near(uneven, (1.87 - 0.78) / 0.78_f64.powi(2), 0.35), "{uneven}");
}

#[test]
fn heat_counts_where_the_profile_says_so() {
    let count = |profile, heat| live(&mut injector(profile, 2), 30 * DAY_MS, 10_000, heat).0.len() as f64;
    let calibrated = FaultProfile { outages: None, ..FaultProfile::calibrated(Fleet::InfiniteHbd, 10_000.0) };
    let ratio = count(calibrated.clone(), 2.0) / count(calibrated, 1.0);
    assert!(ratio > 1.4, "{ratio}");
    assert_eq!(count(FaultProfile::classroom(1), 2.0), count(FaultProfile::classroom(1), 1.0));
}

#[test]
fn off_never_fails_but_obeys_orders() {
    let mut injector = injector(FaultProfile::off(), 1);
    let t = 365 * DAY_MS;
    assert!(injector.tick(0, 1.0).is_empty() && injector.tick(t, 5.0).is_empty());
    let began = injector.order(Injection { kind: FaultKind::Slow, gpu: 0, for_ms: 5_000, factor: 99.0 }, "test", t);
    assert!(matches!(&began[..], [FaultTransition::Began(fault)] if fault.factor == MAX_SLOW_FACTOR && fault.cause == FaultCause::Ordered));
    let replaced = injector.order(ordered(FaultKind::Hang, 0, 5_000), "test", t + 1_000);
    assert_eq!(words(&replaced), [format!("-slow None {}", t + 1_000), format!("+hang None {}..{}", t + 1_000, t + 6_000)]);
    assert!(injector.tick(t + 5_999, 1.0).is_empty());
    assert_eq!(words(&injector.tick(t + 6_000, 1.0)), [format!("-hang None {}", t + 6_000)]);
    assert!(injector.restore(None, t + 7_000).is_empty());
    injector.order(ordered(FaultKind::Crash, 0, u64::MAX), "test", t + 8_000);
    assert_eq!(injector.active().next().unwrap().until_ms, t + 8_000 + MAX_ORDERED_MS);
    assert_eq!(words(&injector.restore(None, t + 9_000)), [format!("-crash None {}", t + 9_000)]);
    assert_eq!(injector.active().count(), 0);
}

#[test]
fn only_what_breaks_by_itself_or_is_broken_needs_the_time() {
    for preset in FaultPreset::ALL {
        assert_eq!(injector(preset.profile(1, 1.0), 1).is_still(), preset == FaultPreset::Off, "{preset:?}");
    }
    // The order is the first to tell it the time.
    let mut injector = injector(FaultProfile::off(), 1);
    injector.order(ordered(FaultKind::Xid79, 3, 5_000), "test", 1_000);
    assert!(!injector.is_still());
    assert_eq!(words(&injector.tick(9_000, 1.0)), ["-xid_79 Some(3) 6000"]);
    assert!(injector.is_still());
}

#[test]
fn each_gpu_has_its_own_fault_and_a_reboot_ends_them_all() {
    let mut injector = injector(FaultProfile::off(), 1);
    injector.tick(0, 1.0);
    injector.order(ordered(FaultKind::Xid79, 3, 60_000), "test", 1_000);
    injector.order(ordered(FaultKind::WrongResult, 5, 60_000), "test", 1_000);
    injector.order(ordered(FaultKind::Slow, 0, 60_000), "test", 1_000);
    assert_eq!(injector.active().map(|fault| fault.gpu).collect::<Vec<_>>(), [None, Some(3), Some(5)]);
    assert_eq!(words(&injector.restore(Some(5), 2_000)), ["-wrong_result Some(5) 2000"]);
    assert_eq!(
        words(&injector.order(ordered(FaultKind::Xid48, 3, 60_000), "test", 3_000)),
        ["-xid_79 Some(3) 3000", "+xid_48 Some(3) 3000..63000"]
    );
    injector.order(ordered(FaultKind::Crash, 0, 5_000), "test", 4_000);
    assert_eq!(words(&injector.tick(9_000, 1.0)), ["-crash None 9000", "-xid_48 Some(3) 9000"]);
}

#[test]
fn a_momentary_fault_begins_and_ends_at_once() {
    let mut injector = injector(FaultProfile::off(), 1);
    injector.tick(0, 1.0);
    for kind in [FaultKind::Xid13, FaultKind::Xid31, FaultKind::Xid94] {
        let transitions = injector.order(ordered(kind, 200, 60_000), "test", 1_000);
        assert_eq!(words(&transitions), [format!("+{kind} Some(7) 1000..1000"), format!("-{kind} Some(7) 1000")]);
    }
    let mut without_gpus = FaultInjector::new(FaultProfile::off(), 1, FaultyNode { gpus: 0, ..node(1) });
    assert!(without_gpus.order(ordered(FaultKind::Xid79, 0, 60_000), "test", 1_000).is_empty());
}

#[test]
fn the_truth_names_the_fault_and_its_times() {
    let mut injector = injector(FaultProfile::off(), 1);
    let began = injector.order(ordered(FaultKind::Xid79, 3, 60_000), "test", 1_000);
    let ended = injector.restore(None, 5_000);
    let (FaultTransition::Began(began), FaultTransition::Ended { fault, at_ms }) = (&began[0], &ended[0]) else { panic!("{ended:?}") };
    let (began, ended) = (began.truth("n", began.planned_end_ms()), fault.truth("n", Some(*at_ms)));
    assert_eq!((began.kind.as_str(), began.gpu, began.from_ms, began.until_ms), ("xid_79", Some(3), 1_000, Some(61_000)));
    assert_eq!(began.by, "test");
    assert_eq!(ended, FaultTruth { until_ms: Some(5_000), ..began });
}

proptest! {
    #[test]
    fn faults_at_one_place_never_overlap(
        seed: u64,
        preset in prop::sample::select(super::super::FaultPreset::ALL.to_vec()),
        index in 1_usize..20,
        pauses in prop::collection::vec(0_u64..600_000, 1..60),
        heat in 0.0..5.0_f64,
        orders in prop::collection::vec((0_usize..FaultKind::ALL.len(), 0_u8..9, 0_u64..200_000), 0..20),
    ) {
        let mut injector = FaultInjector::new(preset.profile(index, 10_000.0), seed, node(index));
        let (mut now_ms, mut open) = (0, BTreeMap::new());
        let mut ids = std::collections::BTreeSet::new();
        for (turn, pause_ms) in pauses.into_iter().enumerate() {
            now_ms += pause_ms;
            let mut transitions = injector.tick(now_ms, heat);
            if let Some((kind, gpu, for_ms)) = orders.get(turn) {
                transitions.extend(injector.order(ordered(FaultKind::ALL[*kind], *gpu, *for_ms), "test", now_ms));
            }
            for transition in transitions {
                match transition {
                    FaultTransition::Began(fault) => {
                        prop_assert!(ids.insert(fault.id.clone()), "two faults with one id");
                        prop_assert_eq!(fault.gpu.is_some(), fault.kind.scope() == FaultScope::Gpu);
                        prop_assert!(fault.from_ms <= now_ms && fault.from_ms <= fault.until_ms);
                        prop_assert!(fault.factor == 1.0 || fault.kind == FaultKind::Slow);
                        prop_assert_eq!(open.insert(fault.gpu, fault), None);
                    }
                    FaultTransition::Ended { fault, at_ms } => {
                        prop_assert!(at_ms >= fault.from_ms && at_ms <= now_ms);
                        prop_assert_eq!(open.remove(&fault.gpu), Some(fault));
                    }
                }
            }
            prop_assert_eq!(injector.active().cloned().collect::<Vec<_>>(), open.values().cloned().collect::<Vec<_>>());
        }
    }
}
