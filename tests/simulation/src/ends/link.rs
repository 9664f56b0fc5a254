//! A process as the network sees it: its connection to the server, and what waits while it is cut off, frozen or dead.

use std::collections::VecDeque;
use std::rc::Rc;

use super::event::{Event, Slot};
use super::message::{Push, Request};

pub(crate) struct Link {
    pub(crate) is_alive: bool,
    pub(crate) life: u32,
    pub(crate) is_frozen: bool,
    /// What would have happened to it while it was frozen.
    pub(crate) held: Vec<Event>,
    pub(crate) connection: Option<u32>,
    pub(crate) connections: u32,
    /// Said without a connection: it goes out on the next one, as clients do it.
    pub(crate) buffered: Vec<(Request, Option<Rc<Slot>>)>,
    /// Nothing passes before.
    pub(crate) cut_until: u64,
    pub(crate) last_out: u64,
    pub(crate) last_in: u64,
    pub(crate) inbox: VecDeque<Push>,
    pub(crate) listener: Option<Rc<Slot>>,
    /// How far its wall clock is off.
    pub(crate) clock_ms: i64,
}

impl Link {
    pub(crate) fn new() -> Self {
        Self {
            is_alive: false,
            life: 0,
            is_frozen: false,
            held: Vec::new(),
            connection: None,
            connections: 0,
            buffered: Vec::new(),
            cut_until: 0,
            last_out: 0,
            last_in: 0,
            inbox: VecDeque::new(),
            listener: None,
            clock_ms: 0,
        }
    }
}
