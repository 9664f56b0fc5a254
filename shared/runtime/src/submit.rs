//! Step one of a job's way: an open marker in RESULTS, then the job in JOBS. Both may be repeated with the same id.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header;
use faultline_engine::job::{InvalidJob, JobId, JobSpec};
use faultline_protocol::codec::{self, HEADER_JOB_OPEN_SEQ, HEADER_JOB_STATE};
use faultline_protocol::messages::{OPEN, OpenMarker, QueuedJob};
use faultline_protocol::{batch, streams, subjects};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::connect::PublishError;
use crate::connection::Connection;
pub use crate::record::{JobRecord, read_record};
use crate::room::Room;
use crate::sight::look_at;
use crate::trace::Span;

/// The value of `Nats-TTL` that outlives every limit.
const TTL_NEVER: &str = "never";
/// What may pass between the two writes: half of what the sweeper waits, since its clock is another one.
const PACE_LIMIT: Duration = Duration::from_secs(streams::ORPHAN_AFTER.as_secs() / 2);

fn check_pace(elapsed: Duration) -> Result<(), SubmitError> {
    if elapsed < PACE_LIMIT { Ok(()) } else { Err(SubmitError::Stalled(elapsed.as_secs())) }
}

#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    #[error("the job is refused: {0}")]
    Invalid(#[from] InvalidJob),
    #[error("the job's id is older than {} s: make a new one, its record may have expired and it could run twice", streams::MAX_SUBMIT_AGE.as_secs())]
    TooOld,
    #[error("the queue is full ({0}): wait for jobs to finish, or raise the limit with `faultline setup --jobs-max-bytes`")]
    QueueFull(String),
    #[error(
        "RESULTS is full ({0}): wait for jobs to end and for records to expire, or raise the limit with `faultline setup --results-max-bytes`"
    )]
    ResultsFull(String),
    #[error("the job was opened {0} s ago and not queued since: the scheduler may have abandoned it; submit it again with a new id")]
    Stalled(u64),
    #[error("the id was used before, and the record of that job is gone: make a new one")]
    IdUsed,
    #[error("the job could not be handed over: {0}")]
    Publish(#[from] PublishError),
    #[error("the record of the job could not be read back: {0}")]
    ReadBack(String),
}

impl SubmitError {
    /// Whether the same job, with the same id, should be submitted again.
    pub fn is_transient(&self) -> bool {
        match self {
            SubmitError::Invalid(_) | SubmitError::TooOld | SubmitError::Stalled(_) | SubmitError::IdUsed => false,
            SubmitError::QueueFull(_) | SubmitError::ResultsFull(_) | SubmitError::ReadBack(_) => true,
            SubmitError::Publish(error) => error.is_transient(),
        }
    }
}

/// What became of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    /// Sequence of the open marker: the token that every commit of this job expects.
    pub open_seq: u64,
    /// The job had already ended: nothing was queued.
    pub already_done: bool,
    /// Its open marker was not there before.
    pub is_new: bool,
}

/// Submits jobs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Submitter {
    nats: Connection,
    room: Arc<SharedRoom>,
}

/// What the clones of a submitter know of the room in RESULTS.
#[derive(Debug, Default)]
struct SharedRoom {
    room: Mutex<Room>,
    looking: tokio::sync::Mutex<()>,
}

impl SharedRoom {
    fn locked(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room that is kept while a job is opened, also when the caller stops waiting for the outcome.
struct Kept<'a> {
    room: &'a SharedRoom,
    spec_bytes: usize,
    is_open: bool,
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.room.locked().on_settled(self.spec_bytes, self.is_open);
    }
}

impl Submitter {
    pub fn new(nats: &Connection) -> Self {
        Self { nats: nats.clone(), room: Arc::default() }
    }

    /// Hands one job over: after `Ok` it is durable, and will be committed, dead or cancelled exactly once. Boxed, so that it is compiled
    /// and optimised in this crate, with all that it calls, and not in each program that submits.
    pub fn submit<'a>(&'a self, spec: &'a JobSpec) -> BoxFuture<'a, Result<Submitted, SubmitError>> {
        self.hand_over(spec).boxed()
    }

    async fn hand_over(&self, spec: &JobSpec) -> Result<Submitted, SubmitError> {
        spec.validate()?;
        self.check_size(spec)?;
        if self.nats.unix_ms().saturating_sub(spec.id.unix_ms()) > crate::clock::ms(streams::MAX_SUBMIT_AGE) {
            return Err(SubmitError::TooOld);
        }
        let (began, began_ms) = (Instant::now(), self.nats.unix_ms());
        let opened = self.open(spec).await?;
        if !opened.already_done {
            // A process that was frozen between the two writes must not queue what the sweeper has abandoned meanwhile.
            check_pace(began.elapsed())?;
            let is_known = self.enqueue(spec, opened.open_seq).await?;
            if is_known && opened.is_new {
                return Err(SubmitError::IdUsed);
            }
            if check_pace(began.elapsed()).is_err() && self.read_back(spec.id).await?.already_done {
                check_pace(began.elapsed())?;
            }
            self.tell(spec, began_ms);
        }
        Ok(opened)
    }

