//! What happens at its time.

use super::cast::Proc;
use super::message::{Msg, Op};

/// Something that happens at its time.
#[derive(Debug)]
pub(crate) enum Event {
    ToServer {
        from: Proc,
        life: u32,
        server_life: u32,
        request: Option<u64>,
        op: Op,
    },
    ToProc {
        to: Proc,
        life: u32,
        msg: Msg,
    },
    /// The pings of this connection have not been answered.
    LinkBreaks {
        of: Proc,
        connection: u32,
    },
    Reconnect {
        of: Proc,
    },
    /// A process that ended by itself is started again.
    Restart {
        of: Proc,
        life: u32,
    },
    ServerTick {
        server_life: u32,
    },
    Chaos(usize),
}

impl Event {
    pub(crate) fn fingerprint(&self) -> u64 {
        match self {
            Event::ToServer { from, op, .. } => 1 | (*from as u64) << 8 | op.fingerprint() << 16,
            Event::ToProc { to, msg, .. } => 2 | (*to as u64) << 8 | msg.fingerprint() << 16,
            Event::Restart { of, .. } => 3 | (*of as u64) << 8,
            Event::LinkBreaks { of, .. } => 5 | (*of as u64) << 8,
            Event::Reconnect { of } => 6 | (*of as u64) << 8,
            Event::ServerTick { .. } => 7,
            Event::Chaos(index) => 8 | (*index as u64) << 8,
        }
    }
}
