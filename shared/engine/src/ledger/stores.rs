//! Whether a stream is still the one that was counted. A stream that was made anew or put back to an older copy hands out sequences
//! that it handed out before, so whatever was counted by sequence must know of it, and what it took away must stay known.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How many setbacks are kept: the oldest ones tell what happened first.
pub(super) const KEPT: usize = 16;

/// How long before it was noticed a setback may have happened when nothing says when the store was last seen whole. What was stored is no older
/// than this either.
pub(super) const SEEN_TOGETHER_MS: u64 = 60_000;

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
    /// When it was noticed, by the server's clock.
    pub at_ms: u64,
    /// When the store was last seen whole, by the same clock: it happened between the two. 0 if that is not known.
    #[serde(default, skip_serializing_if = "crate::unset::is_default")]
    pub whole_at_ms: u64,
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
    /// Whether both tell of the same event, as two processes saw it that had not looked at the same moments: it lies in both their times. Their
    /// numbers say nothing: an older copy may be put back twice, and takes the same away each time.
    fn is_same_event(&self, other: &Setback) -> bool {
        let began = self.earliest_ms().max(other.earliest_ms());
        self.store == other.store && self.change == other.change && began < self.at_ms.min(other.at_ms)
    }

    fn earliest_ms(&self) -> u64 {
        let known = Some(self.whole_at_ms).filter(|&at_ms| at_ms > 0);
        // A server's clock that was set back says nothing of the order.
        known.unwrap_or(self.at_ms.saturating_sub(SEEN_TOGETHER_MS)).min(self.at_ms.saturating_sub(1))
    }
}

/// Adds a setback, unless these tell of it or are too many.
pub fn keep(setbacks: &mut Vec<Setback>, setback: Setback) {
    if !tells(setbacks, &setback) {
        setbacks.push(setback);
    }
}

/// Whether these tell of this one, or there are too many to add it.
pub fn tells(setbacks: &[Setback], setback: &Setback) -> bool {
    setbacks.len() >= KEPT || setbacks.iter().any(|known| known.is_same_event(setback))
}

/// The losses among these in words, each once: one that reads like an earlier one says which time it was.
pub fn losses(setbacks: &[Setback]) -> Vec<String> {
    let mut times: BTreeMap<String, u32> = BTreeMap::new();
    let mut told = |setback: &Setback| {
        let words = setback.to_string();
        let time = times.entry(words.clone()).and_modify(|time| *time += 1).or_insert(1);
        if *time == 1 { words } else { format!("{words} (time {time})") }
    };
    setbacks.iter().filter(|setback| setback.is_loss()).map(&mut told).collect()
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

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
    fn an_empty_stream_that_was_made_anew_is_no_loss() {
        let setback = Setback { change: Change::MadeAnew, ..went_back(10, 0, 1..7) };
        let setback = Setback { messages: 0, ..setback };
        assert!(!setback.is_loss());
        assert!(Setback { messages: 1, ..setback.clone() }.is_loss());
        assert!(Setback { change: Change::WentBack, ..setback }.is_loss());
    }

    fn went_back(from_seq: u64, to_seq: u64, seen: Range<u64>) -> Setback {
        let (store, change) = ("JOBS".into(), Change::WentBack);
        Setback { store, change, from_seq, to_seq, messages: 5, at_ms: seen.end, whole_at_ms: seen.start }
    }

    #[test]
    fn one_event_is_kept_once_whoever_saw_it_and_the_next_one_too_however_soon() {
        let mut kept = Vec::new();
        let mut keeps = |setback: Setback| {
            let before = kept.len();
            keep(&mut kept, setback);
            kept.len() > before
        };
        assert!(keeps(went_back(50, 30, 90_000..100_000)));
        assert!(!keeps(went_back(48, 33, 95_000..101_000)), "another process saw it");
        assert!(!keeps(went_back(50, 30, 0..100_300)), "and one that does not say when it was whole");
        assert!(keeps(went_back(55, 30, 109_000..109_500)), "the same copy was put back once more");
        assert!(keeps(went_back(55, 30, 120_000..120_500)), "and again");
        let words = went_back(55, 30, 0..1).to_string();
        assert_eq!(losses(&kept)[1..], [words.clone(), format!("{words} (time 2)")]);
    }
}
