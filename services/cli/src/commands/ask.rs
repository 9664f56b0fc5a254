//! Questions to the leading scheduler, and the connection that every data command opens. When nobody leads for a few
//! seconds the answer is a clear error, never a silent wait.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use faultline_engine::job::JobId;
use faultline_protocol::codec::Message;
use faultline_protocol::messages::{CancelReply, CancelRequest, ClusterStats, JobView, MAX_QUERY_ROWS, NodeView, Query, QueryReply};
use faultline_protocol::{streams, subjects};
use faultline_runtime::connect::{self, Nats, RequestError};
use tokio::time::Instant;

use crate::exit::Failure;
use crate::output::Output;
use crate::session::Session;
use crate::up::remote;
use crate::up::state::RunningState;

/// A standby takes over within its lease of 3 s; a little more than that is waited for.
const LEADER_PATIENCE: Duration = Duration::from_secs(5);
const ONE_ANSWER: Duration = Duration::from_secs(2);
const CANCEL_ANSWER: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(250);

/// What a data command works with.
pub(crate) struct Link {
    pub nats: Nats,
    pub out: Output,
    pub data_dir: PathBuf,
    /// The `faultline up` of that folder, if it runs this cluster.
    pub up: Option<RunningState>,
}

impl Link {
    pub(crate) async fn open(session: &Session) -> Result<Self, Failure> {
        let out = Output::new(session.format, session.common.color);
        let nats = session.connect().await?;
        require_streams(&nats).await?;
        Ok(Self { nats, out, up: remote::here(session), data_dir: session.data_dir.clone() })
    }
}

/// Without the streams every command would fail, each in its own dark words.
async fn require_streams(nats: &Nats) -> Result<(), Failure> {
    let failed = |error: String| Failure::Failed(anyhow!("the stream RESULTS cannot be looked at: {error}"));
    let stream = nats.jetstream.get_stream_no_info(streams::RESULTS).await.map_err(|error| failed(error.to_string()))?;
    match stream.get_info().await {
        Ok(_) => Ok(()),
        Err(error) if connect::is_no_jetstream(&error) => {
            Err(Failure::Failed(anyhow!("this NATS server runs without JetStream: start it with -js, or use `faultline up`")))
        }
        Err(error) if error.to_string().contains("stream not found") => {
            Err(Failure::Failed(anyhow!("this NATS server has no streams of Faultline yet: run `faultline setup`, or `faultline up`")))
        }
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Why the leader gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("no scheduler answers: `faultline status` shows what runs, `faultline up` starts it")]
    NoLeader,
    #[error("the link to NATS is down")]
    Disconnected,
    #[error("the scheduler refused: {0}")]
    Refused(String),
    #[error("the scheduler's answer cannot be used: {0}")]
    Odd(String),
}

impl From<NoAnswer> for Failure {
    fn from(error: NoAnswer) -> Self {
        match error {
            NoAnswer::Disconnected => Failure::Unreachable(error.to_string()),
            NoAnswer::NoLeader | NoAnswer::Refused(_) | NoAnswer::Odd(_) => Failure::Failed(error.into()),
        }
    }
}

async fn ask(nats: &Nats, query: &Query) -> Result<QueryReply, NoAnswer> {
    match ask_leader(nats, subjects::SCHED_QUERY, query, ONE_ANSWER).await? {
        QueryReply::Error(reason) => Err(NoAnswer::Refused(reason)),
        reply => Ok(reply),
    }
}

