//! A small world in which the rules are used as the protocol says: JOBS and the log as NATS keeps them, submitters, workers that freeze and die, and
//! leaders that follow each other. A seed is a history. A bug can be planted into what surrounds the rules, and a shadow that shares no code
//! with the fold says in the end what was broken.

mod leader;
mod nats;
mod people;
mod shadow;

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::build::{MS, SECOND, T0};
use super::id::Gen;
use super::snapshot::{Seen, Snapshot};
use leader::Leader;
use nats::{Jobs, Row};
use people::{Submitter, Worker};

/// What is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plant {
    Nothing,
    /// Tickets have no time.
    NoTs,
    /// A message is its sequence: there is no generation, and no time either, which would do for it.
    SequenceAlone,
    /// Leaders begin their terms without a word.
    NoTerm,
    /// An epoch is the revision of the lease, also when its bucket was made anew.
    LowEpoch,
    /// The snapshot's state is older than its position.
    TornSnapshot,
    /// Acknowledged as soon as the pack is closed.
    AckAtOnce,
    /// A second ticket of a pack is taken for a new pack.
    NoResubmissionCheck,
    /// The leader says that a pack makes progress although no worker has named a member.
    KeepsTheDead,
    /// What was to be acknowledged before a reconnect is acknowledged after it.
    AcksAcrossReconnects,
    /// What a leader had decided before a reconnect reaches the log after it.
    DecidesAcrossReconnects,
    /// The leader knows of a message only once it is delivered.
    NeverLooks,
    /// The leader reads on from its position after a reconnect, whatever the log has become.
    NoPositionCheck,
}

/// How long things break, and after that how long they may take to be finished.
const STORM: u64 = 240 * SECOND;
const CALM: u64 = 400 * SECOND;
/// No history that is right writes so much.
const RUNAWAY: usize = 20_000;
const STEP: u64 = 100 * MS;

pub(super) struct World {
    rng: Pcg64Mcg,
    plant: Plant,
    now: u64,
    jobs: Jobs,
    log: Vec<Row>,
    /// How many messages the log ever had.
    appended: u64,
    lease: u64,
    /// The stored snapshots, newest last. Only the last two are there.
    snapshots: Vec<Snapshot>,
    leader: Leader,
    zombies: Vec<Leader>,
    workers: Vec<Worker>,
    submitter: Submitter,
    seen: BTreeMap<Gen, Seen>,
    attempts: u128,
    happened: BTreeMap<&'static str, u64>,
}

/// What a history came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Broken promises, in words.
    pub(super) broken: Vec<String>,
    pub(super) counts: super::changes::Counts,
    /// How often each kind of thing happened that a history should have.
    pub(super) happened: BTreeMap<&'static str, u64>,
}

impl World {
    pub(super) fn play(seed: u64, plant: Plant) -> Outcome {
        let mut world = Self::new(seed, plant);
        while world.now < T0 + STORM && world.log.len() < RUNAWAY {
            world.break_something();
            world.step();
        }
        world.calm_down();
        let end = world.now + CALM;
        let is_done = |world: &Self| world.jobs.messages.is_empty() && world.submitter.is_done();
        while world.now < end && world.log.len() < RUNAWAY && !is_done(&world) {
            world.step();
        }
        shadow::judge(&mut world)
    }

    fn new(seed: u64, plant: Plant) -> Self {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let jobs = Jobs::new(Gen(if plant == Plant::SequenceAlone { 0 } else { rng.random_range(1..u64::MAX) }));
        Self {
            rng,
            plant,
            now: T0,
            jobs,
            log: Vec::new(),
            appended: 0,
            lease: 1_000,
            snapshots: Vec::new(),
            leader: Leader::default(),
            zombies: Vec::new(),
            workers: (0..4).map(Worker::new).collect(),
            submitter: Submitter::default(),
            seen: BTreeMap::new(),
            attempts: 0,
            happened: BTreeMap::new(),
        }
        .with_leader()
    }

    fn with_leader(mut self) -> Self {
        self.take_over();
        self
    }

    fn chance(&mut self, one_in: u32) -> bool {
        self.rng.random_ratio(1, one_in)
    }

    fn step(&mut self) {
        self.now += STEP;
        self.submit();
        self.work();
        self.lead();
        self.haunt();
    }

    fn break_something(&mut self) {
        let worker = self.rng.random_range(0..self.workers.len());
        if self.chance(80) {
            // The last one may be gone for good, and no message says so.
            let until = if worker == 3 && self.chance(8) { u64::MAX } else { self.now + 2 * SECOND };
            self.workers[worker].die(self.now, until);
        }
        if self.chance(80) {
            let frozen_for = self.rng.random_range(SECOND..25 * SECOND);
            self.workers[worker].frozen_until = self.now + frozen_for;
        }
        if self.chance(250) {
            self.take_over();
        }
        if self.chance(300) {
            self.restart_nats();
        }
        if self.chance(500) {
            self.power_cut();
        }
        if self.chance(900) {
            self.make_jobs_anew();
        }
        if self.chance(900) {
            self.lease = 0;
        }
    }

    fn calm_down(&mut self) {
        for worker in &mut self.workers {
            worker.frozen_until = 0;
            worker.is_calm = true;
        }
        self.submitter.is_over = true;
    }
}
