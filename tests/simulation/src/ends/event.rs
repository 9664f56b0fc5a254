//! What happens, when, and who waits for it.

use std::cell::RefCell;
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
