//! `just bench-detectors`: the three estimators of `engine::detector` against ground truth, in virtual time. Nodes beat at 1 Hz over a
//! network that delays and loses, and die at known moments; what the detector says is compared with that.
//!
//! Nothing real runs and no clock is read, so the same seed gives the same table: docs/detectors.md holds that of the default
//! arguments, and a test compares.

mod args;
mod model;
mod replay;
mod report;

use clap::Parser;
use faultline_engine::detector::{DetectorConfig, EstimatorKind};

use args::Args;
use model::{LOSS_PERCENTS, Trace};
use replay::{Tally, replay};
use report::Row;

fn main() {
    let args = Args::parse();
    let rows = measure(&args);
    if args.markdown {
        print!("{}", report::markdown(&rows, &args));
    } else {
        for row in &rows {
            println!("{}", row.json());
        }
        eprintln!("{}", report::table(&rows));
    }
}

/// Every detector on the same trace for each share of loss: first by heartbeats alone, then with pings.
fn measure(args: &Args) -> Vec<Row> {
    let mut rows = Vec::new();
    for loss_percent in LOSS_PERCENTS {
        let trace = Trace::draw(args.seed, args.node_hours, loss_percent);
        let variants = [true, false].into_iter().flat_map(|heartbeats_only| EstimatorKind::ALL.map(|kind| (kind, heartbeats_only)));
        std::thread::scope(|scope| {
            let running: Vec<_> = variants
                .map(|(detector, heartbeats_only)| {
                    let config = DetectorConfig { detector, heartbeats_only, ..DetectorConfig::default() };
                    let trace = &trace;
                    (detector, heartbeats_only, scope.spawn(move || replay(trace, config)))
                })
                .collect();
            for (detector, heartbeats_only, tally) in running {
                let tally: Tally = tally.join().expect("a replay does not panic");
                rows.push(Row { detector, heartbeats_only, loss_percent, tally });
            }
        });
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables in the docs are what the command prints, number for number.
    #[test]
    #[cfg_attr(debug_assertions, ignore = "takes a minute without optimisation; `just test` runs it")]
    fn the_docs_hold_what_the_command_prints() {
        let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/detectors.md")).expect("docs/detectors.md");
        let args = Args::parse_from(["bench_detectors", "--markdown"]);
        let printed = report::markdown(&measure(&args), &args);
        let (begin, end) = ("<!-- begin: just bench-detectors --markdown -->\n", "<!-- end -->");
        let kept = docs.split_once(begin).and_then(|(_, rest)| rest.split_once(end)).expect("docs/detectors.md has the marks").0;
        assert_eq!(kept, printed, "write it anew with `just bench-detectors --markdown`");
    }

    #[test]
    fn the_same_seed_gives_the_same_tables_and_another_one_others() {
        let args = Args { seed: 7, node_hours: 1, markdown: true };
        let once = report::markdown(&measure(&args), &args);
        assert_eq!(once, report::markdown(&measure(&args), &args));
        let other = Args { seed: 8, ..args };
        assert_ne!(once, report::markdown(&measure(&other), &other));
    }

    /// Whatever the network does: every death is found, and in the order suspect, requeued, dead.
    #[test]
    fn every_death_is_found() {
        let args = Args { seed: 3, node_hours: 5, markdown: false };
        for row in measure(&args) {
            let tally = &row.tally;
            assert!(tally.deaths > 10 && tally.missed == 0, "{row:?}");
            for percent in [50, 99] {
                let at = |durations: &[u64]| replay::percentile(durations, percent);
                assert!(at(&tally.suspect_ms) <= at(&tally.requeue_ms) && at(&tally.requeue_ms) <= at(&tally.dead_ms), "{row:?}");
            }
        }
    }
}
