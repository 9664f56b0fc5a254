//! `submit`: builds jobs from flags, hands hundreds over at once, and waits for their ends when asked.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use faultline_client::Leader;
use faultline_engine::job::options::{JobOptions, doubt_models, refuse_kind};
use faultline_engine::job::{self, Demand, InvalidJob, JobId, JobSpec, MAX_RETRIES, Origin, Param, Params, Priority};
use faultline_protocol::messages::JobState;
use faultline_protocol::streams::MAX_SUBMIT_AGE;
use faultline_runtime::clock::{self, ms};
use faultline_runtime::connect::PublishError;
use faultline_runtime::identity::stated;
use faultline_runtime::submit::{SubmitError, Submitted, Submitter};
use futures::StreamExt;
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::time::Instant;

use super::link::Link;
use super::wait::{self, Board, Ends};
use super::{absence, parse};
use crate::exit::Failure;
use crate::output::{Format, count, plural, span};

/// What the command calls itself where it states who submitted a job.
pub(super) const PROGRAM: &str = "command";
const IN_FLIGHT: usize = 512;
/// Ids shown to people; JSON shows all.
const IDS_SHOWN: usize = 5;
/// For each page of nodes.
const MODELS_LIMIT: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// An id is given up this long before it would be too old to be repeated safely.
const MARGIN_MS: u64 = 5_000;
/// So long a job may be tried again without a word.
const QUIET_MS: u64 = 2_000;
/// Jobs that are submitted together mostly wait for the same thing.
static TOLD: Once = Once::new();

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SubmitFlags {
    /// Executor: sleep, compute, matrix, fault, service:NAME for a program that answers on NATS, or one of your own
    #[arg(long)]
    kind: String,
    /// Rows of the matrices (matrix), or the number up to which primes are counted (compute)
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = clap::value_parser!(i64).range(1..=1_000_000_000))]
    size: Option<i64>,
    /// How long the job works or holds its GPUs, such as 2s or 500ms
    #[arg(long, value_parser = parse::duration, allow_hyphen_values = true)]
    duration: Option<Duration>,
    /// A parameter for the executor; may be repeated. `true`, `false` and plain numbers such as 42 and 0.5 are taken as such, all else as text
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parse::param)]
    params: Vec<(String, Param)>,
    /// A parameter whose value is always text; can be repeated
    #[arg(long = "param-text", value_name = "NAME=TEXT", value_parser = parse::param_text)]
    param_texts: Vec<(String, Param)>,
    /// urgent, high, normal or low
    #[arg(long, default_value = "normal", value_parser = parse::priority)]
    priority: Priority,
    /// A share of one GPU, or a whole number up to 8
    #[arg(long, default_value = "0.1", value_parser = parse::gpus, allow_negative_numbers = true)]
    gpus: u32,
    /// Memory on each GPU that the job gets
    #[arg(long, value_name = "MIB", default_value = "0", value_parser = parse::gpu_memory_mib, allow_negative_numbers = true)]
    gpu_memory: u32,
    /// Acceptable GPU model; may be repeated; any when left out
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// How many such jobs
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    count: u64,
    /// An attempt that runs longer fails (default 30s, or three times the duration if that is longer)
    #[arg(long, value_parser = parse::positive_duration, allow_hyphen_values = true)]
    timeout: Option<Duration>,
    /// How often the job itself may fail and be tried again; a node's death costs nothing of it
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_RETRIES)))]
    max_retries: u32,
    /// A name for people; with --count a number is added
    #[arg(long)]
    name: Option<String>,
    /// Wait until all have ended; exit code 5 when one did not commit
    #[arg(long)]
    wait: bool,
}

impl SubmitFlags {
    /// Refuses what could never be accepted, before anything is sent.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        // Every job of one command differs only in its id and its number.
        let last = self.options()?.spec(self.count, self.count, JobId::new(0, 0), 0);
        last.map(drop).map_err(|error| Failure::Usage(explain(&error)))
    }

    /// What all jobs of the command share.
    fn options(&self) -> Result<JobOptions, Failure> {
        let mut params = Params::new();
        for (key, value) in self.params.iter().chain(&self.param_texts) {
            if params.insert(key.clone(), value.clone()).is_some() {
                return Err(Failure::Usage(format!("the parameter {key} is given twice: leave one out")));
            }
        }
        Ok(JobOptions {
            kind: self.kind.clone(),
            name: self.name.clone(),
            size: self.size.and_then(|size| u64::try_from(size).ok()),
            duration_ms: self.duration.map(ms),
            params,
            priority: self.priority,
            demand: Demand { gpu_milli: self.gpus, gpu_memory_mib: self.gpu_memory, models: self.models.clone() },
            timeout_ms: self.timeout.map(ms),
            max_retries: self.max_retries,
            origin: Origin::by(stated(PROGRAM)),
        })
    }
}

