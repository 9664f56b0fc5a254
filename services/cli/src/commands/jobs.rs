//! `jobs` and `job ID`. The leading scheduler knows the active jobs; RESULTS knows every job that is open or ended less
//! than ten minutes ago. Where both speak, a terminal record is the truth.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use anyhow::anyhow;
use comfy_table::Table;
use faultline_engine::job::{AttemptOutcome, AttemptSummary, JobId, Priority};
use faultline_protocol::codec::{self, HEADER_JOB_STATE};
use faultline_protocol::messages::{JobState, JobView, OpenMarker, TerminalRecord};
use faultline_protocol::{streams, subjects};
use faultline_runtime::clock;
use faultline_runtime::connect::Nats;
use faultline_runtime::record::{JobRecord, read_record, read_record_surely};
use futures::StreamExt;

use super::ask::{self, Link, NoAnswer};
use super::parse;
use super::read::{From, Reader};
use crate::exit::Failure;
use crate::output::{Mood, ago, clock as clock_words, facts, figure, mood, span, table};

const READS_AT_ONCE: usize = 64;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct JobsFlags {
    /// queued, running, committed, dead, cancelled or abandoned; may be repeated
    #[arg(long = "state", value_name = "STATE", value_parser = parse::job_state)]
    states: Vec<JobState>,
    /// Only this kind
    #[arg(long)]
    kind: Option<String>,
    /// Only jobs that run or ran last on this node
    #[arg(long, value_parser = parse::node_name)]
    node: Option<String>,
    /// Only this priority
    #[arg(long, value_parser = parse::priority)]
    priority: Option<Priority>,
    /// The newest N
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    limit: u64,
}

impl JobsFlags {
    fn wants_state(&self, state: JobState) -> bool {
        self.states.is_empty() || self.states.contains(&state)
    }

    fn wants(&self, job: &JobView) -> bool {
        self.wants_state(job.state)
            && self.kind.as_ref().is_none_or(|kind| *kind == job.kind)
            && self.node.as_ref().is_none_or(|node| job.node.as_ref() == Some(node))
            && self.priority.is_none_or(|priority| priority == job.priority)
    }
}

/// What RESULTS says of a job without its body; `None` is an open marker.
type Ended = Option<JobState>;

pub(crate) async fn list(link: &Link, flags: &JobsFlags) -> Result<(), Failure> {
    let active = match ask::active_jobs(&link.nats).await {
        Ok(rows) => rows.into_iter().map(|row| (row.id, row)).collect(),
        Err(error @ NoAnswer::NoLeader) => {
            tracing::warn!("{error}; jobs that run are shown as queued");
            BTreeMap::new()
        }
        Err(error) => return Err(error.into()),
    };
    let known = known_jobs(&link.nats).await?;
    let jobs = newest(&link.nats, flags, known, active).await?;
    let now_ms = clock::unix_ms();
    link.out.rows(&jobs, |jobs| jobs_table(jobs, now_ms))
}

/// Every job that RESULTS holds now, from headers alone.
async fn known_jobs(nats: &Nats) -> Result<BTreeMap<JobId, Ended>, Failure> {
    let mut known = BTreeMap::new();
    let mut reader = Reader::new(nats, streams::RESULTS, From::Start).headers_only();
    reader
        .read_to_end(|row| {
            if let Some(job) = subjects::result_job_id(&row.subject) {
                known.insert(job, row.headers.get(HEADER_JOB_STATE).and_then(|state| parse::state_of(state.as_str())));
            }
            ControlFlow::Continue(())
        })
        .await?;
    Ok(known)
}

/// Reads the records of the newest jobs until enough of them are wanted. Ids sort by time.
async fn newest(
    nats: &Nats,
    flags: &JobsFlags,
    mut known: BTreeMap<JobId, Ended>,
    mut active: BTreeMap<JobId, JobView>,
) -> Result<Vec<JobView>, Failure> {
    // The leader may know jobs that were submitted after RESULTS was read.
    for &job in active.keys() {
        known.entry(job).or_insert(None);
    }
    let candidates: Vec<(JobId, Option<JobView>)> = known
        .into_iter()
        .rev()
        .filter_map(|(job, ended)| match ended {
            Some(state) => flags.wants_state(state).then_some((job, None)),
            None => Some((job, active.remove(&job))),
        })
        .collect();
    let views = futures::stream::iter(candidates).map(|(job, held)| async move {
        match held {
            Some(view) => Ok(Some(view)),
            None => read_record(nats, job).await.map(|record| record.and_then(|record| view_of_record(&record))),
        }
    });
    let mut views = views.buffered(READS_AT_ONCE);
    let limit = usize::try_from(flags.limit).unwrap_or(usize::MAX);
    let mut wanted = Vec::new();
    while let Some(view) = views.next().await {
        let view = view.map_err(|reason| Failure::Failed(anyhow!("RESULTS cannot be read: {reason}")))?;
        wanted.extend(view.filter(|view| flags.wants(view)));
        if wanted.len() >= limit {
            break;
        }
    }
    Ok(wanted)
}

