//! `jobs`. The leading scheduler knows the active jobs; RESULTS knows every job that is open or ended less than ten minutes ago. Where
//! both speak, a terminal record is the truth.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use anyhow::anyhow;
use comfy_table::Table;
use faultline_client::{ClientError, Leader};
use faultline_engine::job::{JobId, Priority};
use faultline_protocol::messages::{JobState, JobView, OpenMarker, Record, RecordState, TerminalRecord, is_returned};
use faultline_protocol::{streams, subjects};
use faultline_runtime::clock;
use faultline_runtime::connect::Nats;
use faultline_runtime::read::{From, Reader};
use faultline_runtime::record::{JobRecord, read_record};
use futures::StreamExt;

use super::link::Link;
use super::parse;
use crate::exit::Failure;
use crate::output::{Ids, Mood, ago, figure, mood, span, table};

const READS_AT_ONCE: usize = 64;
/// What a narrow terminal goes without, the first of them first.
const DROPS: [&str; 6] = ["KIND", "ATTEMPTS", "PRIORITY", "TOOK", "NAME", "SUBMITTED"];

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
pub(super) type Ended = Option<JobState>;

pub(crate) async fn list(link: &Link, flags: &JobsFlags) -> Result<(), Failure> {
    let active = match Leader::of(&link.nats).active_jobs().await {
        Ok(rows) => rows.into_iter().map(|row| (row.id, row)).collect(),
        Err(error @ ClientError::NoLeader { .. }) => {
            tracing::warn!("{error}; jobs that run are shown as queued");
            BTreeMap::new()
        }
        Err(error) => return Err(error.into()),
    };
    let known = known_jobs(&link.nats).await?;
    let jobs = newest(&link.nats, flags, known, active).await?;
    let now_ms = clock::unix_ms();
    link.out.rows_fitting(&jobs, |jobs, ids| jobs_table(jobs, ids, now_ms), &DROPS)
}

/// Every job that RESULTS holds now, from headers alone.
pub(super) async fn known_jobs(nats: &Nats) -> Result<BTreeMap<JobId, Ended>, Failure> {
    let mut known = BTreeMap::new();
    let mut reader = Reader::new(nats, streams::RESULTS, From::Start).headers_only();
    reader
        .read_to_end(|row| {
            if let Some(job) = subjects::result_job_id(&row.subject).filter(|_| !is_returned(Some(&row.headers))) {
                let ended = match RecordState::of(Some(&row.headers)) {
                    Some(RecordState::Ended(state)) => Some(state),
                    Some(RecordState::Open) | None => None,
                };
                known.insert(job, ended);
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
            // A list says what a table shows; what was submitted is shown of one job.
            None => read_record(nats, job).await.map(|record| {
                let view = record.and_then(|record| view_of_record(&record))?;
                Some(JobView { submission: None, ..view })
            }),
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
pub(super) fn view_of_record(record: &JobRecord) -> Option<JobView> {
    let view = Record::decode(Some(&record.headers), &record.body).map(|record| match record {
        Record::Open(marker) => view_of_marker(marker),
        Record::Ended(record) => view_of_terminal(*record),
    });
    view.map_err(|error| tracing::warn!(seq = record.seq, %error, "a record in RESULTS cannot be read")).ok()
}

pub(super) fn view_of_marker(marker: OpenMarker) -> JobView {
    JobView::queued(marker.job, marker.name, marker.kind, marker.priority, marker.submitted_at_ms)
}

pub(super) fn view_of_terminal(record: TerminalRecord) -> JobView {
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
        submission: None,
    }
    .with_submission(record.submission)
    .said()
}

pub(super) fn state_mood(state: JobState) -> Mood {
    match state {
        JobState::Queued => Mood::Plain,
        JobState::Running => Mood::Busy,
        JobState::Committed => Mood::Good,
        JobState::Dead | JobState::Abandoned => Mood::Bad,
        JobState::Cancelled => Mood::Doubtful,
    }
}

fn jobs_table(jobs: &[JobView], ids: Ids, now_ms: u64) -> Table {
    let mut rows = table(&["ID", "NAME", "KIND", "PRIORITY", "STATE", "NODE", "ATTEMPTS", "SUBMITTED", "TOOK"]);
    for job in jobs {
        let took = job.ended_at_ms.map_or_else(|| "-".to_owned(), |end| span(end.saturating_sub(job.submitted_at_ms)));
        let state = match job.state {
            JobState::Running => format!("running {} %", job.progress_permille / 10),
            _ => job.state_words().to_owned(),
        };
        rows.add_row([
            ids.write(job.id).into(),
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

#[cfg(test)]
#[path = "jobs_tests.rs"]
mod tests;
