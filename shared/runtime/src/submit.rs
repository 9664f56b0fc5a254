//! Step one of a job's way: an open marker in RESULTS, then the job in JOBS. Both may be repeated with the same id.

use async_nats::HeaderMap;
use async_nats::header;
use faultline_engine::job::{InvalidJob, JobId, JobSpec};
use faultline_protocol::codec::{self, HEADER_JOB_OPEN_SEQ, HEADER_JOB_STATE, HEADER_TRACEPARENT};
use faultline_protocol::messages::{OpenMarker, QueuedJob};
use faultline_protocol::{streams, subjects};

use crate::connect::{Nats, PublishError};
use crate::record::OPEN;
pub use crate::record::{JobRecord, read_record};
use crate::trace::{Span, traceparent};

/// The value of `Nats-TTL` that outlives every limit.
const TTL_NEVER: &str = "never";

#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    #[error("the job is refused: {0}")]
    Invalid(#[from] InvalidJob),
    #[error("the job's id is older than {} s: make a new one, its record may have expired and it could run twice", streams::MAX_SUBMIT_AGE.as_secs())]
    TooOld,
    #[error("the queue is full ({0}): wait for jobs to finish, or raise the limit with `faultline setup --jobs-max-bytes`")]
    QueueFull(String),
    #[error("RESULTS is full ({0}): wait for records to expire, or raise the limit with `faultline setup --results-max-bytes`")]
    ResultsFull(String),
    #[error("the job could not be handed over: {0}")]
    Publish(#[from] PublishError),
    #[error("the record of the job could not be read back: {0}")]
    ReadBack(String),
}

impl SubmitError {
    /// Whether the same job, with the same id, should be submitted again.
    pub fn is_transient(&self) -> bool {
        match self {
            SubmitError::Invalid(_) | SubmitError::TooOld => false,
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
}

/// Submits jobs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Submitter {
    nats: Nats,
}

impl Submitter {
    pub fn new(nats: &Nats) -> Self {
        Self { nats: nats.clone() }
    }

    /// Hands one job over: after `Ok` it is durable, and will be committed, dead or cancelled exactly once.
    pub async fn submit(&self, spec: &JobSpec) -> Result<Submitted, SubmitError> {
        spec.validate()?;
        if crate::clock::unix_ms().saturating_sub(spec.id.unix_ms()) > crate::clock::ms(streams::MAX_SUBMIT_AGE) {
            return Err(SubmitError::TooOld);
        }
        let began_ms = crate::clock::unix_ms();
        let opened = self.open(spec).await?;
        if !opened.already_done {
            self.enqueue(spec, opened.open_seq).await?;
            self.tell(spec, began_ms);
        }
        Ok(opened)
    }

    /// The root of the job's trace.
    fn tell(&self, spec: &JobSpec, start_ms: u64) {
        self.nats.tracer().tell(Some(&traceparent(spec.id)), |trace, id| {
            let attributes =
                vec![("job", spec.id.to_string()), ("job.kind", spec.kind.clone()), ("job.priority", spec.priority.to_string())];
            let (name, end_ms) = ("submit".to_owned(), crate::clock::unix_ms());
            vec![Span { trace, id, parent: None, name, start_ms, end_ms, attributes, error: None }]
        });
    }

    /// The first of the two writes: the open marker. A job that has one and no message in JOBS is an orphan.
    pub async fn open(&self, spec: &JobSpec) -> Result<Submitted, SubmitError> {
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
            Ok(open_seq) => Ok(Submitted { open_seq, already_done: false }),
            Err(PublishError::WrongLastSequence) => self.read_back(spec.id).await,
            Err(PublishError::StreamFull(reason)) => Err(SubmitError::ResultsFull(reason)),
            Err(error) => Err(error.into()),
        }
    }

    /// The marker is there already: an earlier try of ours got through, or the job has even ended.
    async fn read_back(&self, job: JobId) -> Result<Submitted, SubmitError> {
        match read_record(&self.nats, job).await {
            Ok(Some(record)) => Ok(Submitted { open_seq: record.seq, already_done: !record.is_open }),
            Ok(None) => Err(SubmitError::ReadBack("it is gone".into())),
            Err(reason) => Err(SubmitError::ReadBack(reason)),
        }
    }

    /// The second one: the message in JOBS, which names the marker.
    pub async fn enqueue(&self, spec: &JobSpec, open_seq: u64) -> Result<(), SubmitError> {
        let mut headers: HeaderMap = codec::headers_for::<QueuedJob>();
        headers.insert(HEADER_JOB_OPEN_SEQ, open_seq.to_string());
        headers.insert(header::NATS_MESSAGE_ID, spec.id.to_string());
        headers.insert(HEADER_TRACEPARENT, traceparent(spec.id));
        let subject = subjects::queue(spec.priority, spec.class(), spec.id);
        match self.nats.publish_durable_with(subject, headers, &QueuedJob { spec: spec.clone() }).await {
            Ok(_) => Ok(()),
            Err(PublishError::StreamFull(reason)) => Err(SubmitError::QueueFull(reason)),
            Err(error) => Err(error.into()),
        }
    }
}
