//! Virtual time and the network of the simulation: one heap of events in the order (time, number), the connections of the processes
//! to the server, and what becomes of a message on its way. Who says what to whom is the parties' business.
//!
//! A message may be late, doubled or lost, and is overtaken by those of other connections, never by its own. A connection that is cut holds messages back; when that lasts as long as two
//! pings of NATS it ends, with whatever was on it. A frozen process finds everything that arrived when it wakes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::message::{Msg, Op, Tag, Timer};
use super::shadow::Shadow;
use super::{Bug, Stats};

/// A process other than the server, by its place in [`Net::procs`].
pub(super) type Proc = usize;

/// Something that happens at its time.
#[derive(Debug)]
pub(super) enum Event {
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
    Timer {
        of: Proc,
        life: u32,
        timer: Timer,
    },
    RequestTimeout {
        of: Proc,
        life: u32,
        request: u64,
    },
    /// The pings of this connection have not been answered.
    LinkBreaks {
        of: Proc,
        connection: u32,
    },
    Reconnect {
        of: Proc,
    },
    ServerTick {
        server_life: u32,
    },
    Chaos(usize),
}

/// What the network does to messages in this run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    pub(super) loss: f64,
    pub(super) duplicates: f64,
    pub(super) late: f64,
    pub(super) late_ms: u64,
}

impl Weather {
    pub(super) const CALM: Weather = Weather { loss: 0.0, duplicates: 0.0, late: 0.0, late_ms: 0 };
}

/// A process as the network sees it.
#[derive(Debug, Default)]
pub(super) struct Link {
    pub(super) is_alive: bool,
    /// Grows with every start: what was meant for a former life is of no use.
    pub(super) life: u32,
    pub(super) is_frozen: bool,
    /// It listens to the subjects of its role.
    pub(super) is_subscribed: bool,
    pub(super) is_connected: bool,
    connection: u32,
    pub(super) cut_out: bool,
    pub(super) cut_in: bool,
    /// What arrived while it was frozen.
    backlog: VecDeque<Event>,
    held_out: Vec<Event>,
    held_in: Vec<Event>,
    /// When the last message of the connection arrives, in each direction: what is sent later cannot come earlier.
    last_out: u64,
    last_in: u64,
    requests: BTreeMap<u64, Tag>,
}

pub(super) struct Net {
    pub(super) now: u64,
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    events: Vec<Option<Event>>,
    free: Vec<usize>,
    numbered: u64,
    rng: Pcg64Mcg,
    pub(super) links: Vec<Link>,
    pub(super) server_is_up: bool,
    pub(super) server_life: u32,
    pub(super) weather: Weather,
    pub(super) bug: Option<Bug>,
    pub(super) stats: Stats,
    pub(super) shadow: Shadow,
    pub(super) trace: Trace,
    next_request: u64,
}

/// A hash over everything that happened and, when asked for, the last of it in words.
#[derive(Debug)]
pub(super) struct Trace {
    pub(super) hash: u64,
    keep: usize,
    pub(super) last: VecDeque<String>,
}

impl Trace {
    pub(super) fn new(keep: usize) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, keep, last: VecDeque::new() }
    }

    /// FNV-1a over eight bytes at once: enough to tell two runs apart.
    fn mix(&mut self, value: u64) {
        self.hash = (self.hash ^ value).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    }

    fn note(&mut self, words: impl FnOnce() -> String) {
        if self.keep > 0 {
            if self.last.len() == self.keep {
                self.last.pop_front();
            }
            self.last.push_back(words());
        }
    }
}

impl Net {
    pub(super) fn new(seed: u64, procs: usize, weather: Weather, bug: Option<Bug>, shadow: Shadow, keep: usize) -> Self {
        Self {
            now: 0,
            heap: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
            numbered: 0,
            rng: Pcg64Mcg::seed_from_u64(seed),
            links: (0..procs).map(|_| Link::default()).collect(),
            server_is_up: true,
            server_life: 1,
            weather,
            bug,
            stats: Stats::default(),
            shadow,
            trace: Trace::new(keep),
            next_request: 0,
        }
    }

    pub(super) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Says something in the trace.
    pub(super) fn say(&mut self, words: impl FnOnce() -> String) {
        let now = self.now;
        self.trace.note(|| format!("{:>9.3} s  {}", now as f64 / 1000.0, words()));
    }

