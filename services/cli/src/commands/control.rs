//! `rate`, `mix` and `cancel`: what an operator tells the generator (through KV CONTROL) and the scheduler.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::anyhow;
use clap::Subcommand;
use comfy_table::Table;
use faultline_client::{Leader, audit, settings};
use faultline_engine::job::{JobId, JobRef};
use faultline_engine::workload::WorkloadConfig;
use faultline_protocol::messages::{Asked, CancelAnswer, CancelOutcome, JobState, KindMix, MAX_QUERY_ROWS, RateSetting};
use faultline_protocol::views::{MixView, RateView};
use faultline_runtime::clock;

use super::link::Link;
use super::{ids, parse};
use crate::exit::Failure;
use crate::output::{Mood, ago, mood, plural, table};

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum RateCommand {
    /// Show the rate
    Get,
    /// Set it, in jobs a minute: 0.1 to 50; waits for the generator's answer
    Set {
        /// Jobs a minute, such as 5
        #[arg(value_name = "JOBS_PER_MINUTE", allow_negative_numbers = true)]
        rate: String,
        /// Ask for more than 50, for load tests: the generator takes it when `up` was started with --unbounded-rate
        #[arg(long)]
        unbounded: bool,
    },
    /// Set it as a share of the cluster's GPU time, in percent: 30 is quiet, 60 usual, 90 full, 120 too much; follows the number of nodes
    Load {
        /// The share, such as 60 or 60%
        #[arg(value_name = "PERCENT", allow_negative_numbers = true)]
        percent: String,
    },
    /// Set it by name: Light Load 0.5, Normal 2, High Load 10, Extreme 25, MAXIMUM 50
    Preset {
        /// Name of the preset; upper and lower case are alike
        #[arg(value_name = "NAME", required = true, num_args = 1..)]
        name: Vec<String>,
    },
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum MixCommand {
    /// Show the weights
    Get,
    /// Set them, for example sleep=4,compute=3,matrix=2,fault=1; a kind left out is not generated
    Set {
        /// Kinds with their weights, with commas between
        #[arg(value_name = "WEIGHTS", value_parser = parse::mix)]
        weights: Weights,
    },
}

/// By kind.
type Weights = BTreeMap<String, f64>;

impl RateCommand {
    /// The rate to set, if any; refuses nonsense before anything is sent.
    pub(crate) fn wanted(&self) -> Result<Option<Asked>, Failure> {
        let asked = match self {
            RateCommand::Get => return Ok(None),
            RateCommand::Set { rate, unbounded } => parse::rate(rate, *unbounded).map(Asked::Rate),
            RateCommand::Load { percent } => parse::load(percent).map(Asked::Load),
            RateCommand::Preset { name } => parse::preset(&name.join(" ")).map(|(_, rate)| Asked::Rate(rate)),
        };
        asked.map(Some).map_err(Failure::Usage)
    }
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CancelFlags {
    /// The job's id, or at least 8 characters from its beginning or end; several may be given
    #[arg(value_name = "ID", value_parser = parse::job_ref, required_unless_present = "all_queued")]
    jobs: Vec<JobRef>,
    /// Every job that waits in the queue
    #[arg(long, conflicts_with = "jobs")]
    all_queued: bool,
}

fn rate_words(view: &RateView, now_ms: u64) -> String {
    let preset = view.preset.map(|name| format!(" ({name})")).unwrap_or_default();
    // The generator says what a load comes to.
    let words = match (view.deviation(), &view.in_force) {
        (None, Some(in_force)) => in_force.clone(),
        _ => view.asked().to_string(),
    };
    let asked = match view.set_by.as_str() {
        "" => format!("{words}, the default"),
        by => format!("{words}{preset}, set by {by} {}", ago(now_ms, view.at_ms)),
    };
    match view.deviation() {
        Some(deviation) => format!("{asked}; {deviation}"),
        None => asked,
    }
}

pub(crate) async fn rate(link: &Link, command: &RateCommand) -> Result<(), Failure> {
    let (setting, said) = match command.wanted()? {
        None => settings::rate(&link.nats).await?,
        Some(asked) => {
            let setting = RateSetting { asked, set_by: "cli".into(), at_ms: clock::unix_ms() };
            let said = settings::set_rate(&link.nats, &setting).await?;
            (Some(setting), Some(said))
        }
    };
    link.out.one(&RateView::new(setting.as_ref(), said.as_ref()), |view| rate_words(view, clock::unix_ms()))
}

fn weights_words(weights: &Weights) -> String {
    weights.iter().map(|(kind, weight)| format!("{kind}={weight}")).collect::<Vec<_>>().join(",")
}

fn mix_words(mix: &MixView) -> String {
    let asked = weights_words(&mix.weights);
    match (&mix.in_force, &mix.refused) {
        (None, _) => format!("{asked}; no generator runs: the mix applies as soon as one runs"),
        (Some(weights), Some(reason)) => format!("{asked}; refused, {} stays in force: {reason}", weights_words(weights)),
        (Some(weights), None) if *weights != mix.weights => format!("{asked}; {} is in force so far", weights_words(weights)),
        (Some(_), None) => asked,
    }
}

pub(crate) async fn mix(link: &Link, command: MixCommand) -> Result<(), Failure> {
    let mix = match command {
        MixCommand::Get => {
            let (set, said) = settings::mix(&link.nats).await?;
            MixView::new(set.map_or_else(|| WorkloadConfig::default().to_weights(), |set| set.weights), said.as_ref())
        }
        MixCommand::Set { weights } => {
            let mix = KindMix { weights };
            let said = settings::set_mix(&link.nats, &mix).await?;
            MixView::new(mix.weights, Some(&said))
        }
    };
    link.out.one(&mix, mix_words)
}

pub(crate) async fn cancel(link: &Link, flags: &CancelFlags) -> Result<(), Failure> {
    let jobs: Vec<JobId> = if flags.all_queued { queued_jobs(link).await? } else { ids::resolve_all(&link.nats, &flags.jobs).await? };
    let jobs: Vec<JobId> = jobs.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    let mut answers: Vec<CancelAnswer> = Vec::with_capacity(jobs.len());
    for chunk in jobs.chunks(MAX_QUERY_ROWS as usize) {
        answers.extend(Leader::of(&link.nats).cancel(chunk, "cli").await?.answers);
    }
    link.out.rows(&answers, cancel_table)?;
    if answers.is_empty() && flags.all_queued {
        tracing::info!("no job waits in the queue");
    }
    cancel_verdict(&answers)
}

/// Jobs in JOBS that are not running: those waiting in the stream, and those that the leader holds without a place for them.
async fn queued_jobs(link: &Link) -> Result<Vec<JobId>, Failure> {
    let waiting = audit::jobs_in_queue(&link.nats).await?;
    let running: BTreeSet<JobId> =
        Leader::of(&link.nats).active_jobs().await?.into_iter().filter(|job| job.state == JobState::Running).map(|job| job.id).collect();
    Ok(waiting.jobs.into_iter().filter(|job| !running.contains(job)).collect())
}

fn cancel_table(answers: &[CancelAnswer]) -> Table {
    let mut rows = table(&["JOB", "OUTCOME", "DETAIL"]);
    for answer in answers {
        let (word, how) = match answer.outcome {
            CancelOutcome::Cancelled => ("cancelled", Mood::Good),
            CancelOutcome::AlreadyEnded => ("already ended", Mood::Plain),
            CancelOutcome::NotFound => ("not found", Mood::Doubtful),
            CancelOutcome::Failed => ("failed", Mood::Bad),
        };
        rows.add_row([answer.job.to_string().into(), mood(word, how), answer.detail.as_str().into()]);
    }
    rows
}

/// Unknown jobs and failures are failures; a job that has ended already counts as cancelled when the command is repeated.
fn cancel_verdict(answers: &[CancelAnswer]) -> Result<(), Failure> {
    let number = |outcome| answers.iter().filter(|answer| answer.outcome == outcome).count() as u64;
    let (failed, unknown) = (number(CancelOutcome::Failed), number(CancelOutcome::NotFound));
    if failed > 0 {
        return Err(Failure::Failed(anyhow!("{} could not be cancelled: try again", plural(failed, "job"))));
    }
    if unknown > 0 {
        return Err(Failure::NotFound(format!("{} not found: records expire ten minutes after a job's end", plural(unknown, "job"))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use faultline_protocol::messages::InForce;

    use super::*;

    #[test]
    fn a_rate_is_shown_with_its_preset() {
        let setting = RateSetting { asked: Asked::Rate(10.0), set_by: "cli".into(), at_ms: 1_000 };
        let words = |said: Option<&InForce>| rate_words(&RateView::new(Some(&setting), said), 4_500);
        let said = InForce { jobs_per_minute: 10.0, ..in_force_words() };
        assert_eq!(words(Some(&said)), "10 jobs a minute (High Load), set by cli 3.5 s ago");
        assert!(words(None).ends_with("ago; no generator runs: the rate applies as soon as one runs"));
        let refused = InForce { rate_refused: Some("too many".into()), ..in_force_words() };
        assert!(words(Some(&refused)).ends_with("ago; refused, the generator keeps to 2 jobs a minute: too many"));
        assert!(words(Some(&in_force_words())).ends_with("ago; the generator still keeps to 2 jobs a minute"));
    }

    #[test]
    fn a_load_is_shown_with_what_it_comes_to() {
        let said = InForce { jobs_per_minute: 180.0, load_percent: Some(60.0), gpus: 46, ..in_force_words() };
        let words = |setting: Option<&RateSetting>, said| rate_words(&RateView::new(setting, said), 4_500);
        assert_eq!(words(None, Some(&said)), "a load of 60 %: 180 jobs a minute on 46 GPUs, the default");
        assert!(words(None, None).starts_with("a load of 60 %, the default; no generator runs"));
        let setting = RateSetting { asked: Asked::Load(90.0), set_by: "cli".into(), at_ms: 1_000 };
        let still = words(Some(&setting), Some(&said));
        assert!(still.ends_with("ago; the generator still keeps to a load of 60 %: 180 jobs a minute on 46 GPUs"), "{still}");
        assert_eq!(RateView::new(Some(&setting), Some(&said)).jobs_per_minute, 0.0, "what 90 % come to is not known");
    }

    fn in_force_words() -> InForce {
        InForce {
            jobs_per_minute: 2.0,
            load_percent: None,
            gpus: 0,
            capped: false,
            rate_revision: 7,
            rate_refused: None,
            weights: parse::mix("sleep=1").unwrap(),
            mix_revision: 8,
            mix_refused: None,
            at_ms: 4_000,
        }
    }

    #[test]
    fn a_mix_reads_as_it_is_written() {
        let weights = parse::mix("sleep=4,compute=3.5").unwrap();
        let said = InForce { weights: weights.clone(), ..in_force_words() };
        let mix = MixView::new(weights.clone(), Some(&said));
        assert_eq!(mix_words(&mix), "compute=3.5,fault=0,matrix=0,sleep=4");
        assert!(parse::mix(&mix_words(&mix)).is_ok());
        assert!(
            mix_words(&MixView::new(weights, Some(&in_force_words()))).ends_with("; compute=0,fault=0,matrix=0,sleep=1 is in force so far")
        );
    }

    #[test]
    fn cancelling_ends_with_the_worst_outcome() {
        let answer = |outcome| CancelAnswer { job: JobId::new(0, 1), outcome, detail: String::new() };
        let code = |outcomes: &[CancelOutcome]| {
            let answers: Vec<_> = outcomes.iter().map(|&outcome| answer(outcome)).collect();
            cancel_verdict(&answers).map_or_else(|failure| failure.code(), |()| 0)
        };
        use CancelOutcome::{AlreadyEnded, Cancelled, Failed, NotFound};
        assert_eq!(code(&[Cancelled, AlreadyEnded]), 0);
        assert_eq!(code(&[Cancelled, NotFound]), 4);
        assert_eq!(code(&[NotFound, Failed]), 1);
        assert_eq!(code(&[]), 0);
    }
}
