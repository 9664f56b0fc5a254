//! The newest events, each with a number that grows and survives a restart of the dashboard.

use std::collections::VecDeque;

use faultline_engine::job::JobRef;
use faultline_protocol::messages::{ClusterEvent, EventKind, Level};
use serde::Serialize;
use utoipa::ToSchema;

use super::jobs::clip;

/// Bits of an event's number that say its place in its message. A body is at most 1 MiB and an event takes more than
/// 16 bytes of it, so 16 bits are enough; and 2^37 messages still fit the 53 bits that JavaScript keeps exact.
const PLACE_BITS: u32 = 16;

/// The number of the event at `place` of the message with sequence `stream_seq` in EVENTS, as long as EVENTS has not begun again.
pub(crate) fn event_seq(stream_seq: u64, place: usize) -> u64 {
    (stream_seq << PLACE_BITS) | (place as u64 & ((1 << PLACE_BITS) - 1))
}

/// An event and its number.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct NumberedEvent {
    /// Grows with every event; ask for what is `after` it. Not without gaps.
    pub(crate) seq: u64,
    #[serde(flatten)]
    pub(crate) event: ClusterEvent,
}

/// Which events are wanted. The default wants all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EventFilter {
    pub(crate) kind: Option<EventKind>,
    pub(crate) min_level: Option<Level>,
    pub(crate) node: Option<String>,
    pub(crate) job: Option<JobRef>,
    pub(crate) service: Option<String>,
    /// None of later.
    pub(crate) until_ms: Option<u64>,
}

impl EventFilter {
    fn wants(&self, event: &ClusterEvent) -> bool {
        self.kind.is_none_or(|kind| kind == event.kind)
            && self.min_level.is_none_or(|level| event.level >= level)
            && self.node.as_ref().is_none_or(|node| event.node.as_ref() == Some(node))
            && self.job.as_ref().is_none_or(|job| event.job.is_some_and(|id| job.is_of(id)))
            && self.service.as_ref().is_none_or(|service| &event.service == service)
            && self.until_ms.is_none_or(|until_ms| event.at_ms <= until_ms)
    }
}

/// The newest `limit` events, oldest first.
#[derive(Debug)]
pub(crate) struct EventRing {
    limit: usize,
    events: VecDeque<NumberedEvent>,
    last_seq: u64,
    /// Events up to this number are no longer here, or never were.
    gone_through: u64,
    /// What numbers begin with since EVENTS began again: they go on growing.
    base: u64,
    /// When EVENTS was created, in milliseconds since 1970; 0 before it was read.
    created_ms: i128,
}

