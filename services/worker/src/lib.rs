//! The worker: hosts nodes, runs attempts on them, and owns the ack of every job that it runs.

pub mod executor;
pub mod executors;
pub mod telemetry;
