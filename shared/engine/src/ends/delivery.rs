//! What the leader does with a message that JOBS delivers. Deliveries are judged only after the fold has read the log to its end since the last
//! reconnect, or it may take a pack that has ended for a new one.

use super::fold::{Fold, REMEMBERED_NS};
use super::id::PackTicket;
use super::packs::Known;
use super::tasks::Tasks;
use crate::job::{MAX_TASKS, PackId};

/// How far a pack's id may be from the time at which JOBS stored it. Submitters repeat no older one.
const MAX_ID_AGE_MS: u64 = 60_000;
const NS_PER_MS: u64 = 1_000_000;

/// A message as it was delivered. `named` is the pack and the count of its subject, none when one of them or the body cannot be read or they do
/// not agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    pub ticket: PackTicket,
    pub named: Option<(PackId, u16)>,
}

impl Delivery {
    /// The pack and the count by which true entries name this message; none when it cannot be read, or no pack has so many tasks.
    pub fn name(&self) -> Option<(PackId, u16)> {
        self.named.filter(|(_, count)| (1..=MAX_TASKS).contains(count))
    }
}

/// What the leader's books hold and heartbeats name, which may be ahead of the log: what was placed and has not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Books {
    /// The message that is held under this generation and sequence. If none is, one of which an attempt still runs: the delivered one rather than
    /// another.
    pub at_sequence: Option<PackTicket>,
    /// Another ticket under which a pack of this id is held, or under which an attempt of it still runs.
    pub of_pack: Option<PackTicket>,
}

/// What to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// JOBS went back and gave this sequence to another message than the one that is known by it. Drop it from the books, append
    /// [`super::Entry::Republished`], publish the body again with `<pack>.<seq>.<ts>` as message id, append that it is stored, and acknowledge
    /// this one. All but the last at once, also when it was only looked at: later the fold may have forgotten that its pack is a repeated one.
    WentBack,
    /// The log knows exactly this message by another pack id or count, so a worker wrote what is not so, and no true end of it can count any more.
    /// Publish the body again as for [`Judgement::WentBack`], but do not acknowledge: only when that is stored, append `void` for the tasks that the
    /// log has open by the wrong name, `known`, which is none when all of them have ended. When the log says that it is stored, this message is
    /// closed.
    Misnamed { known: Option<(PackId, u16)> },
    /// All tasks have ended: acknowledge, as soon as the last end is durable. `last_end_ts`: when the log stored it, by the log's clock; none when
    /// that was too long ago to be remembered.
    Closed { last_end_ts: Option<u64> },
    /// It came again. Take its new ack subject; attempts that were silent for too long wait again.
    InBooks,
    /// These tasks ended under another ticket, `first`: append `void` for them. It is all of them, unless the first ticket was given up in favour
    /// of this one; the others run.
    ResubmittedUnder { first: PackTicket, tasks: Tasks },
    /// The pack is not finished under another ticket. If JOBS still has that message, it [outlasts](PackTicket::outlasts) this one, and
    /// [`Fold::can_end`] by its name, which has this pack, append `void` for all tasks of this one. If not, that message is lost or may be lost
    /// while this one stays, or a worker has put this pack's name to the ticket of another one: append `void` for the unended tasks of the *other*
    /// ticket by the name that the log knows ([`Fold::open_name`]). Either on the connection on which JOBS said so, or not at all. Read that back,
    /// and judge again: only the log decides between an end of a zombie and this.
    OpenUnder { other: PackTicket },
    /// Its id is too far from the time at which it was stored: it is given up, since the log may no longer tell whether it ran. Its jobs may have ended under
    /// a ticket that is forgotten, so that it is ended as `pack`: as the one of [`PackTicket::stand_in`], unless the log has named it already.
    TooOld { pack: PackId },
    /// It cannot be read: given up. Without a pack id it is ended as the only task of [`PackTicket::stand_in`].
    Unreadable,
    /// All tasks that the fold has not ended wait. `is_checked` is false when an earlier ticket of its pack may have been forgotten, and the log does
    /// not say that a leader looked at this message before: the leader has to look into the log itself, if that still goes back so far.
    New { is_checked: bool },
}