impl EventRing {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, events: VecDeque::new(), last_seq: 0, gone_through: 0, base: 0, created_ms: 0 }
    }

    /// The number of the newest event; 0 before the first.
    pub(crate) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// The number of an event of EVENTS as it is now.
    pub(crate) fn number(&self, stream_seq: u64, place: usize) -> u64 {
        self.base + event_seq(stream_seq, place)
    }

    /// The stream that was created then is read.
    pub(crate) fn follows(&mut self, created_ns: i128) {
        self.created_ms = created_ns / 1_000_000;
    }

    /// Whether there is a stream that is read.
    pub(crate) fn is_read(&self) -> bool {
        self.created_ms != 0
    }

    /// EVENTS was made anew, or is an older copy: its sequences count from another beginning. What was read stays here.
    pub(crate) fn begin_again(&mut self) {
        self.base = ((self.last_seq >> PLACE_BITS) + 1) << PLACE_BITS;
    }

    /// Which history the numbers count. Another word: positions of before mean nothing.
    pub(crate) fn history(&self) -> String {
        format!("{:x}-{:x}", self.created_ms, self.base >> PLACE_BITS)
    }

    /// What came before this message of EVENTS was never read.
    pub(crate) fn begins_at(&mut self, stream_seq: u64) {
        self.gone_through = self.gone_through.max(self.number(stream_seq, 0).saturating_sub(1));
    }

    /// Whether this is a number of this history, and not one of before it began again.
    pub(crate) fn knows(&self, after: u64, history: Option<&str>) -> bool {
        after <= self.last_seq.max(self.gone_through) && history.is_none_or(|history| history == self.history())
    }

    /// Whether all events after that number are here.
    pub(crate) fn has_all_after(&self, after: u64) -> bool {
        after >= self.gone_through
    }

    /// Adds an event. One that is not newer than the newest was read twice: it is dropped and `false` comes back.
    pub(crate) fn push(&mut self, seq: u64, mut event: ClusterEvent) -> bool {
        if seq <= self.last_seq {
            return false;
        }
        self.last_seq = seq;
        // The path of a job is kept with the job.
        event.history = Vec::new();
        clip(&mut event.detail);
        self.events.push_back(NumberedEvent { seq, event });
        if self.events.len() > self.limit {
            self.gone_through = self.events.pop_front().map_or(self.gone_through, |oldest| oldest.seq);
        }
        true
    }

    /// Oldest first: the first `limit` after `after`, or the newest `limit` when no `after` is given.
    pub(crate) fn page(&self, filter: &EventFilter, after: Option<u64>, limit: usize) -> Vec<NumberedEvent> {
        match after {
            Some(after) => {
                let start = self.events.partition_point(|numbered| numbered.seq <= after);
                self.events.range(start..).filter(|numbered| filter.wants(&numbered.event)).take(limit).cloned().collect()
            }
            None => {
                let mut newest: Vec<_> =
                    self.events.iter().rev().filter(|numbered| filter.wants(&numbered.event)).take(limit).cloned().collect();
                newest.reverse();
                newest
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use faultline_engine::job::JobId;

    use super::*;

    fn event(node: &str, level: Level) -> ClusterEvent {
        ClusterEvent { node: Some(node.into()), ..ClusterEvent::new(5, "scheduler", level, EventKind::NodeDead, "silent") }
    }

    #[test]
    fn pages_go_on_after_a_number_and_otherwise_show_the_newest() {
        let mut ring = EventRing::new(100);
        for seq in 1..=10 {
            assert!(ring.push(event_seq(seq, 0), event("a", Level::Info)));
        }
        assert!(!ring.push(event_seq(10, 0), event("a", Level::Info)), "read twice");
        let seqs = |after, limit| ring.page(&EventFilter::default(), after, limit).into_iter().map(|row| row.seq >> 16).collect::<Vec<_>>();
        assert_eq!(seqs(None, 3), [8, 9, 10]);
        assert_eq!(seqs(Some(event_seq(2, 0)), 3), [3, 4, 5]);
        assert_eq!(seqs(Some(event_seq(10, 0)), 3), [0_u64; 0]);
        assert_eq!(seqs(Some(0), 2), [1, 2]);
    }

    #[test]
    fn the_ring_is_bounded_and_sheds_long_texts() {
        let mut ring = EventRing::new(3);
        for seq in 1..=5 {
            ring.push(seq, ClusterEvent { detail: "é".repeat(10_000), ..event("a", Level::Warn) });
        }
        let rows = ring.page(&EventFilter::default(), None, 100);
        assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [3, 4, 5]);
        assert!(rows[0].event.detail.len() < 5000);
        assert!(ring.has_all_after(2) && !ring.has_all_after(1));
        let mut late = EventRing::new(3);
        assert!(late.has_all_after(0));
        late.begins_at(100);
        let first = event_seq(100, 0);
        assert!(late.has_all_after(first - 1) && !late.has_all_after(first - 2));
    }

    #[test]
    fn numbers_go_on_growing_when_the_stream_begins_again() {
        let mut ring = EventRing::new(10);
        ring.follows(5_000_000);
        let history = ring.history();
        assert!(ring.push(ring.number(7, 3), event("a", Level::Info)));
        let last = ring.last_seq();
        assert!(ring.knows(last, Some(&history)) && ring.knows(last, None));
        ring.begin_again();
        ring.follows(9_000_000);
        assert!(!ring.knows(last, Some(&history)), "a position of before it began again");
        assert!(ring.push(ring.number(1, 0), event("a", Level::Info)), "the first of the new stream is newer");
        assert!(ring.last_seq() > last && ring.last_seq() < 1 << 53);
        assert_eq!(ring.page(&EventFilter::default(), Some(last), 10).len(), 1);
        assert!(!ring.knows(ring.last_seq() + 1, None), "a number beyond the end is of another history");
    }

    #[test]
    fn filters_are_combined() {
        let mut ring = EventRing::new(10);
        ring.push(1, event("a", Level::Info));
        ring.push(2, event("b", Level::Error));
        ring.push(3, event("a", Level::Error));
        let found = |filter: EventFilter| ring.page(&filter, None, 10).len();
        assert_eq!(found(EventFilter { node: Some("a".into()), ..EventFilter::default() }), 2);
        assert_eq!(found(EventFilter { node: Some("a".into()), min_level: Some(Level::Warn), ..EventFilter::default() }), 1);
        assert_eq!(found(EventFilter { kind: Some(EventKind::NodeGone), ..EventFilter::default() }), 0);
        assert_eq!(found(EventFilter { service: Some("scheduler".into()), ..EventFilter::default() }), 3);
        assert_eq!([4, 5].map(|until_ms| found(EventFilter { until_ms: Some(until_ms), ..EventFilter::default() })), [0, 3]);
        assert_eq!(found(EventFilter { job: Some(JobRef::Whole(JobId::new(1, 1))), ..EventFilter::default() }), 0);
    }

    #[test]
    fn events_of_one_message_stay_in_order_and_exact_in_javascript() {
        assert!(event_seq(1, 0) < event_seq(1, 1) && event_seq(1, 65_535) < event_seq(2, 0));
        assert!(event_seq(1 << 36, 65_535) < 1 << 53);
    }
}
