//! Answers `up.processes`: which processes run, how they are, and the last lines of their logs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use faultline_protocol::codec;
use faultline_protocol::messages::{MAX_LOG_LINES, ProcessState, ProcessView, ProcessesQuery, ProcessesReply};
use faultline_protocol::subjects;
use faultline_runtime::admin::{ProbeError, probe};
use faultline_runtime::connect::Nats;
use futures::StreamExt;
use futures::future::join_all;

use super::cluster::Cluster;
use super::supervisor::{ChildStatus, State};
use super::tail::Tail;

/// A process that is frozen must not hold up what is told of the others.
const READY_LIMIT: Duration = Duration::from_millis(500);

/// Who tells.
pub(crate) struct Telling {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) tail: Arc<Tail>,
    pub(crate) log_dir: PathBuf,
}

impl Telling {
    /// Answers until the connection is closed, one question after the other.
    pub(crate) async fn serve(self, nats: Nats) -> anyhow::Result<()> {
        let mut questions = nats.client.subscribe(subjects::UP_PROCESSES).await?;
        while let Some(message) = questions.next().await {
            let Some(to) = message.reply.clone() else { continue };
            match codec::decode_plain::<ProcessesQuery>(subjects::UP_PROCESSES, &message) {
                Ok(query) => {
                    if let Err(error) = nats.reply(to, &self.answer(&query).await).await {
                        tracing::warn!(%error, "the answer about processes was not sent");
                    }
                }
                Err(error) => tracing::debug!(%error, "cannot read a question about processes"),
            }
        }
        Ok(())
    }

    async fn answer(&self, query: &ProcessesQuery) -> ProcessesReply {
        let (uptime, statuses) = self.cluster.statuses();
        let most = query.lines.min(MAX_LOG_LINES) as usize;
        ProcessesReply {
            processes: join_all(statuses.into_iter().map(|status| self.view(status))).await,
            lines: self.tail.newest(query.process.as_deref(), query.level, most),
            log_dir: self.log_dir.display().to_string(),
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
        }
    }

    async fn view(&self, status: ChildStatus) -> ProcessView {
        let complaints = self.tail.complaints(&status.name);
        let (ready, note) = readiness(&status).await;
        ProcessView {
            state: match status.state {
                State::Running => ProcessState::Running,
                State::Waiting => ProcessState::Waiting,
                State::Stopping => ProcessState::Stopping,
            },
            pid: status.pid,
            uptime_ms: status.uptime_s * 1_000,
            restarts: status.restarts,
            last_exit: status.last_exit,
            ready,
            note,
            warnings: complaints.warnings,
            errors: complaints.errors,
            name: status.name,
        }
    }
}

/// Whether it can do its work, and what it does or why not.
async fn readiness(status: &ChildStatus) -> (Option<bool>, String) {
    let (Some(admin), Some(_)) = (status.admin, status.pid) else { return (None, String::new()) };
    let service = status.name.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '-');
    match tokio::time::timeout(READY_LIMIT, probe(service, Some(admin))).await {
        Ok(Ok(report)) => (Some(true), report.state),
        Ok(Err(ProbeError::NotReady(reason))) => (Some(false), reason),
        Ok(Err(error)) => (Some(false), error.to_string()),
        Err(_) => (Some(false), format!("no answer within {} ms", READY_LIMIT.as_millis())),
    }
}
