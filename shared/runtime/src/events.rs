//! Writes the cluster's history. An event that cannot be written is logged: history never stops the work.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable};
use faultline_protocol::codec;
use faultline_protocol::messages::{ClusterEvent, EventBatch, EventKind, Level};
use faultline_protocol::subjects;

use crate::connect::Nats;

/// Where one service's events go.
#[derive(Debug, Clone)]
pub struct EventSink {
    nats: Nats,
    service: String,
}

impl EventSink {
    pub fn new(nats: &Nats, service: &str) -> Self {
        Self { nats: nats.clone(), service: service.to_owned() }
    }

    pub fn service(&self) -> &str {
        &self.service
    }

    /// An event of this service, now.
    pub fn event(&self, level: Level, kind: EventKind, detail: impl Into<String>) -> ClusterEvent {
        ClusterEvent::new(crate::clock::unix_ms(), &self.service, level, kind, detail)
    }

    /// Publishes one event under the subject that fits it; does not wait for the acknowledgement.
    pub async fn send(&self, event: ClusterEvent) {
        let subject = subject_of(&event);
        self.publish(subject, &EventBatch { events: vec![event] }).await;
    }

    /// Publishes one event and repeats it until it is acknowledged or `limit` has passed: for what a new leader reads back. Returns
    /// whether it was acknowledged.
    pub async fn send_durably(&self, event: ClusterEvent, limit: Duration) -> bool {
        let subject = subject_of(&event);
        let batch = EventBatch { events: vec![event] };
        let publish = || async { self.nats.publish_durable(subject.clone(), &batch).await.map(drop) };
        let repeated = publish.retry(ConstantBuilder::default().with_delay(Duration::from_millis(200)).with_max_times(usize::MAX));
        let is_written = matches!(tokio::time::timeout(limit, repeated).await, Ok(Ok(())));
        if !is_written {
            tracing::warn!(subject, "an event was not written in time");
        }
        is_written
    }

    /// Publishes events about jobs in one message, which is nobody's last event: those of a job are on its own subject.
    pub async fn send_many(&self, events: Vec<ClusterEvent>) {
        self.publish(subjects::JOB_EVENT_MANY.to_owned(), &EventBatch { events }).await;
    }

    async fn publish(&self, subject: String, batch: &EventBatch) {
        let sent = self.nats.client.publish_with_headers(subject.clone(), codec::headers_for::<EventBatch>(), codec::encode(batch)).await;
        if let Err(error) = sent {
            tracing::warn!(subject, %error, "an event was not written");
        }
    }
}

fn subject_of(event: &ClusterEvent) -> String {
    if let Some(fault) = &event.fault {
        return subjects::fault_event(&fault.target);
    }
    match (event.kind, event.job, &event.node) {
        (EventKind::InvariantViolated, _, _) => subjects::VIOLATION_EVENT.to_owned(),
        (EventKind::FaultBegan | EventKind::FaultEnded, _, Some(node)) => subjects::fault_event(node),
        (_, Some(job), _) => subjects::job_event(job),
        (_, None, Some(node)) => subjects::node_event(node),
        (_, None, None) => subjects::node_event("cluster"),
    }
}
