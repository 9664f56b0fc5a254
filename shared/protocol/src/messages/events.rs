//! The cluster's history, `job.ev.*`, `node.ev.*` and `fault.ev.*`.

pub use faultline_engine::fault::{FaultCause, FaultDepth, FaultTruth};
use faultline_engine::job::{AttemptId, AttemptSummary, JobId, Path};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::codec::message;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    JobPlaced,
    AttemptFailed,
    AttemptLost,
    AttemptSuperseded,
    JobDead,
    JobCancelled,
    JobAbandoned,
    NodeJoined,
    NodeLeft,
    NodeSuspect,
    NodeGone,
    NodeDead,
    NodeRecovered,
    NodeDrained,
    NodeUndrained,
    /// Something was broken on purpose; [`ClusterEvent::fault`] is the ground truth.
    FaultBegan,
    FaultEnded,
    LeaderElected,
    LeaderLost,
    RateChanged,
    /// An operator asked for another number of workers.
    WorkersScaled,
    /// The leader found something that must never be: `engine::scheduler::Violation` says what.
    InvariantViolated,
    /// `up` found something of NATS broken and put it right by itself: what it was and what was done.
    Repaired,
    /// The policy program does not answer, or answers nonsense: a built-in policy decides.
    PolicyFailed,
    /// The policy program decides, at the beginning of a term or again.
    PolicyRecovered,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClusterEvent {
    pub at_ms: u64,
    /// The service that saw it, such as `scheduler` or `worker-03`.
    pub service: String,
    pub level: Level,
    pub kind: EventKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<AttemptId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// In words, for people.
    pub detail: String,
    /// For events of a job: how often it has failed and been requeued so far. A new leader reads them back.
    #[serde(default)]
    pub failures: u32,
    #[serde(default)]
    pub requeues: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<AttemptSummary>,
    /// Of `FaultBegan` and `FaultEnded`: what really happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<FaultTruth>,
    /// For a failed attempt: the job is not to be tried again before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at_ms: Option<u64>,
    /// For a failed attempt: no retry would help.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_retry: bool,
    /// Set by readers, see [`EventBatch::anchored`]: the service's clock was off, and the times above were moved by this many milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_by_ms: Option<i64>,
}

impl ClusterEvent {
    /// An event about nothing in particular yet; callers set the fields that they know.
    pub fn new(at_ms: u64, service: &str, level: Level, kind: EventKind, detail: impl Into<String>) -> Self {
        Self {
            at_ms,
            service: service.to_owned(),
            level,
            kind,
            job: None,
            attempt: None,
            node: None,
            detail: detail.into(),
            failures: 0,
            requeues: 0,
            history: Vec::new(),
            fault: None,
            retry_at_ms: None,
            no_retry: false,
            moved_by_ms: None,
        }
    }

    /// With what its job has been through so far.
    pub fn with_path(self, path: Path) -> Self {
        Self { failures: path.failures, requeues: path.requeues, history: path.history, ..self }
    }
}

/// The body of every message in EVENTS. About one job: `job.ev.<id>`; about many at once: `job.ev.many`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventBatch {
    pub events: Vec<ClusterEvent>,
}

/// A service cannot know of what has not happened yet: an event that says that it happened so long after it was stored comes from a clock
/// that is ahead.
const AHEAD_MS: u64 = 2_000;
/// An event may reach the stream late, when the server was away. One that is older than this comes from a clock that is behind.
const BEHIND_MS: u64 = 600_000;

/// A sender's word on when something happened, where it can be true of a message that JetStream stored at `stored_at_ms`; else that time.
pub fn possible_time(said_ms: u64, stored_at_ms: u64) -> u64 {
    let is_possible = said_ms <= stored_at_ms.saturating_add(AHEAD_MS) && stored_at_ms <= said_ms.saturating_add(BEHIND_MS);
    if is_possible { said_ms } else { stored_at_ms }
}

impl EventBatch {
    /// The events, with times that can be true. JetStream's time of storing them is the anchor: when a service's clock cannot have been right,
    /// all times that it gave in an event are moved by the same amount, so that durations stay. The rows of a job's path, which
    /// others wrote, stay as they are.
    pub fn anchored(self, stored_at_ms: u64) -> Vec<ClusterEvent> {
        let mut events = self.events;
        for event in &mut events {
            event.moved_by_ms = None;
            if possible_time(event.at_ms, stored_at_ms) != event.at_ms {
                event.move_by(i64::try_from(i128::from(stored_at_ms) - i128::from(event.at_ms)).unwrap_or(i64::MIN));
            }
        }
        events
    }
}

impl ClusterEvent {
    fn move_by(&mut self, by_ms: i64) {
        let fault_times = self.fault.iter_mut().flat_map(|truth| std::iter::once(&mut truth.from_ms).chain(&mut truth.until_ms));
        for time in std::iter::once(&mut self.at_ms).chain(&mut self.retry_at_ms).chain(fault_times) {
            *time = time.saturating_add_signed(by_ms);
        }
        self.moved_by_ms = Some(by_ms);
    }
}

message!(EventBatch, "event-batch");

#[cfg(test)]
mod tests {
    use super::*;

    const STORED_MS: u64 = 1_700_000_000_000;
    const HOUR_MS: u64 = 3_600_000;

    fn read(at_ms: u64) -> ClusterEvent {
        let truth = FaultTruth {
            id: "1".into(),
            kind: "crash".into(),
            depth: FaultDepth::Simulated,
            target: "gpu-node-01".into(),
            gpu: None,
            from_ms: at_ms - 500,
            until_ms: Some(at_ms + 1_500),
            cause: FaultCause::Ordered,
            domain: None,
            by: String::new(),
        };
        let event =
            ClusterEvent { fault: Some(truth), ..ClusterEvent::new(at_ms, "worker-01", Level::Error, EventKind::FaultBegan, "crash") };
        EventBatch { events: vec![event] }.anchored(STORED_MS).remove(0)
    }

    #[test]
    fn an_event_that_its_service_may_have_seen_then_is_kept_as_it_is() {
        for at_ms in [STORED_MS, STORED_MS + AHEAD_MS, STORED_MS - BEHIND_MS] {
            let event = read(at_ms);
            assert_eq!((event.at_ms, event.fault.unwrap().from_ms, event.moved_by_ms), (at_ms, at_ms - 500, None));
        }
    }

    #[test]
    fn what_a_clock_that_is_off_says_is_moved_to_the_time_of_storing_with_its_durations() {
        for (off_ms, moved_by_ms) in [(HOUR_MS.cast_signed(), -HOUR_MS.cast_signed()), (-HOUR_MS.cast_signed(), HOUR_MS.cast_signed())] {
            let event = read(STORED_MS.saturating_add_signed(off_ms));
            let truth = event.fault.unwrap();
            assert_eq!((event.at_ms, event.moved_by_ms), (STORED_MS, Some(moved_by_ms)));
            assert_eq!((truth.from_ms, truth.until_ms), (STORED_MS - 500, Some(STORED_MS + 1_500)));
        }
    }
}
