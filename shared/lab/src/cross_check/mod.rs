//! One scenario on a live cluster and virtually: what is run, the virtual side of it, and whether the two agree.
//!
//! `file` is what a scenario may say, `plan` and `spacing` what its seed makes of it, `play` the virtual run, and `judge` the comparison. The live run needs NATS
//! and processes, and is not here. docs/cross-check.md has the fields and the tolerances.

mod file;
mod judge;
mod plan;
mod play;
mod spacing;

#[cfg(test)]
mod tests;

pub use file::{ClusterTable, DrawnKills, Faults, File, JobTable, KillTable, RunTable, VirtualTable, WorkloadTable, parse};
pub use judge::{Judged, Pair, Row, Verdict, judge};
pub use plan::{Down, Instants, Plan, PlannedJob, PlannedKill};
pub use play::{Placement, Seen, SeenJob, machines, play};

/// The scenario that comes with the program.
pub const DEFAULT: &str = include_str!("default.toml");
