//! Questions to the leading scheduler, and what it is told to do. When no scheduler leads, the answer is a clear error, never a silent wait.

use std::time::Duration;

use faultline_engine::job::JobId;
use faultline_engine::scheduler::WouldFit;
use faultline_protocol::codec::Message;
use faultline_protocol::messages::{
    CancelReply, CancelRequest, ClusterStats, GoodputHistory, JobView, MAX_QUERY_ROWS, NodeView, Query, QueryReply, WouldFitQuery,
};
use faultline_protocol::subjects;
use faultline_runtime::connect::{Nats, RequestError};
use tokio::time::Instant;

use crate::ClientError;

/// A standby takes over within its lease of 3 s; a little more than that is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
const ONE_ANSWER: Duration = Duration::from_secs(2);
const CANCEL_ANSWER: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(250);

/// The leading scheduler, whichever it is.
#[derive(Debug, Clone, Copy)]
pub struct Leader<'a> {
    nats: &'a Nats,
    /// For how long a question is repeated.
    patience: Duration,
    /// How long one answer may take.
    one_answer: Duration,
    /// The same for a cancellation, which the leader writes to streams before it answers.
    cancelled: Duration,
}

impl<'a> Leader<'a> {
    /// Asks again through a change of leader.
    pub fn of(nats: &'a Nats) -> Self {
        Self { nats, patience: PATIENCE, one_answer: ONE_ANSWER, cancelled: CANCEL_ANSWER }
    }

    /// Asks once. When nothing comes within the limit no leader is there: whether NATS is, is not looked into.
    pub fn once(nats: &'a Nats, limit: Duration) -> Self {
        Self { nats, patience: Duration::ZERO, one_answer: limit, cancelled: limit }
    }

    /// Asks as the questions come; a refusal is an error.
    pub async fn ask(self, query: &Query) -> Result<QueryReply, ClientError> {
        match self.request(subjects::SCHED_QUERY, query, self.one_answer).await? {
            QueryReply::Error(reason) => Err(ClientError::Refused(reason)),
            reply => Ok(reply),
        }
    }

    /// What is asked must do no harm when it is heard twice.
    async fn request<Q: Message, A: Message>(&self, subject: &'static str, question: &Q, limit: Duration) -> Result<A, ClientError> {
        let give_up = Instant::now() + self.patience;
        loop {
            match self.nats.request(subject, question, limit).await {
                Ok(reply) => return Ok(reply),
                Err(RequestError::Decode { source, .. }) => return Err(ClientError::Unexpected(source.to_string())),
                Err(error) if Instant::now() >= give_up => return Err(self.why_silent(error).await),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn why_silent(self, error: RequestError) -> ClientError {
        tracing::debug!(%error, "no answer from the leader");
        // "No responders" is the server's own answer.
        let is_answered = matches!(error, RequestError::NoResponders(_)) || self.patience.is_zero();
        match self.nats.is_connected() {
            false => ClientError::Disconnected,
            true if is_answered || self.nats.answers().await => ClientError::NoLeader { reason: error.to_string() },
            true => ClientError::Silent,
        }
    }

    /// The leader's figures.
    pub async fn stats(self) -> Result<ClusterStats, ClientError> {
        match self.ask(&Query::Stats).await? {
            QueryReply::Stats(stats) => Ok(*stats),
            other => odd(&other),
        }
    }

    /// Every node, by name.
    pub async fn nodes(self) -> Result<Vec<NodeView>, ClientError> {
        self.nodes_until(|_| false).await
    }

    /// Nodes by name, page after page, up to the first page that is enough.
    pub async fn nodes_until(self, enough: impl Fn(&[NodeView]) -> bool) -> Result<Vec<NodeView>, ClientError> {
        let mut all: Vec<NodeView> = Vec::new();
        loop {
            let after = all.last().map(|node| node.spec.node.clone());
            match self.ask(&Query::Nodes { after: after.clone(), limit: MAX_QUERY_ROWS }).await? {
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
    pub async fn node(self, name: &str) -> Result<Option<NodeView>, ClientError> {
        match self.ask(&Query::Node { node: name.to_owned() }).await? {
            QueryReply::Nodes(rows) => Ok(rows.into_iter().next()),
            other => odd(&other),
        }
    }

    /// Every job that the leader holds, by id.
    pub async fn active_jobs(self) -> Result<Vec<JobView>, ClientError> {
        self.oldest_active_jobs(usize::MAX).await
    }

    /// As [`Leader::active_jobs`], at most so many and a page.
    pub async fn oldest_active_jobs(self, most: usize) -> Result<Vec<JobView>, ClientError> {
        let mut all: Vec<JobView> = Vec::new();
        while all.len() < most {
            let after = all.last().map(|job| job.id);
            match self.ask(&Query::Jobs { after, limit: MAX_QUERY_ROWS }).await? {
                QueryReply::Jobs(page) => {
                    let advances = page.last().is_some_and(|last| Some(last.id) > after);
                    if !advances {
                        return Ok(all);
                    }
                    all.extend(page.into_iter().map(JobView::said));
                }
                other => return odd(&other),
            }
        }
        Ok(all)
    }

    /// One job, if the leader holds it.
    pub async fn active_job(self, job: JobId) -> Result<Option<JobView>, ClientError> {
        match self.ask(&Query::Job { job }).await? {
            QueryReply::Jobs(rows) => Ok(rows.into_iter().find(|row| row.id == job).map(JobView::said)),
            other => odd(&other),
        }
    }

    /// What would become of jobs that were submitted now; submits nothing.
    pub async fn would_fit(self, query: WouldFitQuery) -> Result<WouldFit, ClientError> {
        match self.ask(&Query::WouldFit(query)).await? {
            QueryReply::WouldFit(answer) => Ok(*answer),
            other => odd(&other),
        }
    }

    /// Where GPU time went in the last hour.
    pub async fn goodput(self) -> Result<GoodputHistory, ClientError> {
        match self.ask(&Query::Goodput).await? {
            QueryReply::Goodput(history) => Ok(*history),
            other => odd(&other),
        }
    }

    /// Asks for cancellation of at most [`MAX_QUERY_ROWS`] jobs.
    pub async fn cancel(self, jobs: &[JobId], by: &str) -> Result<CancelReply, ClientError> {
        let request = CancelRequest { jobs: jobs.to_vec(), by: by.to_owned() };
        self.request(subjects::SCHED_CANCEL, &request, self.cancelled).await
    }
}

fn odd<T>(reply: &QueryReply) -> Result<T, ClientError> {
    let kind = match reply {
        QueryReply::Stats(_) => "stats",
        QueryReply::Nodes(_) => "nodes",
        QueryReply::Jobs(_) => "jobs",
        QueryReply::WouldFit(_) => "what would fit",
        QueryReply::Goodput(_) => "GPU time",
        QueryReply::Error(_) => "an error",
    };
    Err(ClientError::Unexpected(format!("it answered with {kind}")))
}
