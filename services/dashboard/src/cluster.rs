//! What the dashboard asks of the cluster, and orders. A trait, so that the routes are tested without NATS; nothing
//! here keeps state or decides anything.

mod messaging;
mod stored;

use std::time::Duration;

use faultline_engine::job::{InvalidJob, JobId, JobSpec};
use faultline_protocol::codec;
use faultline_protocol::messages::{
    CancelReply, CancelRequest, ChaosAbort, ChaosList, ChaosListQuery, ChaosReply, ChaosRequest, DrainSetting, FaultOrder, JobView,
    OpenMarker, Query, QueryReply, RateSetting, TerminalRecord,
};
use faultline_protocol::subjects::ControlVerb;
use faultline_protocol::{streams, subjects};
use faultline_runtime::clock::unix_ms;
use faultline_runtime::connect::{BucketError, Nats, RequestError, kv_put};
use faultline_runtime::record::read_record;
use faultline_runtime::submit::{SubmitError, Submitter};
use futures::future::BoxFuture;

pub(crate) use messaging::Messaging;
pub(crate) use stored::StoredMessage;

use crate::view::ended_view;

/// How long the leader may take to answer before the local view does.
const QUERY_LIMIT: Duration = Duration::from_millis(1500);
/// Cancelling writes to a stream first.
const CANCEL_LIMIT: Duration = Duration::from_secs(5);
/// `up` looks whether the cluster is fit for it before it answers.
const CHAOS_LIMIT: Duration = Duration::from_secs(5);
pub(crate) const OPERATOR: &str = "dashboard";

/// Why the cluster did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClusterError {
    #[error("no scheduler answers: {0}")]
    NoScheduler(String),
    #[error("no `faultline up` carries out experiments here: {0}")]
    NoExperiments(String),
    #[error("NATS cannot be reached: {0}")]
    Unreachable(String),
    #[error("the queue is full: {0}")]
    QueueFull(String),
    #[error(transparent)]
    Invalid(#[from] InvalidJob),
    #[error("{0}")]
    Failed(String),
}

/// What RESULTS holds of a job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Record {
    Open(OpenMarker),
    Ended(Box<TerminalRecord>),
}

impl Record {
    /// Reads the body according to the header that says which of the two it is.
    pub(crate) fn decode(headers: Option<&async_nats::HeaderMap>, body: &[u8]) -> Result<Self, codec::DecodeError> {
        let state = headers.and_then(|headers| headers.get(codec::HEADER_JOB_STATE));
        if state.is_some_and(|state| state.as_str() == faultline_runtime::record::OPEN) {
            return codec::decode(headers, body).map(Record::Open);
        }
        codec::decode(headers, body).map(|record| Record::Ended(Box::new(record)))
    }

    /// The job as the record alone shows it; none while it is open, since the record then says too little.
    pub(crate) fn ended(&self) -> Option<JobView> {
        match self {
            Record::Ended(record) => Some(ended_view(record)),
            Record::Open(_) => None,
        }
    }
}

/// The cluster, seen from here.
pub(crate) trait Cluster: Send + Sync + 'static {
    fn is_connected(&self) -> bool;
    /// Asks the leading scheduler.
    fn query(&self, query: Query) -> BoxFuture<'_, Result<QueryReply, ClusterError>>;
    /// Cancels all of these; at most 1,000.
    fn cancel(&self, jobs: Vec<JobId>) -> BoxFuture<'_, Result<CancelReply, ClusterError>>;
    fn submit(&self, spec: JobSpec) -> BoxFuture<'_, Result<(), ClusterError>>;
    fn set_rate(&self, rate: RateSetting) -> BoxFuture<'_, Result<(), ClusterError>>;
    /// Drains the node or, with no setting, takes that back.
    fn set_drain(&self, node: String, setting: Option<DrainSetting>) -> BoxFuture<'_, Result<(), ClusterError>>;
    /// What RESULTS holds of the job.
    fn record(&self, job: JobId) -> BoxFuture<'_, Result<Option<Record>, ClusterError>>;
    /// The messages that the streams hold of the job. `queued_as` is the subject under which it waits, if that is known.
    fn messages(&self, job: JobId, queued_as: Option<String>) -> BoxFuture<'_, Result<Vec<StoredMessage>, ClusterError>>;
    /// Streams, consumers and buckets.
    fn messaging(&self) -> BoxFuture<'_, Result<Messaging, ClusterError>>;
    /// Puts a fault upon a node of that worker, or takes it off.
    fn order_fault(&self, worker: String, order: FaultOrder) -> BoxFuture<'_, Result<(), ClusterError>>;
    /// Asks who carries out experiments for the kinds and the newest runs.
    fn chaos_list(&self, limit: u32) -> BoxFuture<'_, Result<ChaosList, ClusterError>>;
    fn chaos_run(&self, request: ChaosRequest) -> BoxFuture<'_, Result<ChaosReply, ClusterError>>;
    fn chaos_abort(&self, order: ChaosAbort) -> BoxFuture<'_, Result<ChaosReply, ClusterError>>;
}

/// The cluster behind a NATS connection.
#[derive(Debug, Clone)]
pub(crate) struct NatsCluster {
    nats: Nats,
    submitter: Submitter,
}

impl NatsCluster {
    pub(crate) fn new(nats: &Nats) -> Self {
        Self { nats: nats.clone(), submitter: Submitter::new(nats) }
    }

    fn check_link(&self) -> Result<(), ClusterError> {
        if self.nats.is_connected() { Ok(()) } else { Err(ClusterError::Unreachable("the connection is down and being made again".into())) }
    }

