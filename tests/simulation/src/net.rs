//! Virtual time and the network of the simulation: one heap of events in the order (time, number), the connections of the processes
//! to the server, and what becomes of a message on its way. What is said over it is the wires' and the server's business.
//!
//! Every process has a monotonic clock of its own, which begins anywhere, and a wall clock, which jumps. Neither is the server's.
//!
//! A message may be late, doubled or lost, and is overtaken by those of other connections, never by its own. A connection that is cut
//! holds messages back; when that lasts as long as two pings of NATS it ends, with whatever was on it. A frozen process finds
//! everything that arrived when it wakes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use faultline_runtime::shutdown::Shutdown;
use faultline_runtime::wire::Spawner;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

use super::agenda::{Agenda, Due};
use super::bug::Bug;
use super::cast::Proc;
use super::event::Event;
use super::link::Link;
use super::message::{EPOCH_MS, Msg, Op, Reply};
use super::shadow::Shadow;
use super::stats::Stats;
use super::trace::Trace;

/// How far apart the monotonic clocks of two processes begin.
const OTHER_BEGINNING_MS: u64 = 7_777_777;

/// What the network does to messages in this run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) loss: f64,
    pub(crate) duplicates: f64,
    pub(crate) late: f64,
    pub(crate) late_ms: u64,
}

impl Weather {
    pub(crate) const CALM: Weather = Weather { loss: 0.0, duplicates: 0.0, late: 0.0, late_ms: 0 };
}

pub(crate) struct Net {
    pub(crate) now: u64,
    agenda: Agenda<Event>,
    rng: Pcg64Mcg,
    pub(crate) links: Vec<Link>,
    pub(crate) server_is_up: bool,
    pub(crate) server_life: u32,
    pub(crate) weather: Weather,
    pub(crate) bug: Option<Bug>,
    pub(crate) stats: Stats,
    pub(crate) shadow: Shadow,
    pub(crate) trace: Trace,
    last_request: u64,
    /// Of the task that takes the events out; not here while it does so.
    pub(crate) alarm: Option<Alarm>,
}

/// Wakes the task that takes the events out, when the next one is due.
pub(crate) struct Alarm {
    began: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Alarm {
    pub(crate) fn new(began: Instant) -> Self {
        Self { began, sleep: Box::pin(tokio::time::sleep_until(began)) }
    }

    /// The task that polled it last is woken then, and no longer at the time set before.
    pub(crate) fn set(&mut self, at: u64) {
        self.sleep.as_mut().reset(self.began + Duration::from_millis(at));
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().poll(cx)
    }
}

impl Net {
    pub(crate) fn new(seed: u64, procs: usize, weather: Weather, bug: Option<Bug>, shadow: Shadow, keep: usize) -> Self {
        Self {
            now: 0,
            agenda: Agenda::default(),
            rng: Pcg64Mcg::seed_from_u64(seed),
            links: (0..procs).map(|proc| Link::new(seed ^ ((proc as u64 + 1) << 40))).collect(),
            server_is_up: true,
            server_life: 1,
            weather,
            bug,
            stats: Stats::default(),
            shadow,
            trace: Trace::new(keep),
            last_request: 0,
            alarm: None,
        }
    }

    /// What a process measures durations with: its monotonic clock, unless it makes a mistake.
    pub(crate) fn steady_ms(&self, of: Proc, now: u64) -> u64 {
        if self.has(Bug::WallClock) { self.wall_ms(of, now) } else { EPOCH_MS / 2 + now + of as u64 * OTHER_BEGINNING_MS }
    }

    /// What a process takes for the cluster's time: at worst its own wall clock.
    pub(crate) fn wall_ms(&self, of: Proc, now: u64) -> u64 {
        (EPOCH_MS + now).saturating_add_signed(self.links[of].wall_ahead_ms)
    }

    /// What the server's clock shows.
    pub(crate) fn server_ms(&self) -> u64 {
        EPOCH_MS + self.now
    }

    pub(crate) fn set_clock(&mut self, of: Proc, by_ms: i64) {
        self.links[of].wall_ahead_ms += by_ms;
    }

    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Says something in the trace.
    pub(crate) fn say(&mut self, words: impl FnOnce() -> String) {
        let now = self.now;
        self.trace.note(|| format!("{:>9.3} s  {}", now as f64 / 1000.0, words()));
    }

    fn push(&mut self, at: u64, event: Event) {
        if self.agenda.push(at, event)
            && let Some(alarm) = &mut self.alarm
        {
            alarm.set(at);
        }
    }

    /// When the next event is.
    pub(crate) fn next_at(&self) -> Option<u64> {
        self.agenda.next_at()
    }

    /// The next event that is due.
    pub(crate) fn next_due(&mut self, now: u64) -> Option<Event> {
        self.now = self.now.max(now);
        if self.next_at()? > now {
            return None;
        }
        let Due { at, number, event } = self.agenda.pop()?;
        self.stats.events += 1;
        self.trace.mix(at.wrapping_mul(31).wrapping_add(number));
        self.trace.mix(event.fingerprint());
        Some(event)
    }

    pub(crate) fn chaos_at(&mut self, at: u64, index: usize) {
        self.push(at, Event::Chaos(index));
    }

