//! What JOBS holds: how much, and which messages JetStream has delivered and waits for. A consumer says how many these are, not which; but
//! an acknowledged message leaves a work queue, so they are those that the stream still holds between the consumer's ack
//! floor and its last delivery. A backlog that no leader has pulled lies behind that and costs nothing.

use std::time::Duration;

use faultline_engine::job::Priority;
use faultline_engine::scheduler::PendingMessage;
use faultline_protocol::{streams, subjects};
use faultline_runtime::connection::Connection;
use faultline_runtime::wire::Post;
use futures::StreamExt;
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Messages in one request.
const BATCH: u64 = 1000;
/// JetStream's status codes at the end of an answer.
const END_OF_BATCH: u16 = 204;
const NOTHING_LEFT: u16 = 404;
const STREAM_INFO_EVERY: Duration = Duration::from_secs(1);
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// JetStream's request for many messages at once, from a sequence on (its ADR-31).
#[derive(Serialize)]
struct Ask {
    batch: u64,
    seq: u64,
    next_by_subj: String,
}

/// Every pending message of every priority.
pub(crate) async fn list(nats: &Connection) -> Result<Vec<PendingMessage>, String> {
    let mut pending = Vec::new();
    for priority in Priority::ALL {
        let name = streams::queue_consumer_name(priority);
        let backlog = nats.consumer(streams::JOBS, &name).await?.backlog();
        if backlog.unacknowledged == 0 {
            continue;
        }
        let (mut next, (last, last_delivered_seq)) = (backlog.ack_floor + 1, backlog.delivered);
        while next <= last {
            let Some(reached) = list_some(nats, priority, next, last, last_delivered_seq, &mut pending).await? else { break };
            next = reached + 1;
        }
    }
    Ok(pending)
}

/// Adds the messages of one request. Returns the last sequence that it saw; `None` when there was none.
async fn list_some(
    nats: &Connection,
    priority: Priority,
    from: u64,
    last: u64,
    last_delivered_seq: u64,
    pending: &mut Vec<PendingMessage>,
) -> Result<Option<u64>, String> {
    let name = streams::queue_consumer_name(priority);
    let ask = Ask { batch: BATCH.min(last - from + 1), seq: from, next_by_subj: subjects::queue_filter(priority) };
    let body = serde_json::to_vec(&ask).map_err(|error| error.to_string())?;
    let inbox = nats.inbox();
    let mut answers = nats.hear(inbox.clone()).await?;
    nats.send(Post { reply: Some(inbox), ..Post::bare(subjects::JOBS_DIRECT_GET, body) }).await.map_err(|error| error.to_string())?;
    let mut reached = None;
    loop {
        let answer = tokio::time::timeout(ANSWER_LIMIT, answers.next()).await.map_err(|_| "no answer in time".to_owned())?;
        let answer = answer.ok_or("the connection ended")?;
        if let Some(status) = answer.status {
            return match status.as_u16() {
                END_OF_BATCH | NOTHING_LEFT => Ok(reached),
                _ => Err(format!("JetStream answers {status}")),
            };
        }
        let header = |name: &str| answer.headers.as_ref().and_then(|headers| headers.get(name)).map(|value| value.as_str());
        let Some(seq) = header("Nats-Sequence").and_then(|text| text.parse::<u64>().ok()) else {
            return Err("an answer without a sequence".into());
        };
        reached = Some(seq);
        // An unreadable message goes to DEAD when it is delivered again, after the ack timeout.
        if seq <= last
            && let Some(job) = header("Nats-Subject").and_then(subjects::queued_job_id)
        {
            pending.push(PendingMessage { job, ack_subject: subjects::ack_of(streams::JOBS, &name, seq, last_delivered_seq) });
        }
    }
}

/// What JOBS holds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct InStream {
    pub(crate) messages: u64,
    /// Those that no leader has pulled, by priority.
    pub(crate) not_pulled: [u64; Priority::ALL.len()],
}

/// Keeps what is known of JOBS fresh until the term ends.
pub(crate) async fn count_stream(nats: Connection, out: watch::Sender<InStream>, term: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = term.cancelled() => return,
            () = tokio::time::sleep(STREAM_INFO_EVERY) => {}
        }
        let Ok(jobs) = nats.look(streams::JOBS).await else { continue };
        let mut counted = InStream { messages: jobs.sight.messages, ..*out.borrow() };
        for priority in Priority::ALL {
            if let Ok(consumer) = nats.consumer(streams::JOBS, &streams::queue_consumer_name(priority)).await {
                counted.not_pulled[priority as usize] = consumer.backlog().waiting;
            }
        }
        out.send_replace(counted);
    }
}
