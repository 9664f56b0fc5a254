//! `faultline lab cross-check`: one scenario on real NATS with real processes, and the same one in the lab.

mod live;
mod show;

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use faultline_cluster::scenario::cluster::OwnCluster;
use faultline_cluster::scenario::file::ClusterSettings;
use faultline_cluster::timed;
use faultline_engine::detector::EstimatorKind;
use faultline_engine::fault::FaultPreset;
use faultline_engine::scheduler::PolicyName;
use faultline_engine::words::{plural, span};
use faultline_lab::cross_check::{self, File, Pair, Plan};
use faultline_lab::experiment::Seeds;
use faultline_lab::{Handover, InvalidSetup};

use self::show::{Report, RunView};
use super::files::{beside, read_limited};
use crate::exit::Failure;
use crate::interrupt::Interrupts;
use crate::output::Output;

const LARGEST_FILE: u64 = 256 << 10;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CrossCheckFlags {
    /// A scenario; the one that comes with the program when left out
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// One seed, or the first and the last of several, instead of those of the file
    #[arg(long, value_name = "FIRST..LAST")]
    seeds: Option<Seeds>,
    /// Print the scenario's file instead of running it
    #[arg(long)]
    show: bool,
    /// Leave the clusters' folders with their logs, and say where they are
    #[arg(long)]
    keep: bool,
}

pub(super) async fn run(out: &Output, flags: &CrossCheckFlags) -> Result<(), Failure> {
    let (name, text) = text(flags.file.as_deref())?;
    if flags.show {
        return out.text(&text);
    }
    let folder = flags.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    let mut file = cross_check::parse(&text, &beside(folder)).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|problem| format!("{name}: {problem}")).collect();
        Failure::Usage(lines.join("\n"))
    })?;
    file.run.seeds = flags.seeds.or(file.run.seeds);
    let mut interrupts = Interrupts::listen()?;
    let report = tokio::select! {
        report = compare(&file, flags.keep) => report?,
        () = interrupts.next() => return Err(Failure::Failed(anyhow!("interrupted; everything was stopped"))),
    };
    out.one(&report, |report| show::in_words(out, report))?;
    if report.agrees {
        return Ok(());
    }
    let all = plural(report.judged.rows.len() as u64, "figure");
    Err(Failure::CheckFailed(format!("{} of {all} differ by more than the tolerance", report.judged.differing())))
}

/// What the scenario is called, and its text.
fn text(file: Option<&Path>) -> Result<(String, String), Failure> {
    let Some(path) = file else { return Ok(("the scenario".to_owned(), cross_check::DEFAULT.to_owned())) };
    let name = path.display().to_string();
    let bytes = read_limited(path, LARGEST_FILE).map_err(|why| Failure::Usage(format!("{name} cannot be read: {why}")))?;
    let text =
        String::from_utf8(bytes).map_err(|_| Failure::Usage(format!("{name} cannot be read: it is not UTF-8 text; save it as UTF-8")))?;
    Ok((name, text))
}

fn impossible(error: InvalidSetup) -> Failure {
    Failure::Usage(format!("the scenario cannot be played: {error}"))
}

/// First the run without faults, whose delays the virtual runs are told; then one for each seed.
async fn compare(file: &File, keep: bool) -> Result<Report, Failure> {
    let seeds: Vec<u64> = file.seeds().all().collect();
    let plans: Vec<Plan> = seeds.iter().map(|seed| Plan::draw(file, *seed)).collect::<Result<_, _>>().map_err(impossible)?;
    let first = plans.first().ok_or_else(|| Failure::Usage("no seed: name one or more".to_owned()))?;
    if let Some(plan) = plans.iter().find(|plan| !plan.is_spaced) {
        note!("seed {}: too many events to keep them {} apart: fewer jobs or a smaller spacing would", plan.seed, span(file.spacing_ms()));
    }
    let quiet = first.quiet(file).map_err(impossible)?;
    note!("{}: {} with the policy {}", file.title, plural(first.jobs.len() as u64, "job"), file.cluster.policy.as_str());
    note!("without faults, for the order of placements and for the delays of the live cluster");
    let live = one_live(file, &quiet, keep).await?;
    let handover = live.handover;
    let (pair, view) = play(file, &quiet, live, handover, None)?;
    let (mut runs, mut views) = (Vec::new(), vec![view]);
    for plan in &plans {
        note!("seed {}: {}", plan.seed, plural(plan.kills.len() as u64, "kill"));
        let live = one_live(file, plan, keep).await?;
        let (pair, view) = play(file, plan, live, handover, Some(plan.seed))?;
        runs.push(pair);
        views.push(view);
    }
    let is_drawn = file.cluster.policy == PolicyName::Random;
    let judged = cross_check::judge(Some(&pair).filter(|_| !is_drawn), &runs, file.has_faults());
    Ok(Report {
        title: file.title.clone(),
        policy: file.cluster.policy.as_str(),
        nodes: file.nodes(),
        jobs: first.jobs.len(),
        seeds,
        start_ms: handover.start_ms,
        end_ms: handover.end_ms,
        detection_ms: file.detection_ms(),
        runs: views,
        agrees: judged.differing() == 0,
        judged,
    })
}

async fn one_live(file: &File, plan: &Plan, keep: bool) -> Result<live::Live, Failure> {
    let settings = ClusterSettings {
        workers: file.cluster.workers,
        nodes_per_worker: file.cluster.nodes_per_worker,
        schedulers: 1,
        faults: FaultPreset::Off,
        detector: EstimatorKind::default(),
        policy: file.cluster.policy,
        no_detector: false,
    };
    let cluster = OwnCluster::start(&settings, plan.seed, keep).await?;
    let went = timed::run(&cluster, &live::timetable(plan), &|line| note!("{line}")).await;
    if let Some(folder) = cluster.stop().await {
        note!("kept: {}", folder.display());
    }
    live::read(file, plan, &went?)
}

/// The virtual side of a live run, with submissions and faults at the instants at which they really were.
fn play(file: &File, plan: &Plan, live: live::Live, handover: Handover, seed: Option<u64>) -> Result<(Pair, RunView), Failure> {
    let virtual_ = cross_check::play(file, plan, &live.instants, handover).map_err(impossible)?;
    let pair = Pair { seed: plan.seed, live: live.seen, virtual_ };
    let (same_placements, first_difference) = pair.same_placements();
    let view = RunView {
        seed,
        took_ms: live.took_ms,
        kills: plan.kills.len(),
        interrupted: pair.live.jobs.iter().map(|job| job.interrupted).sum(),
        same_placements,
        placements: pair.live.placements.len(),
        first_difference,
    };
    Ok((pair, view))
}
