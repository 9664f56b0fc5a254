//! What was measured, as JSON lines, as a table for a terminal and as the tables of docs/detectors.md.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};
use faultline_engine::detector::EstimatorKind;
use serde_json::json;

use crate::args::Args;
use crate::model::{DELAY_MEDIAN_MS, DELAY_SIGMA};
use crate::replay::{JOB_MS, Tally, percentile};

/// One detector, one way of using it, one share of loss.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) detector: EstimatorKind,
    pub(crate) heartbeats_only: bool,
    pub(crate) loss_percent: u32,
    pub(crate) tally: Tally,
}

/// Deaths an hour and node: 4.2 faults per 1,000 node-days (the preset `calibrated`), and 8.5 % a minute, the middle of `classroom`.
const RATES: [(&str, f64); 2] = [("calibrated", 4.2 / 1000.0 / 24.0), ("classroom", 0.085 * 60.0)];

impl Row {
    fn node_hours(&self) -> f64 {
        self.tally.lived_ms as f64 / 3_600_000.0
    }

    fn an_hour(&self, count: u64) -> f64 {
        count as f64 / self.node_hours()
    }

    /// GPU seconds from a death to the requeue, on average.
    fn late_gpu_s_a_death(&self) -> f64 {
        self.tally.late_gpu_ms as f64 / 1000.0 / (self.tally.deaths - self.tally.missed).max(1) as f64
    }

    /// GPU seconds of repeated work, an hour and node.
    fn repeated_gpu_s_an_hour(&self) -> f64 {
        self.tally.repeated_gpu_ms as f64 / 1000.0 / self.node_hours()
    }

    /// GPU seconds wasted in all, an hour and node, when nodes die at this rate.
    fn wasted_gpu_s_an_hour(&self, deaths_an_hour: f64) -> f64 {
        self.late_gpu_s_a_death() * deaths_an_hour + self.repeated_gpu_s_an_hour()
    }

    fn way(&self) -> &'static str {
        if self.heartbeats_only { "heartbeats" } else { "heartbeats and pings" }
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        let tally = &self.tally;
        let percentiles = |sorted: &[u64]| json!({ "p50": percentile(sorted, 50), "p99": percentile(sorted, 99) });
        json!({
            "detector": self.detector.as_str(),
            "by": self.way(),
            "loss_percent": self.loss_percent,
            "node_hours": self.node_hours(),
            "deaths": tally.deaths,
            "missed": tally.missed,
            "suspect_ms": percentiles(&tally.suspect_ms),
            "requeue_ms": percentiles(&tally.requeue_ms),
            "dead_ms": percentiles(&tally.dead_ms),
            "false_suspect_per_node_hour": self.an_hour(tally.false_suspect),
            "false_gone_per_node_hour": self.an_hour(tally.false_gone),
            "false_dead_per_node_hour": self.an_hour(tally.false_dead),
            "late_gpu_s_per_death": self.late_gpu_s_a_death(),
            "repeated_gpu_s_per_node_hour": self.repeated_gpu_s_an_hour(),
        })
    }

    /// The cells of a row, in the order of [`HEADER`].
    fn cells(&self) -> Vec<String> {
        let tally = &self.tally;
        let seconds = |sorted: &[u64]| [50, 99].map(|percent| format!("{:.1}", percentile(sorted, percent) as f64 / 1000.0)).join(" / ");
        let mut cells = vec![
            self.detector.as_str().to_owned(),
            format!("{} %", self.loss_percent),
            seconds(&tally.suspect_ms),
            seconds(&tally.requeue_ms),
            seconds(&tally.dead_ms),
        ];
        cells.extend([tally.false_suspect, tally.false_gone, tally.false_dead].map(|count| short(self.an_hour(count))));
        cells.push(short(self.late_gpu_s_a_death()));
        cells.push(short(self.repeated_gpu_s_an_hour()));
        cells.extend(RATES.map(|(_, rate)| short(self.wasted_gpu_s_an_hour(rate))));
        cells
    }
}

const HEADER: [&str; 12] = [
    "detector",
    "loss",
    "suspect, s",
    "requeue, s",
    "dead, s",
    "false suspect /h",
    "false gone /h",
    "false dead /h",
    "late, GPU s a death",
    "repeated, GPU s/h",
    "wasted, GPU s/h: calibrated",
    "classroom",
];

/// Two digits that say something; a plain 0 for nothing at all.
fn short(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value if value < 0.001 => "< 0.001".to_owned(),
        value if value < 0.1 => format!("{value:.3}"),
        value if value < 10.0 => format!("{value:.2}"),
        value => format!("{value:.0}"),
    }
}

pub(crate) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(std::iter::once("by").chain(HEADER));
    for row in rows {
        table.add_row(std::iter::once(row.way().to_owned()).chain(row.cells()));
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

pub(crate) fn markdown(rows: &[Row], args: &Args) -> String {
    let mut text = String::new();
    let deaths = rows.first().map_or(0, |row| row.tally.deaths);
    let _ = writeln!(
        text,
        "Seed {}, {:.0} node-hours and {deaths} deaths for each row. Heartbeats every second; every message is delayed by a lognormal time \
         (median {DELAY_MEDIAN_MS} ms, sigma {DELAY_SIGMA}) and arrives in order. Jobs of {} s. Detection times are p50 / p99.",
        args.seed,
        rows.first().map_or(0.0, Row::node_hours),
        JOB_MS / 1000,
    );
    for heartbeats_only in [true, false] {
        let title = if heartbeats_only { "Heartbeats alone" } else { "Heartbeats, and a ping for who is suspect (the default)" };
        let _ = writeln!(text, "\n{title}:\n\n| {} |\n|{}", HEADER.join(" | "), " --- |".repeat(HEADER.len()));
        for row in rows.iter().filter(|row| row.heartbeats_only == heartbeats_only) {
            let _ = writeln!(text, "| {} |", row.cells().join(" | "));
        }
    }
    text
}
