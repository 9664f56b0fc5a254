//! What was measured, in JSON lines and as a table.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

/// One measurement. Times in milliseconds from the start of the case's clock.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) case: &'static str,
    pub(crate) ms: f64,
    /// The first verdict that has the work requeued.
    pub(crate) verdict_ms: Option<f64>,
    pub(crate) placed_ms: Option<f64>,
    pub(crate) targets: Vec<Target>,
}

/// At most so much at this percentile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Target {
    percent: u32,
    ms: f64,
}

impl Target {
    pub(crate) fn p50(ms: f64) -> Self {
        Self { percent: 50, ms }
    }

    pub(crate) fn p99(ms: f64) -> Self {
        Self { percent: 99, ms }
    }

    pub(crate) fn max(ms: f64) -> Self {
        Self { percent: 100, ms }
    }

    fn words(self) -> String {
        let which = if self.percent == 100 { "max".to_owned() } else { format!("p{}", self.percent) };
        format!("{which} <= {:.0}", self.ms)
    }
}

pub(crate) fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// The measurements of one case, in order of size.
#[derive(Debug, Clone)]
struct Summary {
    case: &'static str,
    nats: String,
    ms: Vec<f64>,
    targets: Vec<Target>,
}

impl Summary {
    /// Nearest rank: the value that `percent` of the measurements do not exceed.
    fn at(&self, percent: u32) -> f64 {
        let rank = (self.ms.len() * percent as usize).div_ceil(100).max(1);
        self.ms[rank - 1]
    }

    fn is_met(&self) -> bool {
        self.targets.iter().all(|target| self.at(target.percent) <= target.ms)
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "case": self.case,
            "n": self.ms.len(),
            "min_ms": self.at(0),
            "p50_ms": self.at(50),
            "p95_ms": self.at(95),
            "p99_ms": self.at(99),
            "max_ms": self.at(100),
            "target": self.targets.iter().map(|target| target.words()).collect::<Vec<_>>().join(", "),
            "target_met": self.is_met(),
            "cores": cores(),
            "nats": self.nats,
        })
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

/// Collects measurements and prints each as it comes.
#[derive(Debug, Default)]
pub(crate) struct Report {
    summaries: Vec<Summary>,
    concluded: usize,
}

impl Report {
    pub(crate) fn add(&mut self, samples: Vec<Sample>, nats: &str) {
        for sample in samples {
            println!("{}", json!({ "case": sample.case, "ms": sample.ms, "verdict_ms": sample.verdict_ms, "placed_ms": sample.placed_ms }));
            let open = &mut self.summaries[self.concluded..];
            match open.iter_mut().find(|summary| summary.case == sample.case) {
                Some(summary) => summary.ms.push(sample.ms),
                None => {
                    self.summaries.push(Summary { case: sample.case, nats: nats.to_owned(), ms: vec![sample.ms], targets: sample.targets })
                }
            }
        }
    }

    /// Nothing more comes for what was added since the last call: prints the summaries.
    pub(crate) fn conclude(&mut self) {
        for summary in &mut self.summaries[self.concluded..] {
            summary.ms.sort_by(f64::total_cmp);
            println!("{}", summary.json());
        }
        self.concluded = self.summaries.len();
    }

    pub(crate) fn all_targets_met(&self) -> bool {
        self.summaries.iter().all(Summary::is_met)
    }

    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(["case", "n", "min", "p50", "p95", "p99", "max", "target (ms)", "met"]);
        for summary in &self.summaries {
            let mut row = vec![summary.case.to_owned(), summary.ms.len().to_string()];
            row.extend([0, 50, 95, 99, 100].map(|percent| format!("{:.0}", summary.at(percent))));
            row.push(summary.targets.iter().map(|target| target.words()).collect::<Vec<_>>().join(", "));
            row.push(if summary.is_met() { "yes" } else { "NO" }.to_owned());
            table.add_row(row);
        }
        for column in table.column_iter_mut().skip(1).take(6) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(ms: &[f64], targets: Vec<Target>) -> Report {
        let mut report = Report::default();
        let samples =
            ms.iter().map(|ms| Sample { case: "a", ms: *ms, verdict_ms: None, placed_ms: None, targets: targets.clone() }).collect();
        report.add(samples, "nats");
        report.conclude();
        report
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let all: Vec<f64> = (1..=50).rev().map(f64::from).collect();
        let report = report(&all, vec![]);
        assert_eq!([0, 50, 95, 99, 100].map(|percent| report.summaries[0].at(percent)), [1.0, 25.0, 48.0, 50.0, 50.0]);
    }

    #[test]
    fn one_target_missed_is_missed() {
        let two = |p50, p99| vec![Target::p50(p50), Target::p99(p99)];
        assert!(report(&[100.0, 200.0, 300.0], two(200.0, 300.0)).all_targets_met());
        assert!(!report(&[100.0, 200.0, 300.0], two(199.0, 300.0)).all_targets_met());
        assert!(!report(&[100.0, 200.0, 300.0], two(200.0, 299.0)).all_targets_met());
    }

    #[test]
    fn every_case_has_its_own_summary() {
        let mut report = report(&[1.0], vec![Target::max(2.0)]);
        let sample = |case, ms| Sample { case, ms, verdict_ms: None, placed_ms: None, targets: vec![] };
        report.add(vec![sample("b", 1.0), sample("c", 2.0), sample("b", 3.0)], "nats");
        report.conclude();
        let counts: Vec<(&str, usize)> = report.summaries.iter().map(|summary| (summary.case, summary.ms.len())).collect();
        assert_eq!(counts, [("a", 1), ("b", 2), ("c", 1)]);
        assert!(report.table().to_string().contains("max <= 2"));
    }
}
