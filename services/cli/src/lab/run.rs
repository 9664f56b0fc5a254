//! `faultline lab run` and `check`: plays an experiment and writes its folder. Ctrl-C keeps the runs that have ended.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow};
use faultline_engine::words::about;
use faultline_lab::batch::{self, Played, REPORT};
use faultline_lab::experiment::{Experiment, Seeds};
use faultline_lab::report::{Tables, in_words, verdict, warnings};
use faultline_lab::tables::{Expectation, Metric, Took};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::files::Text;
use crate::exit::Failure;
use crate::interrupt::Interrupts;
use crate::output::{Output, figure, plural, table};
use crate::whole_file;

/// The figures that the terminal shows; the report has the others.
const SHOWN: [&str; 6] = ["goodput", "ettr", "wait_mean_s", "jct_mean_s", "slowdown_mean", "jobs_open"];

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RunFlags {
    /// A file, or the name of an experiment that comes with the program
    experiment: String,
    #[command(flatten)]
    how: HowFlags,
}

/// How an experiment is run, wherever it comes from.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct HowFlags {
    /// One seed, or the first and the last of several, instead of those of the file
    #[arg(long, value_name = "FIRST..LAST")]
    pub(super) seeds: Option<Seeds>,
    /// Runs at once; as many as there are processors when left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) jobs: Option<u16>,
    /// Folder for tables and report; made when it is not there; lab-NAME when left out
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
}

pub(super) async fn run(out: &Output, flags: &RunFlags) -> Result<(), Failure> {
    let text = Text::find(&flags.experiment)?;
    carry_out(out, &text, &flags.how).await
}

/// What `lab check` says of a file that is fine.
#[derive(Debug, Serialize)]
struct Checked {
    title: String,
    policies: usize,
    /// Policies that `[sensitivity]` makes, with one field that has another value.
    varied: usize,
    seeds: usize,
    nodes: usize,
    gpus: u64,
    jobs: usize,
    notes: Vec<String>,
}

pub(super) fn check(out: &Output, experiment: &str) -> Result<(), Failure> {
    let text = Text::find(experiment)?;
    let experiment = text.load(None)?;
    let seeds = experiment.seeds();
    let checked = Checked {
        title: experiment.file.title.clone(),
        policies: experiment.file.order.len(),
        varied: experiment.variants.len() - experiment.file.order.len(),
        seeds: seeds.len(),
        nodes: experiment.cluster().machines.len(),
        gpus: experiment.cluster().all_gpu_milli() / 1_000,
        jobs: experiment.workload(seeds.first().copied().unwrap_or_default()).jobs.len(),
        notes: experiment.notes.clone(),
    };
    out.one(&checked, |checked| {
        let Checked { policies, varied, seeds, nodes, gpus, jobs, notes, .. } = checked;
        let varied = (*varied > 0).then_some((*varied as u64, "variation"));
        let counted =
            [(*policies as u64, "policy"), (*seeds as u64, "seed"), (*nodes as u64, "node"), (*gpus, "GPU"), (*jobs as u64, "job")];
        let notes: String = notes.iter().map(|note| format!("\n{note}")).collect();
        format!(
            "{} is fine: {}{notes}",
            text.name,
            counted.into_iter().chain(varied).map(|(number, noun)| plural(number, noun)).collect::<Vec<_>>().join(", ")
        )
    })
}

/// What an earlier run left is replaced. Other files may have the same names: a trace is called `jobs.csv` as well.
fn refuse_others(folder: &Path) -> Result<(), Failure> {
    let is_empty = std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none());
    if is_empty || folder.join(batch::MANIFEST).exists() {
        return Ok(());
    }
    let folder = folder.display();
    Err(Failure::Usage(format!("writing to {folder} failed: it has files that no run of the lab made; name another folder with --out")))
}

/// Runs that ended, with their folder.
pub(super) struct Carried {
    pub(super) tables: Tables,
    pub(super) folder: PathBuf,
    /// Why not all runs ended.
    stopped: Option<String>,
}

impl Carried {
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    pub(super) fn view(&self) -> RunView {
        RunView::new(&self.tables, &self.folder)
    }

    /// That all runs ended, and every expectation holds.
    pub(super) fn verdict(self) -> Result<(), Failure> {
        if let Some(stopped) = self.stopped {
            return Err(Failure::Failed(anyhow!(stopped)));
        }
        let expectations = &self.tables.manifest.contents.expectations;
        let failed: Vec<&str> = expectations.iter().filter(|one| !one.holds).map(|one| one.text.as_str()).collect();
        if failed.is_empty() { Ok(()) } else { Err(Failure::CheckFailed(format!("failed expectations: {}", failed.join("; ")))) }
    }
}

/// Plays it, writes the folder, shows the verdict.
pub(super) async fn carry_out(out: &Output, text: &Text, how: &HowFlags) -> Result<(), Failure> {
    let mut interrupts = Interrupts::listen()?;
    let folder = how.out.clone().unwrap_or_else(|| default_folder(&text.name));
    let carried = play_into(text.load(how.seeds)?, how, folder, &mut interrupts).await?;
    out.one(&carried.view(), |view| words(out, &carried.tables, view))?;
    carried.verdict()
}

