//! Setups that are drawn: whatever is asked for, the invariants hold, the GPU time is a partition, and the same setup gives the same run.

use faultline_engine::fault::{Hazard, Lemons, OutageRates, RepairTime, Surges};
use faultline_planner::{Blocking, Level, OrderName, PolicyName, PreemptionSettings, TieRule, Topology};
use proptest::prelude::*;

use super::*;
use crate::faults::{Defects, Detector, Exposure, Pipeline, RecordedFault, Repair, Retirement, Slow};
use crate::setup::Passes;

const HOUR_MS: u64 = 3_600_000;

fn jobs() -> impl Strategy<Value = Vec<Job>> {
    let checkpoint = (0..3_u8, 1..60_u64, 0..5_u64, 0..9_u64, any::<bool>()).prop_map(|(kind, every, write, restore, on_preemption)| {
        let interval = if kind == 1 { Interval::Optimal } else { Interval::Every((every - 1) * 60_000) };
        let checkpoint = Checkpoint { interval, write_ms: write * 10_000, restore_ms: restore * 20_000, on_preemption };
        (kind > 0).then_some(checkpoint)
    });
    let size = (0..4_u32, 1..5_u32, 1..5_u32, prop::option::of(any::<bool>()));
    let times = (0..40_u64, 1..200_u64, 0..4_u64, any::<bool>());
    let rest = (0..3_u8, any::<bool>(), 0..4_u8, 0..3_u64);
    let job = (size, times, checkpoint, rest).prop_map(|(size, times, checkpoint, (priority, preemptible, fate, grace))| {
        let (class, tasks, min_tasks, required) = size;
        let (at, work, start, has_estimate) = times;
        Job {
            tasks,
            min_tasks: min_tasks.min(tasks),
            class,
            estimate_ms: has_estimate.then_some(work * 70_000),
            start_ms: start * 30_000,
            checkpoint,
            grace_ms: grace * 15_000,
            priority,
            preemptible,
            topology: required.map(|required| Topology { level: Level::Rack, required }),
            fate: [Fate::Passed, Fate::Failed, Fate::Killed, Fate::Unknown][usize::from(fate)],
            ..job(at * 600_000, work * 60_000)
        }
    });
    prop::collection::vec(job, 0..40).prop_map(|mut jobs| {
        jobs.sort_by_key(|job| job.submit_ms);
        jobs
    })
}

fn faults() -> impl Strategy<Value = Faults> {
    let hazard = prop_oneof![
        Just(Hazard::Never),
        Just(Hazard::Constant { mean_ms: 20.0 * HOUR_MS as f64 }),
        Just(Hazard::Weibull { shape: 0.7, mean_ms: 30.0 * HOUR_MS as f64 })
    ];
    let time = RepairTime { median_ms: 2e6, sigma: 1.5, min_ms: 1000.0, max_ms: 2e7 };
    let pipeline = Pipeline { automatic_ms: 600_000, escalated: 0.5, manual_ms: 9_000_000, automatic_in_vain: 0.4, manual_in_vain: 0.2 };
    let repair =
        prop_oneof![Just(Repair::After(1)), Just(Repair::After(HOUR_MS)), Just(Repair::Drawn(time)), Just(Repair::Pipeline(pipeline))];
    let detector = prop_oneof![Just(Detector::Instant), Just(Detector::PhiAccrual), Just(Detector::After(900_000))];
    let means = OutageRates { rack_mean_ms: 1e8, power_mean_ms: 2e8, switch_mean_ms: f64::INFINITY, repair: time };
    let recorded = prop::collection::vec((0..5_usize, 0..300_u64, 0..60_u64), 0..6);
    (hazard, repair, detector, any::<[bool; 8]>(), recorded).prop_map(move |(hazard, repair, detector, with, recorded)| Faults {
        hazard,
        lemons: with[0].then_some(Lemons { one_in: 3, times: 9.0 }),
        defects: with[1].then_some(Defects { share: 0.3, extra: 4.0 }),
        surges: with[2].then_some(Surges { window_ms: 5e6, variance: 3.0 }),
        outages: with[3].then_some(means),
        one_gpu: if with[6] { 0.4 } else { 0.0 },
        slow: with[7].then_some(Slow { share: 0.3, speed_milli: 333 }),
        exposure: if with[4] { Exposure::Working } else { Exposure::Always },
        repair,
        detector,
        retirement: with[5].then_some(Retirement { faults: 3, within_ms: 90 * HOUR_MS }),
        misdiagnosis: if with[1] { 0.3 } else { 0.0 },
        recorded: recorded
            .into_iter()
            .map(|(node, from, long)| RecordedFault { node, from_ms: from * 60_000, until_ms: (from + long) * 60_000 })
            .collect(),
    })
}

