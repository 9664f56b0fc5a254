//! What the leader owes a pack that it holds: signs of progress while nothing of it is lost, and an acknowledgement that comes late on purpose.

use super::fold::Fold;
use super::id::{PackTicket, Ticket};
use super::packs::{Failure, Known};
use crate::job::PackId;
use crate::scheduler::MAX_EPOCH;

/// How often the server forces what it has written to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Before it answers.
    Always,
    EveryNs(u64),
}

/// How long the leader waits with an acknowledgement after the log stored the last end of a pack. An acknowledgement that reached the disk
/// before the end did would lose the pack when the machine dies: it is gone from JOBS, and its end from the log. So it waits for two and a
/// half intervals. Counted from when the leader read that end, by a clock that does not jump, it is late enough whatever the server's clock says.
///
/// An acknowledgement acts on a sequence, whatever message has it. JOBS may have lost its tail, and have given the sequence to a pack that no worker
/// has run, while the end of the lost one still comes from a worker. So the leader acknowledges only the very message that this sequence was
/// when it was delivered last, on the connection that is open now. What was due before a reconnect is dropped: the message comes again, if it is
/// still there.
pub fn ack_delay_ns(sync: Sync) -> u64 {
    match sync {
        Sync::Always => 0,
        Sync::EveryNs(interval_ns) => interval_ns.saturating_mul(5) / 2,
    }
}

/// Where a task stands in the leader's books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It waits for room, or for the delay of its retry.
    Waiting,
    /// An attempt of it is placed. `heard_ms`: when it was placed, or a heartbeat named it last.
    Placed { heard_ms: u64 },
}

/// What the leader says to JetStream of a pack every few seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Custody {
    /// A sign of progress: all of its tasks are accounted for, or it is closed and its acknowledgement not yet due.
    Keep,
    /// Nothing, so that the ack timeout brings the pack back whatever else has failed: neither the books nor a heartbeat account for this task.
    LetGo { idx: u16 },
    /// Nothing, and judge it when it comes again: the fold knows another message by this sequence, or this one by another name.
    Foreign,
}

impl Fold {
    /// Whether the pack may be kept from being delivered again. It is held by this name. `standing` is that of a task in the books, none when
    /// they do not have it.
    pub fn custody(
        &self,
        (ticket, name): (PackTicket, (PackId, u16)),
        standing: impl Fn(u16) -> Option<Standing>,
        (now_ms, silence_ms): (u64, u64),
    ) -> Custody {
        let open = match self.known(ticket) {
            None => return Custody::Foreign,
            Some(Known::Open(open)) if open.name() != name => return Custody::Foreign,
            Some(Known::Recent(recent)) if recent.pack() != name.0 => return Custody::Foreign,
            Some(Known::Recent(_) | Known::Forgotten) => return Custody::Keep,
            Some(Known::Open(open)) => Some(open),
            Some(Known::Nothing) => None,
        };
        let vouched = |idx: u16| match standing(idx) {
            Some(Standing::Waiting) => true,
            Some(Standing::Placed { heard_ms }) => now_ms.saturating_sub(heard_ms) <= silence_ms,
            None => false,
        };
        let has_ended = |idx: u16| open.is_some_and(|open| open.end_of(idx).is_some());
        match (0..name.1).find(|idx| !has_ended(*idx) && !vouched(*idx)) {
            Some(idx) => Custody::LetGo { idx },
            None => Custody::Keep,
        }
    }

    /// The epoch of a leader that has won the lease with this revision. A bucket that was made anew gives lower revisions than the log knows, and
    /// everything that such a leader decided would count for nothing.
    pub fn epoch_for(&self, lease_revision: u64) -> u64 {
        lease_revision.max(self.term.saturating_add(1))
    }

    /// The epoch with which a leader goes on whose workers have heard of a higher one; none when they have not, or when a worker says what no
    /// leader can have told it, and must not drive the leader to the end of all numbers.
    pub fn epoch_above(heard: u64, own: u64) -> Option<u64> {
        (own < heard && heard <= MAX_EPOCH).then_some(heard + 1)
    }

    /// How much of the delay before the next attempt of a task is left: it counts from the last failure, also under an earlier leader. By the log's clock,
    /// which stands still without messages: to be asked when the pack is taken into the books, directly after a term began.
    pub fn rest_of_delay_ns(&self, ticket: Ticket, delay_ns: impl FnOnce(usize) -> u64) -> u64 {
        let failures = self.failures_of(ticket);
        let since_ns = |last: &Failure| self.clock_ts.saturating_sub(last.ts);
        failures.last().map_or(0, |last| delay_ns(failures.len()).saturating_sub(since_ns(last)))
    }
}