/// `None` for a body that cannot be read, which is logged.
fn view_of_record(record: &JobRecord) -> Option<JobView> {
    let view = if record.is_open {
        codec::decode::<OpenMarker>(Some(&record.headers), &record.body).map(view_of_marker)
    } else {
        codec::decode::<TerminalRecord>(Some(&record.headers), &record.body).map(view_of_terminal)
    };
    view.map_err(|error| tracing::warn!(seq = record.seq, %error, "a record in RESULTS cannot be read")).ok()
}

fn view_of_marker(marker: OpenMarker) -> JobView {
    JobView {
        id: marker.job,
        name: marker.name,
        kind: marker.kind,
        priority: marker.priority,
        state: JobState::Queued,
        submitted_at_ms: marker.submitted_at_ms,
        ended_at_ms: None,
        demand: None,
        node: None,
        progress_permille: 0,
        failures: 0,
        requeues: 0,
        attempts: Vec::new(),
        result: String::new(),
        reason: String::new(),
        waiting: None,
    }
}

fn view_of_terminal(record: TerminalRecord) -> JobView {
    let committed = record.history.iter().find(|attempt| Some(attempt.attempt) == record.attempt);
    let node = committed.or(record.history.last()).map(|attempt| attempt.node.clone());
    JobView {
        id: record.job,
        name: record.name,
        kind: record.kind,
        priority: record.priority,
        state: record.state,
        submitted_at_ms: record.submitted_at_ms,
        ended_at_ms: Some(record.ended_at_ms),
        demand: None,
        node,
        progress_permille: if record.state == JobState::Committed { 1000 } else { 0 },
        failures: record.failures,
        requeues: record.requeues,
        attempts: record.history,
        result: record.result,
        reason: record.reason,
        waiting: None,
    }
}

pub(crate) async fn show(link: &Link, job: JobId) -> Result<(), Failure> {
    let view = find(&link.nats, job).await?;
    let now_ms = clock::unix_ms();
    link.out.one(&view, |view| {
        let mut text = link.out.render(facts(&job_facts(view, now_ms)));
        if !view.attempts.is_empty() {
            text.push_str("\n\n");
            text.push_str(&link.out.render(path_table(&view.attempts, view.submitted_at_ms)));
        }
        text
    })
}

async fn find(nats: &Nats, job: JobId) -> Result<JobView, Failure> {
    let held = match ask::active_job(nats, job).await {
        Ok(held) => held,
        Err(error @ NoAnswer::Disconnected) => return Err(error.into()),
        Err(error) => {
            tracing::warn!("{error}; only what RESULTS holds is shown");
            None
        }
    };
    let record = read_record_surely(nats, job).await.map_err(|reason| Failure::Failed(anyhow!("RESULTS cannot be read: {reason}")))?;
    match (record, held) {
        (Some(record), Some(held)) if record.is_open => Ok(held),
        (Some(record), _) => view_of_record(&record).ok_or_else(|| Failure::Failed(anyhow!("the record of {job} cannot be read"))),
        (None, Some(held)) => Ok(held),
        (None, None) => Err(Failure::NotFound(format!("no job has the id {job}: records expire ten minutes after a job's end"))),
    }
}

fn state_mood(state: JobState) -> Mood {
    match state {
        JobState::Queued => Mood::Plain,
        JobState::Running => Mood::Busy,
        JobState::Committed => Mood::Good,
        JobState::Dead | JobState::Abandoned => Mood::Bad,
        JobState::Cancelled => Mood::Doubtful,
    }
}

