//! Lists what JetStream has delivered from JOBS and waits for. A consumer says how many messages these are, not which; but
//! an acknowledged message leaves a work queue, so they are those that the stream still holds between the consumer's ack
//! floor and its last delivery. A backlog that nobody has pulled lies behind that and costs nothing.

use std::time::Duration;

use async_nats::jetstream::consumer::{Consumer, pull};
use faultline_engine::job::Priority;
use faultline_engine::scheduler::PendingMessage;
use faultline_protocol::{streams, subjects};
use faultline_runtime::connect::Nats;
use futures::StreamExt;
use serde::Serialize;

/// Messages in one request.
const BATCH: u64 = 1000;
/// JetStream's status codes at the end of an answer.
const END_OF_BATCH: u16 = 204;
const NOTHING_LEFT: u16 = 404;
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// JetStream's request for many messages at once, from a sequence on (its ADR-31).
#[derive(Serialize)]
struct Ask {
    batch: u64,
    seq: u64,
    next_by_subj: String,
}

/// Every pending message of every priority.
pub(crate) async fn list(nats: &Nats) -> Result<Vec<PendingMessage>, String> {
    let mut pending = Vec::new();
    for priority in Priority::ALL {
        let name = streams::queue_consumer_name(priority);
        let consumer: Consumer<pull::Config> =
            nats.jetstream.get_consumer_from_stream(&name, streams::JOBS).await.map_err(|error| error.to_string())?;
        let info = consumer.cached_info();
        if info.num_ack_pending == 0 {
            continue;
        }
        let (mut next, last) = (info.ack_floor.stream_sequence + 1, info.delivered.stream_sequence);
        while next <= last {
            let Some(reached) = list_some(nats, priority, next, last, info.delivered.consumer_sequence, &mut pending).await? else { break };
            next = reached + 1;
        }
    }
    Ok(pending)
}

/// Adds the messages of one request. Returns the last sequence that it saw; `None` when there was none.
async fn list_some(
    nats: &Nats,
    priority: Priority,
    from: u64,
    last: u64,
    last_delivered_seq: u64,
    pending: &mut Vec<PendingMessage>,
) -> Result<Option<u64>, String> {
    let name = streams::queue_consumer_name(priority);
    let ask = Ask { batch: BATCH.min(last - from + 1), seq: from, next_by_subj: subjects::queue_filter(priority) };
    let body = serde_json::to_vec(&ask).map_err(|error| error.to_string())?;
    let inbox = nats.client.new_inbox();
    let mut answers = nats.client.subscribe(inbox.clone()).await.map_err(|error| error.to_string())?;
    nats.client.publish_with_reply(subjects::JOBS_DIRECT_GET, inbox, body.into()).await.map_err(|error| error.to_string())?;
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
        // What is no job is buried when it is delivered again, after the ack timeout.
        if seq <= last
            && let Some(job) = header("Nats-Subject").and_then(subjects::queued_job_id)
        {
            pending.push(PendingMessage { job, ack_subject: subjects::ack_of(&name, seq, last_delivered_seq) });
        }
    }
}
