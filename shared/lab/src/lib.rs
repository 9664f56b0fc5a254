//! The lab: clusters, jobs, faults, and the planner in virtual time.
//!
//! One process, no NATS, no clock: a run is a function of its inputs and its seed, and of a user's program where one chooses the nodes. Whatever is drawn comes from a stream that belongs to one
//! job or one node, so that another policy changes no arrival and no fault. Threads are only around whole runs.

pub mod batch;
pub mod cluster;
pub mod cross_check;
pub mod experiment;
pub mod external;
pub mod faults;
pub mod outcome;
mod parallel;
pub mod presets;
pub mod read;
pub mod report;
pub mod repro;
mod setup;
mod sim;
pub mod statistics;
pub mod streams;
pub mod tables;
pub mod workload;

#[cfg(test)]
mod traces;

pub use outcome::Violation;
pub use parallel::in_parallel;
pub use setup::{Handover, InvalidSetup, Passes, Setup};
pub use sim::run;
