//! All tasks of a job placed together, or none: the planner's books are tried, and taken back where they do not suffice.
//!
//! Without a topology the placement policy chooses node by node. With one, the domain is chosen first: of those that have room the fullest,
//! and in it as few racks and nodes as possible; the policy then chooses only the GPUs.

use crate::class::ClassId;
use crate::decision::{Placed, Why};
use crate::index::View;
use crate::node::NodeId;
use crate::planner::Planner;
use crate::world::RackId;

use super::request::{Level, Topology};
use super::room::Room;

/// What is to be placed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Gang {
    pub(crate) class: ClassId,
    pub(crate) tasks: u32,
    pub(crate) min_tasks: u32,
    pub(crate) topology: Option<Topology>,
}

impl Gang {
    /// Whether it is one task, which the planner's index places wherever it likes.
    pub(crate) fn is_single(&self) -> bool {
        self.tasks == 1
    }
}

/// What came of an attempt to place a gang.
#[derive(Debug)]
pub(crate) enum Tried {
    /// All its tasks, or as many as fit of an elastic one. They are booked.
    Placed(Vec<Placed>),
    NoRoom,
    /// The budget of scores did not suffice for an answer.
    OutOfBudget,
}

/// A domain in which tasks are placed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Domain {
    Node(NodeId),
    Rack(RackId),
    Block(u32),
    Cluster,
}

impl Planner {
    pub(crate) fn try_gang(&mut self, gang: &Gang, view: View, budget: &mut usize) -> Tried {
        if gang.is_single() {
            return match self.place(gang.class, view, budget) {
                Some(Some(placed)) => Tried::Placed(vec![placed]),
                Some(None) => Tried::NoRoom,
                None => Tried::OutOfBudget,
            };
        }
        let total = self.room(gang.class, budget).total(view);
        if total < gang.min_tasks.into() {
            return Tried::NoRoom;
        }
        match gang.topology {
            None => self.try_anywhere(gang, total, view, budget),
            Some(topology) => self.try_domain(gang, topology, view),
        }
    }

    /// How many tasks of the class fit, brought up to date.
    pub(crate) fn room(&mut self, class: ClassId, budget: &mut usize) -> &Room {
        let known = self.classes[class.at()].as_mut().expect("a class stays while a job of it is known");
        let room = known.room.get_or_insert_default();
        room.catch_up(&self.world, &known.class, budget);
        room
    }

    /// The policy chooses each node.
    fn try_anywhere(&mut self, gang: &Gang, total: u64, view: View, budget: &mut usize) -> Tried {
        let tasks = u64::from(gang.tasks).min(total) as usize;
        let mut placed = Vec::with_capacity(tasks);
        while placed.len() < tasks {
            // Once it has begun the gang is placed to its end: each further task costs one score.
            let mut unlimited = usize::MAX;
            match self.place(gang.class, view, if placed.is_empty() { &mut *budget } else { &mut unlimited }) {
                Some(Some(task)) => placed.push(task),
                Some(None) => break,
                None => return Tried::OutOfBudget,
            }
        }
        *budget = budget.saturating_sub(placed.len());
        self.keep_if_enough(gang, placed)
    }

    fn keep_if_enough(&mut self, gang: &Gang, placed: Vec<Placed>) -> Tried {
        if placed.len() >= gang.min_tasks as usize {
            return Tried::Placed(placed);
        }
        placed.iter().rev().for_each(|placed| self.world.take_back(&placed.placement));
        Tried::NoRoom
    }

    fn try_domain(&mut self, gang: &Gang, topology: Topology, view: View) -> Tried {
        let known = self.classes[gang.class.at()].as_ref();
        let Some(room) = known.and_then(|known| known.room.as_ref()) else { return Tried::NoRoom };
        let Some((domain, tasks)) = self.choose_domain(room, gang, topology, view) else { return Tried::NoRoom };
        let nodes = self.spread(room, domain, tasks, view);
        let fitting = nodes.len() as u32;
        let mut placed = Vec::with_capacity(tasks as usize);
        for (node, share) in nodes {
            for _ in 0..share {
                let Some(task) = self.place_on(gang.class, node, fitting) else { break };
                placed.push(task);
            }
        }
        self.keep_if_enough(gang, placed)
    }

    /// Places a task on this node if it fits there; the policy chooses the GPUs.
    pub(crate) fn place_on(&mut self, class: ClassId, node: NodeId, fitting: u32) -> Option<Placed> {
        let known = self.classes[class.at()].as_ref()?;
        if !self.world.fits(&known.class, node) {
            return None;
        }
        let score = self.policy.score(&self.world, &known.class, node);
        self.book(class, node, Why { score, runner_up: None, fitting, nodes: self.world.len() as u32 })
    }

