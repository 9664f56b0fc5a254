//! `resubmit ID`: the same job once more, as a new one that names the first.

use anyhow::anyhow;
use faultline_engine::job::{JobId, JobRef, NotKept, Priority};
use faultline_runtime::clock;
use faultline_runtime::identity::stated;
use faultline_runtime::submit::Submitter;
use serde::Serialize;

use super::link::Link;
use super::submit::{PROGRAM, failure, submit_surely};
use super::{ids, job, parse};
use crate::exit::Failure;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ResubmitFlags {
    /// The job's id, or at least 8 characters from its beginning or end
    #[arg(value_name = "ID", value_parser = parse::job_ref)]
    job: JobRef,
    /// Another priority: urgent, high, normal or low (default: that of the first job)
    #[arg(long, value_parser = parse::priority)]
    priority: Option<Priority>,
}

/// What the command prints as JSON.
#[derive(Debug, Serialize)]
struct Resubmitted {
    id: JobId,
    resubmitted_from: JobId,
    open_seq: u64,
}

pub(crate) async fn run(link: &Link, flags: &ResubmitFlags) -> Result<(), Failure> {
    let first = ids::resolve(&link.nats, &flags.job).await?;
    let view = job::find(&link.nats, first).await?;
    let refused = |reason: NotKept| Failure::Failed(anyhow!("{first} cannot be submitted again: {reason}"));
    let submission = view.submission.ok_or_else(|| refused(NotKept::Unknown))?;
    let now_ms = clock::unix_ms();
    let id = JobId::new(now_ms, clock::random_u128());
    let priority = flags.priority.unwrap_or(view.priority);
    let spec = submission.again(first, (&view.name, &view.kind), priority, (id, now_ms), &stated(PROGRAM)).map_err(refused)?;
    let accepted = submit_surely(&Submitter::new(&link.nats), &spec).await.map_err(|error| failure(&error, 1))?;
    let done = Resubmitted { id, resubmitted_from: first, open_seq: accepted.open_seq };
    link.out.one(&done, |done| format!("submitted {} again as\n  {}", done.resubmitted_from, done.id))
}
