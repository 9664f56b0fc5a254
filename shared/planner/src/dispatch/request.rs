//! What a job asks for when it is handed to the dispatcher.

use crate::class::ClassId;

/// The owner's number of a job. In every order, of equal jobs the lower number goes first.
pub type JobNumber = u64;

/// Levels of the topology, from the narrowest up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    Node,
    Rack,
    Block,
}

/// Where the tasks of a gang are to be in relation to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Topology {
    /// All tasks in one of these.
    pub level: Level,
    /// Whether the job waits rather than being spread wider.
    pub required: bool,
}

/// A job that waits from now on. Durations and instants are in milliseconds of the owner's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// What each task asks for.
    pub class: ClassId,
    /// How many tasks are placed together, or none of them.
    pub tasks: u32,
    /// The fewest tasks that the job runs with; equal to `tasks` unless it is elastic.
    pub min_tasks: u32,
    pub topology: Option<Topology>,
    /// The owner's number of its queue.
    pub queue: u32,
    /// The owner's number of its user.
    pub user: u32,
    /// Higher goes first.
    pub priority: u8,
    pub preemptible: bool,
    /// Whether it can get or lose tasks while it runs, between `min_tasks` and `tasks`.
    pub resizable: bool,
    /// Stays when the job is interrupted and waits again.
    pub submitted_ms: u64,
    /// How long the job is expected to run from its start, for orders and reservations. Without one it never ends for a reservation.
    pub estimate_ms: Option<u64>,
}
