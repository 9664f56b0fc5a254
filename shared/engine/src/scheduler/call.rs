//! All that a scheduler is told, as data: what it decides follows from its settings, its seed, and these calls in their order.

use serde::{Deserialize, Serialize};

use super::{Action, Beat, Delivery, Heard, PendingMessage, RecordRead, Refused, RunningSign, Scheduler, SyncedNode};
use crate::job::{AttemptId, EndedAttempt, JobId};
use crate::node::{GpuTelemetry, Health, NodeSpec};

/// One thing that happened. The functions that it is named after say what becomes of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Call {
    Registered(NodeSpec),
    Left {
        node: String,
        incarnation: u64,
    },
    Vanished {
        node: String,
    },
    Heartbeat {
        node: String,
        incarnation: u64,
        running: Vec<RunningSign>,
        telemetry: Vec<GpuTelemetry>,
        leaving: bool,
    },
    Verdict {
        node: String,
        incarnation: u64,
        health: Health,
        evidence: String,
        silence_ms: u64,
    },
    Drain {
        node: String,
        draining: bool,
    },
    Delivered(Delivery),
    RecordRead {
        job: JobId,
        read: RecordRead,
    },
    Ended(EndedAttempt),
    Unsendable {
        job: JobId,
        attempt: AttemptId,
        reason: String,
    },
    Cancelled {
        job: JobId,
    },
    Pending(Vec<PendingMessage>),
    Synced(SyncedNode),
    Refused(Refused),
    EpochRaised {
        epoch: u64,
    },
    Reconnected,
    /// What became of a request to the policy program.
    Answered {
        number: u64,
        heard: Heard,
    },
    /// Time has passed: the owner's clock, and the cluster's.
    Advance {
        cluster_ms: u64,
    },
}

impl Scheduler {
    /// Tells the scheduler what happened at `now_ms`, and returns what is to be done.
    pub fn call(&mut self, call: Call, now_ms: u64) -> Vec<Action> {
        match call {
            Call::Registered(spec) => self.on_registered(spec, now_ms),
            Call::Left { node, incarnation } => self.on_left(&node, incarnation, now_ms),
            Call::Vanished { node } => self.on_vanished(&node, now_ms),
            Call::Heartbeat { node, incarnation, running, telemetry, leaving } => {
                let beat = Beat { incarnation, running: &running, telemetry: &telemetry, leaving };
                self.on_heartbeat(&node, beat, now_ms)
            }
            Call::Verdict { node, incarnation, health, evidence, silence_ms } => {
                self.on_verdict(&node, incarnation, health, &evidence, silence_ms, now_ms)
            }
            Call::Drain { node, draining } => {
                self.on_drain(&node, draining, now_ms);
                Vec::new()
            }
            Call::Delivered(delivery) => self.on_delivered(delivery, now_ms),
            Call::RecordRead { job, read } => self.on_record_read(job, read, now_ms),
            Call::Ended(ended) => self.on_ended(&ended, now_ms),
            Call::Unsendable { job, attempt, reason } => self.on_unsendable(job, attempt, reason, now_ms),
            Call::Cancelled { job } => self.on_cancelled(job, now_ms),
            Call::Pending(pending) => self.on_pending(&pending, now_ms),
            Call::Synced(synced) => self.on_synced(synced, now_ms),
            Call::Refused(refused) => self.on_refused(&refused, now_ms),
            Call::EpochRaised { epoch } => {
                self.on_epoch_raised(epoch, now_ms);
                Vec::new()
            }
            Call::Reconnected => {
                self.on_reconnected(now_ms);
                Vec::new()
            }
            Call::Answered { number, heard } => self.on_answered(number, &heard, now_ms),
            Call::Advance { cluster_ms } => {
                self.set_cluster_time(now_ms, cluster_ms);
                self.advance(now_ms)
            }
        }
    }
}
