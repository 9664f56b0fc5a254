//! What passes by on NATS, with the time of its arrival here: assignments, verdicts and ends of jobs.

use std::time::Duration;

use anyhow::Context;
use faultline_engine::job::JobId;
use faultline_engine::node::Health;
use faultline_protocol::codec::{self, HEADER_JOB_STATE};
use faultline_protocol::messages::{AssignBatch, TerminalRecord, Verdict};
use faultline_protocol::subjects;
use faultline_runtime::connect::Nats;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Longer than anything that is measured takes.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) enum Seen {
    Assigned { job: JobId, node: String },
    Judged { node: String, health: Health },
    Committed(Box<TerminalRecord>),
}

/// Everything that arrives, in order.
pub(crate) struct Watch {
    seen: mpsc::UnboundedReceiver<(Instant, Seen)>,
}

impl Watch {
    pub(crate) async fn start(nats: &Nats) -> anyhow::Result<Self> {
        let mut assignments = nats.client.subscribe("assign.*").await?;
        let mut verdicts = nats.client.subscribe(subjects::VERDICT_ALL).await?;
        let mut ends = nats.client.subscribe(subjects::DONE_ALL).await?;
        nats.client.flush().await?;
        let (out, seen) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (at, read) = tokio::select! {
                    Some(message) = assignments.next() => (Instant::now(), read_assignments(&message)),
                    Some(message) = verdicts.next() => (Instant::now(), read_verdict(&message).into_iter().collect()),
                    Some(message) = ends.next() => (Instant::now(), read_end(&message).into_iter().collect()),
                    else => return,
                };
                for seen in read {
                    if out.send((at, seen)).is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Self { seen })
    }

    /// The next that `wanted` takes; everything before it is forgotten.
    pub(crate) async fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(Instant, Seen) -> Option<T>) -> anyhow::Result<T> {
        let waiting = async {
            while let Some((at, seen)) = self.seen.recv().await {
                if let Some(found) = wanted(at, seen) {
                    return Ok(found);
                }
            }
            anyhow::bail!("the subscriptions ended")
        };
        tokio::time::timeout(PATIENCE, waiting).await.with_context(|| format!("waited {} s in vain for {what}", PATIENCE.as_secs()))?
    }
}

fn read_assignments(message: &async_nats::Message) -> Vec<Seen> {
    let batch = codec::decode::<AssignBatch>(message.headers.as_ref(), &message.payload).map(|batch| batch.assignments).unwrap_or_default();
    batch.into_iter().map(|one| Seen::Assigned { job: one.spec.id, node: one.node }).collect()
}

fn read_verdict(message: &async_nats::Message) -> Option<Seen> {
    let verdict = codec::decode::<Verdict>(message.headers.as_ref(), &message.payload).ok()?;
    Some(Seen::Judged { node: verdict.node, health: verdict.health })
}

/// Open markers are republished too.
fn read_end(message: &async_nats::Message) -> Option<Seen> {
    message.headers.as_ref()?.get(HEADER_JOB_STATE).filter(|state| state.as_str() == "committed")?;
    codec::decode::<TerminalRecord>(message.headers.as_ref(), &message.payload).ok().map(|record| Seen::Committed(Box::new(record)))
}
