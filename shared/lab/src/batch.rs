//! All runs of an experiment, several at once, and what they leave behind: tables, a manifest, a report. Runs share nothing, so their order and
//! the number of threads change nothing.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use faultline_engine::goodput::Class;

use crate::experiment::{Expect, Experiment, Rows};
use crate::report::{self, Sample, Tables};
use crate::tables::{
    AttemptLine, Contents, Expectation, FaultLine, JobLine, Manifest, Run, RunHash, SummaryLine, Table, Took, Unreadable, UsageLine,
    attempt_lines, compare, fault_lines, from_csv, job_lines, sha256, summarize, to_csv, usage_from_csv, usage_lines, usage_to_csv,
};
use crate::{InvalidSetup, run};

/// The manifest's and the report's names in a folder.
pub const MANIFEST: &str = "manifest.json";
pub const REPORT: &str = "report.html";

/// One run's rows.
#[derive(Debug, Clone)]
pub struct Played {
    /// Position of its policy.
    pub variant: usize,
    pub seed: u64,
    pub events: u64,
    hash: String,
    summary: Vec<SummaryLine>,
    usage: Vec<UsageLine>,
    jobs: Vec<JobLine>,
    attempts: Vec<AttemptLine>,
    faults: Vec<FaultLine>,
}

/// Plays every seed with every policy, `threads` at a time, seed by seed, so that what is there after a stop can be compared. Calls `done` with
/// each run as it ends. Begins no run once `stop` is set, and gives up at the first that cannot be made.
pub fn play(experiment: &Experiment, threads: usize, stop: &AtomicBool, done: &(dyn Fn(Played) + Sync)) -> Result<(), InvalidSetup> {
    let variants = experiment.variants.len();
    let runs: Vec<(u64, usize)> =
        experiment.seeds().into_iter().flat_map(|seed| (0..variants).map(move |variant| (seed, variant))).collect();
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let work = || {
        while let Some((seed, variant)) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            match one(experiment, *variant, *seed) {
                Ok(played) => done(played),
                Err(error) => {
                    stop.store(true, Ordering::Relaxed);
                    failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.clamp(1, runs.len().max(1)) {
            scope.spawn(work);
        }
        work();
    });
    failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).map_or(Ok(()), Err)
}

fn one(experiment: &Experiment, variant: usize, seed: u64) -> Result<Played, InvalidSetup> {
    let of = &experiment.variants[variant];
    let setup = experiment.setup(of, seed);
    let mut outcome = run(&setup)?;
    let played = Run::new(&of.name, &of.tie, seed, &setup.workload, &outcome, experiment.warm_up_ms);
    // Of what is varied only the figures are wanted.
    let is_policy = of.varied.is_none();
    let keeps_rows = is_policy && (experiment.rows == Rows::All || experiment.seeds().first() == Some(&seed));
    let mut lines = Played {
        variant,
        seed,
        events: outcome.events,
        hash: format!("{:016x}", outcome.hash),
        summary: summarize(&played),
        usage: if is_policy { usage_lines(&played, &outcome) } else { Vec::new() },
        jobs: Vec::new(),
        attempts: if keeps_rows { attempt_lines(&played) } else { Vec::new() },
        faults: if keeps_rows { fault_lines(&played, &outcome) } else { Vec::new() },
    };
    if keeps_rows {
        // With a million jobs, their attempts need not be in memory in both forms meanwhile.
        outcome.attempts = Vec::new();
        lines.jobs = job_lines(&Run::new(&of.name, &of.tie, seed, &setup.workload, &outcome, experiment.warm_up_ms));
    }
    Ok(lines)
}

