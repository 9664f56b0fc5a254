//! The fold over the stored history, for a command that has just begun.

use std::ops::ControlFlow;
use std::time::Duration;

use faultline_engine::job::JobId;
use faultline_protocol::messages::{Record, is_returned};
use faultline_protocol::streams;
use faultline_runtime::connect::Nats;
use faultline_runtime::read::{From, Reader};
use faultline_runtime::record::read_record;
use futures::{StreamExt, stream};

use super::Incidents;
use crate::observe::each_event;
use crate::{ClientError, Leader};

/// The scheduler answers in milliseconds or not at all; without it the history tells most of what it would.
const NODES_LIMIT: Duration = Duration::from_millis(800);
/// Records that are asked for at once.
const AT_ONCE: usize = 64;

/// The history from a place on, and what was read of it.
pub struct History<'a> {
    nats: &'a Nats,
    events: Reader,
    pub incidents: Incidents,
}

impl<'a> History<'a> {
    /// Of all that EVENTS holds: one hour.
    pub async fn begin(nats: &'a Nats) -> Self {
        let mut incidents = Incidents::default();
        // Who hosts what began before the history does. What it tells of nodes that moved since comes later, and counts.
        for node in Leader::once(nats, NODES_LIMIT).nodes().await.unwrap_or_default() {
            incidents.on_node(&node.spec.node, &node.spec.worker);
        }
        Self { nats, events: Reader::new(nats, streams::EVENTS, From::Start), incidents }
    }

    /// Reads to the end of the history, then how the interrupted jobs ended.
    pub async fn catch_up(&mut self) -> Result<(), ClientError> {
        let Self { events, incidents, .. } = self;
        let read = events.read_to_end(|row| {
            each_event(&row, |event| incidents.on_event(event));
            ControlFlow::Continue(())
        });
        read.await?;
        self.read_ends().await
    }

    /// The same for what comes within `wait`.
    pub async fn follow(&mut self, wait: Duration) -> Result<(), ClientError> {
        let Self { events, incidents, .. } = self;
        let read = events.follow(wait, |row| {
            each_event(&row, |event| incidents.on_event(event));
            ControlFlow::Continue(())
        });
        read.await?;
        self.read_ends().await
    }

    async fn read_ends(&mut self) -> Result<(), ClientError> {
        let jobs: Vec<JobId> = self.incidents.open_jobs().collect();
        let connection = self.nats.connection();
        let mut answers = stream::iter(jobs)
            .map(|job| {
                let connection = connection.clone();
                async move { (job, read_record(&connection, job).await) }
            })
            .buffer_unordered(AT_ONCE);
        while let Some((job, answer)) = answers.next().await {
            match answer.map_err(ClientError::Failed)? {
                Some(record) if record.is_open => {}
                // One that only closes an opening that NATS brought back says nothing of the job.
                Some(record) if is_returned(Some(&record.headers)) => self.incidents.forget(job),
                Some(record) => match Record::decode(Some(&record.headers), &record.body) {
                    Ok(Record::Ended(end)) => self.incidents.on_ended(job, end.state, record.stored_at_ms, end.attempt),
                    Ok(Record::Open(_)) => {}
                    Err(error) => tracing::debug!(%job, %error, "unreadable record"),
                },
                None => self.incidents.forget(job),
            }
        }
        Ok(())
    }
}
