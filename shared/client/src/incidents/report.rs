//! A post-mortem of an incident as Markdown: what is known is filled in, and what only people can say has an empty section.

use std::fmt::Write as _;

use faultline_engine::fault::cause::{FREEZE, KILL, PARTITION};
use faultline_engine::words::{plural, span};
use faultline_protocol::messages::Measurements;

use super::{IncidentKind, IncidentState, IncidentView, Step, StepKind};
use crate::observe::Observer;

/// How long before the incident is compared with.
const BEFORE_MS: u64 = 60_000;
/// The rate is back when so many milliseconds in a row have nine tenths of the commits that the time before had.
const BACK_MS: u64 = 10_000;
/// After so long it is not waited for any more.
const LONGEST_AFTER_MS: u64 = 300_000;
/// So many commits in the time before make a rate that others can be compared with.
const FEWEST_COMMITS: u64 = 10;
/// The most columns of the chart of each stretch, and the shortest time that one stands for.
const BINS: usize = 24;
const SHORTEST_BIN_MS: u64 = 250;

/// A stretch of time, and what happened in it.
#[derive(Debug, Clone)]
pub struct Stretch {
    pub name: &'static str,
    pub measured: Measurements,
    pub commits: Vec<u64>,
}

/// The cluster before, during and after an incident.
#[derive(Debug, Clone)]
pub struct Around {
    pub stretches: Vec<Stretch>,
    /// From its beginning until commits came as before; none while they do not, and when none came before.
    pub back_after_ms: Option<u64>,
}

/// From when on the history must have been read.
pub fn reads_from(incident: &IncidentView) -> u64 {
    incident.began_ms.saturating_sub(BEFORE_MS)
}

impl Around {
    /// By what `observer` has read from [`reads_from`] on, up to `now_ms`.
    pub fn of(incident: &IncidentView, observer: &Observer, now_ms: u64) -> Self {
        let (from_ms, began_ms) = (reads_from(incident), incident.began_ms);
        let over_ms = incident.recovered_ms.unwrap_or(now_ms).max(began_ms + 1);
        let before = observer.measure(from_ms, began_ms);
        let wanted = before.throughput_per_s * BACK_MS as f64 / 1000.0 * 0.9;
        let latest_ms = now_ms.min(over_ms + LONGEST_AFTER_MS);
        let is_back = |end_ms: &u64| observer.commits(end_ms - BACK_MS, *end_ms, 1)[0] as f64 >= wanted;
        let back_ms = (before.committed >= FEWEST_COMMITS).then(|| (over_ms + BACK_MS..=latest_ms).step_by(1_000).find(is_back)).flatten();
        let stretch = |name, from_ms, to_ms| Stretch {
            name,
            measured: observer.measure(from_ms, to_ms),
            commits: observer.commits(from_ms, to_ms, bins(to_ms - from_ms)),
        };
        let mut stretches = vec![stretch("before", from_ms, began_ms), stretch("during", began_ms, over_ms)];
        let after_ms = back_ms.unwrap_or(latest_ms);
        if after_ms > over_ms {
            stretches.push(stretch("after", over_ms, after_ms));
        }
        Self { stretches, back_after_ms: back_ms.map(|at_ms| at_ms - began_ms) }
    }
}

fn bins(length_ms: u64) -> usize {
    usize::try_from(length_ms / SHORTEST_BIN_MS).unwrap_or(BINS).min(BINS)
}

/// The post-mortem. `time` writes a moment for people.
pub fn markdown(incident: &IncidentView, around: &Around, time: impl Fn(u64) -> String) -> String {
    let mut out = format!("# Incident {}: {}\n\n", incident.id, incident.headline);
    section(&mut out, "Summary", &summary(incident, around, &time));
    section(&mut out, "Impact", &impact(incident, around));
    section(&mut out, "Timeline", &timeline(incident, &time));
    section(&mut out, "Detection and recovery", &against_targets(incident));
    section(&mut out, "Before, during, and after", &stretches(around));
    section(&mut out, "How to repeat it", &repeat(incident));
    for for_people in ["What went well", "What went wrong", "Actions"] {
        section(&mut out, for_people, "*To be filled in.*\n");
    }
    out
}

fn section(out: &mut String, title: &str, body: &str) {
    // A String takes whatever is written to it.
    let _ = write!(out, "## {title}\n\n{body}\n");
}

fn summary(incident: &IncidentView, around: &Around, time: &impl Fn(u64) -> String) -> String {
    let began = time(incident.began_ms);
    let noticed = match incident.noticed_after_ms {
        Some(ms) => format!("It was noticed after {}.", span(ms)),
        None if incident.kind == IncidentKind::Fault => "The fault detector judged no node.".to_owned(),
        None => "No fault is known; times count from the first sign.".to_owned(),
    };
    let jobs = match (incident.interrupted, incident.placed_again_after_ms) {
        (0, _) => "No job was interrupted.".to_owned(),
        (jobs, Some(ms)) => format!("{} interrupted; the last was placed again after {}; 0 lost.", jobs_words(jobs), span(ms)),
        (jobs, None) if incident.waiting == 0 => format!("{} interrupted, and ended before it was placed again.", jobs_words(jobs)),
        (jobs, None) => format!("{} interrupted, and {} not placed again yet.", jobs_words(jobs), incident.waiting),
    };
    let over = match (incident.state, incident.recovered_ms) {
        (IncidentState::Recovered, Some(ms)) => format!("The cluster had recovered after {}.", span(ms - incident.began_ms)),
        _ => "It is not over.".to_owned(),
    };
    let rate = around.back_after_ms.map(|ms| format!(" Commits came as before after {} at the latest.", span(ms))).unwrap_or_default();
    format!("{began}: {}. {noticed} {jobs} {over}{rate}\n", incident.headline)
}

