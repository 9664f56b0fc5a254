//! `faultline lab import`: what is in a trace.

use std::path::PathBuf;

use faultline_lab::read::{self, Format, ReadReport, ReadSettings, Source};

use super::files::unreadable;
use crate::exit::Failure;
use crate::output::{Output, count, facts, figure, plural, span, table};

/// `auto`, which is the first line's, or a format.
#[derive(Debug, Clone, Copy)]
struct FormatFlag(Option<Format>);

fn format(text: &str) -> Result<FormatFlag, String> {
    if text == "auto" { Ok(FormatFlag(None)) } else { text.parse().map(|format| FormatFlag(Some(format))) }
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ImportFlags {
    /// The trace
    file: PathBuf,
    #[arg(long, value_name = "FORMAT", default_value = "auto", value_parser = format, help = format!("auto, as the first line shows, or {}", Format::ALL.map(Format::as_str).join(", ")))]
    format: FormatFlag,
    /// GPUs of one node, for traces that say only how many a job has: larger jobs become gangs
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=16))]
    node_gpus: u16,
    /// GPUs of the cluster that the load is compared with; as the file says when left out
    #[arg(long, value_name = "N")]
    gpus: Option<u64>,
}

pub(super) fn run(out: &Output, flags: &ImportFlags) -> Result<(), Failure> {
    let source = Source::open(&flags.file).map_err(unreadable)?;
    let settings = ReadSettings { node_gpus: flags.node_gpus, ..ReadSettings::default() };
    let reading = read::jobs(&source, flags.format.0, &settings).map_err(unreadable)?;
    out.one(&reading.report, |report| words(out, report, flags.gpus))
}

fn words(out: &Output, report: &ReadReport, gpus: Option<u64>) -> String {
    let mut rows = vec![
        ("format", report.format.as_str().to_owned()),
        ("rows", format!("{}, {} used", count(report.rows), count(report.used))),
        ("submissions over", span(report.span_ms)),
        ("GPU hours", count(report.gpu_hours().round() as u64)),
    ];
    let gpus = gpus.or(report.processors);
    if let Some((gpus, load)) = gpus.and_then(|gpus| Some((gpus, report.offered_load(gpus)?))) {
        rows.push(("offered load", format!("{:.1} % of {}", 100.0 * load, plural(gpus, "GPU"))));
    }
    let mut parts = vec![out.render(facts(&rows))];
    if !report.dropped.is_empty() {
        let mut dropped = table(&["DROPPED", "WHY"]);
        for one in &report.dropped {
            dropped.add_row([figure(count(one.rows)), one.reason.as_str().into()]);
        }
        parts.push(out.render(dropped));
    }
    if !report.statuses.is_empty() {
        let hours = report.gpu_hours();
        let mut mix = table(&["STATUS", "JOBS", "OF JOBS", "OF GPU HOURS"]);
        for status in &report.statuses {
            let percent =
                |part: f64, whole: f64| figure(if whole > 0.0 { format!("{:.1} %", 100.0 * part / whole) } else { String::new() });
            let of_jobs = percent(status.jobs as f64, report.used as f64);
            mix.add_row([status.status.as_str().into(), figure(count(status.jobs)), of_jobs, percent(status.gpu_hours(), hours)]);
        }
        parts.push(out.render(mix));
    }
    parts.extend(report.bad_rows.iter().map(ToString::to_string));
    parts.extend(report.notes.iter().cloned());
    parts.join("\n\n")
}
