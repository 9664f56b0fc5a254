//! Placement by something outside whose answers come later: what has changed since it was told, which tasks it can be asked about, and its
//! answers, checked against the nodes as they are by then. Nothing is booked in between.

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BinaryHeap};

use crate::asking::check_gpus;
use crate::class::{ClassId, TaskClass};
use crate::decision::{Placed, Why};
use crate::node::NodeId;
use crate::outside::{Chosen, NodeState, changed_since, state_of};
use crate::planner::Planner;
use crate::waiting::Turn;

/// How far someone has been told of the nodes. The default is not at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told(u64);

/// A class of waiting tasks for which there is room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenClass {
    pub class: ClassId,
    pub task: TaskClass,
    /// The numbers of the nodes with room, ascending.
    pub fitting: Vec<u32>,
    /// Which life of its number each of them was in.
    lives: Vec<u32>,
}

/// The tasks that can be asked about now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenTasks {
    pub classes: Vec<OpenClass>,
    /// One entry a task, in the order of turns: its position in `classes`.
    pub order: Vec<usize>,
    /// There may be more once it is asked again.
    pub unfinished: bool,
}

/// Why an answer does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DoesNotHold {
    /// It was right when it was asked for: no task of the class waits any more, or the node has left, was closed, or has no room now.
    Late,
    /// It was wrong from the beginning.
    Wrong(String),
}

impl Planner {
    /// The nodes that came, changed, or left since, in the order of their numbers.
    pub fn changed_since(&self, told: &mut Told) -> Vec<u32> {
        let mut changed: Vec<u32> = changed_since(&self.world, &mut told.0).into_iter().map(|node| node.0).collect();
        changed.sort_unstable();
        changed
    }

    /// What is free on the node with this number; `None` when there is none.
    pub fn node_state(&self, number: u32) -> Option<NodeState<'_>> {
        ((number as usize) < self.world.numbers()).then(|| state_of(&self.world, NodeId(number))).flatten()
    }

    /// Waiting tasks for which there is room, in the order of turns, `most` at most, and no more of a class than there is room for. Classes
    /// without room stand aside. Nodes are scored at most `scores` times to find out what has room again.
    pub fn open_tasks(&mut self, most: usize, scores: usize) -> OpenTasks {
        self.rejoin_gained(scores);
        let mut open = OpenTasks { unfinished: self.world.has_gained(), ..OpenTasks::default() };
        let mut known: BTreeMap<ClassId, (usize, usize)> = BTreeMap::new();
        let mut heads: BinaryHeap<Reverse<(Turn, ClassId)>> = self.waiting.heads().map(Reverse).collect();
        while let Some(Reverse((turn, class))) = heads.pop() {
            if open.order.len() >= most {
                break;
            }
            let found = match known.entry(class) {
                Entry::Occupied(before) => before.into_mut(),
                Entry::Vacant(new) => {
                    let Some((found, room)) = self.open_class(class, most) else {
                        self.waiting.step_aside(class);
                        continue;
                    };
                    open.classes.push(found);
                    new.insert((open.classes.len() - 1, room))
                }
            };
            if let (at, room @ 1..) = found {
                open.order.push(*at);
                *room -= 1;
                heads.extend(self.waiting.after(class, turn).map(|next| Reverse((next, class))));
            }
        }
        open
    }

    /// The class with the nodes that have room for a task of it, and for how many there is room, counted up to `most`; `None` without any.
    fn open_class(&self, class: ClassId, most: usize) -> Option<(OpenClass, usize)> {
        let known = self.classes[class.at()].as_ref()?;
        let nodes: Vec<NodeId> = self.world.nodes().filter(|node| self.world.fits(&known.class, *node)).collect();
        let mut room = 0;
        for node in &nodes {
            if room >= most {
                break;
            }
            room += self.world.capacity(&known.class, *node) as usize;
        }
        let lives = nodes.iter().map(|node| self.world.cold(*node).joined).collect();
        let fitting = nodes.iter().map(|node| node.0).collect();
        (!nodes.is_empty()).then(|| (OpenClass { class, task: known.class.task.clone(), fitting, lives }, room))
    }

    /// The first waiting job of the class goes where an answer says, if that holds.
    ///
    /// # Errors
    /// When it does not hold. Then nothing has happened.
    pub fn choose(&mut self, asked: &OpenClass, chosen: &Chosen) -> Result<(Turn, Placed), DoesNotHold> {
        let Ok(at) = asked.fitting.binary_search(&chosen.node) else {
            return Err(DoesNotHold::Wrong(format!("node {} was chosen for a task that does not fit there", chosen.node)));
        };
        let node = NodeId(chosen.node);
        let known = self.classes[asked.class.at()].as_ref().filter(|known| known.class.task == asked.task).ok_or(DoesNotHold::Late)?;
        let turn = self.waiting.head(asked.class).ok_or(DoesNotHold::Late)?;
        if self.world.cold(node).joined != asked.lives[at] || !self.world.fits(&known.class, node) {
            return Err(DoesNotHold::Late);
        }
        let gpus = match &chosen.gpus {
            None => self.world.tightest_gpus(&known.class, node),
            Some(positions) => check_gpus(self.world.fitting_gpus(&known.class, node), &asked.task, positions).map_err(|why| {
                let name = self.world.name(node);
                DoesNotHold::Wrong(format!("GPUs {positions:?} of node {} ({name}) were chosen: {why}", chosen.node))
            })?,
        };
        let why = Why { score: 0, runner_up: None, fitting: asked.fitting.len() as u32, nodes: self.world.len() as u32 };
        let placement = self.world.take(node, &asked.task, gpus);
        self.waiting.remove(asked.class, turn);
        Ok((turn, Placed { placement, why }))
    }

    /// The first waiting job of the class goes where the planner's own policy says.
    pub fn place_first(&mut self, class: ClassId) -> Option<(Turn, Placed)> {
        let turn = self.waiting.head(class)?;
        let placed = self.place_now(class)?;
        self.waiting.remove(class, turn);
        Some((turn, placed))
    }

    /// Tasks of the class wait until more is free on some node where they fit.
    pub fn let_wait(&mut self, class: ClassId) {
        if self.waiting.head(class).is_some() {
            self.waiting.step_aside(class);
        }
    }

    /// Everything that waits is tried again, also what was let wait.
    pub fn try_again(&mut self) {
        self.waiting.rejoin(|_| true);
    }

    /// Whether a node has room for a task of the class.
    pub fn has_room(&self, class: ClassId) -> bool {
        self.classes[class.at()].as_ref().is_some_and(|known| self.world.nodes().any(|node| self.world.fits(&known.class, node)))
    }
}
