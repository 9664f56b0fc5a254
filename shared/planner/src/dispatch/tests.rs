//! What the tests of the dispatcher share.

mod by_count;
mod examples;
mod resizing;
mod sharing;
mod starving;
mod worlds;

use super::*;
use crate::decision::Limits;
use crate::tests::{gpu_task, machine};

/// A dispatcher with what its owner would know.
struct Desk {
    dispatcher: Dispatcher,
    now_ms: u64,
    next: JobNumber,
}

/// A job of `tasks` tasks with so many whole GPUs each that runs for so long.
#[derive(Clone, Copy)]
struct Ask {
    tasks: u32,
    gpus: u16,
    ms: u64,
}

impl Desk {
    /// Nodes with so many GPUs each, in racks of two and blocks of two racks.
    fn new(settings: &DispatchSettings, gpus: &[usize]) -> Self {
        let mut dispatcher = Dispatcher::new(settings).unwrap();
        for (number, gpus) in gpus.iter().enumerate() {
            let mut machine = machine(&format!("n{number}"), *gpus, None, None);
            (machine.rack, machine.block) = (format!("r{}", number / 2), format!("b{}", number / 4));
            dispatcher.join(&machine).unwrap();
        }
        Self { dispatcher, now_ms: 0, next: 0 }
    }

    fn request(&mut self, ask: Ask) -> Request {
        let class = self.dispatcher.class(&gpu_task(ask.gpus, if ask.gpus == 0 { 0 } else { 1000 }, 0));
        Request {
            class,
            tasks: ask.tasks,
            min_tasks: ask.tasks,
            topology: None,
            queue: 0,
            user: 0,
            priority: 0,
            preemptible: true,
            resizable: true,
            submitted_ms: self.now_ms,
            estimate_ms: Some(ask.ms),
        }
    }

    fn submit(&mut self, tasks: u32, gpus: u16, ms: u64) -> JobNumber {
        self.submit_as(Ask { tasks, gpus, ms }, |_| {})
    }

    fn submit_as(&mut self, ask: Ask, change: impl FnOnce(&mut Request)) -> JobNumber {
        let mut request = self.request(ask);
        change(&mut request);
        self.next += 1;
        assert!(self.dispatcher.submit(self.next, request));
        self.next
    }

    fn decide(&mut self) -> Vec<Dispatch> {
        let pass = self.dispatcher.pass(self.now_ms, Limits::default());
        assert!(!pass.unfinished);
        pass.decisions
    }

    /// The jobs that start now.
    fn starts(&mut self) -> Vec<JobNumber> {
        self.decide().iter().filter_map(|decision| if let Dispatch::Start { job, .. } = decision { Some(*job) } else { None }).collect()
    }

    fn end(&mut self, job: JobNumber) -> &mut Self {
        assert!(self.dispatcher.ended(job, self.now_ms));
        self
    }

    fn at(&mut self, now_ms: u64) -> &mut Self {
        self.now_ms = now_ms;
        self
    }

    /// The nodes of a running job by number, each as often as it has tasks there.
    fn nodes(&self, job: JobNumber) -> Vec<u32> {
        self.dispatcher.tasks_of(job).iter().map(|placement| placement.node.0).collect()
    }
}

fn with(order: OrderName, blocking: Blocking) -> DispatchSettings {
    DispatchSettings { order, blocking, ..DispatchSettings::default() }
}
