//! Faults of a production cluster of 400 nodes, played again: the share of GPU time that is down must be what the file itself says
//! (stepfun-ai/InfiniteHBD-Trace, published with "InfiniteHBD", SIGCOMM 2025).

use std::ops::Range;

use faultline_engine::fault::FaultPreset;
use faultline_engine::goodput::Class;
use faultline_planner::DispatchSettings;

use super::{Row, mean_and_error, over_seeds};
use crate::cluster::{Cluster, NodeModel};
use crate::faults::{Detector, Faults, RecordedFault};
use crate::run;
use crate::setup::{InvalidSetup, Setup};
use crate::workload::Workload;

const DAY_MS: u64 = 86_400_000;
pub const NODES: usize = 400;

/// The file's share: node-milliseconds of faults within the window, those of one node merged, over all. Written without the lab's machinery.
pub fn share_of_file(faults: &[RecordedFault], nodes: usize, window_ms: u64) -> f64 {
    let mut down_ms = 0_u128;
    for node in 0..nodes {
        let mut edges: Vec<(u64, i32)> = Vec::new();
        for fault in faults.iter().filter(|fault| fault.node == node) {
            edges.push((fault.from_ms.min(window_ms), 1));
            edges.push((fault.until_ms.min(window_ms), -1));
        }
        edges.sort_unstable();
        let (mut depth, mut since_ms) = (0, 0);
        for (at_ms, change) in edges {
            if depth > 0 {
                down_ms += u128::from(at_ms - since_ms);
            }
            (depth, since_ms) = (depth + change, at_ms);
        }
    }
    down_ms as f64 / (nodes as f64 * window_ms as f64)
}

/// The replay of recorded faults on empty nodes, for so many days.
pub fn setup(faults: Vec<RecordedFault>, nodes: usize, days: u64) -> Setup {
    let cluster = Cluster::uniform(nodes, &NodeModel::eight_gpus("H800"), 4, 16);
    Setup {
        faults: Faults { recorded: faults, detector: Detector::Instant, ..Faults::off() },
        horizon_ms: Some(days * DAY_MS),
        ..Setup::new(cluster, Workload::default(), DispatchSettings::default())
    }
}

/// How many faults the nodes' own models give within so many days, beside those that were recorded: the preset `calibrated` was fitted to days 0 to
/// 174 of the file, so for those days this is a check of the fit, and for later ones a prediction. Counts vary far more than a Poisson process;
/// the tolerance is two standard deviations of one run.
pub fn predicted(recorded: usize, nodes: usize, days: u64, seeds: Range<u64>) -> Result<Row, InvalidSetup> {
    let counts = over_seeds(seeds, |seed| {
        let cluster = Cluster::uniform(nodes, &NodeModel::eight_gpus("H800"), 2, 16);
        let faults = Faults::preset(FaultPreset::Calibrated, 1.0);
        let setup = Setup {
            faults,
            seed,
            horizon_ms: Some(days * DAY_MS),
            ..Setup::new(cluster, Workload::default(), DispatchSettings::default())
        };
        Ok(run(&setup)?.faults.len() as f64)
    })?;
    let (here, error) = mean_and_error(&counts);
    let deviation = error * (counts.len() as f64).sqrt();
    Ok(Row {
        name: format!("faults of {nodes} nodes in {days} days"),
        unit: "",
        published: recorded as f64,
        here,
        tolerance: 2.0 * deviation,
    })
}

/// The share that is down, here and by the file.
pub fn rows(faults: Vec<RecordedFault>, nodes: usize, days: u64) -> Result<Vec<Row>, InvalidSetup> {
    let published = share_of_file(&faults, nodes, days * DAY_MS);
    let outcome = run(&setup(faults, nodes, days))?;
    let here = outcome.totals.of(Class::Down) as f64 / outcome.totals.capacity() as f64;
    Ok(vec![Row {
        name: format!("down share of {nodes} nodes over {days} days"),
        unit: "%",
        published: published * 100.0,
        here: here * 100.0,
        tolerance: 1e-9,
    }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::read_recorded;

    #[test]
    fn the_recorded_faults_are_down_as_long_as_their_file_says() {
        let Some(path) = crate::traces::find("faults/production_faults_days_0_174.csv") else { return };
        let faults = read_recorded(std::fs::File::open(path).unwrap(), None).unwrap();
        let count = faults.len();
        let rows = rows(faults, NODES, 174).unwrap();
        assert!(rows[0].agrees() && rows[0].here > 2.0, "{rows:?}");
        // 312 faults of which some overlap on their node.
        let predicted = predicted(count, NODES, 174, 1..11).unwrap();
        assert!(predicted.agrees(), "{predicted:?}");
    }

    #[test]
    fn overlapping_faults_of_a_node_count_once() {
        let fault = |node, from, until| RecordedFault { node, from_ms: from * DAY_MS, until_ms: until * DAY_MS };
        let faults = vec![fault(0, 1, 3), fault(0, 2, 5), fault(1, 4, 20), fault(0, 5, 6)];
        let rows = rows(faults, 4, 10).unwrap();
        // Node 0 for 5 days, node 1 for 6, of 40 node-days.
        assert!((rows[0].published - 27.5).abs() < 1e-9);
        assert!(rows[0].agrees(), "{rows:?}");
    }
}
