//! What a fold remembers of packs: those with tasks that have not ended, and those that closed a short while ago.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::entry::WentBack;
use super::id::{Halves, PackTicket};
use super::seq_set::SeqSet;
use super::tasks::Tasks;
use crate::job::{AttemptId, PackId};

/// Failures of one task that are remembered. No job may fail so often; a worker that says so is wrong, and costs no more memory.
const MAX_FAILURES: usize = 128;
/// Setbacks of one generation that are remembered: the newest ones.
const MAX_SETBACKS: usize = 64;

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndKind {
    #[serde(rename = "c")]
    Committed,
    #[serde(rename = "d")]
    Dead,
    #[serde(rename = "x")]
    Cancelled,
    /// Its job ended under another ticket. Also the second end of a job, which does not count.
    #[serde(rename = "v")]
    Void,
}

impl EndKind {
    /// Whether this is the end of a job.
    pub fn counts(self) -> bool {
        self != EndKind::Void
    }
}

/// One failure of a task. What the worker said of it stands in the log at `pos`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub attempt: AttemptId,
    pub pos: u64,
    /// When the log stored it: the delay of the retry is counted from here.
    pub ts: u64,
    pub is_final: bool,
}

/// A pack of which some tasks have not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OpenPack {
    pub(super) ts: u64,
    pub(super) pack: PackId,
    pub(super) ended: Box<[Option<EndKind>]>,
    pub(super) unended: u16,
    pub(super) failures: BTreeMap<u16, Vec<Failure>>,
}

impl OpenPack {
    pub(super) fn new(ts: u64, pack: PackId, count: u16) -> Self {
        let ended = vec![None; usize::from(count)].into_boxed_slice();
        Self { ts, pack, ended, unended: count, failures: BTreeMap::new() }
    }

    pub(super) fn count(&self) -> u16 {
        self.ended.len() as u16
    }

    /// By which entries name it.
    pub(super) fn name(&self) -> (PackId, u16) {
        (self.pack, self.count())
    }

    pub(super) fn end_of(&self, idx: u16) -> Option<EndKind> {
        self.ended.get(usize::from(idx)).copied().flatten()
    }

    /// The task has not ended before.
    pub(super) fn end(&mut self, idx: u16, kind: EndKind) {
        self.ended[usize::from(idx)] = Some(kind);
        self.unended -= 1;
        self.failures.remove(&idx);
    }

    /// How many failures the task has with this one; none when it was known.
    pub(super) fn fail(&mut self, idx: u16, failure: Failure) -> Option<u32> {
        let failures = self.failures.entry(idx).or_default();
        if failures.len() >= MAX_FAILURES || failures.iter().any(|known| known.attempt == failure.attempt) {
            return None;
        }
        failures.push(failure);
        Some(failures.len() as u32)
    }

    /// The tasks that ended so.
    pub(super) fn tasks_that(&self, is_meant: impl Fn(EndKind) -> bool) -> Tasks {
        (0..).zip(&self.ended).filter(|(_, end)| end.is_some_and(&is_meant)).map(|(idx, _)| idx).collect()
    }
}

/// What a closed pack has that few have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Odd {
    /// The tasks whose end here is the end of their job.
    counted: Tasks,
    /// Those of them that were given up: the leader that finds the pack before it is acknowledged owes a letter for each.
    dead: Tasks,
}

/// A pack that closed a short while ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RecentPack {
    pub(super) ts: u64,
    /// The log's clock when it closed.
    pub(super) closed_ts: u64,
    pack: Halves,
    /// None where all tasks ended here, and none was given up.
    odd: Option<Box<Odd>>,
}

impl RecentPack {
    /// All tasks of the pack have ended.
    pub(super) fn new(open: &OpenPack, closed_ts: u64) -> Self {
        let odd = Odd { counted: open.tasks_that(EndKind::counts), dead: open.tasks_that(|end| end == EndKind::Dead) };
        let is_odd = odd.counted.len() < open.count() || !odd.dead.is_empty();
        Self::from_parts((open.ts, closed_ts), Halves::of(open.pack), is_odd.then_some(odd))
    }

    pub(super) fn from_parts((ts, closed_ts): (u64, u64), pack: Halves, odd: Option<Odd>) -> Self {
        Self { ts, closed_ts, pack, odd: odd.map(Box::new) }
    }

    pub(super) fn pack(&self) -> PackId {
        self.pack.pack()
    }

    pub(super) fn counts(&self, idx: u16) -> bool {
        self.odd.as_ref().is_none_or(|odd| odd.counted.contains(idx))
    }

