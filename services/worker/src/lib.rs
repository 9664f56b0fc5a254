//! The worker: hosts nodes, runs attempts on them, and owns the ack of every job that it runs.
//! It never decides where a job runs, and never writes a result over another one.

mod agent;
mod attempt;
pub mod executor;
pub mod executors;
mod node;
mod settings;
pub mod telemetry;

pub use agent::{run, run_with};
pub use settings::Settings;
