//! Requests to a policy program, written line by line within a limit, and what comes back.

use std::collections::BTreeSet;

use faultline_planner::{OpenClass, OpenTasks, Planner, Told};
use serde::{Deserialize, Serialize};

use crate::program::{Answer, Instead, Node, Said, VERSION};

/// A request grows to this at most, but for its first line and for one task: far below what NATS carries.
pub(in crate::scheduler) const REQUEST_BYTES: usize = 256 << 10;
/// Tasks in one request.
pub(super) const MOST_TASKS: usize = 64;
/// What is shown of text that comes from the program.
const SHOWN_CHARS: usize = 200;

/// A request to a policy program: lines of JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// As in `service:NAME`.
    pub program: String,
    /// Which world it is about. Another one begins with a line `world`.
    pub world: String,
    /// Requests of this leader, from 1. The next one of the same world has the next number.
    pub number: u64,
    pub lines: String,
    /// How many tasks it asks about. With none it is answered with an empty message.
    pub asks: u64,
    pub answer_within_ms: u64,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Heard {
    Answer(String),
    /// Nothing was heard, or nothing that can be read; with the reason.
    Nothing(String),
}

/// A request that is out.
#[derive(Debug)]
pub(in crate::scheduler) struct Sent {
    pub(in crate::scheduler) number: u64,
    pub(in crate::scheduler) at_ms: u64,
    /// The id of its first `ask`; the others have the numbers that follow.
    pub(in crate::scheduler) first_id: u64,
    /// By `ask`: the position of its class.
    pub(in crate::scheduler) order: Vec<usize>,
    pub(in crate::scheduler) classes: Vec<OpenClass>,
    /// It told everything that there was to tell.
    pub(in crate::scheduler) tells_all: bool,
}

/// What the program was told of the nodes.
#[derive(Debug, Default)]
pub(in crate::scheduler) struct TheirWorld {
    told: Told,
    /// Nodes of which something has to be told.
    pending: BTreeSet<u32>,
    /// Nodes that it knows.
    known: BTreeSet<u32>,
}

impl TheirWorld {
    /// Something about this node is to be told again, changed or not.
    pub(in crate::scheduler) fn tell_again(&mut self, node: u32) {
        self.pending.insert(node);
    }

    pub(super) fn catch_up(&mut self, planner: &Planner) {
        self.pending.extend(planner.changed_since(&mut self.told));
    }

    /// The first line of a world, with as many nodes as go into one request; the others come as nodes that joined.
    pub(super) fn greet(&mut self, planner: &Planner) -> String {
        *self = Self::default();
        self.catch_up(planner);
        let (mut nodes, mut bytes) = (Vec::new(), 0);
        while bytes < REQUEST_BYTES
            && let Some(number) = self.pending.pop_first()
        {
            if let Some(state) = planner.node_state(number) {
                let node = Node::new(number, &state);
                bytes += Said::Node(&node).line().len();
                nodes.push(node);
                self.known.insert(number);
            }
        }
        Said::World { version: VERSION, nodes: &nodes }.line()
    }

    /// Adds lines about changed nodes as long as there is room. Whether that was all.
    pub(super) fn tell(&mut self, planner: &Planner, lines: &mut String) -> bool {
        while lines.len() < REQUEST_BYTES
            && let Some(number) = self.pending.pop_first()
        {
            match planner.node_state(number) {
                Some(state) => {
                    lines.push_str(&Said::Node(&Node::new(number, &state)).line());
                    self.known.insert(number);
                }
                None if self.known.remove(&number) => lines.push_str(&Said::Left { node: number }.line()),
                None => {}
            }
        }
        self.pending.is_empty()
    }
}

/// Adds a line for each task, as many as there is room for and one at least. Returns those that were added.
pub(super) fn ask(open: &OpenTasks, first_id: u64, lines: &mut String) -> Vec<usize> {
    let mut asked = Vec::new();
    for (id, at) in (first_id..).zip(&open.order) {
        if !asked.is_empty() && lines.len() >= REQUEST_BYTES {
            break;
        }
        let OpenClass { task, fitting, .. } = &open.classes[*at];
        lines.push_str(&Said::Ask { id, task: task.into(), fits: fitting }.line());
        asked.push(*at);
    }
    asked
}

/// What a program said.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::scheduler) enum Reply {
    Answers(Vec<Answer>),
    UnknownWorld,
    Failed(String),
}

pub(in crate::scheduler) fn read(text: &str) -> Reply {
    let mut answers = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match serde_json::from_str::<Answer>(line) {
            Ok(answer) => answers.push(answer),
            Err(error) => {
                return match serde_json::from_str::<Instead>(line) {
                    Ok(Instead::UnknownWorld {}) => Reply::UnknownWorld,
                    Ok(Instead::Error { message }) => Reply::Failed(format!("it says: {}", shown(&message))),
                    Err(_) => Reply::Failed(format!("its answer `{}` cannot be read: {error}", shown(line))),
                };
            }
        }
    }
    Reply::Answers(answers)
}

/// The beginning of a text, in one line.
pub(in crate::scheduler) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
