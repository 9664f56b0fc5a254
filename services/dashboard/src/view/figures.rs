//! Figures that no service sends: how fast faults were noticed, measured against the truth of them, and whether jobs are
//! unaccounted for.

use std::collections::{BTreeMap, VecDeque};

use faultline_engine::job::JobId;
use faultline_protocol::messages::{ClusterEvent, ClusterStats, EventKind};

const MAX_SAMPLES: usize = 1_000;
const MAX_UNNOTICED: usize = 10_000;
/// A job is between its two writes for at most 2 minutes before it counts as abandoned; the rest is slack.
const SETTLED_AFTER_S: u64 = 150;
/// What a ledger and a leader that have just begun may still be behind by.
const SETTLING_S: u64 = 10;

/// How long it took from the beginning of a fault to the first verdict on its node.
#[derive(Debug, Default)]
pub(crate) struct Detection {
    /// Nodes with a fault without a verdict yet, and since when.
    unnoticed: BTreeMap<String, u64>,
    took: Samples,
}

impl Detection {
    /// An event; `broken` are the nodes that a fault in it is about.
    pub(crate) fn on_event(&mut self, event: &ClusterEvent, broken: &[String]) {
        match event.kind {
            EventKind::FaultBegan => {
                let from_ms = event.fault.as_ref().map_or(event.at_ms, |truth| truth.from_ms);
                for node in broken.iter().take(MAX_UNNOTICED.saturating_sub(self.unnoticed.len())) {
                    self.unnoticed.entry(node.clone()).or_insert(from_ms);
                }
            }
            // One that ended unnoticed is none of the detector's successes, nor could it have taken a time.
            EventKind::FaultEnded => self.unnoticed.retain(|node, _| !broken.contains(node)),
            EventKind::NodeSuspect | EventKind::NodeGone | EventKind::NodeDead => {
                let Some(from_ms) = event.node.as_ref().and_then(|node| self.unnoticed.remove(node)) else { return };
                self.took.push(event.at_ms.saturating_sub(from_ms));
            }
            _ => {}
        }
    }

    /// Over the newest 1,000 faults that were noticed; none before the first.
    pub(crate) fn percentile_ms(&self, percent: usize) -> Option<u64> {
        self.took.percentile_ms(percent)
    }
}

/// How long it took from the beginning of a fault until a job that it interrupted was placed again.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    /// Nodes with a fault, and since when.
    broken: BTreeMap<String, u64>,
    /// Interrupted jobs that are not placed again yet, with the beginning of the fault.
    waiting: BTreeMap<JobId, u64>,
    took: Samples,
}

impl Recovery {
    /// An event; `broken` are the nodes that a fault in it is about.
    pub(crate) fn on_event(&mut self, event: &ClusterEvent, broken: &[String]) {
        match (event.kind, event.job, &event.node) {
            (EventKind::FaultBegan, ..) => {
                let from_ms = event.fault.as_ref().map_or(event.at_ms, |truth| truth.from_ms);
                for node in broken.iter().take(MAX_UNNOTICED.saturating_sub(self.broken.len())) {
                    self.broken.entry(node.clone()).or_insert(from_ms);
                }
            }
            (EventKind::FaultEnded, ..) => self.broken.retain(|node, _| !broken.contains(node)),
            (EventKind::AttemptLost, Some(job), Some(node)) => {
                if let Some(from_ms) = self.broken.get(node).filter(|_| self.waiting.len() < MAX_UNNOTICED) {
                    self.waiting.entry(job).or_insert(*from_ms);
                }
            }
            (EventKind::JobPlaced, Some(job), _) => {
                if let Some(from_ms) = self.waiting.remove(&job) {
                    self.took.push(event.at_ms.saturating_sub(from_ms));
                }
            }
            (EventKind::JobDead | EventKind::JobCancelled | EventKind::JobAbandoned, Some(job), _) => drop(self.waiting.remove(&job)),
            _ => {}
        }
    }

    /// Over the newest 1,000; none before the first.
    pub(crate) fn percentile_ms(&self, percent: usize) -> Option<u64> {
        self.took.percentile_ms(percent)
    }
}

/// The newest 1,000 durations.
#[derive(Debug, Default)]
struct Samples(VecDeque<u64>);

impl Samples {
    fn push(&mut self, ms: u64) {
        if self.0.len() >= MAX_SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back(ms);
    }

    fn percentile_ms(&self, percent: usize) -> Option<u64> {
        let mut sorted: Vec<u64> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied()
    }
}

/// Jobs that have not ended by the ledger and are not in the queue either. At any one moment some are on their way
/// between the two, so what counts is how many there were at least at every moment of the last minutes.
#[derive(Debug, Default)]
pub(crate) struct Unaccounted {
    /// By second.
    seen: VecDeque<(u64, u64)>,
}

impl Unaccounted {
    /// `arriving` were submitted in the last seconds: the ledger may know of them before the queue was counted.
    pub(crate) fn look(&mut self, stats: &ClusterStats, arriving: u64, now_s: u64) {
        let queued = stats.queued_in_stream + stats.queued_held + stats.running;
        let missing = stats.ledger.open().saturating_sub(queued).saturating_sub(arriving);
        self.seen.push_back((now_s, missing));
        while self.seen.front().is_some_and(|(second, _)| second + SETTLED_AFTER_S < now_s) {
            self.seen.pop_front();
        }
    }