    fn push(&mut self, at: u64, event: Event) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.events[slot] = Some(event);
                slot
            }
            None => {
                self.events.push(Some(event));
                self.events.len() - 1
            }
        };
        self.numbered += 1;
        self.heap.push(Reverse((at, self.numbered, slot)));
    }

    /// The next event, which makes its time the present.
    pub(super) fn next(&mut self) -> Option<Event> {
        let Reverse((at, number, slot)) = self.heap.pop()?;
        self.now = at;
        self.free.push(slot);
        let event = self.events[slot].take()?;
        self.stats.events += 1;
        self.trace.mix(at.wrapping_mul(31).wrapping_add(number));
        self.trace.mix(event.fingerprint());
        Some(event)
    }

    pub(super) fn chaos_at(&mut self, at: u64, index: usize) {
        self.push(at, Event::Chaos(index));
    }

    pub(super) fn server_tick(&mut self, after_ms: u64) {
        self.push(self.now + after_ms, Event::ServerTick { server_life: self.server_life });
    }

    pub(super) fn timer(&mut self, of: Proc, after_ms: u64, timer: Timer) {
        let life = self.links[of].life;
        self.push(self.now + after_ms, Event::Timer { of, life, timer });
    }

    fn delay(&mut self) -> u64 {
        let late = if self.rng.random_bool(self.weather.late) { self.rng.random_range(0..=self.weather.late_ms) } else { 0 };
        self.rng.random_range(0..=3) + late
    }

    /// A publish that the client keeps while it is disconnected: acknowledgements, events, requests.
    pub(super) fn send(&mut self, from: Proc, op: Op) {
        self.transmit(from, None, op);
    }

    /// A publish that is refused while disconnected, so that old news does not burst out later.
    pub(super) fn publish(&mut self, from: Proc, op: Op) {
        if self.links[from].is_connected {
            self.transmit(from, None, op);
        }
    }

    pub(super) fn request(&mut self, from: Proc, op: Op, limit_ms: u64, tag: Tag) {
        self.next_request += 1;
        let request = self.next_request;
        let link = &mut self.links[from];
        link.requests.insert(request, tag);
        let life = link.life;
        self.push(self.now + limit_ms, Event::RequestTimeout { of: from, life, request });
        self.transmit(from, Some(request), op);
    }

    fn transmit(&mut self, from: Proc, request: Option<u64>, op: Op) {
        let link = &self.links[from];
        let op_is_plain = op.is_plain();
        let event = Event::ToServer { from, life: link.life, server_life: self.server_life, request, op };
        if !link.is_connected || link.cut_out {
            self.links[from].held_out.push(event);
            return;
        }
        self.stats.messages += 1;
        if self.is_lost() {
            return;
        }
        if op_is_plain
            && self.is_doubled()
            && let Event::ToServer { from, life, server_life, request, op } = &event
        {
            let again = Event::ToServer { from: *from, life: *life, server_life: *server_life, request: *request, op: op.clone() };
            let at = self.now + 1 + self.delay() * 3;
            self.push(at, again);
        }
        let at = (self.now + self.delay()).max(self.links[from].last_out);
        self.links[from].last_out = at;
        self.push(at, event);
    }

    /// From the server to a process.
    pub(super) fn deliver(&mut self, to: Proc, msg: Msg) {
        let link = &self.links[to];
        if !link.is_connected {
            return;
        }
        let event = Event::ToProc { to, life: link.life, msg };
        if link.cut_in {
            self.links[to].held_in.push(event);
            return;
        }
        self.stats.messages += 1;
        if self.is_lost() {
            return;
        }
        if let Event::ToProc { to, life, msg } = &event
            && msg.is_plain()
            && self.is_doubled()
        {
            let again = Event::ToProc { to: *to, life: *life, msg: msg.clone() };
            let at = self.now + 1 + self.delay() * 3;
            self.push(at, again);
        }
        let at = (self.now + self.delay()).max(self.links[to].last_in);
        self.links[to].last_in = at;
        self.push(at, event);
    }

    fn is_lost(&mut self) -> bool {
        let is_lost = self.rng.random_bool(self.weather.loss);
        self.stats.lost += u64::from(is_lost);
        is_lost
    }

    fn is_doubled(&mut self) -> bool {
        let is_doubled = self.rng.random_bool(self.weather.duplicates);
        self.stats.doubled += u64::from(is_doubled);
        is_doubled
    }

    /// Which request was answered or ran out of time; none when it is settled already.
    pub(super) fn settle(&mut self, of: Proc, request: u64) -> Option<Tag> {
        self.links[of].requests.remove(&request)
    }

    /// The process is not interested any more in what it has asked.
    pub(super) fn forget_requests(&mut self, of: Proc) {
        self.links[of].requests.clear();
    }

    /// Whether an event for this life of the process can be handled now; it is kept when the process is frozen.
    pub(super) fn admit(&mut self, of: Proc, life: u32, event: Event) -> Option<Event> {
        let link = &mut self.links[of];
        if !link.is_alive || link.life != life {
            return None;
        }
        if link.is_frozen {
            link.backlog.push_back(event);
            return None;
        }
        Some(event)
    }

    pub(super) fn start(&mut self, of: Proc) {
        let link = &mut self.links[of];
        *link = Link {
            is_alive: true,
            life: link.life + 1,
            connection: link.connection,
            cut_in: link.cut_in,
            cut_out: link.cut_out,
            ..Link::default()
        };
        self.reconnect_soon(of);
    }

    /// kill -9. True when the server had a connection to lose.
    pub(super) fn crash(&mut self, of: Proc) -> bool {
        let link = &mut self.links[of];
        let was_connected = link.is_connected;
        *link =
            Link { life: link.life + 1, connection: link.connection + 1, cut_in: link.cut_in, cut_out: link.cut_out, ..Link::default() };
        was_connected
    }

    pub(super) fn freeze(&mut self, of: Proc) {
        if self.links[of].is_alive {
            self.links[of].is_frozen = true;
            self.break_unless_mended(of);
        }
    }

    pub(super) fn thaw(&mut self, of: Proc) {
        let link = &mut self.links[of];
        if !std::mem::take(&mut link.is_frozen) {
            return;
        }
        let backlog = std::mem::take(&mut link.backlog);
        let is_connected = link.is_connected;
        for event in backlog {
            self.push(self.now, event);
        }
        if !is_connected {
            self.reconnect_soon(of);
        }
    }

    /// Cuts a connection, in either direction or both.
    pub(super) fn cut(&mut self, of: Proc, out: bool, inwards: bool) {
        self.links[of].cut_out |= out;
        self.links[of].cut_in |= inwards;
        self.break_unless_mended(of);
    }

    pub(super) fn mend(&mut self, of: Proc) {
        let link = &mut self.links[of];
        (link.cut_out, link.cut_in) = (false, false);
        if link.is_connected {
            let held = link.held_out.drain(..).chain(link.held_in.drain(..)).collect::<Vec<_>>();
            let at = (self.now + self.delay()).max(self.links[of].last_out).max(self.links[of].last_in);
            (self.links[of].last_out, self.links[of].last_in) = (at, at);
            for event in held {
                self.push(at, event);
            }
        } else if link.is_alive && !link.is_frozen {
            self.reconnect_soon(of);
        }
    }

    /// Two pings, two seconds apart, stay without an answer.
    fn break_unless_mended(&mut self, of: Proc) {
        let connection = self.links[of].connection;
        let at = self.now + self.rng.random_range(4_000..6_000);
        self.push(at, Event::LinkBreaks { of, connection });
    }

    /// True when the connection really ends.
    pub(super) fn breaks(&mut self, of: Proc, connection: u32) -> bool {
        let link = &mut self.links[of];
        let is_due = link.is_connected && link.connection == connection && (link.is_frozen || link.cut_in || link.cut_out);
        if is_due {
            self.disconnect(of);
        }
        is_due
    }

    fn disconnect(&mut self, of: Proc) {
        let link = &mut self.links[of];
        link.is_connected = false;
        link.connection += 1;
        // What was written into the socket is gone.
        link.held_out.clear();
        link.held_in.clear();
        (link.last_out, link.last_in) = (0, 0);
    }

    fn reconnect_soon(&mut self, of: Proc) {
        let at = self.now + self.rng.random_range(5..300);
        self.push(at, Event::Reconnect { of });
    }

    /// True when the process is connected now and was not before.
    pub(super) fn reconnect(&mut self, of: Proc) -> bool {
        let server_is_up = self.server_is_up;
        let link = &mut self.links[of];
        let can = link.is_alive && !link.is_frozen && !link.is_connected && !link.cut_in && !link.cut_out;
        if !can || !server_is_up {
            return false;
        }
        link.is_connected = true;
        link.connection += 1;
        let held = std::mem::take(&mut link.held_out);
        let at = self.now + self.delay();
        self.links[of].last_out = at;
        for mut event in held {
            if let Event::ToServer { server_life, .. } = &mut event {
                *server_life = self.server_life;
            }
            self.push(at, event);
        }
        true
    }

    pub(super) fn server_crash(&mut self) {
        self.server_is_up = false;
        self.server_life += 1;
        for of in 0..self.links.len() {
            if self.links[of].is_connected {
                self.disconnect(of);
            }
        }
    }

    pub(super) fn server_restart(&mut self) {
        self.server_is_up = true;
        self.server_life += 1;
        for of in 0..self.links.len() {
            self.reconnect_soon(of);
        }
        self.server_tick(1);
    }
}

impl Event {
    fn fingerprint(&self) -> u64 {
        match self {
            Event::ToServer { from, op, .. } => 1 | (*from as u64) << 8 | op.fingerprint() << 16,
            Event::ToProc { to, msg, .. } => 2 | (*to as u64) << 8 | msg.fingerprint() << 16,
            Event::Timer { of, .. } => 3 | (*of as u64) << 8,
            Event::RequestTimeout { of, request, .. } => 4 | (*of as u64) << 8 | request << 16,
            Event::LinkBreaks { of, .. } => 5 | (*of as u64) << 8,
            Event::Reconnect { of } => 6 | (*of as u64) << 8,
            Event::ServerTick { .. } => 7,
            Event::Chaos(index) => 8 | (*index as u64) << 8,
        }
    }
}
