//! AIReSim's default scenario: a job of 4,096 servers for 256 days with warm standbys, a repair pipeline, and servers with a defect (arXiv
//! 2603.07041; parameters and results from the documents in its repository).

use faultline_planner::DispatchSettings;

use super::ettr::one_gang;
use super::{Row, mean_and_error, over_seeds};
use crate::cluster::{Cluster, NodeModel};
use crate::faults::{Defects, Detector, Exposure, Faults, Pipeline, Repair};
use crate::outcome::FaultOrigin;
use crate::run;
use crate::setup::{InvalidSetup, Setup};
use crate::workload::{Checkpoint, Interval};

const DAY_MS: u64 = 86_400_000;
const MIN_MS: u64 = 60_000;
const WORK_DAYS: u64 = 256;
const SERVERS: usize = 4_096;
const POOL: usize = 4_160;
const SPARES: usize = 200;

/// Servers fail only while they work, no work is lost, and a restart takes 20 minutes.
pub fn setup(seed: u64) -> Setup {
    one_of(1, seed)
}

/// The scenario with one in so many of its servers.
fn one_of(parts: usize, seed: u64) -> Setup {
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
    let cluster = Cluster::uniform((POOL + SPARES) / parts, &NodeModel::eight_gpus("server"), 16, 16).with_spares(SPARES / parts);
    Setup {
        faults,
        seed,
        keep_attempts: false,
        ..Setup::new(cluster, one_gang((SERVERS / parts) as u32, WORK_DAYS * DAY_MS, 20 * MIN_MS, checkpoint), DispatchSettings::default())
    }
}

/// Hours, random failures, systematic ones, and hours in which too few servers worked.
fn measure(setup: &Setup) -> Result<[f64; 4], InvalidSetup> {
    let outcome = run(setup)?;
    let count = |origin: FaultOrigin| outcome.faults.iter().filter(|fault| fault.origin == origin).count() as f64;
    let hours = |ms: u64| ms as f64 / 3_600_000.0;
    Ok([hours(outcome.end_ms), count(FaultOrigin::Node), count(FaultOrigin::Defect), hours(outcome.jobs[0].wait_ms)])
}

/// Time, effective share, and failures, as means over the seeds. The published share is time without restarts over all time.
pub fn rows(seeds: std::ops::Range<u64>) -> Result<Vec<Row>, InvalidSetup> {
    let measured = over_seeds(seeds, |seed| measure(&setup(seed)))?;
    let of = |at: usize| mean_and_error(&measured.iter().map(|values| values[at]).collect::<Vec<_>>()).0;
    let (total_h, random, systematic) = (of(0), of(1), of(2));
    let failures = random + systematic;
    let row = |name: &str, unit, published: f64, here, tolerance| Row { name: name.to_owned(), unit, published, here, tolerance };
    Ok(vec![
        row("total time", "h", 9_865.97, total_h, 98.66),
        row("effective share", "", 0.6228, (WORK_DAYS * 24) as f64 / total_h, 0.0062),
        row("failures", "", 11_145.6, failures, 222.9),
        row("random failures", "", 10_457.0, random, 209.1),
        row("systematic failures", "", 688.6, systematic, 2.0 * 688.6 / (688.6_f64 / 2.0).sqrt()),
        row("time between failures", "min", 33.07, (WORK_DAYS * 1_440) as f64 / failures, 0.66),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One in 32 of its servers against the closed form of the model: a server with a defect fails until a repair succeeds, five times in six
    /// because of the defect.
    #[test]
    fn a_small_scenario_agrees_with_the_closed_form() {
        const PARTS: usize = 32;
        let measured: Vec<[f64; 4]> = (1..65).map(|seed| measure(&one_of(PARTS, seed)).unwrap()).collect();
        let of = |at: usize| mean_and_error(&measured.iter().map(|values| values[at]).collect::<Vec<_>>());
        let random = (SERVERS / PARTS) as f64 * 0.01 * WORK_DAYS as f64;
        // All servers that ever work. So few spares as there are here all do, while others are repaired.
        let pool = ((POOL + SPARES) / PARTS) as f64;
        let systematic = 0.15 * pool * (5.0 / 6.0) / (0.2 * 0.6 + 0.8 * 0.8);
        for (at, expected) in [(1, random), (2, systematic)] {
            let (mean, error) = of(at);
            assert!((mean - expected).abs() < 3.0 * error, "{at}: {mean} and not {expected}, standard error {error}");
        }
        // All that is not work or waiting are 20 minutes for each start.
        let starts_h = (1.0 + of(1).0 + of(2).0) / 3.0;
        assert!((of(0).0 - of(3).0 - (WORK_DAYS * 24) as f64 - starts_h).abs() < 0.5, "{} {}", of(0).0, of(3).0);
    }
}