/// Plays it, and writes its folder.
pub(super) async fn play_into(
    experiment: Experiment,
    how: &HowFlags,
    folder: PathBuf,
    interrupts: &mut Interrupts,
) -> Result<Carried, Failure> {
    let experiment = Arc::new(experiment);
    refuse_others(&folder)?;
    std::fs::create_dir_all(&folder)
        .map_err(|error| Failure::Usage(format!("making {} failed: {error}; name another folder with --out", folder.display())))?;
    let threads = how.jobs.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    let began = Instant::now();
    let (played, was_stopped) = play(&experiment, threads, interrupts).await?;
    let all = plural((experiment.seeds().len() * experiment.variants.len()) as u64, "run");
    if played.is_empty() {
        return Err(Failure::Failed(anyhow!("interrupted before the first of {all} had ended; nothing was written")));
    }
    let stopped = was_stopped.then(|| format!("interrupted: {} of {all} are in {}", played.len(), folder.display()));
    let made = batch::folder(&experiment, played, Took { wall_ms: began.elapsed().as_millis() as u64, jobs: threads });
    for (name, bytes) in &made.files {
        whole_file::write(&folder.join(name), bytes)?;
    }
    Ok(Carried { tables: made.tables, folder, stopped })
}

/// `lab-NAME` for `path/NAME.toml`.
pub(super) fn default_folder(name: &str) -> PathBuf {
    let stem = Path::new(name).file_stem().map_or_else(|| "experiment".into(), |stem| stem.to_string_lossy());
    format!("lab-{stem}").into()
}

/// The runs that ended, and whether a signal came first. What then still computes ends with the process.
async fn play(experiment: &Arc<Experiment>, threads: usize, interrupts: &mut Interrupts) -> Result<(Vec<Played>, bool), Failure> {
    let all = experiment.seeds().len() * experiment.variants.len();
    let bar = progress_bar(all as u64);
    let stop = Arc::new(AtomicBool::new(false));
    let (ended, mut arrivals) = mpsc::unbounded_channel();
    let computing = std::thread::spawn({
        let (experiment, stop) = (Arc::clone(experiment), Arc::clone(&stop));
        move || {
            batch::play(&experiment, threads, &stop, &|run| {
                // The receiver goes when the command is interrupted.
                let _ = ended.send(run);
            })
        }
    });
    let mut played = Vec::with_capacity(all);
    loop {
        tokio::select! {
            run = arrivals.recv() => match run {
                Some(run) => {
                    played.push(run);
                    bar.inc(1);
                }
                None => break,
            },
            () = interrupts.next() => {
                stop.store(true, Ordering::Relaxed);
                bar.finish_and_clear();
                return Ok((played, true));
            }
        }
    }
    bar.finish_and_clear();
    match computing.join() {
        Ok(Ok(())) => Ok((played, false)),
        Ok(Err(invalid)) => Err(Failure::Usage(invalid.to_string())),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// On standard error, and only on a terminal.
fn progress_bar(runs: u64) -> ProgressBar {
    let bar = ProgressBar::new(runs);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar:.green} {pos}/{len} runs  {elapsed} gone, about {eta} left") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// What came of it, for programs.
#[derive(Debug, Serialize)]
pub(super) struct RunView {
    headline: String,
    sentences: Vec<String>,
    warnings: Vec<String>,
    expectations: Vec<Expectation>,
    hash: String,
    runs: usize,
    wall_ms: u64,
    folder: String,
}

impl RunView {
    fn new(tables: &Tables, folder: &Path) -> Self {
        let judged = verdict(tables);
        let contents = &tables.manifest.contents;
        Self {
            headline: judged.headline,
            sentences: judged.sentences,
            warnings: warnings(tables),
            expectations: contents.expectations.clone(),
            hash: tables.manifest.hash.clone(),
            runs: contents.runs.len(),
            wall_ms: tables.manifest.took.wall_ms,
            folder: folder.display().to_string(),
        }
    }
}

fn words(out: &Output, tables: &Tables, view: &RunView) -> String {
    let metrics: Vec<&Metric> = SHOWN.iter().filter_map(|name| Metric::named(name)).collect();
    let titles: Vec<String> =
        ["policy", "ties"].into_iter().chain(metrics.iter().map(|metric| metric.title)).map(str::to_uppercase).collect();
    let mut rows = table(&titles.iter().map(String::as_str).collect::<Vec<_>>());
    for policy in tables.policies() {
        let figures = metrics
            .iter()
            .map(|metric| figure(tables.of_all(policy, metric.name).map_or_else(String::new, |value| in_words(metric, value))));
        rows.add_row([policy.into(), tables.tie(policy).into()].into_iter().chain(figures).collect::<Vec<comfy_table::Cell>>());
    }
    let mut parts = vec![view.headline.clone()];
    parts.extend(view.sentences.iter().cloned());
    parts.extend(view.warnings.iter().map(|warning| format!("Read with care: {warning}")));
    parts.extend(
        view.expectations.iter().map(|one| format!("{} {}: {}", if one.holds { "holds " } else { "FAILED" }, one.text, one.because)),
    );
    let report = Path::new(&view.folder).join(REPORT);
    let took = format!("{} in {}; report: {}; hash {}", plural(view.runs as u64, "run"), about(view.wall_ms), report.display(), view.hash);
    format!("{}\n\n{}\n\n{took}", parts.join("\n"), out.render(rows))
}

/// Writes the report of a folder again.
pub(super) fn write_report(folder: &Path, page: &str) -> Result<PathBuf, Failure> {
    let path = folder.join(REPORT);
    whole_file::write(&path, page.as_bytes()).map(|()| path)
}

/// A folder that exists, or what to do.
pub(super) fn existing(folder: &Path) -> Result<&Path, Failure> {
    let known = std::fs::metadata(folder).with_context(|| format!("{} cannot be read", folder.display()));
    match known {
        Ok(known) if known.is_dir() => Ok(folder),
        Ok(_) => Err(Failure::Usage(format!("{} is a file: name a folder that `faultline lab run` made", folder.display()))),
        Err(error) => Err(Failure::Usage(format!("{error:#}; name a folder that `faultline lab run` made"))),
    }
}