fn setups() -> impl Strategy<Value = Setup> {
    let policy = prop::sample::select(vec![PolicyName::LeastLoaded, PolicyName::FirstFit, PolicyName::BestFit, PolicyName::Random]);
    let order = prop::sample::select(vec![OrderName::Fifo, OrderName::Sjf, OrderName::Srtf, OrderName::Las]);
    let blocking = prop::sample::select(vec![Blocking::Skip, Blocking::Strict, Blocking::StrictPerPool, Blocking::Easy]);
    let dispatch = (policy, order, blocking, any::<[bool; 3]>(), prop::option::of(0..90_u64)).prop_map(
        |(policy, order, blocking, with, resize_min)| {
            let mut dispatch = DispatchSettings { order, blocking, ..DispatchSettings::default() };
            (dispatch.placement.policy, dispatch.placement.tie) = (policy, if with[0] { TieRule::Random } else { TieRule::First });
            dispatch.reserve_after_ms = with[1].then_some(5 * HOUR_MS);
            dispatch.resize_min_ms = resize_min.map(|minutes| minutes * 60_000);
            dispatch.preemption = PreemptionSettings { by_priority: with[2], ..PreemptionSettings::default() };
            dispatch
        },
    );
    let rest = (0..3_usize, prop::option::of(1..90_u64), any::<bool>(), any::<u64>());
    (jobs(), faults(), dispatch, rest).prop_map(|(jobs, faults, dispatch, (spares, horizon_h, each_event, seed))| {
        let classes = [(1, 300), (1, 1000), (4, 1000), (8, 1000)];
        let classes = classes.map(|(gpus, gpu_milli)| TaskClass { gpus, gpu_milli, cpu_milli: 9_000, ..TaskClass::default() });
        let workload = Workload { classes: classes.to_vec(), ..workload(jobs, 8) };
        let model = NodeModel { cpu_milli: Some(40_000), ..NodeModel::eight_gpus("H100") };
        let mut setup = Setup::new(Cluster::uniform(6, &model, 2, 2).with_spares(spares), workload, dispatch);
        (setup.faults, setup.seed) = (faults, seed);
        setup.horizon_ms = horizon_h.map(|hours| hours * HOUR_MS);
        setup.usage_row_ms = Some(HOUR_MS);
        setup.passes = if each_event { Passes::EachEvent } else { Passes::EachInstant };
        setup
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_asked_for_the_invariants_hold(setup in setups()) {
        let outcome = run(&setup).unwrap();
        prop_assert_eq!(&outcome.violations, &[]);
        prop_assert!(outcome.totals.is_exact());
        let rows = outcome.usage.as_ref().unwrap().rows();
        let whole_rows = rows.take(outcome.end_ms.div_ceil(HOUR_MS) as usize);
        let in_rows: u128 = whole_rows.flat_map(|(_, row)| row).sum();
        prop_assert_eq!(in_rows, outcome.totals.sum());
        for row in &outcome.jobs {
            prop_assert_eq!(row.end == End::Open, row.end_ms.is_none());
        }
        prop_assert_eq!(run(&setup).unwrap(), outcome);
    }
}
