//! AIReSim's default scenario: a job of 4,096 servers for 256 days with warm standbys, a repair pipeline, and servers with a defect (arXiv
//! 2603.07041; parameters and results from the documents in its repository).

use faultline_planner::DispatchSettings;

use super::ettr::one_gang;
use super::{Row, mean_and_error};
use crate::cluster::{Cluster, NodeModel};
use crate::faults::{Defects, Detector, Exposure, Faults, Pipeline, Repair};
use crate::outcome::FaultOrigin;
use crate::run;
use crate::setup::{InvalidSetup, Setup};
use crate::workload::{Checkpoint, Interval};

const DAY_MS: u64 = 86_400_000;
const MIN_MS: u64 = 60_000;
const WORK_DAYS: u64 = 256;
const POOL: usize = 4_160;
const SPARES: usize = 200;

/// Servers fail only while they work, no work is lost, and a restart takes 20 minutes.
pub fn setup(seed: u64) -> Setup {
    let faults = Faults {
        defects: Some(Defects { share: 0.15, extra: 5.0 }),
        exposure: Exposure::Working,
        detector: Detector::Instant,
        repair: Repair::Pipeline(Pipeline {
            automatic_ms: 120 * MIN_MS,
            escalated: 0.8,
            manual_ms: 2 * DAY_MS,
            automatic_in_vain: 0.4,
            manual_in_vain: 0.2,
        }),
        ..Faults::constant(0.01, 0)
    };
    let checkpoint = Checkpoint { interval: Interval::Every(0), write_ms: 0, restore_ms: 20 * MIN_MS, on_preemption: false };
    let cluster = Cluster::uniform(POOL + SPARES, &NodeModel::eight_gpus("server"), 16, 16).with_spares(SPARES);
    Setup {
        faults,
        seed,
        keep_attempts: false,
        ..Setup::new(cluster, one_gang(4_096, WORK_DAYS * DAY_MS, 20 * MIN_MS, checkpoint), DispatchSettings::default())
    }
}

/// Time, effective share, and failures, as means over the seeds. The published share is time without restarts over all time.
pub fn rows(seeds: std::ops::Range<u64>) -> Result<Vec<Row>, InvalidSetup> {
    let (mut hours, mut random, mut systematic) = (Vec::new(), Vec::new(), Vec::new());
    for seed in seeds {
        let outcome = run(&setup(seed))?;
        hours.push(outcome.end_ms as f64 / 3_600_000.0);
        let count = |origin: FaultOrigin| outcome.faults.iter().filter(|fault| fault.origin == origin).count() as f64;
        random.push(count(FaultOrigin::Node));
        systematic.push(count(FaultOrigin::Defect));
    }
    let of = |values: &[f64]| mean_and_error(values).0;
    let (total_h, failures) = (of(&hours), of(&random) + of(&systematic));
    let row = |name: &str, unit, published: f64, here, tolerance| Row { name: name.to_owned(), unit, published, here, tolerance };
    Ok(vec![
        row("total time", "h", 9_865.97, total_h, 98.66),
        row("effective share", "", 0.6228, (WORK_DAYS * 24) as f64 / total_h, 0.0062),
        row("failures", "", 11_145.6, failures, 222.9),
        row("random failures", "", 10_457.0, of(&random), 209.1),
        row("systematic failures", "", 688.6, of(&systematic), 2.0 * 688.6 / (688.6_f64 / 2.0).sqrt()),
        row("time between failures", "min", 33.07, (WORK_DAYS * 1_440) as f64 / failures, 0.66),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_scenario_comes_out_as_published() {
        for row in rows(1..2).unwrap() {
            assert!(row.agrees(), "{row:?}");
        }
    }
}