    /// How many are unaccounted for; known when it was looked at for 150 s. That none is, is known earlier: one moment at which
    /// every job was accounted for is enough.
    pub(crate) fn count(&self) -> Option<u64> {
        let (oldest, newest) = (self.seen.front()?.0, self.seen.back()?.0);
        if newest >= oldest + SETTLED_AFTER_S - 1 {
            return self.seen.iter().map(|(_, missing)| *missing).min();
        }
        self.seen.iter().any(|(second, missing)| *second >= oldest + SETTLING_S && *missing == 0).then_some(0)
    }

    /// The leader changed or was silent: its counts begin anew.
    pub(crate) fn clear(&mut self) {
        self.seen.clear();
    }
}

#[cfg(test)]
mod tests {
    use faultline_protocol::messages::{LedgerSnapshot, Level};

    use super::*;

    fn event(at_ms: u64, kind: EventKind, node: &str) -> ClusterEvent {
        ClusterEvent { node: Some(node.into()), ..ClusterEvent::new(at_ms, "x", Level::Warn, kind, "") }
    }

    #[test]
    fn the_first_verdict_after_a_fault_counts() {
        let mut detection = Detection::default();
        let mut happens = |at_ms, kind, node: &str| {
            detection.on_event(&event(at_ms, kind, node), &[node.to_owned()]);
            (detection.percentile_ms(50), detection.percentile_ms(95))
        };
        assert_eq!(happens(1_000, EventKind::NodeSuspect, "a"), (None, None), "a false alarm is not a detection");
        for (took_ms, node) in [(1_900, "a"), (3_000, "b"), (2_000, "c")] {
            happens(10_000, EventKind::FaultBegan, node);
            happens(10_000 + took_ms, EventKind::NodeSuspect, node);
            happens(99_000, EventKind::NodeDead, node);
        }
        happens(20_000, EventKind::FaultBegan, "d");
        happens(21_000, EventKind::FaultEnded, "d");
        assert_eq!(happens(90_000, EventKind::NodeDead, "d"), (Some(2_000), Some(3_000)));
    }

    #[test]
    fn recovery_is_from_the_fault_to_the_placement() {
        let (mut recovery, job) = (Recovery::default(), JobId::new(1, 1));
        let mut happens = |at_ms, kind, node: &str| {
            recovery.on_event(&ClusterEvent { job: Some(job), ..event(at_ms, kind, node) }, &[node.to_owned()]);
            recovery.percentile_ms(50)
        };
        happens(500, EventKind::AttemptLost, "a");
        assert_eq!(happens(600, EventKind::JobPlaced, "b"), None, "no fault is known that did it");
        happens(1_000, EventKind::FaultBegan, "b");
        happens(1_900, EventKind::AttemptLost, "b");
        assert_eq!(happens(2_000, EventKind::JobPlaced, "c"), Some(1_000), "not the 100 ms since the verdict");
        assert_eq!(happens(3_000, EventKind::JobPlaced, "c"), Some(1_000), "counted once");
        happens(3_500, EventKind::FaultEnded, "b");
        happens(4_000, EventKind::AttemptLost, "b");
        assert_eq!(happens(9_000, EventKind::JobPlaced, "c"), Some(1_000), "the fault had ended");
    }

    #[test]
    fn only_what_stays_away_is_unaccounted_for() {
        let mut unaccounted = Unaccounted::default();
        let stats = |submitted, running| ClusterStats {
            running,
            ledger: LedgerSnapshot { submitted, ..LedgerSnapshot::default() },
            ..ClusterStats::default()
        };
        for second in 0..SETTLED_AFTER_S - 1 {
            unaccounted.look(&stats(10, if second == 70 { 8 } else { 5 }), 0, second);
        }
        assert_eq!(unaccounted.count(), None, "not looked at for long enough");
        unaccounted.look(&stats(10, 5), 0, SETTLED_AFTER_S - 1);
        assert_eq!(unaccounted.count(), Some(2));
        (SETTLED_AFTER_S..400).for_each(|second| unaccounted.look(&stats(50, 5), 45, second));
        assert_eq!((unaccounted.count(), unaccounted.seen.len()), (Some(0), 151));
        unaccounted.clear();
        assert_eq!(unaccounted.count(), None);
    }

    #[test]
    fn that_none_is_missing_is_known_early() {
        let mut unaccounted = Unaccounted::default();
        let mut look = |second, running| {
            let ledger = LedgerSnapshot { submitted: 10, ..LedgerSnapshot::default() };
            unaccounted.look(&ClusterStats { running, ledger, ..ClusterStats::default() }, 0, second);
            unaccounted.count()
        };
        assert!((100..110).all(|second| look(second, 10).is_none()), "the counts may still be behind");
        assert!((110..120).all(|second| look(second, 9).is_none()), "one is missing, perhaps only for a moment");
        assert_eq!(look(120, 10), Some(0));
        assert!((121..249).all(|second| look(second, 9) == Some(0)), "it was there after the others had looked for it");
    }
}