impl Fold {
    /// Judges a delivery.
    pub fn judge(&self, delivery: Delivery, books: Books) -> Judgement {
        let (ticket, stand_in, named) = (delivery.ticket, delivery.ticket.stand_in(), delivery.name());
        let name = named.unwrap_or((stand_in, 1));
        match self.known(ticket) {
            None => return Judgement::WentBack,
            Some(Known::Open(open)) if named.is_some() && open.name() == (stand_in, name.1) => return Judgement::TooOld { pack: stand_in },
            Some(Known::Open(open)) if open.name() != name => return Judgement::Misnamed { known: Some(open.name()) },
            Some(Known::Recent(recent)) if ![name.0, stand_in].contains(&recent.pack()) => return Judgement::Misnamed { known: None },
            Some(Known::Recent(recent)) => return Judgement::Closed { last_end_ts: Some(recent.closed_ts) },
            Some(Known::Forgotten) => return Judgement::Closed { last_end_ts: None },
            // What the log knows counts more than an attempt of a lost message that still runs somewhere.
            Some(Known::Nothing) if books.at_sequence.is_some_and(|other| other != ticket) => return Judgement::WentBack,
            Some(Known::Nothing | Known::Open(_)) => {}
        }
        if books.at_sequence == Some(ticket) {
            return Judgement::InBooks;
        }
        let Some((pack, count)) = named else { return Judgement::Unreadable };
        if let Some(judgement) = self.judge_other_tickets(ticket, (pack, count), books) {
            return judgement;
        }
        let first_ts = self.republished.get(&pack).copied().unwrap_or(ticket.ts);
        if pack.unix_ms().abs_diff(first_ts / NS_PER_MS) > MAX_ID_AGE_MS {
            let is_named = matches!(self.known(ticket), Some(Known::Open(_)));
            return Judgement::TooOld { pack: if is_named { pack } else { ticket.stand_in() } };
        }
        Judgement::New { is_checked: self.looked_ts.is_some_and(|looked_ts| ticket.ts < looked_ts) || self.remembers(pack) }
    }

    /// The pack and the count by which the log has this message open.
    pub fn open_name(&self, ticket: PackTicket) -> Option<(PackId, u16)> {
        match self.known(ticket)? {
            Known::Open(open) => Some(open.name()),
            Known::Nothing | Known::Recent(_) | Known::Forgotten => None,
        }
    }

    /// Whether entries that name this message so can count: the log does not know it by another name.
    pub fn can_end(&self, ticket: PackTicket, name: (PackId, u16)) -> bool {
        match self.known(ticket) {
            Some(Known::Nothing) => true,
            Some(Known::Open(open)) => open.name() == name,
            Some(Known::Recent(_) | Known::Forgotten) | None => false,
        }
    }

    fn judge_other_tickets(&self, ticket: PackTicket, (pack, count): (PackId, u16), books: Books) -> Option<Judgement> {
        let open = |other: &PackTicket| *other != ticket && matches!(self.known(*other), Some(Known::Open(_)));
        let folded = self.packs.get(&pack).and_then(|tickets| tickets.iter().find(open));
        // A ticket whose sequence is another message's by now cannot end any more, and holds nothing up.
        let is_live = |other: &PackTicket| matches!(self.known(*other), Some(Known::Nothing | Known::Open(_)));
        let held = books.of_pack.filter(|other| *other != ticket && is_live(other));
        if let Some(other) = folded.or(held) {
            return Some(Judgement::OpenUnder { other });
        }
        if !self.packs.contains_key(&pack) {
            return None;
        }
        let (mut tasks, mut first) = (Tasks::default(), None);
        for idx in 0..count {
            if let Some(other) = self.counted_elsewhere(ticket, pack, idx) {
                tasks.insert(idx);
                first = first.or(Some(other));
            }
        }
        first.map(|first| Judgement::ResubmittedUnder { first, tasks })
    }

    /// Whether any ticket of this pack would still be remembered. One of them cannot have closed before the id's own time, less what a clock may
    /// be off.
    fn remembers(&self, pack: PackId) -> bool {
        let earliest_ts = pack.unix_ms().saturating_sub(MAX_ID_AGE_MS).saturating_mul(NS_PER_MS);
        earliest_ts >= self.known_from_ts && earliest_ts.saturating_add(REMEMBERED_NS) > self.looked()
    }
}
