//! Everything that the processes of a seed share.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;

use super::event::{Event, Slot};
use super::link::Link;
use super::message::Reply;
use super::proc::Proc;
use super::scenario::Scenario;
use super::server::Server;
use super::shadow::Shadow;
use super::{EndsBug, EndsStats};
use crate::agenda::Agenda;
use crate::trace::Trace;

pub(crate) type Work = Pin<Box<dyn Future<Output = ()>>>;

pub(crate) struct Task {
    pub(crate) proc: Proc,
    /// None while it is polled.
    pub(crate) work: Option<Work>,
}

/// Everything but the processes' own memory.
pub(crate) struct Core {
    pub(crate) now: u64,
    pub(crate) agenda: Agenda<Event>,
    pub(crate) tasks: BTreeMap<u64, Task>,
    pub(crate) next_task: u64,
    pub(crate) current: u64,
    pub(crate) ready: VecDeque<u64>,
    pub(crate) links: Vec<Link>,
    pub(crate) starting: Vec<Proc>,
    pub(crate) server: Server,
    pub(crate) shadow: Shadow,
    pub(crate) scenario: Scenario,
    pub(crate) rng: Pcg64Mcg,
    pub(crate) bug: Option<EndsBug>,
    pub(crate) trace: Trace,
    pub(crate) stats: EndsStats,
    pub(crate) is_healthy: bool,
}

impl Core {
    pub(crate) fn new(seed: u64, scenario: Scenario, bug: Option<EndsBug>, keep: usize) -> Self {
        Self {
            now: 0,
            agenda: Agenda::default(),
            tasks: BTreeMap::new(),
            next_task: 0,
            current: 0,
            ready: VecDeque::new(),
            links: (0..scenario.procs()).map(|_| Link::new()).collect(),
            starting: Vec::new(),
            server: Server::new(&scenario),
            shadow: Shadow::new(bug),
            scenario,
            rng: Pcg64Mcg::seed_from_u64(seed ^ 0xe4d5_0f10_60aa_11d7),
            bug,
            trace: Trace::new(keep),
            stats: EndsStats::default(),
            is_healthy: false,
        }
    }

    pub(crate) fn has(&self, bug: EndsBug) -> bool {
        self.bug == Some(bug)
    }

    pub(crate) fn at(&mut self, at: u64, event: Event) {
        self.agenda.push(at.max(self.now), event);
    }

    pub(crate) fn note(&mut self, words: impl FnOnce() -> String) {
        let now = self.now;
        self.trace.note(|| format!("{now:>7} {}", words()));
    }

    pub(crate) fn fill(&mut self, slot: &Rc<Slot>, value: Option<Reply>) {
        if self.tasks.contains_key(&slot.task) && slot.value.borrow().is_none() {
            *slot.value.borrow_mut() = Some(value);
            self.ready.push_back(slot.task);
        }
    }

    /// All tasks of a process end where they are.
    pub(crate) fn end_tasks(&mut self, of: Proc) {
        self.tasks.retain(|_, task| task.proc != of);
    }

    pub(crate) fn fingerprint(&mut self, event: &Event) {
        let kind = match event {
            Event::Time(slot) => 1 | slot.task << 4,
            Event::Answer { slot, .. } => 2 | slot.task << 4,
            Event::Push { to, .. } => 3 | (*to as u64) << 4,
            Event::ToServer { from, .. } => 4 | (*from as u64) << 4,
            Event::Connect { of } => 5 | (*of as u64) << 4,
            Event::Start { of } => 6 | (*of as u64) << 4,
            Event::ServerTick => 7,
            Event::Deed(index) => 8 | (*index as u64) << 4,
        };
        let now = self.now;
        self.trace.mix(now << 24 ^ kind);
    }
}