/// Asks again through a change of leader: what is asked must do no harm when it is heard twice.
async fn ask_leader<Q: Message, A: Message>(nats: &Nats, subject: &'static str, question: &Q, limit: Duration) -> Result<A, NoAnswer> {
    let give_up = Instant::now() + LEADER_PATIENCE;
    loop {
        match nats.request(subject, question, limit).await {
            Ok(reply) => return Ok(reply),
            Err(RequestError::Decode { source, .. }) => return Err(NoAnswer::Odd(source.to_string())),
            Err(error) if Instant::now() >= give_up => {
                tracing::debug!(%error, "the leader was asked in vain");
                return Err(if nats.is_connected() { NoAnswer::NoLeader } else { NoAnswer::Disconnected });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

fn odd<T>(reply: &QueryReply) -> Result<T, NoAnswer> {
    let kind = match reply {
        QueryReply::Stats(_) => "stats",
        QueryReply::Nodes(_) => "nodes",
        QueryReply::Jobs(_) => "jobs",
        QueryReply::Error(_) => "an error",
    };
    Err(NoAnswer::Odd(format!("it answered with {kind}")))
}

/// The leader's figures.
pub(crate) async fn stats(nats: &Nats) -> Result<ClusterStats, NoAnswer> {
    match ask(nats, &Query::Stats).await? {
        QueryReply::Stats(stats) => Ok(*stats),
        other => odd(&other),
    }
}

/// Every node, by name.
pub(crate) async fn nodes(nats: &Nats) -> Result<Vec<NodeView>, NoAnswer> {
    nodes_until(nats, |_| false).await
}

/// Nodes by name, page after page, up to the first page that is enough.
pub(crate) async fn nodes_until(nats: &Nats, enough: impl Fn(&[NodeView]) -> bool) -> Result<Vec<NodeView>, NoAnswer> {
    let mut all: Vec<NodeView> = Vec::new();
    loop {
        let after = all.last().map(|node| node.spec.node.clone());
        match ask(nats, &Query::Nodes { after: after.clone(), limit: MAX_QUERY_ROWS }).await? {
            QueryReply::Nodes(page) => {
                // A page that does not advance would be asked for again for ever.
                let advances = page.last().is_some_and(|last| Some(&last.spec.node) > after.as_ref());
                if !advances {
                    return Ok(all);
                }
                let is_enough = enough(&page);
                all.extend(page);
                if is_enough {
                    return Ok(all);
                }
            }
            other => return odd(&other),
        }
    }
}

/// One node; `None` when the leader does not know it.
pub(crate) async fn node(nats: &Nats, name: &str) -> Result<Option<NodeView>, NoAnswer> {
    match ask(nats, &Query::Node { node: name.to_owned() }).await? {
        QueryReply::Nodes(rows) => Ok(rows.into_iter().next()),
        other => odd(&other),
    }
}

/// Every job that the leader holds, by id.
pub(crate) async fn active_jobs(nats: &Nats) -> Result<Vec<JobView>, NoAnswer> {
    oldest_active_jobs(nats, usize::MAX).await
}

/// As [`active_jobs`], at most so many and a page.
pub(crate) async fn oldest_active_jobs(nats: &Nats, most: usize) -> Result<Vec<JobView>, NoAnswer> {
    let mut all: Vec<JobView> = Vec::new();
    while all.len() < most {
        let after = all.last().map(|job| job.id);
        match ask(nats, &Query::Jobs { after, limit: MAX_QUERY_ROWS }).await? {
            QueryReply::Jobs(page) => {
                let advances = page.last().is_some_and(|last| Some(last.id) > after);
                if !advances {
                    return Ok(all);
                }
                all.extend(page);
            }
            other => return odd(&other),
        }
    }
    Ok(all)
}

/// One job, if the leader holds it.
pub(crate) async fn active_job(nats: &Nats, job: JobId) -> Result<Option<JobView>, NoAnswer> {
    match ask(nats, &Query::Job { job }).await? {
        QueryReply::Jobs(rows) => Ok(rows.into_iter().find(|row| row.id == job)),
        other => odd(&other),
    }
}

/// Asks for cancellation of at most [`MAX_QUERY_ROWS`] jobs.
pub(crate) async fn cancel(nats: &Nats, jobs: &[JobId]) -> Result<CancelReply, NoAnswer> {
    let request = CancelRequest { jobs: jobs.to_vec(), by: "cli".to_owned() };
    ask_leader(nats, subjects::SCHED_CANCEL, &request, CANCEL_ANSWER).await
}
