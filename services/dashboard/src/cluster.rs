//! What the dashboard asks of the cluster, and orders. A trait, so that the routes are tested without NATS; nothing
//! here keeps state or decides anything.

mod last_messaging;
mod messaging;
mod stored;

use std::time::Duration;

use faultline_client::{ClientError, Leader, Up, faults, settings};
use faultline_engine::job::{InvalidJob, JobId, JobSpec, Priority};
use faultline_protocol::messages::{
    CancelReply, ChaosAbort, ChaosList, ChaosRequest, DrainSetting, FaultOrder, KillReply, KillRequest, ProcessesQuery, ProcessesReply,
    Query, QueryReply, RateSetting,
};
use faultline_runtime::clock::unix_ms;
use faultline_runtime::connect::Nats;
use faultline_runtime::record::{read_queued, read_record};
use faultline_runtime::submit::{SubmitError, Submitter};
use futures::future::BoxFuture;

pub(crate) use faultline_client::experiments::Started;
pub(crate) use faultline_protocol::messages::Record;
pub(crate) use last_messaging::LastMessaging;
pub(crate) use messaging::Messaging;
pub(crate) use stored::StoredMessage;

/// How long the leader may take to answer before the local view does.
const QUERY_LIMIT: Duration = Duration::from_millis(1500);
/// Cancelling writes to a stream first.
const CANCEL_LIMIT: Duration = Duration::from_secs(5);
/// `up` watches a killed process for up to 3 s before it answers.
const CHAOS_LIMIT: Duration = Duration::from_secs(5);
const DOWN: &str = "the connection is down and being made again";
/// As what orders that come through here are signed.
pub(crate) const OPERATOR: &str = "the dashboard";

/// Why the cluster did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClusterError {
    #[error("no scheduler answers: {0}")]
    NoScheduler(String),
    #[error("no `faultline up` answers for the processes of this cluster: {0}")]
    NoExperiments(String),
    #[error("NATS cannot be reached: {0}")]
    Unreachable(String),
    /// The worker that should obey is not there.
    #[error("{0}")]
    NoWorker(String),
    #[error("{0}")]
    RefusedByUp(String),
    #[error("the queue is full: {0}")]
    QueueFull(String),
    #[error(transparent)]
    Invalid(#[from] InvalidJob),
    #[error("{0}")]
    Failed(String),
}

/// How things stand with NATS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct NatsState {
    pub(crate) connected: bool,
    /// For how long it has not answered; none while it does.
    pub(crate) silent_for: Option<Duration>,
}

/// The cluster, seen from here.
pub(crate) trait Cluster: Send + Sync + 'static {
    fn nats(&self) -> NatsState;
    /// Asks the leading scheduler.
    fn query(&self, query: Query) -> BoxFuture<'_, Result<QueryReply, ClusterError>>;
    /// Cancels all of these; at most 1,000.
    fn cancel(&self, jobs: Vec<JobId>) -> BoxFuture<'_, Result<CancelReply, ClusterError>>;
    fn submit(&self, spec: JobSpec) -> BoxFuture<'_, Result<(), ClusterError>>;
    /// The revision under which the setting is stored.
    fn set_rate(&self, rate: RateSetting) -> BoxFuture<'_, Result<u64, ClusterError>>;
    /// Drains the node or, with no setting, takes that back.
    fn set_drain(&self, node: String, setting: Option<DrainSetting>) -> BoxFuture<'_, Result<(), ClusterError>>;
    /// What RESULTS holds of the job.
    fn record(&self, job: JobId) -> BoxFuture<'_, Result<Option<Record>, ClusterError>>;
    /// What waits in the queue of the job; the class is the part of its kind before a colon.
    fn queued(&self, job: JobId, priority: Priority, class: String) -> BoxFuture<'_, Result<Option<JobSpec>, ClusterError>>;
    /// The messages that the streams hold of the job. `queued_as` is the subject under which it waits, if that is known.
    fn messages(&self, job: JobId, queued_as: Option<String>) -> BoxFuture<'_, Result<Vec<StoredMessage>, ClusterError>>;
    /// Streams, consumers and buckets.
    fn messaging(&self) -> BoxFuture<'_, Result<Messaging, ClusterError>>;
    /// Puts a fault upon a node of that worker, or takes it off.
    fn order_fault(&self, worker: String, order: FaultOrder) -> BoxFuture<'_, Result<(), ClusterError>>;
    /// Kills one process, now; answered once it has happened.
    fn kill(&self, request: KillRequest) -> BoxFuture<'_, Result<KillReply, ClusterError>>;
    /// What `up` tells of its processes and their logs.
    fn processes(&self, query: ProcessesQuery) -> BoxFuture<'_, Result<ProcessesReply, ClusterError>>;
    /// Asks who carries out experiments for the kinds and the newest runs.
    fn chaos_list(&self, limit: u32) -> BoxFuture<'_, Result<ChaosList, ClusterError>>;
    fn chaos_run(&self, request: ChaosRequest) -> BoxFuture<'_, Result<Started, ClusterError>>;
    /// The run that is put right and ends.
    fn chaos_abort(&self, order: ChaosAbort) -> BoxFuture<'_, Result<String, ClusterError>>;
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
        if self.nats.is_connected() { Ok(()) } else { Err(ClusterError::Unreachable(DOWN.into())) }
    }

    fn up(&self) -> Result<Up<'_>, ClusterError> {
        self.check_link()?;
        Ok(Up::of(&self.nats, CHAOS_LIMIT))
    }
}

