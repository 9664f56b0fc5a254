//! What happens, when, and who waits for it.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::rc::Rc;

use super::message::{Push, Reply, Request};
use super::proc::Proc;

/// Something that a task waits for.
pub(crate) struct Slot {
    pub(crate) task: u64,
    pub(crate) proc: Proc,
    pub(crate) life: u32,
    /// An answer, or none when its time is over.
    pub(crate) value: RefCell<Option<Option<Reply>>>,
}

pub(crate) enum Event {
    Time(Rc<Slot>),
    Answer { slot: Rc<Slot>, connection: u32, reply: Reply },
    Push { to: Proc, connection: u32, push: Push },
    ToServer { from: Proc, connection: u32, request: Request, slot: Option<Rc<Slot>> },
    Connect { of: Proc },
    Start { of: Proc },
    ServerTick,
    Deed(usize),
}

pub(crate) struct Due {
    pub(crate) at: u64,
    pub(crate) order: u64,
    pub(crate) event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}