/// A kind that no node runs would only wait and then be given up. Without a leader, or without nodes, nothing is refused.
async fn refuse_unknown_kind(link: &Link, kind: &str) -> Result<(), Failure> {
    // The first that runs it settles the matter: of ten thousand nodes not all have to be asked for.
    let class = job::class(kind);
    let nodes =
        match Leader::of(&link.nats).nodes_until(|page| page.iter().any(|node| node.spec.kinds.iter().any(|kind| kind == class))).await {
            Ok(nodes) => nodes,
            Err(error) => {
                tracing::warn!("whether a node runs `{kind}` jobs is not known: {error}");
                return Ok(());
            }
        };
    let offered = nodes.into_iter().flat_map(|node| node.spec.kinds).collect();
    match refuse_kind(kind, &offered) {
        Some(problem) => Err(Failure::Usage(format!("--kind: {problem}"))),
        None => Ok(()),
    }
}

/// A job for a model that no node has may be meant for a node that comes, so it is only doubted.
async fn doubt_unknown_models(link: &Link, models: &[String]) {
    if models.is_empty() {
        return;
    }
    // Why no leader answers has been said of the kind.
    let nodes = Leader::once(&link.nats, MODELS_LIMIT).nodes().await.unwrap_or_default();
    let offered = nodes.into_iter().flat_map(|node| node.spec.gpus).map(|gpu| gpu.model).collect();
    if let Some(doubt) = doubt_models(models, &offered) {
        note!("faultline: warning: --model: {doubt}");
    }
}

/// The flag that a refused field comes from.
fn explain(error: &InvalidJob) -> String {
    let flag = match error.field {
        "params" => "--param",
        "models" => "--model",
        "max_retries" => "--max-retries",
        "expected" | "duration" => "--duration",
        "gpu_memory" | "gpu_memory_mib" => "--gpu-memory",
        "kind" | "name" | "priority" | "gpus" | "timeout" | "size" => return format!("--{}: {}", error.field, error.problem),
        field => return format!("{field}: {}", error.problem),
    };
    format!("{flag}: {}", error.problem)
}

/// What one job's line of output says.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct SubmittedJob {
    id: JobId,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<JobState>,
}

/// The whole command's output as one document.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Report {
    submitted: u64,
    failed: u64,
    submit_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends: Option<Ends>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_ms: Option<u64>,
    jobs: Vec<SubmittedJob>,
}

pub(crate) async fn run(link: &Link, flags: &SubmitFlags) -> Result<(), Failure> {
    let options = flags.options()?;
    refuse_unknown_kind(link, &options.kind).await?;
    doubt_unknown_models(link, &options.demand.models).await;
    let board = Board::default();
    if !flags.wait {
        let bar = wait::progress_bar(flags.count);
        let handed = hand_over(link, flags, &options, &board, &bar).await;
        bar.finish_and_clear();
        print(link, &handed.report(None))?;
        return handed.verdict();
    }
    let subscriber = wait::listen(&link.nats).await?;
    let (hidden, bar) = (ProgressBar::hidden(), wait::progress_bar(flags.count));
    let work = async {
        let watch = wait::show(&board, &bar);
        let handed = tokio::select! {
            handed = hand_over(link, flags, &options, &board, &hidden) => handed,
            never = watch => match never {},
        };
        let ends = wait::until_all_ended(&board, &bar, handed.jobs.len() as u64).await;
        (handed, ends)
    };
    let background =
        async { tokio::join!(wait::hear(subscriber, &board), wait::read_back(&link.nats, &board), absence::tell(&link.nats, &bar)).1 };
    let (handed, ends) = tokio::select! {
        done = work => done,
        never = background => match never {},
    };
    let mut report = handed.report(Some(ends));
    let states = board.lock().take_states();
    for job in &mut report.jobs {
        job.state = states.get(&job.id).copied().flatten();
    }
    print(link, &report)?;
    handed.verdict()?;
    if ends.committed == ends.total() {
        return Ok(());
    }
    Err(Failure::CheckFailed(format!(
        "{} of {} did not commit: {}; see `faultline jobs --state dead` and `faultline job ID`",
        count(ends.total() - ends.committed),
        plural(ends.total(), "job"),
        ends.words()
    )))
}

/// What came of handing the jobs over.
struct Handed {
    /// Those that were accepted, with the sequences of their open markers.
    jobs: Vec<(JobId, u64)>,
    failed: u64,
    first_error: Option<SubmitError>,
    started: Instant,
    submit_ms: u64,
}

impl Handed {
    fn report(&self, ends: Option<Ends>) -> Report {
        Report {
            submitted: self.jobs.len() as u64,
            failed: self.failed,
            submit_ms: self.submit_ms,
            ends,
            total_ms: ends.map(|_| ms(self.started.elapsed())),
            jobs: self.jobs.iter().map(|&(id, open_seq)| SubmittedJob { id, open_seq: Some(open_seq), state: None }).collect(),
        }
    }

    fn verdict(&self) -> Result<(), Failure> {
        self.first_error.as_ref().map_or(Ok(()), |error| Err(failure(error, self.failed)))
    }
}