impl From<ClientError> for ClusterError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::NoLeader { reason } => ClusterError::NoScheduler(reason),
            ClientError::NoUp { reason } => ClusterError::NoExperiments(reason),
            ClientError::Disconnected => ClusterError::Unreachable(DOWN.into()),
            ClientError::Silent => ClusterError::Unreachable(error.to_string()),
            ClientError::WorkerSilent { .. } => ClusterError::NoWorker(error.to_string()),
            ClientError::RefusedByUp(reason) => ClusterError::RefusedByUp(reason),
            ClientError::UpSilent { reason } => ClusterError::Failed(reason),
            ClientError::Refused(_)
            | ClientError::Unexpected(_)
            | ClientError::Bucket(_)
            | ClientError::Read(_)
            | ClientError::UnknownNode(_)
            | ClientError::InvalidFault(_)
            | ClientError::UnexpectedFromUp
            | ClientError::Failed(_) => ClusterError::Failed(error.to_string()),
        }
    }
}

impl From<SubmitError> for ClusterError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Invalid(invalid) => ClusterError::Invalid(invalid),
            SubmitError::QueueFull(reason) | SubmitError::ResultsFull(reason) => ClusterError::QueueFull(reason),
            SubmitError::TooOld | SubmitError::Stalled(_) | SubmitError::IdUsed | SubmitError::Publish(_) | SubmitError::ReadBack(_) => {
                ClusterError::Failed(error.to_string())
            }
        }
    }
}

impl Cluster for NatsCluster {
    fn nats(&self) -> NatsState {
        NatsState { connected: self.nats.is_connected(), silent_for: self.nats.silent_for() }
    }

    fn query(&self, query: Query) -> BoxFuture<'_, Result<QueryReply, ClusterError>> {
        Box::pin(async move {
            self.check_link()?;
            Ok(Leader::once(&self.nats, QUERY_LIMIT).ask(&query).await?)
        })
    }

    fn cancel(&self, jobs: Vec<JobId>) -> BoxFuture<'_, Result<CancelReply, ClusterError>> {
        Box::pin(async move {
            self.check_link()?;
            Ok(Leader::once(&self.nats, CANCEL_LIMIT).cancel(&jobs, OPERATOR).await?)
        })
    }

    fn submit(&self, spec: JobSpec) -> BoxFuture<'_, Result<(), ClusterError>> {
        Box::pin(async move {
            self.check_link()?;
            self.submitter.submit(&spec).await?;
            Ok(())
        })
    }

    fn set_rate(&self, rate: RateSetting) -> BoxFuture<'_, Result<u64, ClusterError>> {
        Box::pin(async move {
            self.check_link()?;
            Ok(settings::store_rate(&self.nats, &rate).await?)
        })
    }

    fn set_drain(&self, node: String, setting: Option<DrainSetting>) -> BoxFuture<'_, Result<(), ClusterError>> {
        Box::pin(async move {
            self.check_link()?;
            match setting {
                Some(setting) => settings::drain(&self.nats, &node, &setting).await?,
                None => settings::undrain(&self.nats, &node).await.map(drop)?,
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

    fn queued(&self, job: JobId, priority: Priority, class: String) -> BoxFuture<'_, Result<Option<JobSpec>, ClusterError>> {
        Box::pin(async move {
            self.check_link()?;
            read_queued(&self.nats, priority, &class, job).await.map_err(ClusterError::Failed)
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
            Ok(faults::hand_over(&self.nats, &worker, &order).await?)
        })
    }

    fn kill(&self, request: KillRequest) -> BoxFuture<'_, Result<KillReply, ClusterError>> {
        Box::pin(async move { Ok(self.up()?.kill(&request).await?) })
    }

    fn processes(&self, query: ProcessesQuery) -> BoxFuture<'_, Result<ProcessesReply, ClusterError>> {
        Box::pin(async move { Ok(self.up()?.processes(&query).await?) })
    }

    fn chaos_list(&self, limit: u32) -> BoxFuture<'_, Result<ChaosList, ClusterError>> {
        Box::pin(async move { Ok(self.up()?.list(limit).await?) })
    }

    fn chaos_run(&self, request: ChaosRequest) -> BoxFuture<'_, Result<Started, ClusterError>> {
        Box::pin(async move { Ok(self.up()?.run(&request).await?) })
    }

    fn chaos_abort(&self, order: ChaosAbort) -> BoxFuture<'_, Result<String, ClusterError>> {
        Box::pin(async move { Ok(self.up()?.abort(&order).await?) })
    }
}
