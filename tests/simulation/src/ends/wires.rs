//! The network: lives of processes, their connections, and what travels on them.

use std::rc::Rc;

use rand::RngExt;

use super::event::{Event, Slot};
use super::link::Link;
use super::message::{Push, Reply, Request};
use super::proc::Proc;
use super::state::Core;

/// The longest that a message takes without bad weather.
const LATENCY_MS: u64 = 4;

/// Whether something that a process waits for reaches it.
pub(crate) enum Reach {
    Gone,
    Frozen,
    Here,
}

impl Core {
    pub(crate) fn start(&mut self, of: Proc) {
        if self.links[of].is_alive {
            return;
        }
        let link = &mut self.links[of];
        link.is_alive = true;
        link.life += 1;
        self.starting.push(of);
        self.note_of(of, "starts");
        self.connect(of);
    }

    fn note_of(&mut self, of: Proc, words: &str) {
        let name = self.scenario.name(of);
        self.note(|| format!("{name} {words}"));
    }

    pub(crate) fn kill(&mut self, of: Proc) {
        self.note_of(of, "dies");
        let link = &mut self.links[of];
        let fresh =
            Link { life: link.life, connections: link.connections, clock_ms: link.clock_ms, cut_until: link.cut_until, ..Link::new() };
        *link = fresh;
        self.server.forget_pulls_of(of);
        self.shadow.on_died(of, self.now);
        self.end_tasks(of);
    }

    pub(crate) fn freeze(&mut self, of: Proc) {
        if self.links[of].is_alive {
            self.links[of].is_frozen = true;
            self.note_of(of, "is frozen");
        }
    }

    /// Its timers are due before it hears anything.
    pub(crate) fn thaw(&mut self, of: Proc) {
        if !self.links[of].is_frozen {
            return;
        }
        self.links[of].is_frozen = false;
        self.note_of(of, "goes on");
        let held = std::mem::take(&mut self.links[of].held);
        let (timers, messages): (Vec<Event>, Vec<Event>) = held.into_iter().partition(|event| matches!(event, Event::Time(_)));
        let now = self.now;
        timers.into_iter().for_each(|event| self.at(now, event));
        messages.into_iter().for_each(|event| self.at(now + 1, event));
    }

    /// The connection is gone; the client makes a new one when it can.
    pub(crate) fn disconnect(&mut self, of: Proc, again_ms: u64) {
        if self.links[of].connection.take().is_some() {
            self.server.forget_pulls_of(of);
        }
        self.at(again_ms, Event::Connect { of });
    }

    pub(crate) fn connect(&mut self, of: Proc) {
        let now = self.now;
        let link = &self.links[of];
        if !link.is_alive || link.connection.is_some() {
            return;
        }
        if link.cut_until > now || !self.server.is_up {
            let again_ms = now.max(link.cut_until) + 50 + self.rng.random_range(0..400);
            self.at(again_ms, Event::Connect { of });
            return;
        }
        let link = &mut self.links[of];
        link.connections += 1;
        link.connection = Some(link.connections);
        let buffered = std::mem::take(&mut link.buffered);
        buffered.into_iter().for_each(|(request, slot)| self.send(of, request, slot, None));
    }

    pub(crate) fn send(&mut self, from: Proc, request: Request, slot: Option<Rc<Slot>>, only_on: Option<u32>) {
        let link = &mut self.links[from];
        if !link.is_alive || only_on.is_some_and(|only| link.connection != Some(only)) {
            return;
        }
        let Some(connection) = link.connection else {
            link.buffered.push((request, slot));
            return;
        };
        self.stats.messages += 1;
        if self.is_lost() {
            return;
        }
        let at = self.travel(from, true);
        self.at(at, Event::ToServer { from, connection, request, slot });
    }

    pub(crate) fn answer(&mut self, slot: &Rc<Slot>, reply: Reply) {
        let to = slot.proc;
        let Some(connection) = self.links[to].connection else { return };
        if self.is_lost() {
            return;
        }
        let at = self.travel(to, false);
        self.at(at, Event::Answer { slot: Rc::clone(slot), connection, reply });
    }

    pub(crate) fn push(&mut self, to: Proc, push: &Push) {
        let Some(connection) = self.links[to].connection else { return };
        let copies = if self.is_lost() { 0 } else { 1 + usize::from(self.is_doubled()) };
        for _ in 0..copies {
            let at = self.travel(to, false);
            self.at(at, Event::Push { to, connection, push: push.clone() });
        }
    }

    /// A connection keeps the order of what it carries.
    fn travel(&mut self, of: Proc, is_out: bool) -> u64 {
        let mut at = self.now + 1 + self.rng.random_range(0..LATENCY_MS);
        let weather = self.scenario.weather;
        if !self.is_healthy && weather.late > 0.0 && self.rng.random_bool(weather.late) {
            at += self.rng.random_range(10..weather.late_ms);
        }
        let link = &mut self.links[of];
        let last = if is_out { &mut link.last_out } else { &mut link.last_in };
        at = at.max(*last).max(link.cut_until);
        *last = at;
        at
    }

    fn is_lost(&mut self) -> bool {
        let loss = self.scenario.weather.loss;
        let is_lost = !self.is_healthy && loss > 0.0 && self.rng.random_bool(loss);
        self.stats.lost += u64::from(is_lost);
        is_lost
    }

    fn is_doubled(&mut self) -> bool {
        let doubled = self.scenario.weather.doubled;
        let is_doubled = !self.is_healthy && doubled > 0.0 && self.rng.random_bool(doubled);
        self.stats.doubled += u64::from(is_doubled);
        is_doubled
    }

    pub(crate) fn reach(&self, slot: &Slot) -> Reach {
        let link = &self.links[slot.proc];
        if !link.is_alive || link.life != slot.life {
            Reach::Gone
        } else if link.is_frozen {
            Reach::Frozen
        } else {
            Reach::Here
        }
    }

    pub(crate) fn on_push(&mut self, to: Proc, connection: u32, push: Push) {
        let link = &mut self.links[to];
        if !link.is_alive || link.connection != Some(connection) {
            return;
        }
        if link.is_frozen {
            link.held.push(Event::Push { to, connection, push });
            return;
        }
        link.inbox.push_back(push);
        if let Some(slot) = link.listener.take() {
            self.fill(&slot, Some(Reply::Done));
        }
    }
}
