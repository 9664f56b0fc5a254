//! Submitter to scheduler, and what is kept of every job: open marker, queued job, terminal record, dead letter.

use faultline_engine::job::{JobId, JobSpec, Priority};
pub use faultline_engine::job::{JobState, TerminalRecord};
pub use faultline_engine::ledger::{LedgerSnapshot, LedgerState};
use serde::{Deserialize, Serialize};

use crate::codec::message;

/// `job.res.<id>` before the job has ended. Its sequence is the token that every commit expects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenMarker {
    pub job: JobId,
    pub name: String,
    pub kind: String,
    pub priority: Priority,
    pub submitted_at_ms: u64,
}

message!(OpenMarker, "open-marker");

/// `job.q.<priority>.<class>.<id>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueuedJob {
    pub spec: JobSpec,
}

message!(QueuedJob, "queued-job");

// `job.res.<id>` after the job has ended.
message!(TerminalRecord, "terminal-record");

/// `job.dead.<id>`: a poisoned or exhausted job with the reason and, for poison, the start of what arrived.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The id as read from the subject; may be no valid id when the message was poison.
    pub id: String,
    pub subject: String,
    pub reason: String,
    #[serde(default)]
    pub last_error: String,
    pub at_ms: u64,
    #[serde(default)]
    pub spec: Option<JobSpec>,
    /// At most the first KiB of an undecodable body.
    #[serde(default)]
    pub body_start: Vec<u8>,
}

message!(DeadLetter, "dead-letter");

message!(LedgerSnapshot, "ledger-snapshot");

// The value of the key in KV LEDGER. A reader of the counts alone reads it as a [`LedgerSnapshot`].
message!(LedgerState, "ledger-state");
