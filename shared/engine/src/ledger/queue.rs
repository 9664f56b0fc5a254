//! The arithmetic of JOBS. A message leaves JOBS in one rightful way: its job has ended, and it is acknowledged. So no more messages may
//! have left JOBS than jobs have ended that had one. What is beyond was taken away: a deleted message, a purge, a damaged block.
//!
//! How many have left is what JOBS itself says, its last sequence less what it holds. No submitter is asked, and a job that was opened
//! and never queued does not appear on either side.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::stores::{Change, Setback, Sight, Stream};

/// Sequences of extra messages that are remembered, so that one that comes again is counted once.
const REMEMBERED: usize = 1_000;

/// What is known of JOBS, kept with the ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueBook {
    /// As it was last seen.
    pub sight: Option<Sight>,
    /// Messages that left former streams of this name. Also makes up for what happened before the ledger began, so it may be negative.
    pub offset: i64,
    /// Whether `offset` is known. A ledger that began in the middle of a cluster's life measures it first.
    pub is_measured: bool,
    /// Messages beyond one a job: what could not be read as a job, and further messages of a job.
    pub extra: u64,
    /// Sequences of the newest of them.
    pub extras: BTreeSet<u64>,
}

impl QueueBook {
    /// Takes note of what JOBS says now, and tells what happened to the stream meanwhile.
    pub fn on_sight(&mut self, now: Sight, replicas: usize, at_ms: u64) -> Option<Setback> {
        let before = self.sight.replace(now)?;
        let change = before.change_to(now, replicas)?;
        // Everything that the former stream had accepted is gone from it; what an older copy holds again is there again.
        let again = if change == Change::WentBack { now.last_seq } else { 0 };
        self.offset = self.offset.saturating_add_unsigned(before.last_seq).saturating_sub_unsigned(again);
        self.extras.clear();
        let (store, from_seq, to_seq) = (Stream::Jobs.as_str().to_owned(), before.last_seq, now.last_seq);
        Some(Setback { store, change, from_seq, to_seq, messages: before.messages, at_ms, whole_at_ms: 0 })
    }

    /// A message that no job's end accounts for is about to be removed.
    pub fn on_extra(&mut self, seq: u64) {
        if self.extras.insert(seq) {
            self.extra += 1;
            if self.extras.len() > REMEMBERED {
                self.extras.pop_first();
            }
        }
    }

    /// How many messages have left JOBS for no reason, at least. `ended` are the jobs that had a message and have ended, counted after
    /// JOBS was seen: what is acknowledged had ended before.
    pub fn excess(&self, ended: u64) -> u64 {
        self.sight.map_or(0, |sight| self.excess_at(sight, ended))
    }

    /// The same by an earlier sight of the same stream.
    pub fn excess_at(&self, sight: Sight, ended: u64) -> u64 {
        if !self.is_measured {
            return 0;
        }
        let Sight { last_seq, messages, .. } = sight;
        let left = self.offset.saturating_add_unsigned(last_seq).saturating_sub_unsigned(messages);
        u64::try_from(left.saturating_sub_unsigned(ended).saturating_sub_unsigned(self.extra)).unwrap_or(0)
    }