fn jobs_table(jobs: &[JobView], now_ms: u64) -> Table {
    let mut rows = table(&["ID", "NAME", "KIND", "PRIORITY", "STATE", "NODE", "ATTEMPTS", "SUBMITTED", "TOOK"]);
    for job in jobs {
        let took = job.ended_at_ms.map_or_else(|| "-".to_owned(), |end| span(end.saturating_sub(job.submitted_at_ms)));
        let state = match job.state {
            JobState::Running => format!("running {} %", job.progress_permille / 10),
            other => other.as_str().to_owned(),
        };
        rows.add_row([
            job.id.to_string().into(),
            job.name.as_str().into(),
            job.kind.as_str().into(),
            job.priority.as_str().into(),
            mood(state, state_mood(job.state)),
            job.node.as_deref().unwrap_or("-").into(),
            figure(job.attempts.len()),
            figure(ago(now_ms, job.submitted_at_ms)),
            figure(took),
        ]);
    }
    rows
}

fn job_facts(job: &JobView, now_ms: u64) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("id", job.id.to_string()),
        ("name", job.name.clone()),
        ("kind", job.kind.clone()),
        ("priority", job.priority.to_string()),
        ("state", job.state.as_str().to_owned()),
        ("submitted", format!("{} UTC, {}", clock_words(job.submitted_at_ms), ago(now_ms, job.submitted_at_ms))),
    ];
    if let Some(end) = job.ended_at_ms {
        lines.push(("ended", format!("{} UTC, after {}", clock_words(end), span(end.saturating_sub(job.submitted_at_ms)))));
    }
    if job.state == JobState::Running {
        lines.push(("progress", format!("{} %", job.progress_permille / 10)));
    }
    if let Some(demand) = &job.demand {
        let models = if demand.models.is_empty() { "any model".to_owned() } else { demand.models.join(" or ") };
        lines.push(("wants", format!("{} GPU, {} MiB on each, {models}", f64::from(demand.gpu_milli) / 1000.0, demand.gpu_memory_mib)));
    }
    lines.push(("failures", format!("{} of the job itself, {} by nodes that went away", job.failures, job.requeues)));
    if !job.result.is_empty() {
        lines.push(("result", job.result.clone()));
    }
    if !job.reason.is_empty() {
        lines.push(("reason", job.reason.clone()));
    }
    match &job.waiting {
        Some(waiting) if job.state == JobState::Queued => {
            lines.push(("waits", format!("since {}: {}", ago(now_ms, waiting.since_ms), waiting.summary)));
        }
        None if job.state == JobState::Queued => {
            lines.push(("waits", "in the queue, or for a submitter that died before it queued it: no scheduler has it".to_owned()))
        }
        Some(_) | None => {}
    }
    lines
}

fn path_table(attempts: &[AttemptSummary], submitted_at_ms: u64) -> Table {
    let mut rows = table(&["ATTEMPT", "NODE", "GPUS", "PLACED", "WAITED", "RAN", "OUTCOME", "DETAIL", "WHY HERE"]);
    let mut free_since_ms = submitted_at_ms;
    for attempt in attempts {
        let (outcome, how) = match attempt.outcome {
            AttemptOutcome::Running => ("running", Mood::Busy),
            AttemptOutcome::Committed => ("committed", Mood::Good),
            AttemptOutcome::Failed => ("failed", Mood::Bad),
            AttemptOutcome::TimedOut => ("timed out", Mood::Bad),
            AttemptOutcome::Lost => ("lost", Mood::Doubtful),
            AttemptOutcome::Cancelled => ("cancelled", Mood::Doubtful),
            AttemptOutcome::Superseded => ("superseded", Mood::Plain),
        };
        let ran = match (attempt.started_at_ms, attempt.ended_at_ms) {
            (Some(start), Some(end)) => span(end.saturating_sub(start)),
            _ => "-".to_owned(),
        };
        let gpus: Vec<String> = attempt.gpus.iter().map(u8::to_string).collect();
        rows.add_row([
            attempt.attempt.to_string().into(),
            format!("{} (life {})", attempt.node, attempt.incarnation).into(),
            if gpus.is_empty() { "-".to_owned() } else { gpus.join(",") }.into(),
            clock_words(attempt.placed_at_ms).into(),
            figure(span(attempt.placed_at_ms.saturating_sub(free_since_ms))),
            figure(ran),
            mood(outcome, how),
            attempt.detail.as_str().into(),
            attempt.why.as_str().into(),
        ]);
        free_since_ms = attempt.ended_at_ms.unwrap_or(attempt.placed_at_ms);
    }
    rows
}

#[cfg(test)]
#[path = "jobs_tests.rs"]
mod tests;
