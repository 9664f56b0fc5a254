//! Reports for people: before, during and after side by side, what was measured, and each clause's verdict.

use comfy_table::Table;
use faultline_protocol::messages::{ChaosBaseline, ChaosList, ChaosOutcome, ChaosReport, ClauseResult, Measurements, PhaseFigures, Spread};

use crate::output::{Mood, Output, ago, count, facts, figure, mood, plural, span, table};

/// All of one run.
pub(crate) fn words(report: &ChaosReport, out: &Output) -> String {
    let mut parts = Vec::new();
    if !report.phases.is_empty() {
        parts.push(out.render(phases(&report.phases)));
    }
    if let Some(measured) = &report.measured {
        parts.push(out.render(facts(&figures(measured))));
    }
    if !report.clauses.is_empty() {
        parts.push(out.render(clauses(&report.clauses)));
    }
    parts.push(closing(report));
    parts.join("\n\n")
}

fn closing(report: &ChaosReport) -> String {
    let targets = if report.targets.is_empty() { String::new() } else { format!(" on {}", report.targets.join(", ")) };
    let whole = report.whole_after_ms.map(|ms| format!("; whole again {} after the fault", span(ms))).unwrap_or_default();
    let reason = if report.reason.is_empty() { String::new() } else { format!(": {}", report.reason) };
    let (kind, outcome) = (kind_words(report), report.outcome.as_str());
    let before = report.baseline.as_ref().map(|baseline| format!("; {}", baseline_words(baseline))).unwrap_or_default();
    format!("{kind}{targets} {outcome}{reason}{whole}{before}; seed {}", report.seed)
}

/// Such as: 6 of 1,000 nodes were down before; not counted.
fn baseline_words(baseline: &ChaosBaseline) -> String {
    match baseline.nodes_down {
        0 => format!("before it: {}; not counted", baseline.examples.join(", ")),
        1 => format!("1 of {} was down before; not counted", plural(baseline.nodes_known.into(), "node")),
        down => format!("{} of {} were down before; not counted", count(down.into()), plural(baseline.nodes_known.into(), "node")),
    }
}

/// The kind, with what was chosen of it.
fn kind_words(report: &ChaosReport) -> String {
    let kind = report.request.kind.as_str();
    if report.request.xid == 0 { kind.to_owned() } else { format!("{kind} {}", report.request.xid) }
}

fn phases(phases: &[PhaseFigures]) -> Table {
    let mut header = vec![""];
    header.extend(phases.iter().map(|phase| phase.phase.as_str()));
    let mut rows = table(&header);
    let mut line = |name: &str, value: fn(&PhaseFigures) -> String| {
        let mut cells = vec![name.into()];
        cells.extend(phases.iter().map(|phase| figure(value(phase))));
        rows.add_row(cells);
    };
    line("length", |phase| span(phase.to_ms - phase.from_ms));
    line("jobs running", |phase| sampled(phase, format!("{:.1}", phase.jobs_running)));
    line("jobs queued", |phase| sampled(phase, format!("{:.1}", phase.jobs_queued)));
    line("nodes alive, fewest", |phase| sampled(phase, format!("{} of {}", phase.nodes_alive_min, phase.nodes_known)));
    line("commits", |phase| phase.committed.to_string());
    line("commits a second", |phase| format!("{:.2}", phase.throughput_per_s));
    rows
}

/// Nothing is shown for a time in which no scheduler answered.
fn sampled(phase: &PhaseFigures, value: String) -> String {
    if phase.samples == 0 { "-".to_owned() } else { value }
}

