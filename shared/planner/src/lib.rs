//! Where tasks run: a dense picture of nodes and task classes, the placement policies, and the pass that decides.
//!
//! Nothing here does IO, reads a clock, starts a thread, or draws from a generator that was not seeded by the caller. Nothing knows of
//! messages, acknowledgements, or heartbeats: their owner tells the planner what joined, left, closed, and ended, and carries out
//! what it decides. docs/planner.md has the model, the formulas with their sources, and the figures.

mod asking;
mod class;
mod decision;
mod deferred;
mod dispatch;
mod fill;
mod fit;
mod gpus;
mod index;
mod machine;
mod node;
mod outside;
mod planner;
mod policy;
mod settings;
mod tie;
mod waiting;
mod world;
mod would_fit;

#[cfg(test)]
mod tests;

pub use class::{ClassId, Closed, Reason, TaskClass};
pub use decision::{Decision, Limits, Pass, Placed, Why};
pub use deferred::{DoesNotHold, OpenClass, OpenTasks, Told};
pub use dispatch::{
    Amounts, Blocking, Bound, BoundKind, Bounds, Dispatch, DispatchPass, DispatchSettings, Dispatcher, HistorySettings, InvalidQueues,
    JobNumber, Level, OrderName, PreemptionSettings, QueueSettings, QueueShare, Remaining, Request, Resource, Topology, WhyWaiting,
};
pub use fill::{Filled, InvalidFill, fill};
pub use gpus::{GpuSet, MAX_NODE_GPUS, WHOLE_GPU_MILLI};
pub use machine::{Gpu, InvalidMachine, Machine};
pub use node::{NodeId, Placement};
pub use outside::{Chosen, GpuState, NodeState, Outside, OutsideFailed};
pub use planner::Planner;
pub use settings::{InvalidSettings, PolicyName, Scores, Settings};
pub use tie::TieRule;
pub use waiting::{JobKey, Standing, Turn};
pub use would_fit::WouldFit;