    async fn ask_up<Q: codec::Message, A: codec::Message>(&self, subject: &'static str, question: &Q) -> Result<A, ClusterError> {
        self.check_link()?;
        self.nats.request::<Q, A>(subject, question, CHAOS_LIMIT).await.map_err(|error| match (self.check_link(), error) {
            (Err(down), _) => down,
            (Ok(()), error @ RequestError::NoResponders(_)) => ClusterError::NoExperiments(error.to_string()),
            (Ok(()), error) => ClusterError::Failed(error.to_string()),
        })
    }

    fn request_failed(&self, error: &RequestError) -> ClusterError {
        match self.check_link() {
            Err(down) => down,
            Ok(()) => ClusterError::NoScheduler(error.to_string()),
        }
    }
}

impl From<BucketError> for ClusterError {
    fn from(error: BucketError) -> Self {
        ClusterError::Failed(error.to_string())
    }
}

impl From<SubmitError> for ClusterError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Invalid(invalid) => ClusterError::Invalid(invalid),
            SubmitError::QueueFull(reason) | SubmitError::ResultsFull(reason) => ClusterError::QueueFull(reason),
            SubmitError::TooOld | SubmitError::Publish(_) | SubmitError::ReadBack(_) => ClusterError::Failed(error.to_string()),
        }
    }
}

impl Cluster for NatsCluster {
    fn is_connected(&self) -> bool {
        self.nats.is_connected()
    }

    fn query(&self, query: Query) -> BoxFuture<'_, Result<QueryReply, ClusterError>> {
        Box::pin(async move {
            self.check_link()?;
            let answer = self.nats.request::<Query, QueryReply>(subjects::SCHED_QUERY, &query, QUERY_LIMIT).await;
            answer.map_err(|error| self.request_failed(&error))
        })
    }

    fn cancel(&self, jobs: Vec<JobId>) -> BoxFuture<'_, Result<CancelReply, ClusterError>> {
        Box::pin(async move {
            self.check_link()?;
            let order = CancelRequest { jobs, by: OPERATOR.into() };
            let answer = self.nats.request::<CancelRequest, CancelReply>(subjects::SCHED_CANCEL, &order, CANCEL_LIMIT).await;
            answer.map_err(|error| self.request_failed(&error))
        })
    }

    fn submit(&self, spec: JobSpec) -> BoxFuture<'_, Result<(), ClusterError>> {
        Box::pin(async move {
            self.check_link()?;
            self.submitter.submit(&spec).await?;
            Ok(())
        })
    }

    fn set_rate(&self, rate: RateSetting) -> BoxFuture<'_, Result<(), ClusterError>> {
        Box::pin(async move {
            self.check_link()?;
            let control = self.nats.bucket(streams::KV_CONTROL).await?;
            kv_put(&control, streams::KEY_RATE, &rate).await?;
            Ok(())
        })
    }

    fn set_drain(&self, node: String, setting: Option<DrainSetting>) -> BoxFuture<'_, Result<(), ClusterError>> {
        Box::pin(async move {
            self.check_link()?;
            let control = self.nats.bucket(streams::KV_CONTROL).await?;
            let key = subjects::drain_key(&node);
            match setting {
                Some(setting) => kv_put(&control, &key, &setting).await.map(drop)?,
                None => control.delete(&key).await.map_err(|error| ClusterError::Failed(error.to_string()))?,
            }
            Ok(())
        })
    }

    fn record(&self, job: JobId) -> BoxFuture<'_, Result<Option<Record>, ClusterError>> {
        Box::pin(async move {
            self.check_link()?;
            let Some(found) = read_record(&self.nats, job).await.map_err(ClusterError::Failed)? else { return Ok(None) };
            let record = Record::decode(Some(&found.headers), &found.body);
            record.map(Some).map_err(|error| ClusterError::Failed(format!("the record of {job} cannot be read: {error}")))
        })
    }

    fn messages(&self, job: JobId, queued_as: Option<String>) -> BoxFuture<'_, Result<Vec<StoredMessage>, ClusterError>> {
        Box::pin(async move {
            self.check_link()?;
            stored::of_job(&self.nats, job, queued_as).await.map_err(ClusterError::Failed)
        })
    }

    fn messaging(&self) -> BoxFuture<'_, Result<Messaging, ClusterError>> {
        Box::pin(async move {
            self.check_link()?;
            messaging::figures(&self.nats, unix_ms()).await.map_err(ClusterError::Failed)
        })
    }

    fn order_fault(&self, worker: String, order: FaultOrder) -> BoxFuture<'_, Result<(), ClusterError>> {
        Box::pin(async move {
            self.check_link()?;
            let sent = self.nats.publish(subjects::ctl(&worker, ControlVerb::Fault), &order).await;
            sent.map_err(|error| ClusterError::Failed(error.to_string()))
        })
    }

    fn chaos_list(&self, limit: u32) -> BoxFuture<'_, Result<ChaosList, ClusterError>> {
        Box::pin(async move { self.ask_up(subjects::CHAOS_LIST, &ChaosListQuery { limit }).await })
    }

    fn chaos_run(&self, request: ChaosRequest) -> BoxFuture<'_, Result<ChaosReply, ClusterError>> {
        Box::pin(async move { self.ask_up(subjects::CHAOS_RUN, &request).await })
    }

    fn chaos_abort(&self, order: ChaosAbort) -> BoxFuture<'_, Result<ChaosReply, ClusterError>> {
        Box::pin(async move { self.ask_up(subjects::CHAOS_ABORT, &order).await })
    }
}