/// What the history says, by name.
pub(crate) fn figures(measured: &Measurements) -> Vec<(&'static str, String)> {
    let spread = |spread: Option<Spread>| match spread {
        None => "-".to_owned(),
        Some(Spread { count, p50_ms, p99_ms, max_ms, .. }) => {
            format!("p50 {}, p99 {}, longest {}, of {count}", span(p50_ms), span(p99_ms), span(max_ms))
        }
    };
    let lost = measured.lost.map_or_else(|| "unknown".to_owned(), |lost| lost.to_string());
    let ends = format!(
        "{} committed, {} given up, {} cancelled, {} open; {lost} lost, {} ended twice",
        measured.committed, measured.dead, measured.cancelled, measured.open, measured.duplicates
    );
    let attempts = format!(
        "{} placed, {} interrupted, {} failed, {} not repeated",
        measured.attempts_placed, measured.attempts_lost, measured.attempts_failed, measured.unrecovered
    );
    let faults =
        format!("{} injected, {} unnoticed; {} false verdicts", measured.faults, measured.faults_unnoticed, measured.false_verdicts);
    let goodput = measured.goodput.map_or_else(String::new, |goodput| format!(", {:.1} % of them for commits", goodput * 100.0));
    let mut rows = vec![
        ("jobs", ends),
        ("attempts", attempts),
        ("faults", faults),
        ("noticed after", spread(measured.detection)),
        ("placed again after", spread(measured.recovery)),
        ("committed after", spread(measured.recommit)),
    ];
    if measured.failover.is_some() {
        rows.push(("next leader after", spread(measured.failover)));
    }
    rows.push(("submit to commit", spread(measured.latency)));
    rows.push(("longest without a commit", measured.stall_ms.map_or_else(|| "-".to_owned(), span)));
    rows.push(("GPU-seconds", format!("{:.1} used{goodput}", measured.gpu_s_used)));
    rows
}

/// One row a clause.
pub(crate) fn clauses(results: &[ClauseResult]) -> Table {
    let mut rows = table(&["CLAUSE", "RESULT", "MEASURED"]);
    for result in results {
        let verdict = if result.passed { mood("holds", Mood::Good) } else { mood("FAILED", Mood::Bad) };
        rows.add_row([result.clause.as_str().into(), verdict, result.measured.as_str().into()]);
    }
    rows
}

/// The kinds that there are, and the runs so far.
pub(crate) fn list_words(list: &ChaosList, out: &Output, now_ms: u64) -> String {
    let mut kinds = table(&["KIND", "TARGET", "LASTS", "TAKES", "WHAT IT DOES"]);
    for info in &list.kinds {
        kinds.add_row([
            info.kind.as_str().into(),
            info.target.as_str().into(),
            figure(span(info.default_for_ms)),
            info.takes.join(", ").into(),
            info.does.as_str().into(),
        ]);
    }
    let mut parts = vec![out.render(kinds)];
    if let Some(running) = &list.running {
        parts.push(format!("running: {} {}, {}: {}", running.run, running.kind.as_str(), running.phase.as_str(), running.detail));
    }
    if !list.runs.is_empty() {
        let mut runs = table(&["RUN", "KIND", "TARGETS", "WHEN", "RESULT", "WHY"]);
        for report in &list.runs {
            let how = match report.outcome {
                ChaosOutcome::Passed => Mood::Good,
                ChaosOutcome::Aborted | ChaosOutcome::Refused => Mood::Doubtful,
                ChaosOutcome::Failed | ChaosOutcome::Broken => Mood::Bad,
            };
            runs.add_row([
                report.run.as_str().into(),
                kind_words(report).into(),
                report.targets.join(" ").into(),
                figure(ago(now_ms, report.started_at_ms)),
                mood(report.outcome.as_str(), how),
                report.reason.as_str().into(),
            ]);
        }
        parts.push(out.render(runs));
    }
    parts.join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_broken_before_is_named_and_said_not_to_count() {
        let words = |nodes_down, examples: &[&str]| {
            let examples = examples.iter().map(|&text| text.to_owned()).collect();
            baseline_words(&ChaosBaseline { nodes_down, nodes_known: 1_000, examples })
        };
        assert_eq!(words(6, &["gpu-node-07 is dead"]), "6 of 1,000 nodes were down before; not counted");
        assert_eq!(words(1, &["gpu-node-07 is dead"]), "1 of 1,000 nodes was down before; not counted");
        assert_eq!(words(0, &["scheduler-2 does not run"]), "before it: scheduler-2 does not run; not counted");
    }
}
