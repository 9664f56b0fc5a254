//! A fold at rest. It has the position that it was folded to, and none from elsewhere: what lies between two positions would be missing for ever.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::changes::Counts;
use super::entry::WentBack;
use super::fold::{Closing, Fold};
use super::id::{Gen, Halves, PackTicket};
use super::packs::{EndKind, Failure, Generation, Odd, OpenPack, RecentPack, Tickets, Top};
use super::seq_set::SeqSet;
use crate::job::MAX_TASKS;

/// The last message of a generation that JOBS is known to have stored, by the leader's own sight of JOBS. It does not belong to the fold, because the
/// log does not say it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub last_seq: u64,
    pub last_ts: u64,
}

/// A fold as it is stored, with what the leader has seen of JOBS.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pos: u64,
    pos_ts: u64,
    clock_ts: u64,
    looked_ts: Option<u64>,
    known_from_ts: u64,
    term: u64,
    counts: Counts,
    gens: Vec<GenRow>,
    /// Those that closed last, in the order of closing.
    recent: Vec<RecentRow>,
    /// Packs with more than one ticket.
    repeated: Vec<(Halves, Vec<PackTicket>)>,
    republished: Vec<(Halves, u64)>,
    seen: BTreeMap<Gen, Seen>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct GenRow {
    r#gen: Gen,
    closed: Vec<(u64, u64)>,
    top: Top,
    setbacks: Vec<WentBack>,
    settled: Vec<(u64, u64)>,
    open: Vec<OpenRow>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct OpenRow {
    seq: u64,
    ts: u64,
    pack: Halves,
    count: u16,
    ended: Vec<(u16, EndKind)>,
    failures: Vec<(u16, Vec<Failure>)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct RecentRow {
    closing: Closing,
    ts: u64,
    closed_ts: u64,
    pack: Halves,
    odd: Option<Odd>,
}

/// A snapshot that says what no fold can come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the snapshot of the log of ends cannot be used: {0}; take an older one, or fold the log from its beginning")]
pub struct BadSnapshot(&'static str);

impl Snapshot {
    /// One atomic copy: a fold that has gone on since would not fit to this position.
    pub fn of(fold: &Fold, seen: BTreeMap<Gen, Seen>) -> Self {
        let repeated = fold.packs.iter().filter(|(_, tickets)| !tickets.is_one());
        Self {
            pos: fold.pos,
            pos_ts: fold.pos_ts,
            clock_ts: fold.clock_ts,
            looked_ts: fold.looked_ts,
            known_from_ts: fold.known_from_ts,
            term: fold.term,
            counts: fold.counts,
            gens: fold.gens.iter().map(|(r#gen, generation)| GenRow::of(*r#gen, generation)).collect(),
            recent: fold.closings.iter().filter_map(|closing| RecentRow::of(*closing, fold)).collect(),
            repeated: repeated.map(|(pack, tickets)| (Halves::of(*pack), tickets.iter().collect())).collect(),
            republished: fold.republished.iter().map(|(pack, ts)| (Halves::of(*pack), *ts)).collect(),
            seen,
        }
    }

    /// The planted bug of a snapshot whose state and position are of different moments.
    #[cfg(test)]
    pub(super) fn with_position(self, pos: u64, pos_ts: u64) -> Self {
        Self { pos, pos_ts, ..self }
    }

    /// The position of the last message that was folded.
    pub fn pos(&self) -> u64 {
        self.pos
    }

    /// When the log stored that message.
    pub fn pos_ts(&self) -> u64 {
        self.pos_ts
    }

    /// The highest epoch of a term.
    pub fn term(&self) -> u64 {
        self.term
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What the leader had seen of JOBS.
    pub fn seen(&self) -> &BTreeMap<Gen, Seen> {
        &self.seen
    }

    /// The fold again, the same as one that had just read the log up to this position.
    pub fn restore(&self) -> Result<Fold, BadSnapshot> {
        let mut fold = Fold {
            pos: self.pos,
            pos_ts: self.pos_ts,
            clock_ts: self.clock_ts,
            looked_ts: self.looked_ts,
            known_from_ts: self.known_from_ts,
            term: self.term,
            counts: self.counts,
            republished: self.republished.iter().map(|(pack, ts)| (pack.pack(), *ts)).collect(),
            ..Fold::default()
        };
        for row in &self.gens {
            if fold.gens.insert(row.r#gen, row.restore()?).is_some() {
                return Err(BadSnapshot("a generation of JOBS is in it twice"));
            }
        }
        for row in &self.recent {
            row.restore_into(&mut fold)?;
        }
        self.restore_tickets(&mut fold)?;
        Ok(fold)
    }

    fn restore_tickets(&self, fold: &mut Fold) -> Result<(), BadSnapshot> {
        for (pack, tickets) in &self.repeated {
            for ticket in tickets {
                add_ticket(fold, *pack, *ticket);
            }
        }
        let named: usize = self.repeated.iter().map(|(_, tickets)| tickets.len()).sum();
        let mut tickets = Vec::new();
        for (r#gen, generation) in &fold.gens {
            let open = generation.open.iter().map(|(seq, open)| (*seq, open.ts, Halves::of(open.pack)));
            let recent = generation.recent.iter().map(|(seq, recent)| (*seq, recent.ts, Halves::of(recent.pack())));
            tickets.extend(open.chain(recent).map(|(seq, ts, pack)| (pack, PackTicket { r#gen: *r#gen, seq, ts })));
        }
        let all = tickets.len();
        for (pack, ticket) in tickets {
            add_ticket(fold, pack, ticket);
        }
        let known: usize = fold.packs.values().map(|tickets| tickets.iter().count()).sum();
        // One that is named and not there would never be forgotten, and one that is there and not named has no order.
        let is_whole = known == all && fold.packs.values().filter(|tickets| !tickets.is_one()).count() == self.repeated.len();
        if is_whole && named >= 2 * self.repeated.len() { Ok(()) } else { Err(BadSnapshot("a pack's tickets do not fit its messages")) }
    }
}

fn add_ticket(fold: &mut Fold, pack: Halves, ticket: PackTicket) {
    fold.packs.entry(pack.pack()).and_modify(|tickets| tickets.add(ticket)).or_insert_with(|| Tickets::new(ticket));
}

impl GenRow {
    fn of(r#gen: Gen, generation: &Generation) -> Self {
        Self {
            r#gen,
            closed: generation.closed.ranges().collect(),
            top: generation.top,
            setbacks: generation.setbacks.clone(),
            settled: generation.settled.iter().copied().collect(),
            open: generation.open.iter().map(|(seq, open)| OpenRow::of(*seq, open)).collect(),
        }
    }

    fn restore(&self) -> Result<Generation, BadSnapshot> {
        let closed = SeqSet::from_ranges(self.closed.iter().copied()).ok_or(BadSnapshot("its closed sequences are out of order"))?;
        let (setbacks, settled) = (self.setbacks.clone(), self.settled.iter().copied().collect());
        let mut generation = Generation { closed, top: self.top, setbacks, settled, ..Generation::default() };
        for row in &self.open {
            let is_closed = generation.closed.contains(row.seq);
            if is_closed || generation.open.insert(row.seq, row.restore()?).is_some() {
                return Err(BadSnapshot("a pack is in it twice"));
            }
        }
        Ok(generation)
    }
}

impl OpenRow {
    fn of(seq: u64, open: &OpenPack) -> Self {
        Self {
            seq,
            ts: open.ts,
            pack: Halves::of(open.pack),
            count: open.count(),
            ended: (0..open.count()).filter_map(|idx| open.end_of(idx).map(|kind| (idx, kind))).collect(),
            failures: open.failures.iter().map(|(idx, rows)| (*idx, rows.clone())).collect(),
        }
    }

    fn restore(&self) -> Result<OpenPack, BadSnapshot> {
        const WRONG: BadSnapshot = BadSnapshot("an open pack has tasks that it cannot have");
        if self.count > MAX_TASKS {
            return Err(WRONG);
        }
        let mut open = OpenPack::new(self.ts, self.pack.pack(), self.count);
        for (idx, kind) in &self.ended {
            if *idx >= self.count || open.end_of(*idx).is_some() {
                return Err(WRONG);
            }
            open.end(*idx, *kind);
        }
        for (idx, failures) in &self.failures {
            if *idx >= self.count || open.end_of(*idx).is_some() || failures.is_empty() {
                return Err(WRONG);
            }
            open.failures.insert(*idx, failures.clone());
        }
        if open.unended == 0 { Err(WRONG) } else { Ok(open) }
    }
}

impl RecentRow {
    fn of(closing: Closing, fold: &Fold) -> Option<Self> {
        let recent = fold.gens.get(&closing.r#gen)?.recent.get(&closing.seq)?;
        let RecentPack { ts, closed_ts, .. } = *recent;
        Some(Self { closing, ts, closed_ts, pack: Halves::of(recent.pack()), odd: recent.odd() })
    }

    fn restore_into(&self, fold: &mut Fold) -> Result<(), BadSnapshot> {
        let Closing { r#gen, seq } = self.closing;
        let generation = fold.gens.get_mut(&r#gen).filter(|generation| generation.closed.contains(seq));
        let recent = RecentPack::from_parts((self.ts, self.closed_ts), self.pack, self.odd);
        match generation.map(|generation| generation.recent.insert(seq, recent)) {
            Some(None) => fold.closings.push_back(self.closing),
            Some(Some(_)) | None => return Err(BadSnapshot("a pack that closed last is not closed, or is in it twice")),
        }
        Ok(())
    }
}