    /// Begins to count in the middle: as JOBS is now, nothing but `known` messages have left it for no reason. `of_open` of those that it
    /// holds belong to open jobs.
    pub fn measure(&mut self, ended: u64, of_open: u64, known: u64) {
        let Some(Sight { last_seq, .. }) = self.sight else { return };
        let (ended, left) = (ended.saturating_add(self.extra).saturating_add(known), last_seq.saturating_sub(of_open));
        self.offset = 0_i64.saturating_add_unsigned(ended).saturating_sub_unsigned(left);
        self.is_measured = true;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sight(made_at_ms: u64, last_seq: u64, messages: u64) -> Sight {
        Sight { made_at_ms, last_seq, messages }
    }

    fn measured() -> QueueBook {
        QueueBook { is_measured: true, ..QueueBook::default() }
    }

    #[test]
    fn what_left_without_an_end_is_an_excess() {
        let mut book = measured();
        assert_eq!(book.on_sight(sight(1, 10, 6), 1, 0), None);
        assert_eq!(book.excess(4), 0);
        assert_eq!(book.excess(3), 1);
        assert_eq!(book.excess(6), 0, "jobs that have ended and wait for their acknowledgement");
    }

    #[test]
    fn an_extra_message_is_accounted_for_once() {
        let mut book = measured();
        book.on_sight(sight(1, 3, 0), 1, 0);
        book.on_extra(2);
        book.on_extra(2);
        assert_eq!((book.extra, book.excess(2), book.excess(1)), (1, 0, 1));
    }

    #[test]
    fn a_stream_made_anew_takes_along_what_it_held() {
        let mut book = measured();
        book.on_sight(sight(1, 10, 2), 1, 0);
        let setback = book.on_sight(sight(9, 3, 3), 1, 77).expect("it was made anew");
        assert_eq!((setback.change, setback.messages, setback.at_ms), (Change::MadeAnew, 2, 77));
        assert_eq!((book.excess(8), book.excess(10)), (2, 0));
        book.on_sight(sight(9, 4, 0), 1, 78);
        assert_eq!(book.excess(12), 2);
    }

    #[test]
    fn an_older_copy_holds_again_what_had_left() {
        let mut book = measured();
        // Ten were accepted, eight have ended; the copy knows five and holds three of them, which have all ended since.
        book.on_sight(sight(1, 10, 2), 1, 0);
        assert_eq!(book.on_sight(sight(1, 5, 3), 1, 5).map(|setback| setback.change), Some(Change::WentBack));
        assert_eq!(book.excess(8), 0);
        book.on_sight(sight(1, 5, 0), 1, 6);
        assert_eq!(book.excess(8), 2, "9 and 10 are gone");
    }

    #[test]
    fn a_ledger_that_begins_in_the_middle_measures_first() {
        let mut book = QueueBook::default();
        book.on_sight(sight(1, 100, 7), 1, 0);
        assert_eq!(book.excess(0), 0, "nothing is known yet");
        book.measure(3, 5, 0);
        assert_eq!(book.excess(3), 0);
        book.on_sight(sight(1, 100, 5), 1, 0);
        assert_eq!(book.excess(3), 0, "two had ended and were acknowledged");
        book.on_sight(sight(1, 100, 4), 1, 0);
        assert_eq!(book.excess(3), 1);
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Submit,
        OpenOnly,
        End,
        Ack,
        Delete,
        Poison,
        Bury,
        MakeAnew,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => Just(Step::Submit),
            1 => Just(Step::OpenOnly),
            5 => Just(Step::End),
            5 => Just(Step::Ack),
            1 => Just(Step::Delete),
            1 => Just(Step::Poison),
            1 => Just(Step::Bury),
            1 => Just(Step::MakeAnew),
        ];
        proptest::collection::vec(step, 1..120)
    }

    proptest! {
        /// Whatever happens, the excess is never more than what was taken away; once all that ended is acknowledged, it is exactly that.
        #[test]
        fn the_excess_is_what_was_taken_away(steps in steps()) {
            let mut book = measured();
            // Messages in JOBS: of an open job, of an ended one, or no job at all.
            let (mut open, mut ended_here, mut poison) = (0_u64, 0_u64, BTreeSet::new());
            let (mut last_seq, mut made_at, mut ended, mut taken) = (0_u64, 1_u64, 0_u64, 0_u64);
            book.on_sight(sight(made_at, 0, 0), 1, 0);
            for step in steps {
                match step {
                    Step::Submit => { open += 1; last_seq += 1; }
                    Step::OpenOnly => {}
                    Step::End if open > 0 => { open -= 1; ended_here += 1; ended += 1; }
                    Step::Ack if ended_here > 0 => ended_here -= 1,
                    Step::Delete if open > 0 => { open -= 1; taken += 1; }
                    Step::Poison => { last_seq += 1; poison.insert(last_seq); }
                    Step::Bury => if let Some(seq) = poison.pop_first() { book.on_extra(seq); },
                    // An unreadable message is counted when it goes to DEAD, so a stream that is deleted with it takes it along as if it were one.
                    Step::MakeAnew if poison.is_empty() => {
                        taken += open;
                        (open, ended_here, last_seq, made_at) = (0, 0, 0, made_at + 1);
                    }
                    _ => {}
                }
                book.on_sight(sight(made_at, last_seq, open + ended_here + poison.len() as u64), 1, 0);
                prop_assert!(book.excess(ended) <= taken);
                prop_assert_eq!(book.excess(ended - ended_here), taken);
            }
        }
    }
}