/// Why so many jobs were not accepted.
pub(super) fn failure(error: &SubmitError, jobs: u64) -> Failure {
    let text = format!("{} not accepted: {error}", plural(jobs, "job"));
    match error {
        SubmitError::Invalid(error) => Failure::Usage(explain(error)),
        SubmitError::Publish(PublishError::Timeout) => Failure::Unreachable(text),
        SubmitError::TooOld
        | SubmitError::Stalled(_)
        | SubmitError::IdUsed
        | SubmitError::QueueFull(_)
        | SubmitError::ResultsFull(_)
        | SubmitError::Publish(_)
        | SubmitError::ReadBack(_) => Failure::Failed(anyhow!(text)),
    }
}

/// Submits all jobs, hundreds at once. Each keeps its id through every repetition, so none is accepted twice.
async fn hand_over(link: &Link, flags: &SubmitFlags, options: &JobOptions, board: &Board, bar: &ProgressBar) -> Handed {
    let started = Instant::now();
    let submitter = Submitter::new(&link.nats);
    let stop = AtomicBool::new(false);
    let mut outcomes = futures::stream::iter(1..=flags.count)
        .map(|number| submit_one(&submitter, (flags, options), board, number, &stop))
        .buffer_unordered(IN_FLIGHT);
    let mut handed = Handed { jobs: Vec::new(), failed: 0, first_error: None, started, submit_ms: 0 };
    while let Some(outcome) = outcomes.next().await {
        bar.inc(1);
        match outcome {
            Ok((id, accepted)) => handed.jobs.push((id, accepted.open_seq)),
            Err(error) => {
                handed.failed += 1;
                // What one job was refused for, all the others would be refused for too.
                stop.store(true, Ordering::Relaxed);
                handed.first_error = handed.first_error.or(error);
            }
        }
    }
    handed.submit_ms = ms(started.elapsed());
    handed.jobs.sort_unstable();
    handed
}

/// `Err(None)`: not tried, because another had already failed for good.
async fn submit_one(
    submitter: &Submitter,
    (flags, options): (&SubmitFlags, &JobOptions),
    board: &Board,
    number: u64,
    stop: &AtomicBool,
) -> Result<(JobId, Submitted), Option<SubmitError>> {
    if stop.load(Ordering::Relaxed) {
        return Err(None);
    }
    let now_ms = clock::unix_ms();
    let id = JobId::new(now_ms, clock::random_u128());
    let spec = options.spec(number, flags.count, id, now_ms).map_err(|error| Some(SubmitError::Invalid(error)))?;
    if flags.wait {
        board.lock().expect(id);
    }
    match submit_surely(submitter, &spec).await {
        Ok(accepted) => {
            board.lock().accepted(id);
            Ok((id, accepted))
        }
        Err(error) => {
            board.lock().forget(id);
            Err(Some(error))
        }
    }
}

/// Submits one job, again and again with the same id while that is safe.
pub(super) async fn submit_surely(submitter: &Submitter, spec: &JobSpec) -> Result<Submitted, SubmitError> {
    let began_ms = clock::steady_ms();
    let give_up_ms = began_ms + ms(MAX_SUBMIT_AGE) - MARGIN_MS;
    let mut pause = FIRST_PAUSE;
    loop {
        match submitter.submit(spec).await {
            Err(error) if error.is_transient() && clock::steady_ms() < give_up_ms => {
                tracing::debug!(job = %spec.id, %error, "not accepted yet: trying again with the same id");
                if clock::steady_ms() > began_ms + QUIET_MS {
                    TOLD.call_once(|| note!("not accepted yet: {error}; trying for up to {}", span(give_up_ms - began_ms)));
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            done => return done,
        }
    }
}

fn print(link: &Link, report: &Report) -> Result<(), Failure> {
    match link.out.format {
        Format::Table | Format::Json => link.out.one(report, words),
        Format::Jsonl => link.out.rows(&report.jobs, |_| crate::output::table(&[])),
    }
}

/// The summary and the first few ids.
fn words(report: &Report) -> String {
    let mut text = format!("submitted {}", plural(report.submitted, "job"));
    if report.submitted > 1 {
        let rate = report.submitted.saturating_mul(1000) / report.submit_ms.max(1);
        text.push_str(&format!(" in {} ({} a second)", span(report.submit_ms), count(rate)));
    }
    text.push('\n');
    for job in report.jobs.iter().take(IDS_SHOWN) {
        text.push_str(&format!("  {}\n", job.id));
    }
    if report.jobs.len() > IDS_SHOWN {
        text.push_str(&format!("  ... and {} more (-o json lists all)\n", count((report.jobs.len() - IDS_SHOWN) as u64)));
    }
    if let (Some(ends), Some(total_ms)) = (&report.ends, report.total_ms) {
        text.push_str(&format!("ended after {}: {}\n", span(total_ms), ends.words()));
    }
    text
}

#[cfg(test)]
#[path = "submit_tests.rs"]
mod tests;