    /// Whether each assignment of the job can be sent, also one with a long path behind it.
    fn check_size(&self, spec: &JobSpec) -> Result<(), InvalidJob> {
        let (bytes, most) = (batch::bytes_of(spec), self.nats.most_bytes().saturating_sub(batch::ASSIGNMENT_BYTES));
        if bytes <= most {
            return Ok(());
        }
        let problem = format!(
            "the job takes {bytes} bytes, and the NATS server has room for {most}: shorten its parameters, or raise the server's max_payload, \
             which is {}",
            self.nats.max_payload()
        );
        Err(InvalidJob::new("params", problem))
    }

    /// RESULTS keeps room for the ends of what is open, and now for that of one more job.
    async fn reserve_room(&self, spec_bytes: usize) -> Result<Kept<'_>, SubmitError> {
        // Who comes during a look waits for it, and opens nothing by an older one.
        let _looking = self.room.looking.lock().await;
        let is_due = self.room.locked().is_due(Instant::now());
        if is_due {
            match tokio::try_join!(look_at(&self.nats, streams::JOBS), look_at(&self.nats, streams::RESULTS)) {
                Ok((jobs, results)) => self.room.locked().on_look(&jobs, &results),
                Err(reason) => tracing::debug!(reason, "cannot read how full RESULTS is: the server decides"),
            }
        }
        self.room.locked().reserve(spec_bytes).map_err(SubmitError::ResultsFull)?;
        Ok(Kept { room: &self.room, spec_bytes, is_open: false })
    }

    /// The root of the job's trace.
    fn tell(&self, spec: &JobSpec, start_ms: u64) {
        self.nats.tracer().tell(spec.id, |trace, id| {
            let attributes =
                vec![("job", spec.id.to_string()), ("job.kind", spec.kind.clone()), ("job.priority", spec.priority.to_string())];
            let (name, end_ms) = ("submit".to_owned(), self.nats.unix_ms());
            vec![Span { trace, id, parent: None, name, start_ms, end_ms, attributes, error: None }]
        });
    }

    /// The first of the two writes: the open marker. A job that has one and no message in JOBS is an orphan.
    pub async fn open(&self, spec: &JobSpec) -> Result<Submitted, SubmitError> {
        let mut kept = self.reserve_room(batch::bytes_of(spec)).await?;
        let opened = self.open_marker(spec).await?;
        kept.is_open = opened.is_new;
        Ok(opened)
    }

    async fn open_marker(&self, spec: &JobSpec) -> Result<Submitted, SubmitError> {
        let marker = OpenMarker {
            job: spec.id,
            name: spec.name.clone(),
            kind: spec.kind.clone(),
            priority: spec.priority,
            submitted_at_ms: spec.submitted_at_ms,
        };
        let mut headers = codec::headers_for::<OpenMarker>();
        headers.insert(HEADER_JOB_STATE, OPEN);
        headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        headers.insert(header::NATS_MESSAGE_TTL, TTL_NEVER);
        match self.nats.publish_durable_with(subjects::result(spec.id), headers, &marker).await {
            Ok(open_seq) => Ok(Submitted { open_seq, already_done: false, is_new: true }),
            Err(PublishError::WrongLastSequence) => self.read_back(spec.id).await,
            Err(PublishError::StreamFull(reason)) => Err(SubmitError::ResultsFull(reason)),
            Err(error) => Err(error.into()),
        }
    }

    /// The marker is there already: an earlier try of ours got through, or the job has even ended.
    async fn read_back(&self, job: JobId) -> Result<Submitted, SubmitError> {
        match read_record(&self.nats, job).await {
            Ok(Some(record)) => Ok(Submitted { open_seq: record.seq, already_done: !record.is_open, is_new: false }),
            Ok(None) => Err(SubmitError::ReadBack("it is gone".into())),
            Err(reason) => Err(SubmitError::ReadBack(reason)),
        }
    }

    /// The second one: the message in JOBS, which names the marker. Returns whether JOBS had it already.
    pub async fn enqueue(&self, spec: &JobSpec, open_seq: u64) -> Result<bool, SubmitError> {
        let mut headers: HeaderMap = codec::headers_for::<QueuedJob>();
        headers.insert(HEADER_JOB_OPEN_SEQ, open_seq.to_string());
        headers.insert(header::NATS_MESSAGE_ID, spec.id.to_string());
        let subject = subjects::queue(spec.priority, spec.class(), spec.id);
        match self.nats.publish_acknowledged(subject, headers, &QueuedJob { spec: spec.clone() }).await {
            Ok(ack) => Ok(ack.duplicate),
            Err(PublishError::StreamFull(reason)) => Err(SubmitError::QueueFull(reason)),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submitter_that_paused_between_its_two_writes_is_refused() {
        assert!(check_pace(Duration::from_secs(59)).is_ok());
        let refused = check_pace(Duration::from_secs(61)).unwrap_err();
        assert!(!refused.is_transient() && refused.to_string().contains("61 s ago"), "{refused}");
    }
}
