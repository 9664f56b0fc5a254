//! Writes the cluster's history. An event that cannot be written is logged: history never stops the work.

use std::time::Duration;

use async_nats::header::NATS_MESSAGE_ID;
use backon::{ConstantBuilder, Retryable};
use faultline_protocol::codec;
use faultline_protocol::messages::{ClusterEvent, EventBatch, EventKind, Level};
use faultline_protocol::subjects;

use crate::connection::Connection;

/// Where one service's events go.
#[derive(Debug, Clone)]
pub struct EventSink {
    connection: Connection,
    service: String,
}

impl EventSink {
    pub fn new(connection: &Connection, service: &str) -> Self {
        Self { connection: connection.clone(), service: service.to_owned() }
    }

    pub fn service(&self) -> &str {
        &self.service
    }

    /// An event of this service, now.
    pub fn event(&self, level: Level, kind: EventKind, detail: impl Into<String>) -> ClusterEvent {
        ClusterEvent::new(self.connection.unix_ms(), &self.service, level, kind, detail)
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
        // A publish that was not acknowledged in time may be stored all the same: the server drops what it has already.
        let mut headers = codec::headers_for::<EventBatch>();
        headers.insert(NATS_MESSAGE_ID, format!("{}-{:032x}", self.service, self.connection.random_u128()));
        let publish = || async { self.connection.publish_durable_with(subject.clone(), headers.clone(), &batch).await.map(drop) };
        let repeated = publish.retry(ConstantBuilder::default().with_delay(Duration::from_millis(200)).with_max_times(usize::MAX));
        let is_written = matches!(tokio::time::timeout(limit, repeated).await, Ok(Ok(())));
        if !is_written {
            tracing::warn!(subject, "an event was not written in time");
        }
        is_written
    }

    /// Publishes an event about an interrupted attempt where a new leader finds it beside the last event of its job.
    pub async fn send_interrupted(&self, event: ClusterEvent) {
        let subject = event.job.map_or_else(|| subject_of(&event), subjects::job_interrupted_event);
        self.publish(subject, &EventBatch { events: vec![event] }).await;
    }

    /// Publishes events about jobs together, not as the last event of any job: those are on the job's own subject.
    pub async fn send_many(&self, events: Vec<ClusterEvent>) {
        let parts = self.connection.parts(events, |events| EventBatch { events });
        for batch in &parts.messages {
            self.publish(subjects::JOB_EVENT_MANY.to_owned(), batch).await;
        }
        for (event, bytes) in parts.too_large {
            self.connection.note_unsent("an event", &format!("{:?} would take {bytes} bytes", event.kind));
        }
    }

    async fn publish(&self, subject: String, batch: &EventBatch) {
        if let Err(error) = self.connection.send_message(subject.clone().into(), batch).await {
            tracing::debug!(subject, %error, "an event was not written");
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
