//! `rate`, `mix` and `cancel`: what an operator tells the generator (through KV CONTROL) and the scheduler.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::anyhow;
use clap::Subcommand;
use comfy_table::Table;
use faultline_engine::job::JobId;
use faultline_engine::workload::WorkloadConfig;
use faultline_protocol::messages::{CancelAnswer, CancelOutcome, JobState, KindMix, MAX_QUERY_ROWS, RateSetting};
use faultline_protocol::streams::{KEY_MIX, KEY_RATE, KV_CONTROL};
use faultline_protocol::views::RateView;
use faultline_runtime::clock;
use faultline_runtime::connect::{BucketError, kv_get, kv_put};

use super::ask::{self, Link};
use super::{audit, parse};
use crate::exit::Failure;
use crate::output::{Mood, ago, mood, plural, table};

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum RateCommand {
    /// Show the rate
    Get,
    /// Set it, in jobs a minute: 0.1 to 50
    Set {
        #[arg(value_name = "JOBS_PER_MINUTE", allow_negative_numbers = true)]
        rate: String,
        /// Allow more than 50, for load tests
        #[arg(long)]
        unbounded: bool,
    },
    /// Set it by name: Light Load 0.5, Normal 2, High Load 10, Extreme 25, MAXIMUM 50
    Preset {
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
        #[arg(value_name = "WEIGHTS", value_parser = parse::mix)]
        weights: Weights,
    },
}

/// By kind.
type Weights = BTreeMap<String, f64>;

impl RateCommand {
    /// The rate to set, if any; refuses nonsense before anything is sent.
    pub(crate) fn wanted(&self) -> Result<Option<f64>, Failure> {
        match self {
            RateCommand::Get => Ok(None),
            RateCommand::Set { rate, unbounded } => parse::rate(rate, *unbounded).map(Some).map_err(Failure::Usage),
            RateCommand::Preset { name } => parse::preset(&name.join(" ")).map(|(_, rate)| Some(rate)).map_err(Failure::Usage),
        }
    }
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CancelFlags {
    #[arg(value_name = "ID", value_parser = parse::job_id, required_unless_present = "all_queued")]
    jobs: Vec<JobId>,
    /// Every job that waits in the queue
    #[arg(long, conflicts_with = "jobs")]
    all_queued: bool,
}

pub(crate) fn bucket_failure(error: BucketError) -> Failure {
    Failure::Failed(anyhow!("{error}; if it does not exist yet, run `faultline setup`"))
}

fn rate_words(view: &RateView, now_ms: u64) -> String {
    if view.set_by.is_empty() {
        return "no rate is set: the generator uses the one that it was started with, 2 jobs a minute unless told otherwise".to_owned();
    }
    let preset = view.preset.map(|name| format!(" ({name})")).unwrap_or_default();
    format!("{} jobs a minute{preset}, set by {} {}", view.jobs_per_minute, view.set_by, ago(now_ms, view.at_ms))
}

pub(crate) async fn rate(link: &Link, command: &RateCommand) -> Result<(), Failure> {
    let wanted = command.wanted()?;
    let store = link.nats.bucket(KV_CONTROL).await.map_err(bucket_failure)?;
    let setting = match wanted {
        None => kv_get(&store, KEY_RATE).await.map_err(bucket_failure)?,
        Some(jobs_per_minute) => {
            let setting = RateSetting { jobs_per_minute, set_by: "cli".into(), at_ms: clock::unix_ms() };
            kv_put(&store, KEY_RATE, &setting).await.map_err(bucket_failure)?;
            Some(setting)
        }
    };
    link.out.one(&RateView::new(setting.as_ref()), |view| rate_words(view, clock::unix_ms()))
}

fn mix_words(mix: &KindMix) -> String {
    mix.weights.iter().map(|(kind, weight)| format!("{kind}={weight}")).collect::<Vec<_>>().join(",")
}

pub(crate) async fn mix(link: &Link, command: MixCommand) -> Result<(), Failure> {
    let store = link.nats.bucket(KV_CONTROL).await.map_err(bucket_failure)?;
    let mix = match command {
        MixCommand::Get => {
            let set: Option<KindMix> = kv_get(&store, KEY_MIX).await.map_err(bucket_failure)?;
            set.unwrap_or_else(|| KindMix { weights: WorkloadConfig::default().to_weights() })
        }
        MixCommand::Set { weights } => {
            let mix = KindMix { weights };
            kv_put(&store, KEY_MIX, &mix).await.map_err(bucket_failure)?;
            mix
        }
    };
    link.out.one(&mix, mix_words)
}

pub(crate) async fn cancel(link: &Link, flags: &CancelFlags) -> Result<(), Failure> {
    let jobs: Vec<JobId> = if flags.all_queued { queued_jobs(link).await? } else { flags.jobs.clone() };
    let jobs: Vec<JobId> = jobs.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    let mut answers: Vec<CancelAnswer> = Vec::with_capacity(jobs.len());
    for chunk in jobs.chunks(MAX_QUERY_ROWS as usize) {
        answers.extend(ask::cancel(&link.nats, chunk).await?.answers);
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
        ask::active_jobs(&link.nats).await?.into_iter().filter(|job| job.state == JobState::Running).map(|job| job.id).collect();
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

/// Unknown jobs and failures are failures; a job that has ended already is as good as cancelled for whoever repeats the command.
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
    use super::*;

    #[test]
    fn a_rate_is_shown_with_its_preset() {
        let view = RateView::new(Some(&RateSetting { jobs_per_minute: 10.0, set_by: "cli".into(), at_ms: 1_000 }));
        assert_eq!(rate_words(&view, 4_500), "10 jobs a minute (High Load), set by cli 3.5 s ago");
        assert!(rate_words(&RateView::new(None), 0).starts_with("no rate is set"));
    }

    #[test]
    fn a_mix_reads_as_it_is_written() {
        let mix = KindMix { weights: parse::mix("sleep=4,compute=3.5").unwrap() };
        assert_eq!(mix_words(&mix), "compute=3.5,fault=0,matrix=0,sleep=4");
        assert!(parse::mix(&mix_words(&mix)).is_ok());
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
