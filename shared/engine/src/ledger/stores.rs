//! Whether a stream is still the one that was counted. A stream that was made anew or put back to an older copy hands out sequences
//! that it handed out before, so whatever was counted by sequence must know of it, and what it took away must stay known.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How many setbacks are kept: the oldest ones tell what happened first.
pub(super) const KEPT: usize = 16;

/// Setbacks that two processes have seen of the same store within this time, with a part in common, are one.
const SEEN_TOGETHER_MS: u64 = 60_000;

/// A stream that the ledger counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    Jobs,
    Results,
}

impl Stream {
    pub fn as_str(self) -> &'static str {
        match self {
            Stream::Jobs => "JOBS",
            Stream::Results => "RESULTS",
        }
    }
}

/// What a stream says of itself at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    /// When the server made the stream.
    pub made_at_ms: u64,
    /// Every message that the stream ever accepted has a sequence, so this is how many there were.
    pub last_seq: u64,
    /// How many it holds.
    pub messages: u64,
}

/// How a store lost what it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was deleted and created again.
    MadeAnew,
    /// It is the same, and knows less than it did: an older copy, or a tail that never reached the disk.
    WentBack,
}

impl Sight {
    /// What happened to the stream between two sights, if anything did. Replicas may tell of different moments of creation: then
    /// only a lower sequence counts (`replicas > 1`).
    pub fn change_to(self, now: Sight, replicas: usize) -> Option<Change> {
        let is_shorter = now.last_seq < self.last_seq;
        if now.made_at_ms > self.made_at_ms && (is_shorter || replicas <= 1) {
            return Some(Change::MadeAnew);
        }
        let is_older = now.made_at_ms < self.made_at_ms && replicas <= 1;
        (is_shorter || is_older).then_some(Change::WentBack)
    }
}

/// A store that lost what had been counted, kept for good.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Setback {
    /// `JOBS`, `RESULTS` or `LEDGER`.
    pub store: String,
    pub change: Change,
    /// The last sequence that was known; for LEDGER the number of the snapshot.
    pub from_seq: u64,
    /// The last one that is left.
    pub to_seq: u64,
    /// How many messages the store held when it was last seen.
    pub messages: u64,
    /// By the server's clock.
    pub at_ms: u64,
}

impl Setback {
    /// Whether something is gone that nothing else holds. An empty stream may be made anew, and the leader remembers the ledger.
    pub fn is_loss(&self) -> bool {
        match self.change {
            _ if self.store == "LEDGER" => false,
            Change::WentBack => true,
            Change::MadeAnew => self.messages > 0,
        }
    }
}

impl fmt::Display for Setback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { store, from_seq, to_seq, messages, .. } = self;
        match self.change {
            _ if store == "LEDGER" => {
                write!(f, "the ledger's snapshot went back from number {from_seq} to {to_seq}: the leader wrote it again from memory")
            }
            Change::WentBack => write!(
                f,
                "{store} went back from message {from_seq} to {to_seq}: an older copy was restored, or its last messages never reached the disk"
            ),
            Change::MadeAnew => {
                write!(f, "{store} was recreated: it had accepted {from_seq} messages and held {messages} of them when last checked")
            }
        }
    }
}

impl Setback {
    fn is_same(&self, other: &Setback) -> bool {
        Setback { at_ms: other.at_ms, ..self.clone() } == *other
    }

    /// Whether both tell of the same event, as two processes saw it that had not looked at the same moment.
    fn is_same_event(&self, other: &Setback) -> bool {
        let overlap = self.to_seq.max(other.to_seq) < self.from_seq.min(other.from_seq);
        let is_near = self.at_ms.abs_diff(other.at_ms) <= SEEN_TOGETHER_MS;
        self.store == other.store && self.change == other.change && overlap && is_near
    }
}

/// Adds a setback, unless it is known or too many are.
pub fn keep(setbacks: &mut Vec<Setback>, setback: Setback) {
    if setbacks.len() < KEPT && !setbacks.iter().any(|known| known.is_same(&setback)) {
        setbacks.push(setback);
    }
}

/// Whether these tell of this one, or there are too many to add it.
pub fn tells(setbacks: &[Setback], setback: &Setback) -> bool {
    setbacks.len() >= KEPT || setbacks.iter().any(|known| known.is_same(setback) || known.is_same_event(setback))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(made_at_ms: u64, last_seq: u64) -> Sight {
        Sight { made_at_ms, last_seq, messages: last_seq }
    }

    #[test]
    fn growing_is_no_change() {
        assert_eq!(sight(5, 10).change_to(sight(5, 10), 1), None);
        assert_eq!(sight(5, 10).change_to(sight(5, 11), 3), None);
    }

    #[test]
    fn a_stream_made_anew_and_an_older_copy_are_told_apart() {
        assert_eq!(sight(5, 10).change_to(sight(9, 0), 1), Some(Change::MadeAnew));
        assert_eq!(sight(5, 10).change_to(sight(9, 12), 1), Some(Change::MadeAnew), "also when it has outgrown the former one");
        assert_eq!(sight(5, 10).change_to(sight(5, 9), 1), Some(Change::WentBack));
        assert_eq!(sight(5, 10).change_to(sight(4, 20), 1), Some(Change::WentBack), "a copy of the stream before it was made anew");
    }

    #[test]
    fn replicas_that_differ_in_the_moment_of_creation_are_no_change() {
        assert_eq!(sight(5, 10).change_to(sight(6, 10), 3), None);
        assert_eq!(sight(5, 10).change_to(sight(4, 11), 3), None);
        assert_eq!(sight(5, 10).change_to(sight(9, 0), 3), Some(Change::MadeAnew));
    }

    #[test]
    fn an_empty_stream_that_was_made_anew_is_no_loss_and_setbacks_are_kept_once() {
        let setback = Setback { store: "JOBS".into(), change: Change::MadeAnew, from_seq: 10, to_seq: 0, messages: 0, at_ms: 7 };
        assert!(!setback.is_loss());
        assert!(Setback { messages: 1, ..setback.clone() }.is_loss());
        assert!(Setback { change: Change::WentBack, ..setback.clone() }.is_loss());
        let mut kept = Vec::new();
        keep(&mut kept, setback.clone());
        keep(&mut kept, Setback { at_ms: 9, ..setback });
        assert_eq!(kept.len(), 1);
    }
}
