//! Llama 3's training: 16,384 GPUs for 54 days with 419 unexpected interruptions and more than 90 % effective training time (Meta, "The Llama 3
//! Herd of Models", 2024, section 3.3.4).

use super::ettr::{ettr, one_gang};
use super::{Row, mean_and_error, over_seeds};
use crate::cluster::{Cluster, NodeModel};
use crate::faults::{Detector, Faults};
use crate::run;
use crate::setup::{InvalidSetup, Setup};
use crate::workload::{Checkpoint, Interval};
use faultline_planner::DispatchSettings;

const DAY_MS: u64 = 86_400_000;
pub const NODES: u32 = 2_048;
/// 419 interruptions of 2,048 nodes in 54 days.
pub const FAULTS_PER_NODE_DAY: f64 = 3.79e-3;
const SPARES: usize = 64;

/// The window of 54 days: checkpoints of 10 s every 10 min, 6 min to restart, 64 spare nodes, and a node that failed is back after 4 h, which
/// the report does not say.
pub fn setup(detector: Detector, seed: u64) -> Setup {
    let checkpoint = Checkpoint { interval: Interval::Every(600_000), write_ms: 10_000, restore_ms: 360_000, on_preemption: false };
    let cluster = Cluster::uniform(NODES as usize + SPARES, &NodeModel::eight_gpus("H100"), 16, 16).with_spares(SPARES);
    Setup {
        faults: Faults { detector, ..Faults::constant(FAULTS_PER_NODE_DAY, 4 * 3_600_000) },
        seed,
        horizon_ms: Some(54 * DAY_MS),
        keep_attempts: false,
        ..Setup::new(cluster, one_gang(NODES, 365 * DAY_MS, 360_000, checkpoint), DispatchSettings::default())
    }
}

/// Effective training time and interruptions, as means over the seeds. Work since the last checkpoint at the end of the window does not count.
pub fn rows(seeds: std::ops::Range<u64>) -> Result<Vec<Row>, InvalidSetup> {
    let measured = over_seeds(seeds, |seed| {
        let outcome = run(&setup(Detector::PhiAccrual, seed))?;
        Ok((ettr(&outcome), f64::from(outcome.jobs[0].interrupted)))
    })?;
    let (effective, interruptions): (Vec<f64>, Vec<f64>) = measured.into_iter().unzip();
    let row = |name: &str, published, here, tolerance| Row { name: name.to_owned(), unit: "", published, here, tolerance };
    Ok(vec![
        row("effective training time (expected of this setup; published: above 0.90)", 0.92, mean_and_error(&effective).0, 0.01),
        // Two standard deviations of a Poisson count.
        row("unexpected interruptions in 54 days", 419.0, mean_and_error(&interruptions).0, 41.0),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gang_is_effective_and_interrupted_as_published() {
        for row in rows(1..4).unwrap() {
            assert!(row.agrees(), "{row:?}");
        }
    }
}