fn jobs_words(jobs: u32) -> String {
    format!("{} {}", plural(u64::from(jobs), "job"), if jobs == 1 { "was" } else { "were" })
}

fn impact(incident: &IncidentView, around: &Around) -> String {
    let during = around.stretches.iter().find(|stretch| stretch.name == "during").map(|stretch| &stretch.measured);
    let mut out = String::from("| what | how much |\n| --- | --- |\n");
    let mut row = |what: &str, much: String| {
        let _ = writeln!(out, "| {what} | {much} |");
    };
    row("nodes", incident.nodes_total.to_string());
    row("jobs interrupted", incident.interrupted.to_string());
    row("of them committed, open, given up, cancelled, unknown", {
        let open = incident.waiting + incident.placed_again;
        format!("{}, {open}, {}, {}, {}", incident.committed, incident.given_up, incident.cancelled, incident.unknown)
    });
    if incident.failures > 0 {
        row("attempts that failed by themselves", incident.failures.to_string());
    }
    if let Some(during) = during {
        row("GPU-seconds of attempts that ended meanwhile", format!("{:.1}", during.gpu_s_used));
        row("of them for commits", format!("{:.1}", during.gpu_s_committed));
        row("longest time without a commit", during.stall_ms.map_or_else(|| "all of it".to_owned(), span));
    }
    let known = around.stretches.last().and_then(|stretch| stretch.measured.lost);
    row("jobs lost, in the whole cluster", known.map_or_else(|| "unknown".to_owned(), |lost| lost.to_string()));
    out
}

fn timeline(incident: &IncidentView, time: &impl Fn(u64) -> String) -> String {
    let mut out = String::from("| time | after | what |\n| --- | --- | --- |\n");
    for Step { at_ms, after_ms, text, .. } in &incident.story {
        let _ = writeln!(out, "| {} | {} | {} |", time(*at_ms), span(*after_ms), text.replace('|', "\\|"));
    }
    out
}

/// From the fault to the placement of the last interrupted job: the targets of `just bench-recovery` less the second that its job takes.
fn target_ms(incident: &IncidentView) -> Option<u64> {
    let is_worker = incident.targets.iter().all(|target| target.starts_with("worker"));
    let fault = incident.faults.first().filter(|fault| is_worker && fault.experiment().is_none())?;
    match fault.kind.as_str() {
        FREEZE | PARTITION => Some(4_000),
        KILL => Some(500),
        _ => None,
    }
}

fn against_targets(incident: &IncidentView) -> String {
    let mut out = String::from("| what | measured | target |\n| --- | --- | --- |\n");
    let figure = |ms: Option<u64>| ms.map_or_else(|| "-".to_owned(), span);
    let _ = writeln!(out, "| from the fault to the first verdict | {} | - |", figure(incident.noticed_after_ms));
    let _ = writeln!(
        out,
        "| from the fault until the last interrupted job was placed again | {} | {} |",
        figure(incident.placed_again_after_ms),
        figure(target_ms(incident))
    );
    if let Some(step) = incident.story.iter().find(|step| step.kind == StepKind::Leader) {
        let _ = writeln!(out, "| from the fault to the next leader | {} | {} |", span(step.after_ms), span(5_000));
    }
    out
}

fn stretches(around: &Around) -> String {
    let mut out = String::from("| | length | submitted | committed | commits a second | interrupted | failed | commits over time |\n");
    out.push_str("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    let highest = around.stretches.iter().flat_map(rates).fold(0.0, f64::max);
    for stretch in &around.stretches {
        let m = &stretch.measured;
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {:.2} | {} | {} | `{}` |",
            stretch.name,
            span(m.to_ms - m.from_ms),
            m.submitted,
            m.committed,
            m.throughput_per_s,
            m.attempts_lost,
            m.attempts_failed,
            bars(stretch, highest)
        );
    }
    let _ =
        writeln!(out, "\nThe highest bar stands for {highest:.1} commits a second; a stretch has up to {BINS} bars, whatever its length.");
    if around.stretches.first().is_some_and(|before| before.measured.attempts_lost > 0) {
        out.push_str("The time before it has interruptions of other incidents.\n");
    }
    out
}

/// Commits a second in each part of the stretch.
fn rates(stretch: &Stretch) -> impl Iterator<Item = f64> {
    let seconds = (stretch.measured.to_ms - stretch.measured.from_ms) as f64 / 1000.0 / stretch.commits.len().max(1) as f64;
    stretch.commits.iter().map(move |&count| if seconds > 0.0 { count as f64 / seconds } else { 0.0 })
}

fn bars(stretch: &Stretch, highest: f64) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let bar = |rate: f64| match highest {
        highest if highest > 0.0 && rate > 0.0 => BARS[((rate / highest * 7.0).round() as usize).min(7)],
        _ => ' ',
    };
    rates(stretch).map(bar).collect()
}

fn repeat(incident: &IncidentView) -> String {
    if incident.repeat.is_empty() {
        let run = incident.faults.iter().find_map(|fault| fault.experiment());
        return match run {
            Some(_) => "An experiment did it: `faultline chaos ls` shows it with its seed, and `faultline chaos run` runs one.\n",
            None => "No command repeats it.\n",
        }
        .to_owned();
    }
    let at_once =
        if incident.repeat.len() > 1 { "\nIt happened to all of them at once; the commands come one after the other.\n" } else { "" };
    format!("```sh\n{}\n```\n{at_once}", incident.repeat.join("\n"))
}
