//! Whether live and virtual agree, figure by figure.

use std::collections::BTreeSet;

use faultline_engine::goodput::Class;
use serde::Serialize;

use super::play::{Placement, Seen, SeenJob};

/// The tolerances.
const MAKESPAN: f64 = 2.0;
const COMPLETION: f64 = 3.0;
const CLASS_POINTS: f64 = 1.0;
const DETECTION_S: f64 = 0.3;
const RECOVERY_S: f64 = 0.5;
/// Differences that are told in words.
const TOLD: usize = 3;

/// The same scenario and seed, live and virtual.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    pub seed: u64,
    pub live: Seen,
    pub virtual_: Seen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Agrees,
    Differs,
    /// One of the two sides does not have the figure, and need not.
    NotCompared,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub figure: String,
    pub unit: &'static str,
    pub live: Option<f64>,
    #[serde(rename = "virtual")]
    pub virtual_: Option<f64>,
    pub difference: Option<f64>,
    /// The unit of difference and tolerance.
    pub difference_unit: &'static str,
    /// The largest difference of a single seed; of it there is no verdict.
    pub worst_seed: Option<f64>,
    pub tolerance: f64,
    pub verdict: Verdict,
    /// The first differences in words, or why it was not compared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Everything that was compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judged {
    pub rows: Vec<Row>,
}

impl Judged {
    pub fn differing(&self) -> usize {
        self.rows.iter().filter(|row| row.verdict == Verdict::Differs).count()
    }
}

/// Compares. `quiet`: the run without faults, unless the policy draws. `has_faults`: whether the others have some.
pub fn judge(quiet: Option<&Pair>, runs: &[Pair], has_faults: bool) -> Judged {
    let mut rows = vec![sequence(quiet), committed(runs), attempts(runs), books(runs)];
    let measure = |name, tolerance, value: fn(&Seen) -> Option<f64>| mean_row(name, ("s", "%"), runs, tolerance, value, relative);
    rows.push(measure("makespan, mean of the seeds", MAKESPAN, makespan_s));
    rows.push(measure("completion time, mean of jobs and seeds", COMPLETION, completion_s));
    rows.extend(classes(runs));
    rows.push(median_row("detection, median of the faults", runs, has_faults, DETECTION_S, |seen| &seen.detection_ms));
    rows.push(median_row("recovery, median of the interrupted attempts", runs, has_faults, RECOVERY_S, |seen| &seen.recovery_ms));
    Judged { rows }
}

/// What must be equal: as many differences as are found.
fn exact(figure: &str, unit: &'static str, (live, virtual_): (usize, usize), differences: Vec<String>) -> Row {
    let difference = differences.len() as f64;
    Row {
        figure: figure.to_owned(),
        unit,
        live: Some(live as f64),
        virtual_: Some(virtual_ as f64),
        difference: Some(difference),
        difference_unit: "",
        worst_seed: None,
        tolerance: 0.0,
        verdict: if differences.is_empty() { Verdict::Agrees } else { Verdict::Differs },
        notes: differences.into_iter().take(TOLD).collect(),
    }
}

fn sequence(quiet: Option<&Pair>) -> Row {
    let figure = "placements without faults, in order";
    let Some(Pair { live, virtual_, .. }) = quiet else {
        let row = exact(figure, "", (0, 0), Vec::new());
        let notes = vec!["the policy draws its nodes: live and virtual draw differently".to_owned()];
        return Row { live: None, virtual_: None, difference: None, verdict: Verdict::NotCompared, notes, ..row };
    };
    let (here, there) = (&live.placements, &virtual_.placements);
    let differs =
        (0..here.len().max(there.len())).filter(|at| !here.get(*at).zip(there.get(*at)).is_some_and(|(here, there)| here.is_same(there)));
    let words: Vec<String> = differs.map(|at| placement_words(at, live, virtual_)).collect();
    exact(figure, "placements", (here.len(), there.len()), words)
}

