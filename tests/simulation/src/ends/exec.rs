//! Virtual time: processes are futures that wait for answers, messages and times, and one queue of events gives them these in an order that
//! depends on the seed alone.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rand::RngExt;

use super::event::{Event, Slot};
use super::message::{Push, Reply, Request};
use super::proc::{EPOCH_MS, Proc};
use super::state::{Core, Task};
use super::wires::Reach;
use super::{EndsBug, deeds, serving};

impl Core {
    fn on_event(&mut self, event: Event) {
        match event {
            Event::Time(slot) => match self.reach(&slot) {
                Reach::Gone => {}
                Reach::Frozen => self.links[slot.proc].held.push(Event::Time(slot)),
                Reach::Here => self.fill(&slot, None),
            },
            Event::Answer { slot, connection, reply } if self.links[slot.proc].connection == Some(connection) => match self.reach(&slot) {
                Reach::Gone => {}
                Reach::Frozen => self.links[slot.proc].held.push(Event::Answer { slot, connection, reply }),
                Reach::Here => self.fill(&slot, Some(reply)),
            },
            Event::Answer { .. } => {}
            Event::Push { to, connection, push } => self.on_push(to, connection, push),
            Event::ToServer { from, connection, request, slot } => {
                if self.links[from].connection == Some(connection) {
                    serving::on_request(self, from, request, slot);
                }
            }
            Event::Connect { of } => self.connect(of),
            Event::Start { of } => self.start(of),
            Event::ServerTick => serving::on_tick(self),
            Event::Deed(index) => deeds::perform(self, index),
        }
    }
}

/// The world that all processes of a seed share.
pub(crate) struct World(pub(crate) RefCell<Core>);

impl World {
    /// Runs until `is_over`, which is asked after each event.
    pub(crate) fn play(self: &Rc<Self>, launch: impl Fn(&Rc<World>, Proc), is_over: impl Fn(&mut Core) -> bool) {
        loop {
            self.run_ready(&launch);
            let event = {
                let mut core = self.0.borrow_mut();
                if is_over(&mut core) {
                    return;
                }
                let Some(due) = core.agenda.pop() else { return };
                core.now = due.at;
                core.stats.events += 1;
                core.fingerprint(&due.event);
                due.event
            };
            self.0.borrow_mut().on_event(event);
        }
    }

    fn run_ready(self: &Rc<Self>, launch: &impl Fn(&Rc<World>, Proc)) {
        loop {
            let starting = std::mem::take(&mut self.0.borrow_mut().starting);
            for proc in starting {
                launch(self, proc);
            }
            let Some(id) = self.0.borrow_mut().ready.pop_front() else { return };
            self.poll(id);
        }
    }

    fn poll(&self, id: u64) {
        let work = {
            let mut core = self.0.borrow_mut();
            core.current = id;
            core.tasks.get_mut(&id).and_then(|task| task.work.take())
        };
        let Some(mut work) = work else { return };
        let is_done = work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        let mut core = self.0.borrow_mut();
        if is_done {
            let task = core.tasks.remove(&id);
            drop(core);
            drop((task, work));
        } else if let Some(task) = core.tasks.get_mut(&id) {
            task.work = Some(work);
        } else {
            // It ended its own process.
            drop(core);
            drop(work);
        }
    }
}

/// A process in one of its lives: what it may do to the world.
#[derive(Clone)]
pub(crate) struct Ctx {
    world: Rc<World>,
    pub(crate) proc: Proc,
    pub(crate) life: u32,
}

impl Ctx {
    pub(crate) fn new(world: &Rc<World>, proc: Proc) -> Self {
        let life = world.0.borrow().links[proc].life;
        Self { world: Rc::clone(world), proc, life }
    }

    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Core) -> T) -> T {
        act(&mut self.world.0.borrow_mut())
    }

    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        self.with(|core| {
            let id = core.next_task;
            core.next_task += 1;
            core.tasks.insert(id, Task { proc: self.proc, work: Some(Box::pin(work)) });
            core.ready.push_back(id);
        });
    }

    pub(crate) fn now(&self) -> u64 {
        self.with(|core| core.now)
    }

    /// What the wall clock shows.
    pub(crate) fn wall_ms(&self) -> u64 {
        self.with(|core| (EPOCH_MS + core.now).saturating_add_signed(core.links[self.proc].clock_ms))
    }

    pub(crate) fn has(&self, bug: EndsBug) -> bool {
        self.with(|core| core.has(bug))
    }

    pub(crate) fn connection(&self) -> Option<u32> {
        self.with(|core| core.links[self.proc].connection)
    }

    pub(crate) fn random(&self, range: std::ops::Range<u64>) -> u64 {
        self.with(|core| core.rng.random_range(range))
    }

    pub(crate) fn random_bits(&self) -> u128 {
        self.with(|core| core.rng.random())
    }

    pub(crate) fn note(&self, words: impl FnOnce() -> String) {
        self.with(|core| {
            let name = core.scenario.name(self.proc);
            core.note(|| format!("{name}: {}", words()));
        });
    }

    fn slot(&self) -> Rc<Slot> {
        let task = self.with(|core| core.current);
        Rc::new(Slot { task, proc: self.proc, life: self.life, value: RefCell::new(None) })
    }

    async fn wait(&self, slot: Rc<Slot>) -> Option<Reply> {
        poll_fn(|_| slot.value.borrow_mut().take().map_or(Poll::Pending, Poll::Ready)).await
    }

    pub(crate) async fn sleep(&self, for_ms: u64) {
        let slot = self.slot();
        self.with(|core| core.at(core.now + for_ms, Event::Time(Rc::clone(&slot))));
        self.wait(slot).await;
    }

    /// None when there was no answer in time: it may have been done, or not, or may be done yet.
    pub(crate) async fn ask(&self, request: Request, within_ms: u64) -> Option<Reply> {
        self.ask_on(None, request, within_ms).await
    }

    /// The same, but not on another connection than this one, not even later.
    pub(crate) async fn ask_on(&self, only_on: Option<u32>, request: Request, within_ms: u64) -> Option<Reply> {
        let slot = self.slot();
        self.with(|core| {
            core.at(core.now + within_ms, Event::Time(Rc::clone(&slot)));
            core.send(self.proc, request, Some(Rc::clone(&slot)), only_on);
        });
        self.wait(slot).await
    }

    /// Says something and waits for no answer. `only_on`: not on another connection than this one, not even later.
    pub(crate) fn say(&self, request: Request, only_on: Option<u32>) {
        self.with(|core| core.send(self.proc, request, None, only_on));
    }

    pub(crate) fn tell(&self, push: Push) {
        self.say(Request::Tell(push), None);
    }

    /// The next message of another process.
    pub(crate) async fn receive(&self) -> Push {
        loop {
            if let Some(push) = self.with(|core| core.links[self.proc].inbox.pop_front()) {
                return push;
            }
            let slot = self.slot();
            self.with(|core| core.links[self.proc].listener = Some(Rc::clone(&slot)));
            self.wait(slot).await;
        }
    }

    /// The process dies where it stands, and is started again.
    pub(crate) async fn die(&self) {
        self.with(|core| {
            let again_ms = core.now + 300 + core.rng.random_range(0..1_500);
            let of = self.proc;
            core.at(again_ms, Event::Start { of });
            core.kill(of);
        });
        std::future::pending().await
    }
}
