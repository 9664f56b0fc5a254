//! What is due, in order of time. What turned out otherwise is not taken out: whoever an event is for knows whether it still holds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What happens. At one instant, in this order, and within a kind by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A job's attempt is done.
    Done { job: u32, attempt: u32 },
    /// An attempt begins to make progress.
    Works { job: u32, attempt: u32 },
    /// A node fails by itself, unless it was worn less than expected.
    Fails { node: u32 },
    /// A node is broken from outside for a while: an outage, or a recorded fault.
    Broken { node: u32, until_ms: u64, by: Breaker },
    /// The scheduler learns that the node is broken.
    Seen { node: u32, life: u32 },
    /// The node works again.
    Mended { node: u32, life: u32 },
    /// A node that was blamed for the fault of another one is back.
    Cleared { node: u32, life: u32 },
    /// Outages are computed up to here.
    LookAhead,
    /// The scheduler learns that a GPU of a node is broken. `fault`: the row of the fault.
    GpuSeen { node: u32, fault: u32 },
    /// The GPU works again.
    GpuMended { node: u32, fault: u32 },
    /// The node is as fast as before.
    SlowEnds { node: u32, fault: u32 },
}

/// What breaks a node from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Breaker {
    Outage,
    /// What the node shares with others cut it off.
    Network,
    Recorded,
}

#[derive(Debug, Default)]
pub(crate) struct Events(BinaryHeap<Reverse<(u64, Event)>>);

impl Events {
    pub(crate) fn push(&mut self, at_ms: u64, event: Event) {
        self.0.push(Reverse((at_ms, event)));
    }

    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.0.peek().map(|Reverse((at_ms, _))| *at_ms)
    }

    /// The next event if it is due.
    pub(crate) fn pop(&mut self, now_ms: u64) -> Option<Event> {
        if self.next_ms()? > now_ms {
            return None;
        }
        self.0.pop().map(|Reverse((_, event))| event)
    }
}
