//! The books of GPU time of one term: what is told of nodes and attempts, in the scheduler's words, becomes what the fold is told.

use std::collections::BTreeMap;

use crate::goodput::history::{Carried, ROW_MS};
use crate::goodput::{Account, Books, Condition, Ending, LossCause, Phase};
use crate::job::{AttemptOutcome, EndedAttempt, JobSpec, Told};

/// The books of one term.
#[derive(Debug)]
pub(super) struct Accounting {
    pub(super) books: Books,
    pub(super) began_ms: u64,
    /// What is known of each node, by its number in the books.
    pub(super) nodes: Vec<Known>,
    numbers: BTreeMap<String, usize>,
    /// Numbers of nodes that left.
    vacant: Vec<usize>,
    pub(super) classified_at_ms: Option<u64>,
    /// What attempts did before this term.
    pub(super) carried: Vec<Carried>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Known {
    pub(super) capacity_milli: u32,
    pub(super) condition: Condition,
    pub(super) broken_milli: u32,
}

/// What is known of an attempt's end.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttemptEnd {
    pub(super) ending: Ending,
    /// For how long it worked, if its worker says so.
    pub(super) ran_ms: Option<u64>,
    /// Whether a heartbeat named it.
    pub(super) was_seen: bool,
    /// From when on it stood still.
    pub(super) last_sign_ms: u64,
}

impl AttemptEnd {
    /// The scheduler ended it now, whatever it did until then.
    pub(super) fn now(cause: LossCause, now_ms: u64) -> Self {
        Self { ending: Ending::Interrupted(cause), ran_ms: None, was_seen: false, last_sign_ms: now_ms }
    }

    /// Its worker said how it ended.
    pub(super) fn told(ended: &EndedAttempt, now_ms: u64) -> Self {
        let ending = match ended.outcome {
            AttemptOutcome::Committed => Ending::Committed,
            AttemptOutcome::Superseded => Ending::Interrupted(LossCause::Duplicate),
            AttemptOutcome::Cancelled => Ending::Interrupted(LossCause::Cancel),
            AttemptOutcome::Failed => Ending::Interrupted(LossCause::OwnFailure),
            AttemptOutcome::TimedOut => Ending::Interrupted(LossCause::TimeLimit),
            AttemptOutcome::Lost | AttemptOutcome::Running if ended.told == Told::Unanswered => Ending::Interrupted(LossCause::Network),
            AttemptOutcome::Lost | AttemptOutcome::Running => Ending::Interrupted(LossCause::NodeFault),
        };
        Self { ending, ran_ms: ended.ran_ms, was_seen: false, last_sign_ms: now_ms }
    }
}

impl Accounting {
    pub(super) fn new(now_ms: u64) -> Self {
        Self {
            books: Books::new(now_ms, Some(ROW_MS)),
            began_ms: now_ms,
            nodes: Vec::new(),
            numbers: BTreeMap::new(),
            vacant: Vec::new(),
            classified_at_ms: None,
            carried: Vec::new(),
        }
    }

    /// The node's number in the books: the one that it had, if it was here before.
    pub(super) fn number(&mut self, name: &str) -> usize {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.vacant.pop().unwrap_or_else(|| {
            self.nodes.push(Known::default());
            self.nodes.len() - 1
        });
        self.numbers.insert(name.to_owned(), number);
        number
    }

    /// A node that left, with nothing booked any more.
    pub(super) fn left(&mut self, name: &str, now_ms: u64) {
        if let Some(number) = self.numbers.remove(name) {
            self.books.node(now_ms, number, 0, Condition::Up, 0);
            self.nodes[number] = Known::default();
            self.vacant.push(number);
        }
    }

    pub(super) fn node(&mut self, number: usize, known: Known, now_ms: u64) {
        if self.nodes[number] != known {
            self.nodes[number] = known;
            self.books.node(now_ms, number, known.capacity_milli, known.condition, known.broken_milli);
        }
    }

    /// An attempt was placed.
    pub(super) fn begin(&mut self, node: usize, spec: &JobSpec, now_ms: u64) -> Account {
        let mut account = Account::default();
        self.books.start(now_ms, &mut account, [(node, spec.demand.gpu_milli)], Phase::Handover);
        account
    }

    /// An attempt was adopted that has run for a while already.
    pub(super) fn adopt(&mut self, node: usize, spec: &JobSpec, now_ms: u64) -> Account {
        let mut account = Account::default();
        self.books.start(now_ms, &mut account, [(node, spec.demand.gpu_milli)], Phase::FULL);
        account
    }

    /// An attempt is over that held so many thousandths of GPUs of a node. `before_ms`: from when until when it ran before this term, in the
    /// cluster's time.
    pub(super) fn end(&mut self, (node, milli): (usize, u32), account: &mut Account, end: AttemptEnd, before_ms: (u64, u64), now_ms: u64) {
        let began_ms = account.since_ms();
        if account.phase() == Phase::Handover {
            match end.ran_ms {
                Some(ran_ms) => self.books.enter(now_ms.saturating_sub(ran_ms).max(began_ms), account, Phase::FULL),
                // It was there, and who knows since when: mostly since a millisecond after its placement.
                None if end.was_seen => self.books.enter(began_ms, account, Phase::FULL),
                None => {}
            }
        }
        if end.last_sign_ms < now_ms && account.phase() == Phase::FULL {
            self.books.enter(end.last_sign_ms.max(account.since_ms()), account, Phase::Stalled);
        }
        self.books.end(now_ms, account, [(node, milli)], end.ending);
        let (from_ms, until_ms) = before_ms;
        if from_ms < until_ms {
            let lost = match end.ending {
                Ending::Committed => None,
                Ending::Interrupted(cause) | Ending::Abandoned(cause) => Some(cause),
            };
            self.carried.push(Carried { from_ms, until_ms, milli: milli.into(), lost });
        }
    }

    pub(super) fn booked_milli(&self, node: usize) -> u32 {
        self.books.booked_milli(node)
    }
}
