//! Slurm's words for how a job ended. Helios has the same.

use crate::workload::Fate;

/// A job that its node or another job took down would have gone on: how it would have ended is unknown.
pub(super) fn fate(state: &str) -> Fate {
    match state {
        "COMPLETED" => Fate::Passed,
        "FAILED" | "OUT_OF_MEMORY" => Fate::Failed,
        "CANCELLED" | "TIMEOUT" | "DEADLINE" => Fate::Killed,
        _ => Fate::Unknown,
    }
}
