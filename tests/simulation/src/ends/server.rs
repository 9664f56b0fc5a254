//! A model of nats-server: what it keeps.

use faultline_engine::ends::Gen;

use super::bucket::{Lease, Ledger, Letters, Versions};
use super::jobs::{Jobs, JobsCopy};
use super::log::{Log, LogCopy};
use super::proc::{EPOCH_MS, Proc};
use super::scenario::Scenario;

pub(crate) struct Server {
    pub(crate) is_up: bool,
    pub(crate) frozen_until: u64,
    pub(crate) jobs: Jobs,
    pub(crate) log: Log,
    pub(crate) lease: Versions<Lease>,
    pub(crate) ledger: Versions<Ledger>,
    pub(crate) letters: Letters,
    pub(crate) clock_ms: i64,
    stamps: u64,
    /// Until when a stream has no leader: JOBS, ENDS.
    pub(crate) moving_until: [u64; 2],
    pub(crate) jobs_copy: Option<JobsCopy>,
    pub(crate) log_copy: Option<LogCopy>,
    pub(crate) ledger_copy: Option<Ledger>,
}

impl Server {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            is_up: true,
            frozen_until: 0,
            jobs: Jobs::new(Gen(1)),
            log: Log::new(scenario.log_limit),
            lease: Versions::default(),
            ledger: Versions::default(),
            letters: Letters::default(),
            clock_ms: 0,
            stamps: 0,
            moving_until: [0; 2],
            jobs_copy: None,
            log_copy: None,
            ledger_copy: None,
        }
    }

    pub(crate) fn forget_pulls_of(&mut self, of: Proc) {
        for pulls in &mut self.jobs.pulls {
            pulls.retain(|pull| pull.of != of);
        }
    }

    /// The time that a message gets: the present one in milliseconds too, and in nanoseconds by its own clock.
    pub(crate) fn stamp(&mut self, now: u64) -> (u64, u64) {
        self.stamps = (self.stamps + 1) % 1_000_000;
        let wall_ms = (EPOCH_MS + now).saturating_add_signed(self.clock_ms);
        (now, wall_ms * 1_000_000 + self.stamps)
    }
}
