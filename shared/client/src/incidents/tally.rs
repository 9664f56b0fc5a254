//! What became of the jobs of several incidents together.

use std::collections::BTreeMap;

use faultline_engine::job::JobId;

use super::Incidents;
use super::incident::Incident;

/// Of all incidents that began at one moment or later. A job that several of them interrupted counts once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    pub incidents: u32,
    pub interrupted: u32,
    /// Interrupted, and placed again or ended since.
    pub moved: u32,
    /// Interrupted, and waiting.
    pub waiting: u32,
    /// Each of these incidents has recovered.
    pub all_well: bool,
}

impl Incidents {
    /// The headlines of those that began at one moment or later and have not recovered.
    pub fn ongoing_since(&self, since_ms: u64, now_ms: u64) -> Vec<String> {
        let ongoing = self.since(since_ms).filter(|incident| incident.recovered_ms().is_none());
        ongoing.map(|incident| incident.view(now_ms).headline).collect()
    }

    fn since(&self, since_ms: u64) -> impl Iterator<Item = &Incident> {
        self.all.values().filter(move |incident| incident.began_ms >= since_ms)
    }

    pub fn tally(&self, since_ms: u64) -> Tally {
        let mut jobs: BTreeMap<JobId, bool> = BTreeMap::new();
        let mut tally = Tally { all_well: true, ..Tally::default() };
        for incident in self.since(since_ms) {
            tally.incidents += 1;
            tally.all_well &= incident.recovered_ms().is_some();
            for (job, waits) in incident.jobs() {
                *jobs.entry(job).or_default() |= waits;
            }
        }
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        tally.interrupted = number(jobs.len());
        tally.waiting = number(jobs.values().filter(|waits| **waits).count());
        tally.moved = tally.interrupted - tally.waiting;
        tally
    }
}