fn placement_words(at: usize, live: &Seen, virtual_: &Seen) -> String {
    let words = |placed: &Placement| format!("job {} on {} at {:.3} s", placed.job + 1, placed.node, placed.at_ms as f64 / 1_000.0);
    let told = |seen: &Seen| seen.placements.get(at).map_or("nothing".to_owned(), words);
    format!("placement {}: live {}, virtual {}", at + 1, told(live), told(virtual_))
}

impl Pair {
    /// How many placements are the same from the first on, and the first that differs, in words.
    pub fn same_placements(&self) -> (usize, Option<String>) {
        let (here, there) = (&self.live.placements, &self.virtual_.placements);
        let same = here.iter().zip(there).take_while(|(here, there)| here.is_same(there)).count();
        let is_all = same == here.len() && same == there.len();
        (same, (!is_all).then(|| placement_words(same, &self.live, &self.virtual_)))
    }
}

fn committed(runs: &[Pair]) -> Row {
    let set = |seen: &Seen| -> BTreeSet<usize> { (0..seen.jobs.len()).filter(|job| seen.jobs[*job].committed).collect() };
    let (mut differences, mut counts) = (Vec::new(), (0, 0));
    for Pair { seed, live, virtual_ } in runs {
        let (here, there) = (set(live), set(virtual_));
        counts = (counts.0 + here.len(), counts.1 + there.len());
        differences.extend(here.symmetric_difference(&there).map(|job| {
            let side = if here.contains(job) { "live only" } else { "virtually only" };
            format!("seed {seed}: job {} was committed {side}", job + 1)
        }));
    }
    exact("jobs committed", "jobs", counts, differences)
}

/// Of jobs that no fault interrupted on either side.
fn attempts(runs: &[Pair]) -> Row {
    let (mut differences, mut counts) = (Vec::new(), (0, 0));
    for Pair { seed, live, virtual_ } in runs {
        let pairs = live.jobs.iter().zip(&virtual_.jobs).enumerate();
        for (job, (here, there)) in pairs.filter(|(_, (here, there))| here.interrupted == 0 && there.interrupted == 0) {
            counts = (counts.0 + here.attempts as usize, counts.1 + there.attempts as usize);
            if here.attempts != there.attempts {
                differences.push(format!(
                    "seed {seed}: job {} had {} attempts live and {} virtually",
                    job + 1,
                    here.attempts,
                    there.attempts
                ));
            }
        }
    }
    exact("attempts of jobs without faults", "attempts", counts, differences)
}

fn books(runs: &[Pair]) -> Row {
    let told = |side: &str, seed: u64, seen: &Seen| -> Vec<String> {
        seen.unreleased.iter().map(|what| format!("seed {seed}, {side}: {what}")).collect()
    };
    let (mut differences, mut counts) = (Vec::new(), (0, 0));
    for Pair { seed, live, virtual_ } in runs {
        counts = (counts.0 + live.unreleased.len(), counts.1 + virtual_.unreleased.len());
        differences.extend(told("live", *seed, live));
        differences.extend(told("virtual", *seed, virtual_));
    }
    exact("held when all has ended", "", counts, differences)
}

/// From the first submission to the last end; `None` while a job is open.
fn makespan_s(seen: &Seen) -> Option<f64> {
    let ends: Option<Vec<u64>> = seen.jobs.iter().map(|job| job.end_ms).collect();
    let first_ms = seen.jobs.iter().map(|job| job.submit_ms).min()?;
    Some((ends?.into_iter().max()? - first_ms) as f64 / 1_000.0)
}

fn completion_s(seen: &Seen) -> Option<f64> {
    let times: Option<Vec<u64>> = seen.jobs.iter().map(|job: &SeenJob| Some(job.end_ms? - job.submit_ms)).collect();
    let times = times.filter(|times| !times.is_empty())?;
    Some(times.iter().sum::<u64>() as f64 / times.len() as f64 / 1_000.0)
}

fn relative(live: f64, virtual_: f64) -> f64 {
    if live == virtual_ { 0.0 } else { 100.0 * (live - virtual_) / virtual_ }
}

fn absolute(live: f64, virtual_: f64) -> f64 {
    live - virtual_
}

