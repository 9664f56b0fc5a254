//! What is said to a user's placement policy and what it answers, as lines of JSON: the same in the lab, where the program is a child process, and
//! behind a live scheduler, where it listens on NATS. docs/policies.md says what they mean.

use faultline_planner::{NodeState, TaskClass};
use serde::{Deserialize, Serialize};

/// What the lines mean; raised when one of them changes its meaning.
pub const VERSION: u32 = 1;

/// To the program.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Said<'a> {
    /// The first line.
    World {
        version: u32,
        nodes: &'a [Node],
    },
    /// A node came, or something about it changed.
    Node(&'a Node),
    Left {
        node: u32,
    },
    Ask {
        id: u64,
        task: Task<'a>,
        fits: &'a [u32],
    },
}

impl Said<'_> {
    /// The line, with its end.
    pub fn line(&self) -> String {
        let mut line = serde_json::to_string(self).unwrap_or_else(|error| unreachable!("numbers and text become JSON: {error}"));
        line.push('\n');
        line
    }
}

/// A node as the program knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    pub node: u32,
    name: String,
    rack: String,
    block: String,
    open: bool,
    free_cpu_milli: Option<u32>,
    free_memory_mib: Option<u32>,
    free_slots: Option<u32>,
    gpus: Vec<Gpu>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Gpu {
    model: String,
    free_milli: u16,
    free_mib: u32,
}

impl Node {
    pub fn new(node: u32, state: &NodeState<'_>) -> Self {
        let gpus = state.gpus.iter().map(|gpu| Gpu { model: gpu.model.to_owned(), free_milli: gpu.free_milli, free_mib: gpu.free_mib });
        Self {
            node,
            name: state.name.to_owned(),
            rack: state.rack.to_owned(),
            block: state.block.to_owned(),
            open: state.open,
            free_cpu_milli: state.free_cpu_milli,
            free_memory_mib: state.free_memory_mib,
            free_slots: state.free_slots,
            gpus: gpus.collect(),
        }
    }
}

/// What a task asks of a node.
#[derive(Debug, Serialize)]
pub struct Task<'a> {
    cpu_milli: u32,
    memory_mib: u32,
    gpus: u16,
    gpu_milli: u16,
    gpu_memory_mib: u32,
    models: &'a [String],
}

impl<'a> From<&'a TaskClass> for Task<'a> {
    fn from(task: &'a TaskClass) -> Self {
        let TaskClass { cpu_milli, memory_mib, gpus, gpu_milli, gpu_memory_mib, models, .. } = task;
        Self { cpu_milli: *cpu_milli, memory_mib: *memory_mib, gpus: *gpus, gpu_milli: *gpu_milli, gpu_memory_mib: *gpu_memory_mib, models }
    }
}

/// From the program: where one task is to run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    pub id: u64,
    /// None: the task waits.
    pub node: Option<u32>,
    #[serde(default)]
    pub gpus: Option<Vec<usize>>,
}

/// From a program on NATS, instead of answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Instead {
    /// It does not know the world that the request is about: it has just started, or missed a request.
    UnknownWorld {},
    /// It cannot answer, and says why.
    Error { message: String },
}