    /// The narrowest domain with room for all tasks, the fullest of its level; if there is none, the one with the most room for an elastic job.
    fn choose_domain(&self, room: &Room, gang: &Gang, topology: Topology, view: View) -> Option<(Domain, u64)> {
        let levels: &[Option<Level>] = match (topology.level, topology.required) {
            (Level::Node, true) => &[Some(Level::Node)],
            (Level::Rack, true) => &[Some(Level::Rack)],
            (Level::Block, true) => &[Some(Level::Block)],
            (Level::Node, false) => &[Some(Level::Node), Some(Level::Rack), Some(Level::Block), None],
            (Level::Rack, false) => &[Some(Level::Rack), Some(Level::Block), None],
            (Level::Block, false) => &[Some(Level::Block), None],
        };
        let (tasks, min_tasks) = (u64::from(gang.tasks), u64::from(gang.min_tasks));
        let whole = levels.iter().find_map(|level| self.fullest(room, *level, tasks, view));
        if let Some(domain) = whole {
            return Some((domain, tasks));
        }
        if gang.min_tasks == gang.tasks {
            return None;
        }
        levels.iter().find_map(|level| {
            let (domain, sum) = self.domains(room, *level, view).max_by_key(|(_, sum)| *sum)?;
            (sum >= min_tasks).then_some((domain, sum))
        })
    }

    /// Of the domains of a level with room for so many tasks the one that has room for the fewest.
    fn fullest(&self, room: &Room, level: Option<Level>, tasks: u64, view: View) -> Option<Domain> {
        let able = self.domains(room, level, view).filter(|(_, sum)| *sum >= tasks);
        able.min_by_key(|(_, sum)| *sum).map(|(domain, _)| domain)
    }

    fn domains<'a>(&'a self, room: &'a Room, level: Option<Level>, view: View) -> Box<dyn Iterator<Item = (Domain, u64)> + 'a> {
        let (racks, blocks) = room.domains();
        match level {
            Some(Level::Node) => Box::new(self.world.nodes().map(move |node| (Domain::Node(node), room.on_node(node, view)))),
            Some(Level::Rack) => Box::new((0..racks as u32).map(RackId).map(move |rack| (Domain::Rack(rack), room.in_rack(rack, view)))),
            Some(Level::Block) => Box::new((0..blocks as u32).map(move |block| (Domain::Block(block), room.in_block(block, view)))),
            None => Box::new(std::iter::once((Domain::Cluster, room.total(view)))),
        }
    }

    /// So many tasks over as few nodes of as few racks of as few blocks as possible.
    fn spread(&self, room: &Room, domain: Domain, tasks: u64, view: View) -> Vec<(NodeId, u64)> {
        let domains = self.world.domains();
        let racks: Vec<(RackId, u64)> = match domain {
            Domain::Node(node) => return vec![(node, tasks)],
            Domain::Rack(rack) => vec![(rack, tasks)],
            Domain::Block(block) => few(domains.racks_of(block).iter().map(|rack| (*rack, room.in_rack(*rack, view))), tasks),
            Domain::Cluster => {
                let blocks = few((0..room.domains().1 as u32).map(|block| (block, room.in_block(block, view))), tasks);
                let of_block =
                    |(block, share): (u32, u64)| few(domains.racks_of(block).iter().map(|rack| (*rack, room.in_rack(*rack, view))), share);
                blocks.into_iter().flat_map(of_block).collect()
            }
        };
        let of_rack =
            |(rack, share): (RackId, u64)| few(domains.nodes_of(rack).iter().map(|node| (*node, room.on_node(*node, view))), share);
        racks.into_iter().flat_map(of_rack).collect()
    }
}

/// The fewest parts that hold so many: the largest first, and for what is left at last the smallest that holds it. Equal parts go in their order.
fn few<T: Copy>(parts: impl Iterator<Item = (T, u64)>, wanted: u64) -> Vec<(T, u64)> {
    let mut parts: Vec<(T, u64)> = parts.filter(|(_, room)| *room > 0).collect();
    parts.sort_by_key(|(_, room)| std::cmp::Reverse(*room));
    let (mut taken, mut left) = (Vec::new(), wanted);
    let mut next = 0;
    while left > 0 && next < parts.len() {
        let (part, room) = parts[next];
        if room < left {
            taken.push((part, room));
            left -= room;
            next += 1;
            continue;
        }
        // The last of those, in descending order, that still hold what is left.
        let able = parts[next..].partition_point(|(_, room)| *room >= left);
        let smallest = parts[next + able - 1].1;
        let first = parts[next..].partition_point(|(_, room)| *room > smallest);
        taken.push((parts[next + first].0, left));
        left = 0;
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_parts_are_taken_and_the_last_one_is_the_tightest() {
        let parts = [('a', 2), ('b', 8), ('c', 0), ('d', 3), ('e', 8), ('f', 2)];
        assert_eq!(few(parts.into_iter(), 8), [('b', 8)]);
        assert_eq!(few(parts.into_iter(), 10), [('b', 8), ('a', 2)]);
        assert_eq!(few(parts.into_iter(), 3), [('d', 3)]);
        assert_eq!(few(parts.into_iter(), 17), [('b', 8), ('e', 8), ('a', 1)]);
        assert_eq!(few(parts.into_iter(), 23), [('b', 8), ('e', 8), ('d', 3), ('a', 2), ('f', 2)]);
    }
}
