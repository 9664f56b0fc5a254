//! The comparison for people.

use comfy_table::Cell;
use faultline_lab::cross_check::{Judged, Row, Verdict};
use serde::Serialize;

use crate::output::{Mood, Output, figure, mood, plural, span, table};

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) title: String,
    pub(super) policy: &'static str,
    pub(super) nodes: u32,
    /// In one run.
    pub(super) jobs: usize,
    pub(super) seeds: Vec<u64>,
    /// Mean delays of the run without faults, which the virtual runs are told.
    pub(super) start_ms: u64,
    pub(super) end_ms: u64,
    /// What the virtual runs take for the time from the death of a worker to the verdict.
    pub(super) detection_ms: u64,
    pub(super) runs: Vec<RunView>,
    #[serde(flatten)]
    pub(super) judged: Judged,
    pub(super) agrees: bool,
}

/// One live run.
#[derive(Debug, Serialize)]
pub(super) struct RunView {
    /// None for the run without faults.
    pub(super) seed: Option<u64>,
    pub(super) took_ms: u64,
    pub(super) kills: usize,
    pub(super) interrupted: u32,
    /// Placements that are the same live and virtually, from the first on, and all live ones.
    pub(super) same_placements: usize,
    pub(super) placements: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_difference: Option<String>,
}

pub(super) fn in_words(out: &Output, report: &Report) -> String {
    let Report { policy, nodes, jobs, start_ms, end_ms, detection_ms, .. } = report;
    let seeds = plural(report.seeds.len() as u64, "seed");
    let mut runs = table(&["RUN", "TOOK", "KILLS", "INTERRUPTED", "SAME PLACEMENTS"]);
    let mut told = Vec::new();
    for RunView { seed, took_ms, kills, interrupted, same_placements, placements, first_difference } in &report.runs {
        let name = seed.map_or("without faults".to_owned(), |seed| format!("seed {seed}"));
        told.extend(seed.and(first_difference.as_ref()).map(|words| format!("{name}, not judged: {words}")));
        let numbers = [span(*took_ms), kills.to_string(), interrupted.to_string(), format!("{same_placements} of {placements}")];
        runs.add_row([Cell::new(&name)].into_iter().chain(numbers.map(figure)).collect::<Vec<_>>());
    }
    let mut rows = table(&["FIGURE", "LIVE", "VIRTUAL", "DIFFERENCE", "WORST SEED", "TOLERANCE", "VERDICT"]);
    report.judged.rows.iter().for_each(|row| _ = rows.add_row(cells(row)));
    let notes = report.judged.rows.iter().flat_map(|row| row.notes.iter().map(move |note| format!("{}: {note}", row.figure)));
    told.extend(notes);
    let verdict = match (report.agrees, report.judged.rows.iter().any(|row| row.verdict == Verdict::NotCompared)) {
        (true, false) => "live and virtual agree".to_owned(),
        (true, true) => "live and virtual agree in all that was compared".to_owned(),
        (false, _) => format!("live and virtual DIFFER in {}", plural(report.judged.differing() as u64, "figure")),
    };
    let jobs = plural(*jobs as u64, "job");
    let nodes = plural(u64::from(*nodes), "node");
    let told_virtually = format!(
        "The virtual runs are told: {start_ms} ms from a placement to the start and {end_ms} ms from the end of the work to the commit (means of the run without faults), {detection_ms} ms from a kill to the verdict."
    );
    let mut parts = vec![out.render(runs), out.render(rows)];
    if !told.is_empty() {
        parts.push(told.join("\n"));
    }
    parts.push(told_virtually);
    parts.push(format!("{}: {verdict}; {jobs} on {nodes}, {policy}, {seeds}", report.title));
    parts.join("\n\n")
}

fn cells(row: &Row) -> Vec<Cell> {
    let with = |value: Option<f64>, unit: &str| {
        let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
        value.map_or("-".to_owned(), |value| format!("{}{unit}", digits(value)))
    };
    let (word, feeling) = match row.verdict {
        Verdict::Agrees => ("agrees", Mood::Good),
        Verdict::Differs => ("DIFFERS", Mood::Bad),
        Verdict::NotCompared => ("not compared", Mood::Doubtful),
    };
    let tolerance = if row.tolerance == 0.0 { "equal".to_owned() } else { with(Some(row.tolerance), row.difference_unit) };
    let unit = if row.tolerance == 0.0 { "" } else { row.unit };
    let numbers = [
        with(row.live, unit),
        with(row.virtual_, unit),
        with(row.difference, row.difference_unit),
        with(row.worst_seed, row.difference_unit),
        tolerance,
    ];
    [Cell::new(&row.figure)].into_iter().chain(numbers.map(figure)).chain([mood(word, feeling)]).collect()
}

/// Whole numbers as they are, others to three places.
fn digits(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value}") } else { format!("{value:.3}") }
}
