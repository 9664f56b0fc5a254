//! First in, first out on the planner alone, behind the calls of the dispatcher.

use std::collections::{BTreeMap, HashMap};

use faultline_planner::{
    ClassId, Closed, InvalidMachine, InvalidSettings, JobNumber, Machine, NodeId, Placed, Planner, Request, Settings, TaskClass,
};

#[derive(Debug, Clone, Default)]
pub struct DispatchSettings {
    pub placement: Settings,
    pub strict: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dispatch {
    Start { job: JobNumber, tasks: Vec<Placed> },
}

#[derive(Debug, Default)]
pub(crate) struct DispatchPass {
    pub(crate) decisions: Vec<Dispatch>,
    pub(crate) unfinished: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Remaining {
    pub(crate) estimate_ms: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Dispatcher {
    planner: Planner,
    strict: bool,
    waiting: BTreeMap<(u64, JobNumber), Request>,
    running: HashMap<JobNumber, (Request, Vec<Placed>)>,
}

impl Dispatcher {
    pub(crate) fn new(settings: &DispatchSettings) -> Result<Self, InvalidSettings> {
        let planner = Planner::new(&settings.placement)?;
        Ok(Self { planner, strict: settings.strict, waiting: BTreeMap::new(), running: HashMap::new() })
    }

    pub(crate) fn join(&mut self, machine: &Machine) -> Result<NodeId, InvalidMachine> {
        self.planner.join(machine)
    }

    pub(crate) fn close(&mut self, node: NodeId, closed: Option<Closed>) {
        self.planner.close(node, closed);
    }

    pub(crate) fn class(&mut self, task: &TaskClass) -> ClassId {
        self.planner.class(task)
    }

    pub(crate) fn submit(&mut self, job: JobNumber, request: Request) {
        self.waiting.insert((request.submitted_ms, job), request);
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn ended(&mut self, job: JobNumber, _now_ms: u64) {
        self.release(job);
    }

    pub(crate) fn interrupted(&mut self, job: JobNumber, _now_ms: u64, remaining: Remaining) {
        if let Some(request) = self.release(job) {
            self.submit(job, Request { estimate_ms: remaining.estimate_ms, ..request });
        }
    }

    fn release(&mut self, job: JobNumber) -> Option<Request> {
        let (request, tasks) = self.running.remove(&job)?;
        tasks.iter().for_each(|task| self.planner.release(&task.placement));
        Some(request)
    }

    pub(crate) fn pass(&mut self, _now_ms: u64) -> DispatchPass {
        let mut pass = DispatchPass::default();
        let order: Vec<(u64, JobNumber)> = self.waiting.keys().copied().collect();
        for key in order {
            let request = self.waiting[&key];
            let mut tasks = Vec::new();
            while tasks.len() < request.tasks as usize {
                let Some(placed) = self.planner.place_now(request.class) else { break };
                tasks.push(placed);
            }
            if tasks.len() == request.tasks as usize {
                self.waiting.remove(&key);
                self.running.insert(key.1, (request, tasks.clone()));
                pass.decisions.push(Dispatch::Start { job: key.1, tasks });
                continue;
            }
            tasks.iter().for_each(|task| self.planner.release(&task.placement));
            if self.strict {
                break;
            }
        }
        pass
    }

    pub(crate) fn next_ms(&self) -> Option<u64> {
        None
    }
}