    pub(crate) fn server_tick(&mut self, after_ms: u64) {
        self.push(self.now + after_ms, Event::ServerTick { server_life: self.server_life });
    }

    pub(crate) fn restart_soon(&mut self, of: Proc) {
        let life = self.links[of].life;
        self.push(self.now + 500, Event::Restart { of, life });
    }

    fn delay(&mut self) -> u64 {
        let late = if self.rng.random_bool(self.weather.late) { self.rng.random_range(0..=self.weather.late_ms) } else { 0 };
        self.rng.random_range(0..=3) + late
    }

    pub(crate) fn next_request(&mut self) -> u64 {
        self.last_request += 1;
        self.last_request
    }

    /// Something that the server does and does not answer.
    pub(crate) fn send(&mut self, from: Proc, op: Op) {
        self.transmit(from, None, op);
    }

    /// Something that the server answers.
    pub(crate) fn request(&mut self, from: Proc, op: Op) -> oneshot::Receiver<Reply> {
        let request = self.next_request();
        let (out, reply) = oneshot::channel();
        self.links[from].requests.insert(request, out);
        self.transmit(from, Some(request), op);
        reply
    }

    fn transmit(&mut self, from: Proc, request: Option<u64>, op: Op) {
        let link = &self.links[from];
        let op_is_plain = op.is_plain() && request.is_none();
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
    pub(crate) fn deliver(&mut self, to: Proc, msg: Msg) {
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
        if let Event::ToProc { to, life, msg: Msg::Plain(message) } = &event
            && message.reply.is_none()
            && self.is_doubled()
            && let Event::ToProc { msg: Msg::Plain(message), .. } = &event
        {
            let again = Event::ToProc { to: *to, life: *life, msg: Msg::Plain(message.clone()) };
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

    /// Whether an event for this life of the process can be handled now; it is kept when the process is frozen.
    pub(crate) fn admit(&mut self, of: Proc, life: u32, event: Event) -> Option<Event> {
        let link = &mut self.links[of];
        if !link.is_alive || link.life != life {
            return None;
        }
        if link.is_frozen() {
            link.backlog.push_back(event);
            return None;
        }
        Some(event)
    }

    pub(crate) fn start(&mut self, of: Proc) {
        let link = &mut self.links[of];
        link.clear();
        link.is_alive = true;
        link.gate = Arc::default();
        link.shutdown = Shutdown::manual_with(Spawner::behind(link.gate.clone()));
        self.reconnect_soon(of);
    }

    /// kill -9. True when the server had a connection to lose.
    pub(crate) fn crash(&mut self, of: Proc) -> bool {
        let link = &mut self.links[of];
        let was_connected = link.is_connected;
        link.clear();
        link.gate.kill();
        was_connected
    }

    pub(crate) fn freeze(&mut self, of: Proc) {
        if self.links[of].is_alive {
            self.links[of].gate.freeze();
            self.break_unless_mended(of);
        }
    }

    pub(crate) fn thaw(&mut self, of: Proc) {
        let link = &mut self.links[of];
        if !link.gate.thaw() {
            return;
        }
        let backlog = std::mem::take(&mut link.backlog);
        let is_connected = link.is_connected;
        // Its timers have run out already; what waits in its sockets it has to read first.
        for event in backlog {
            self.push(self.now + 1, event);
        }
        if !is_connected {
            self.reconnect_soon(of);
        }
    }

    /// Cuts a connection, in either direction or both.
    pub(crate) fn cut(&mut self, of: Proc, out: bool, inwards: bool) {
        self.links[of].cut_out |= out;
        self.links[of].cut_in |= inwards;
        self.break_unless_mended(of);
    }

    pub(crate) fn mend(&mut self, of: Proc) {
        let link = &mut self.links[of];
        (link.cut_out, link.cut_in) = (false, false);
        if link.is_connected {
            let held = link.held_out.drain(..).chain(link.held_in.drain(..)).collect::<Vec<_>>();
            let at = (self.now + self.delay()).max(self.links[of].last_out).max(self.links[of].last_in);
            (self.links[of].last_out, self.links[of].last_in) = (at, at);
            for event in held {
                self.push(at, event);
            }
        } else if link.is_alive && !link.is_frozen() {
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
    pub(crate) fn breaks(&mut self, of: Proc, connection: u32) -> bool {
        let link = &mut self.links[of];
        let is_due = link.is_connected && link.connection == connection && (link.is_frozen() || link.cut_in || link.cut_out);
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
    pub(crate) fn reconnect(&mut self, of: Proc) -> bool {
        let server_is_up = self.server_is_up;
        let link = &mut self.links[of];
        let can = link.is_alive && !link.is_frozen() && !link.is_connected && !link.cut_in && !link.cut_out;
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

    pub(crate) fn server_crash(&mut self) {
        self.server_is_up = false;
        self.server_life += 1;
        for of in 0..self.links.len() {
            if self.links[of].is_connected {
                self.disconnect(of);
            }
        }
    }

    pub(crate) fn server_restart(&mut self) {
        self.server_is_up = true;
        self.server_life += 1;
        for of in 0..self.links.len() {
            self.reconnect_soon(of);
        }
        self.server_tick(1);
    }
}