fn mean(values: &[Option<f64>]) -> Option<f64> {
    let known: Option<Vec<f64>> = values.iter().copied().collect();
    known.filter(|known| !known.is_empty()).map(|known| known.iter().sum::<f64>() / known.len() as f64)
}

fn mean_row(
    figure: &str,
    (unit, difference_unit): (&'static str, &'static str),
    runs: &[Pair],
    tolerance: f64,
    value: impl Fn(&Seen) -> Option<f64>,
    differ: fn(f64, f64) -> f64,
) -> Row {
    let (here, there): (Vec<_>, Vec<_>) = runs.iter().map(|pair| (value(&pair.live), value(&pair.virtual_))).unzip();
    let each = here.iter().zip(&there).filter_map(|(here, there)| Some(differ((*here)?, (*there)?)));
    let worst_seed = each.max_by(|a, b| a.abs().total_cmp(&b.abs()));
    let (live, virtual_) = (mean(&here), mean(&there));
    judged(figure, (unit, difference_unit), (live, virtual_), tolerance, differ, worst_seed)
}

/// A side that lacks the figure differs.
fn judged(
    figure: &str,
    (unit, difference_unit): (&'static str, &'static str),
    (live, virtual_): (Option<f64>, Option<f64>),
    tolerance: f64,
    differ: fn(f64, f64) -> f64,
    worst_seed: Option<f64>,
) -> Row {
    let difference = live.zip(virtual_).map(|(live, virtual_)| differ(live, virtual_));
    let agrees = difference.is_some_and(|difference| difference.abs() <= tolerance);
    let verdict = if agrees { Verdict::Agrees } else { Verdict::Differs };
    let figure = figure.to_owned();
    Row { figure, unit, live, virtual_, difference, difference_unit, worst_seed, tolerance, verdict, notes: Vec::new() }
}

/// A row for each class that either side has. A side that accounted for nothing differs.
fn classes(runs: &[Pair]) -> Vec<Row> {
    if runs.iter().any(|pair| pair.live.classes.is_none() || pair.virtual_.classes.is_none()) {
        return vec![judged("classes of GPU time", ("%", "points"), (None, None), CLASS_POINTS, absolute, None)];
    }
    let share = |class: Class| move |seen: &Seen| Some(100.0 * seen.classes.as_ref()?.get(class.as_str()).copied().unwrap_or(0.0));
    let is_used =
        |class: &Class| runs.iter().any(|pair| [&pair.live, &pair.virtual_].into_iter().any(|seen| share(*class)(seen) > Some(0.0)));
    let used = Class::ALL.into_iter().filter(is_used);
    let row =
        |class: Class| mean_row(&format!("{} of capacity", class.as_str()), ("%", "points"), runs, CLASS_POINTS, share(class), absolute);
    used.map(row).collect()
}

fn median_row(figure: &str, runs: &[Pair], has_faults: bool, tolerance: f64, of: impl Fn(&Seen) -> &Vec<u64>) -> Row {
    let median = |values: Vec<u64>| {
        let mut values = values;
        values.sort_unstable();
        // Nearest rank, as the live figures have it.
        values.get(values.len().div_ceil(2).checked_sub(1)?).map(|ms| *ms as f64 / 1_000.0)
    };
    let live = median(runs.iter().flat_map(|pair| of(&pair.live).clone()).collect());
    let virtual_ = median(runs.iter().flat_map(|pair| of(&pair.virtual_).clone()).collect());
    let each = runs.iter().filter_map(|pair| Some(median(of(&pair.live).clone())? - median(of(&pair.virtual_).clone())?));
    let worst_seed = each.max_by(|a, b| a.abs().total_cmp(&b.abs()));
    let row = judged(figure, ("s", "s"), (live, virtual_), tolerance, absolute, worst_seed);
    if has_faults || live.is_some() || virtual_.is_some() {
        return row;
    }
    Row { verdict: Verdict::NotCompared, notes: vec!["the scenario breaks nothing".to_owned()], ..row }
}