    pub(super) fn dead(&self) -> Tasks {
        self.odd.as_ref().map_or(Tasks::default(), |odd| odd.dead)
    }

    pub(super) fn odd(&self) -> Option<Odd> {
        self.odd.as_deref().copied()
    }
}

/// The highest sequence of a generation that the log has named, and the latest time up to it. A server's clock may step back, and then a
/// message is not older than all behind it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Top {
    pub(super) seq: u64,
    pub(super) ts: u64,
}

/// One generation of JOBS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Generation {
    pub(super) closed: SeqSet,
    pub(super) open: BTreeMap<u64, OpenPack>,
    pub(super) recent: BTreeMap<u64, RecentPack>,
    pub(super) top: Top,
    pub(super) setbacks: Vec<WentBack>,
    /// Second uses of a sequence to which nothing is owed any more, with their time: the closed sequences do not tell which use has closed.
    pub(super) settled: BTreeSet<(u64, u64)>,
}

impl Generation {
    pub(super) fn saw(&mut self, seq: u64, ts: u64) {
        if seq > self.top.seq {
            self.top = Top { seq, ts: ts.max(self.top.ts) };
        }
    }

    pub(super) fn went_back(&mut self, setback: WentBack) {
        self.setbacks.push(setback);
        if self.setbacks.len() > MAX_SETBACKS {
            self.setbacks.remove(0);
        }
    }

    /// A closed pack is not remembered any longer.
    pub(super) fn forget(&mut self, seq: u64) -> Option<RecentPack> {
        let recent = self.recent.remove(&seq)?;
        if self.is_second_use(seq, recent.ts) {
            self.settled.insert((seq, recent.ts));
        }
        Some(recent)
    }

    /// What the log knows of this sequence under its exact identity; `Err` when it knows another message there.
    pub(super) fn at(&self, ticket: PackTicket) -> Result<Known<'_>, ()> {
        if self.settled.contains(&(ticket.seq, ticket.ts)) {
            return Ok(Known::Forgotten);
        }
        if let Some(open) = self.open.get(&ticket.seq) {
            return if open.ts == ticket.ts { Ok(Known::Open(open)) } else { Err(()) };
        }
        match self.recent.get(&ticket.seq) {
            Some(recent) if recent.ts == ticket.ts => Ok(Known::Recent(recent)),
            Some(_) => Err(()),
            None if !self.closed.contains(ticket.seq) => Ok(Known::Nothing),
            None if self.is_second_use(ticket.seq, ticket.ts) => Err(()),
            None => Ok(Known::Forgotten),
        }
    }

    /// Whether a message stored at `ts` cannot be the one that first had this sequence: a stream stores its sequences in the order of time, so
    /// a message is older than those behind it. Those that the log named before a setback are remembered with it.
    fn is_second_use(&self, seq: u64, ts: u64) -> bool {
        let is_after = |last_seq: u64, last_ts: u64| seq <= last_seq && ts > last_ts;
        is_after(self.top.seq, self.top.ts) || self.setbacks.iter().any(|setback| is_after(setback.from_seq, setback.from_ts))
    }
}

/// What a generation knows of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known<'a> {
    Nothing,
    Open(&'a OpenPack),
    Recent(&'a RecentPack),
    /// It closed, and nothing more is remembered of it.
    Forgotten,
}

/// The tickets under which one pack came, in the order in which the log named them. All but the first are rare, and take no room unless they are
/// there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tickets {
    first: PackTicket,
    others: Option<Box<Tickets>>,
}

impl Tickets {
    pub(super) fn new(first: PackTicket) -> Self {
        Self { first, others: None }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = PackTicket> + '_ {
        std::iter::successors(Some(self), |tickets| tickets.others.as_deref()).map(|tickets| tickets.first)
    }

    pub(super) fn add(&mut self, ticket: PackTicket) {
        let mut last = self;
        loop {
            if last.first == ticket {
                return;
            }
            match last.others {
                Some(ref mut others) => last = others,
                None => return last.others = Some(Box::new(Self::new(ticket))),
            }
        }
    }

    /// None when this was the only one.
    pub(super) fn without(self, ticket: PackTicket) -> Option<Self> {
        let mut left = self.iter().filter(|known| *known != ticket);
        let mut tickets = Self::new(left.next()?);
        left.for_each(|other| tickets.add(other));
        Some(tickets)
    }

    pub(super) fn is_one(&self) -> bool {
        self.others.is_none()
    }
}
