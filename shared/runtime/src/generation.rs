//! Notices that a stream was made anew, or is an older copy of itself. Sequences, revisions and ack subjects of before mean something
//! else then, or nothing, so their holders ask here whether they still count. `provisioned` looks at the streams;
//! what it sees is kept here.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_nats::jetstream::stream;

use crate::count::Counter;

/// A stream as one look found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// When it was created, in nanoseconds since 1970.
    pub created_ns: i128,
    pub first_seq: u64,
    pub last_seq: u64,
}

impl Sight {
    pub fn of(info: &stream::Info) -> Self {
        Self { created_ns: info.created.unix_timestamp_nanos(), first_seq: info.state.first_sequence, last_seq: info.state.last_sequence }
    }

    /// Whether what was known of the stream means nothing any more: it is another stream of that name, or its sequences went back.
    pub fn begins_again_after(&self, former: &Sight) -> bool {
        self.created_ns != former.created_ns || self.last_seq < former.last_seq
    }
}

/// Which of the streams of one name a process deals with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation {
    /// Grows whenever the stream begins again.
    pub number: u64,
    /// Whether the stream was looked at since this process was last connected. Until then it may have begun again unnoticed.
    pub is_certain: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) sight: Sight,
    number: u64,
    connection: u64,
}

/// What was seen of each stream, by name, and a count of the rounds of looks.
#[derive(Debug, Default)]
pub(crate) struct Generations {
    seen: Mutex<BTreeMap<String, Seen>>,
    pub(crate) rounds: Counter,
}

impl Generations {
    pub(crate) fn seen(&self) -> MutexGuard<'_, BTreeMap<String, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a look that was begun on the connection with this number. True when the stream has begun again.
    pub(crate) fn note(&self, stream: &str, sight: Sight, connection: u64) -> bool {
        let mut seen = self.seen();
        let Some(known) = seen.get_mut(stream) else {
            seen.insert(stream.to_owned(), Seen { sight, number: 1, connection });
            return false;
        };
        let begins_again = sight.begins_again_after(&known.sight);
        *known = Seen { sight, number: known.number + u64::from(begins_again), connection };
        begins_again
    }

    pub(crate) fn round_is_over(&self) {
        self.rounds.increment();
    }

    pub(crate) fn generation(&self, stream: &str, connection: u64) -> Generation {
        let known = self.seen().get(stream).copied();
        Generation { number: known.map_or(0, |seen| seen.number), is_certain: known.is_some_and(|seen| seen.connection == connection) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(created_ns: i128, last_seq: u64) -> Sight {
        Sight { created_ns, first_seq: 1, last_seq }
    }

    #[test]
    fn another_stream_of_that_name_and_one_that_went_back_begin_again() {
        let generations = Generations::default();
        assert_eq!(generations.generation("JOBS", 1), Generation { number: 0, is_certain: false });
        assert!(!generations.note("JOBS", sight(7, 100), 1), "the first look is not a change");
        assert!(!generations.note("JOBS", sight(7, 100), 1) && !generations.note("JOBS", sight(7, 120), 1));
        assert!(generations.note("JOBS", sight(7, 119), 1), "an older copy");
        assert!(generations.note("JOBS", sight(8, 500), 1), "made anew");
        assert_eq!(generations.generation("JOBS", 1), Generation { number: 3, is_certain: true });
    }

    #[test]
    fn after_a_reconnect_nothing_is_certain_until_the_next_look() {
        let generations = Generations::default();
        generations.note("JOBS", sight(7, 100), 1);
        assert!(!generations.generation("JOBS", 2).is_certain);
        generations.note("JOBS", sight(7, 101), 2);
        assert_eq!(generations.generation("JOBS", 2), Generation { number: 1, is_certain: true });
    }
}