/// What a folder has: the tables, and the files with their names.
#[derive(Debug, Clone)]
pub struct Folder {
    pub tables: Tables,
    pub files: Vec<(&'static str, Vec<u8>)>,
}

/// Puts runs together, in the order of policies and seeds, whatever the order in which they ended.
pub fn folder(experiment: &Experiment, mut played: Vec<Played>, took: Took) -> Folder {
    played.sort_by_key(|run| (run.variant, run.seed));
    let name = |run: &Played| experiment.variants[run.variant].name.clone();
    let runs: Vec<RunHash> = played.iter().map(|run| RunHash { policy: name(run), seed: run.seed, hash: run.hash.clone() }).collect();
    let complete = runs.len() == experiment.seeds().len() * experiment.variants.len();
    let (mut summary, mut usage, mut jobs, mut attempts, mut faults) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for run in played {
        summary.extend(run.summary);
        usage.extend(run.usage);
        jobs.extend(run.jobs);
        attempts.extend(run.attempts);
        faults.extend(run.faults);
    }
    let policies = experiment.file.order.clone();
    let compared = compare(&policies, &summary);
    let classes: Vec<String> = Class::ALL.into_iter().map(|class| class.as_str().to_owned()).collect();
    let tables: Vec<(&'static str, Vec<u8>)> = Table::ALL
        .into_iter()
        .map(|table| {
            let bytes = match table {
                Table::Jobs => to_csv(&jobs),
                Table::Attempts => to_csv(&attempts),
                Table::Faults => to_csv(&faults),
                Table::Usage => usage_to_csv(&classes, &usage),
                Table::Summary => to_csv(&summary),
                Table::Compare => to_csv(&compared),
            };
            (table.file_name(), bytes)
        })
        .collect();
    let contents = Contents {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        title: experiment.file.title.clone(),
        question: experiment.file.question.clone(),
        judge: experiment.file.run.judge.clone().unwrap_or_default(),
        experiment: experiment.written(),
        inputs: experiment.inputs.clone(),
        policies,
        runs,
        tables: tables.iter().map(|(name, bytes)| ((*name).to_owned(), sha256(bytes))).collect::<BTreeMap<_, _>>(),
        notes: experiment.notes.clone(),
        expectations: expectations(experiment, &summary),
        complete,
        draws: experiment.file.draws(),
        varied: experiment.variants.iter().filter_map(|variant| variant.varied.clone()).collect(),
    };
    let manifest = Manifest::new(contents, took);
    let sample = Sample::of(&attempts, &faults);
    let tables_read = Tables { manifest, summary, compare: compared, classes, usage, jobs, sample };
    let mut files = tables;
    files.push((MANIFEST, tables_read.manifest.to_json()));
    files.push((REPORT, report::html(&tables_read).into_bytes()));
    Folder { tables: tables_read, files }
}

fn expectations(experiment: &Experiment, summary: &[SummaryLine]) -> Vec<Expectation> {
    let all = experiment.file.expect.that.iter();
    all.filter_map(|text| Some(text.parse::<Expect>().ok()?.check(text, summary))).collect()
}

/// Why a folder cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFolder {
    #[error("{file} cannot be read: {why}; name a folder that `faultline lab run` made")]
    Missing { file: &'static str, why: String },
    #[error("{file}, {0}", file = .1)]
    Table(Unreadable, &'static str),
    #[error("{file} differs from what the manifest says: its SHA-256 is another; make the folder again with `faultline lab run`")]
    Changed { file: &'static str },
}

/// Reads what [`folder`] made, file by file.
pub fn read_folder(read: &dyn Fn(&str) -> Result<Vec<u8>, String>) -> Result<Tables, InvalidFolder> {
    let bytes = |file: &'static str| read(file).map_err(|why| InvalidFolder::Missing { file, why });
    let manifest: Manifest =
        serde_json::from_slice(&bytes(MANIFEST)?).map_err(|error| InvalidFolder::Missing { file: MANIFEST, why: error.to_string() })?;
    let table = |table: Table| {
        let file = table.file_name();
        let text = bytes(file)?;
        let is_known = manifest.contents.tables.get(file).is_some_and(|hash| *hash == sha256(&text));
        if is_known { Ok(text) } else { Err(InvalidFolder::Changed { file }) }
    };
    let wrong = |table: Table| move |error| InvalidFolder::Table(error, table.file_name());
    let (classes, usage) = usage_from_csv(&table(Table::Usage)?).map_err(wrong(Table::Usage))?;
    Ok(Tables {
        summary: from_csv(&table(Table::Summary)?).map_err(wrong(Table::Summary))?,
        compare: from_csv(&table(Table::Compare)?).map_err(wrong(Table::Compare))?,
        jobs: from_csv(&table(Table::Jobs)?).map_err(wrong(Table::Jobs))?,
        sample: Sample::of(
            &from_csv(&table(Table::Attempts)?).map_err(wrong(Table::Attempts))?,
            &from_csv(&table(Table::Faults)?).map_err(wrong(Table::Faults))?,
        ),
        classes,
        usage,
        manifest,
    })
}

#[cfg(test)]
mod tests;
