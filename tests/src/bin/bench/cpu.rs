//! How much processor time processes took, as the kernel counts it.

use std::collections::BTreeMap;
use std::time::Duration;

use faultline_tests::proc;

/// The processes of a measurement, by name, and the time that each had taken before it.
pub(crate) struct Cpu(Vec<(String, u32, Duration)>);

impl Cpu {
    /// Processes of which the kernel tells nothing are left out, as everywhere but on Linux.
    pub(crate) fn of(processes: impl IntoIterator<Item = (String, u32)>) -> Self {
        Self(processes.into_iter().filter_map(|(name, pid)| Some((name, pid, proc::cpu(pid)?))).collect())
    }

    /// Microseconds of each since then, divided by the number of jobs.
    pub(crate) fn us_each(&self, jobs: usize) -> BTreeMap<String, f64> {
        let since = |pid: u32, before: Duration| Some(proc::cpu(pid)?.saturating_sub(before).as_secs_f64() * 1e6 / jobs.max(1) as f64);
        self.0.iter().filter_map(|(name, pid, before)| Some((name.clone(), since(*pid, *before)?))).collect()
    }
}
