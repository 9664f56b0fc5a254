//! A process as the network sees it: its connection, what is on the way, and who waits for what.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use async_nats::{Message, Subject};
use faultline_runtime::count::{Count, Counter};
use faultline_runtime::shutdown::Shutdown;
use faultline_runtime::wire::Delivered;
use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use tokio::sync::{mpsc, oneshot};

use super::event::Event;
use super::gate::ProcessGate;
use super::message::Reply;

/// A process as the network sees it.
pub(crate) struct Link {
    pub(crate) is_alive: bool,
    /// Grows with every start: what was meant for a former life is of no use.
    pub(crate) life: u32,
    pub(crate) is_connected: bool,
    pub(crate) connection: u32,
    pub(crate) cut_out: bool,
    pub(crate) cut_in: bool,
    /// What arrived while it was frozen.
    pub(crate) backlog: VecDeque<Event>,
    pub(crate) held_out: Vec<Event>,
    pub(crate) held_in: Vec<Event>,
    /// When the last message of the connection arrives, in each direction: what is sent later cannot come earlier.
    pub(crate) last_out: u64,
    pub(crate) last_in: u64,
    pub(crate) requests: BTreeMap<u64, oneshot::Sender<Reply>>,
    subscriptions: Vec<(Subject, mpsc::UnboundedSender<Message>)>,
    pulls: BTreeMap<u64, mpsc::UnboundedSender<Delivered>>,
    /// How far its wall clock is ahead of the server's.
    pub(crate) wall_ahead_ms: i64,
    /// What it draws.
    pub(crate) rng: Pcg64Mcg,
    pub(crate) gate: Arc<ProcessGate>,
    pub(crate) shutdown: Shutdown,
    connections: Counter,
}

impl Link {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            is_alive: false,
            life: 0,
            is_connected: false,
            connection: 0,
            cut_out: false,
            cut_in: false,
            backlog: VecDeque::new(),
            held_out: Vec::new(),
            held_in: Vec::new(),
            last_out: 0,
            last_in: 0,
            requests: BTreeMap::new(),
            subscriptions: Vec::new(),
            pulls: BTreeMap::new(),
            wall_ahead_ms: 0,
            rng: Pcg64Mcg::seed_from_u64(seed),
            gate: Arc::default(),
            shutdown: Shutdown::manual(),
            connections: Counter::default(),
        }
    }

    /// Nothing is left of its life; where it is plugged in, and how its clock goes, stays.
    pub(crate) fn clear(&mut self) {
        self.life += 1;
        self.connection += 1;
        (self.is_alive, self.is_connected) = (false, false);
        self.backlog.clear();
        self.held_out.clear();
        self.held_in.clear();
        (self.last_out, self.last_in) = (0, 0);
        self.requests.clear();
        self.subscriptions.clear();
        self.pulls.clear();
        self.connections = Counter::default();
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.gate.is_frozen()
    }

    /// Whether it hears what is published on this subject.
    pub(crate) fn hears(&mut self, subject: &str) -> bool {
        self.subscriptions.retain(|(_, out)| !out.is_closed());
        self.subscriptions.iter().any(|(filter, _)| faultline_protocol::subjects::matches(filter, subject))
    }

    pub(crate) fn subscribe(&mut self, filter: Subject) -> mpsc::UnboundedReceiver<Message> {
        let (out, messages) = mpsc::unbounded_channel();
        self.subscriptions.push((filter, out));
        messages
    }

    pub(crate) fn on_message(&self, message: &Message) {
        for (filter, out) in &self.subscriptions {
            if faultline_protocol::subjects::matches(filter, &message.subject) {
                let _ = out.send(message.clone());
            }
        }
    }

    pub(crate) fn add_pull(&mut self, pull: u64) -> mpsc::UnboundedReceiver<Delivered> {
        self.pulls.retain(|_, out| !out.is_closed());
        let (out, messages) = mpsc::unbounded_channel();
        self.pulls.insert(pull, out);
        messages
    }

    pub(crate) fn waits_for_pull(&self, pull: u64) -> bool {
        self.pulls.get(&pull).is_some_and(|out| !out.is_closed())
    }

    pub(crate) fn on_delivery(&self, pull: u64, delivered: Delivered) {
        if let Some(out) = self.pulls.get(&pull) {
            let _ = out.send(delivered);
        }
    }

    /// The answer to a request, which may have been given up.
    pub(crate) fn on_reply(&mut self, request: u64, reply: Reply) {
        if let Some(out) = self.requests.remove(&request) {
            let _ = out.send(reply);
        }
    }

    pub(crate) fn on_connected(&self) {
        self.connections.increment();
    }

    pub(crate) fn connections(&self) -> Count {
        self.connections.subscribe()
    }
}
