//! What one seed stands for: the cluster, the packs, the weather, and when what breaks. All of it is drawn before the run begins.

use std::collections::BTreeMap;

use faultline_engine::ends::Sync;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::message::{Lie, Script};
use super::proc::Proc;
use super::stats::EndsFault;
use super::tail::LONGEST_TAIL_MS;

const SYNC_INTERVAL_NS: u64 = 1_000_000_000;
const LARGE_LOG: u64 = 1 << 40;

/// Something that is done to the cluster.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    Kill(Proc),
    Start(Proc),
    Freeze(Proc),
    Thaw(Proc),
    Cut {
        of: Proc,
        for_ms: u64,
    },
    ServerKill,
    /// `lost_ms`: how far the disk was behind, for JOBS, ENDS, LEASE, LEDGER and DEAD.
    MachineDeath {
        lost_ms: [u64; 5],
    },
    ServerStart,
    ServerFreeze {
        for_ms: u64,
    },
    StreamMoves {
        is_jobs: bool,
        for_ms: u64,
    },
    JobsAnew,
    JobsPurged,
    CopyJobs,
    JobsOlder,
    LogAnew,
    CopyLog,
    LogOlder,
    LeaseAnew,
    CopyLedger,
    LedgerOlder,
    Verdict {
        worker: Proc,
    },
    /// Of the pack that was submitted as the so-manyth.
    Cancel {
        pack: usize,
        idx: u16,
    },
    ProcClock {
        of: Proc,
        by_ms: i64,
    },
    ServerClock {
        by_ms: i64,
    },
    Lie(Lie),
    /// The pack that was submitted as the so-manyth is published once more, with another priority and without its id.
    Twin {
        pack: usize,
    },
    /// The time after which nothing breaks any more.
    Healthy,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) loss: f64,
    pub(crate) doubled: f64,
    pub(crate) late: f64,
    pub(crate) late_ms: u64,
}

/// A pack that will be submitted.
#[derive(Debug, Clone)]
pub(crate) struct PackPlan {
    pub(crate) at: u64,
    pub(crate) priority: usize,
    pub(crate) jobs: Vec<Script>,
    pub(crate) is_garbage: bool,
    pub(crate) is_poison: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) schedulers: usize,
    pub(crate) workers: usize,
    /// What each submitter hands over.
    pub(crate) submitters: Vec<Vec<PackPlan>>,
    pub(crate) slots: usize,
    pub(crate) sync: Sync,
    /// Three replicas: a machine's death loses nothing, replicas lag, streams change their leaders.
    pub(crate) is_replicated: bool,
    pub(crate) log_limit: u64,
    pub(crate) weather: Weather,
    pub(crate) deeds: Vec<(u64, Deed)>,
    pub(crate) healthy_at: u64,
    pub(crate) faults: BTreeMap<EndsFault, u64>,
}

impl Scenario {
    pub(crate) fn workers(&self) -> std::ops::Range<Proc> {
        self.schedulers..self.schedulers + self.workers
    }

    pub(crate) fn submitter(&self, index: usize) -> Proc {
        self.workers().end + index
    }

    pub(crate) fn auditor(&self) -> Proc {
        self.submitter(self.submitters.len())
    }

    pub(crate) fn reader(&self) -> Proc {
        self.auditor() + 1
    }

    pub(crate) fn procs(&self) -> usize {
        self.reader() + 1
    }

    pub(crate) fn name(&self, of: Proc) -> String {
        if of < self.schedulers {
            format!("scheduler-{}", of + 1)
        } else if self.workers().contains(&of) {
            format!("worker-{}", of - self.schedulers + 1)
        } else if of == self.auditor() {
            "auditor".into()
        } else if of == self.reader() {
            "reader".into()
        } else {
            format!("submitter-{}", of - self.workers().end + 1)
        }
    }

    pub(crate) fn is_trimming(&self) -> bool {
        self.log_limit < LARGE_LOG
    }
}

pub(crate) fn draw(seed: u64) -> Scenario {
    let mut rng = Pcg64Mcg::seed_from_u64(seed ^ 0x0e17_d5ab_3c91);
    let until_ms = rng.random_range(6_000..25_000);
    let is_replicated = rng.random_bool(0.2);
    let packs = rng.random_range(3..=9);
    let mut submitters = vec![Vec::new(); rng.random_range(1..=2)];
    for _ in 0..packs {
        let submitter = rng.random_range(0..submitters.len());
        submitters[submitter].push(draw_pack(until_ms, &mut rng));
    }
    submitters.iter_mut().for_each(|packs| packs.sort_by_key(|pack| pack.at));
    let is_rough = rng.random_bool(0.6);
    let weather = Weather {
        loss: if is_rough { rng.random_range(0.0..0.03) } else { 0.0 },
        doubled: if is_rough { rng.random_range(0.0..0.03) } else { 0.0 },
        late: if is_rough { rng.random_range(0.0..0.02) } else { 0.0 },
        late_ms: rng.random_range(20..2_500),
    };
    let mut scenario = Scenario {
        schedulers: rng.random_range(2..=3),
        workers: rng.random_range(2..=3),
        submitters,
        slots: rng.random_range(3..=24),
        sync: if is_replicated || rng.random_bool(0.1) { Sync::Always } else { Sync::EveryNs(SYNC_INTERVAL_NS) },
        is_replicated,
        log_limit: if rng.random_bool(0.35) { rng.random_range(9_000..24_000) } else { LARGE_LOG },
        weather,
        deeds: Vec::new(),
        healthy_at: until_ms,
        faults: BTreeMap::new(),
    };
    Plan { rng, until_ms, scenario: &mut scenario }.draw();
    scenario
}

fn draw_pack(until_ms: u64, rng: &mut Pcg64Mcg) -> PackPlan {
    let count = match rng.random_range(0..40) {
        0..=17 => 1,
        18..=27 => 4,
        28..=36 => 16,
        37..=38 => rng.random_range(2..=60),
        _ => 256,
    };
    let jobs = (0..count).map(|_| draw_job(count, rng)).collect();
    let is_garbage = rng.random_bool(0.03);
    let is_poison = !is_garbage && rng.random_bool(0.015);
    PackPlan { at: rng.random_range(10..until_ms), priority: rng.random_range(0..2), jobs, is_garbage, is_poison }
}

fn draw_job(count: usize, rng: &mut Pcg64Mcg) -> Script {
    let work_ms = match rng.random_range(0..10) {
        0..=4 => rng.random_range(5..300),
        _ if count > 60 => rng.random_range(5..300),
        5..=8 => rng.random_range(300..2_500),
        _ => rng.random_range(2_500..9_000),
    };
    let fails = match rng.random_range(0..20) {
        0..=1 => rng.random_range(1..=2),
        2 => u32::MAX,
        _ => 0,
    };
    Script {
        work_ms,
        fails: if count > 60 && fails == u32::MAX { 1 } else { fails },
        is_hopeless: rng.random_bool(0.02),
        max_retries: rng.random_range(0..=3),
        timeout_ms: if rng.random_bool(0.1) { work_ms / 2 + 100 } else { 60_000 },
    }
}

struct Plan<'a> {
    rng: Pcg64Mcg,
    until_ms: u64,
    scenario: &'a mut Scenario,
}

impl Plan<'_> {
    fn draw(mut self) {
        for _ in 0..self.rng.random_range(0..=8) {
            let at = self.rng.random_range(300..self.until_ms);
            match self.rng.random_range(0..30) {
                0..=4 => self.kill(at),
                5..=9 => self.freeze(at),
                10..=12 => self.cut(at),
                13..=15 => self.server_kill(at),
                16..=18 => self.machine_death(at),
                19 => {
                    let for_ms = self.length(8_000);
                    self.add(EndsFault::ServerFreeze, at, Deed::ServerFreeze { for_ms }, at + for_ms, None);
                }
                20..=21 => self.verdict(at),
                22..=25 => self.cancel(),
                26 => self.clock(at),
                _ => self.stream(at),
            }
        }
        if self.scenario.is_replicated {
            for _ in 0..self.rng.random_range(1..=3) {
                self.stream_moves();
            }
        }
        if self.rng.random_bool(0.02) {
            let at = self.rng.random_range(300..self.until_ms);
            self.no_leaders(at);
        }
        if self.rng.random_bool(0.08) {
            self.late_repeat();
        }
        if self.rng.random_bool(0.06) {
            self.zombie();
        }
        if self.rng.random_bool(0.1) {
            self.kill_for_good();
        }
        self.lies();
        if self.rng.random_bool(0.05) {
            self.twin();
        }
        let healthy_at = self.scenario.healthy_at;
        self.scenario.deeds.push((healthy_at, Deed::Healthy));
        self.scenario.deeds.sort_by_key(|(at, _)| *at);
    }

    fn add(&mut self, kind: EndsFault, at: u64, deed: Deed, end: u64, undo: Option<Deed>) {
        *self.scenario.faults.entry(kind).or_default() += 1;
        self.scenario.deeds.push((at, deed));
        self.scenario.deeds.extend(undo.map(|undo| (end, undo)));
        self.scenario.healthy_at = self.scenario.healthy_at.max(end);
    }

    /// Mostly short, sometimes long enough for every timeout that there is.
    fn length(&mut self, long_ms: u64) -> u64 {
        if self.rng.random_bool(0.6) { self.rng.random_range(50..2_500) } else { self.rng.random_range(2_500..long_ms) }
    }

    fn victim(&mut self) -> Proc {
        match self.rng.random_range(0..10) {
            0..=4 => self.rng.random_range(0..self.scenario.schedulers),
            5..=7 => self.worker(),
            8 => self.scenario.submitter(self.rng.random_range(0..self.scenario.submitters.len())),
            _ => self.rng.random_range(self.scenario.auditor()..=self.scenario.reader()),
        }
    }

    fn worker(&mut self) -> Proc {
        self.rng.random_range(self.scenario.workers())
    }

    fn kill(&mut self, at: u64) {
        let of = self.victim();
        let end = at + self.length(12_000);
        self.add(EndsFault::Kill, at, Deed::Kill(of), end, Some(Deed::Start(of)));
        self.tell_detector(of, at);
    }

    /// There is a detector in some clusters, and it is not always right.
    fn tell_detector(&mut self, of: Proc, at: u64) {
        if self.scenario.workers().contains(&of) && self.rng.random_bool(0.4) {
            let at = at + self.rng.random_range(1_000..3_000);
            self.scenario.deeds.push((at, Deed::Verdict { worker: of }));
        }
    }

    fn freeze(&mut self, at: u64) {
        let of = self.victim();
        let end = at + self.length(40_000);
        self.add(EndsFault::Freeze, at, Deed::Freeze(of), end, Some(Deed::Thaw(of)));
        self.tell_detector(of, at);
    }

    fn cut(&mut self, at: u64) {
        let (of, for_ms) = (self.victim(), self.length(20_000));
        self.add(EndsFault::Cut, at, Deed::Cut { of, for_ms }, at + for_ms, None);
    }

    fn server_kill(&mut self, at: u64) {
        let end = at + self.length(8_000);
        self.add(EndsFault::ServerKill, at, Deed::ServerKill, end, Some(Deed::ServerStart));
    }

    fn machine_death(&mut self, at: u64) {
        let is_safe = self.scenario.sync == Sync::Always;
        let lost_ms = std::array::from_fn(|_| if is_safe { 0 } else { self.rng.random_range(0..LONGEST_TAIL_MS) });
        let end = at + self.length(8_000);
        self.add(EndsFault::MachineDeath, at, Deed::MachineDeath { lost_ms }, end, Some(Deed::ServerStart));
    }

    fn verdict(&mut self, at: u64) {
        let worker = self.worker();
        self.add(EndsFault::WrongVerdict, at, Deed::Verdict { worker }, at, None);
    }

    /// One worker stays.
    fn kill_for_good(&mut self) {
        let at = self.rng.random_range(300..self.until_ms);
        let of = self.scenario.schedulers;
        self.add(EndsFault::KillForGood, at, Deed::Kill(of), at, None);
        // It is not started for any other reason.
        self.scenario.deeds.retain(|(_, deed)| !matches!(deed, Deed::Start(started) if *started == of));
        self.scenario.deeds.retain(|(when, deed)| *when <= at || !matches!(deed, Deed::Kill(killed) if *killed == of));
    }

    fn cancel(&mut self) {
        let packs: Vec<(u64, usize)> = self.scenario.submitters.iter().flatten().map(|pack| (pack.at, pack.jobs.len())).collect();
        let pack = self.rng.random_range(0..packs.len());
        let (at, count) = packs[pack];
        let idx = self.rng.random_range(0..count) as u16;
        let at = at + self.rng.random_range(5..8_000);
        self.add(EndsFault::Cancel, at, Deed::Cancel { pack, idx }, at + 1_500, Some(Deed::Cancel { pack, idx }));
    }

    fn clock(&mut self, at: u64) {
        let longest_ms = [2_000, 50_000, 7_200_000][self.rng.random_range(0..3)];
        let by_ms = self.rng.random_range(-longest_ms..=longest_ms);
        let deed = if self.rng.random_bool(0.3) { Deed::ServerClock { by_ms } } else { Deed::ProcClock { of: self.victim(), by_ms } };
        self.add(EndsFault::Clock, at, deed, at, None);
    }

    /// What happens to a stream is not an accident of a machine.
    fn stream(&mut self, at: u64) {
        let copied_at = at.saturating_sub(self.rng.random_range(500..15_000));
        let is_trimming = self.scenario.is_trimming();
        match self.rng.random_range(0..7) {
            0 => self.add(EndsFault::JobsAnew, at, Deed::JobsAnew, at, None),
            1 => self.add(EndsFault::JobsPurged, at, Deed::JobsPurged, at, None),
            2 => self.older(EndsFault::JobsOlder, copied_at, at, (Deed::CopyJobs, Deed::JobsOlder)),
            3 => self.add(EndsFault::LeaseAnew, at, Deed::LeaseAnew, at, None),
            // What was trimmed is only in the snapshots of the last seconds.
            4 if !is_trimming => {
                self.add(EndsFault::LogAnew, at, Deed::LogAnew, at, None);
                if self.rng.random_bool(0.5) {
                    self.add(EndsFault::LeaseAnew, at, Deed::LeaseAnew, at, None);
                }
            }
            5 if !is_trimming => self.older(EndsFault::LogOlder, copied_at, at, (Deed::CopyLog, Deed::LogOlder)),
            6 if !is_trimming => self.older(EndsFault::LedgerOlder, copied_at, at, (Deed::CopyLedger, Deed::LedgerOlder)),
            _ => self.add(EndsFault::LeaseAnew, at, Deed::LeaseAnew, at, None),
        }
    }

    /// The server is stopped meanwhile.
    fn older(&mut self, kind: EndsFault, copied_at: u64, at: u64, (copy, put_back): (Deed, Deed)) {
        self.scenario.deeds.push((copied_at, copy));
        self.scenario.deeds.push((at, Deed::ServerKill));
        let end = at + self.rng.random_range(200..3_000);
        self.add(kind, at, put_back, end, Some(Deed::ServerStart));
    }

    fn stream_moves(&mut self) {
        let at = self.rng.random_range(300..self.until_ms);
        let (is_jobs, for_ms) = (self.rng.random_bool(0.6), self.rng.random_range(100..3_000));
        self.add(EndsFault::StreamMoves, at, Deed::StreamMoves { is_jobs, for_ms }, at + for_ms, None);
    }

    /// A pack is taken, and its submitter does not hear of it. It repeats the pack when the server has forgotten that one, or much later.
    fn late_repeat(&mut self) {
        let index = self.rng.random_range(0..self.scenario.submitters.len());
        let Some(plan) = self.scenario.submitters[index].first() else { return };
        let (of, at) = (self.scenario.submitter(index), plan.at + self.rng.random_range(1..6));
        let is_very_late = self.rng.random_bool(0.2);
        let for_ms = if is_very_late { self.rng.random_range(130_000..200_000) } else { self.rng.random_range(5_500..12_000) };
        self.add(EndsFault::LateRepeat, at, Deed::Cut { of, for_ms }, at + for_ms, None);
        if is_very_late {
            return;
        }
        let killed_at = at + for_ms - self.rng.random_range(400..2_000);
        self.add(EndsFault::ServerKill, killed_at, Deed::ServerKill, killed_at + 300, Some(Deed::ServerStart));
        if self.rng.random_bool(0.4) {
            self.no_leaders(killed_at + 200);
        }
    }

    /// The first leader is frozen, and what it knew is no longer so when it goes on.
    fn zombie(&mut self) {
        let at = self.rng.random_range(2_000..self.until_ms);
        let end = at + self.rng.random_range(8_000..30_000);
        for of in 0..self.scenario.schedulers - 1 {
            self.add(EndsFault::Freeze, at, Deed::Freeze(of), end, Some(Deed::Thaw(of)));
        }
        for of in self.scenario.workers() {
            let killed_at = at + self.rng.random_range(50..2_000);
            self.add(EndsFault::Kill, killed_at, Deed::Kill(of), killed_at + 1_000, Some(Deed::Start(of)));
        }
    }

    /// A pack that says of itself what no pack has, and a worker that says of others what is not so.
    fn lies(&mut self) {
        if self.rng.random_bool(0.04) {
            let count = if self.rng.random_bool(0.5) { 0 } else { 300 };
            let mut packs: Vec<&mut PackPlan> = self.scenario.submitters.iter_mut().flatten().collect();
            let index = self.rng.random_range(0..packs.len());
            packs[index].jobs = vec![draw_job(count, &mut self.rng); count];
        }
        if self.rng.random_bool(0.12) {
            for _ in 0..self.rng.random_range(1..=4) {
                let plans: Vec<u64> = self.scenario.submitters.iter().flatten().map(|pack| pack.at).collect();
                let at = plans[self.rng.random_range(0..plans.len())] + self.rng.random_range(5..1_500);
                let lie = Lie::ALL[self.rng.random_range(0..Lie::ALL.len())];
                self.add(EndsFault::Lie, at, Deed::Lie(lie), at, None);
            }
        }
    }

    /// A pack is published twice, and both messages wait for the next leader. Soon after it has come, the machine dies.
    fn twin(&mut self) {
        let mut plans: Vec<u64> = self.scenario.submitters.iter().flatten().map(|pack| pack.at).collect();
        plans.sort_unstable();
        let pack = self.rng.random_range(0..plans.len());
        let at = plans[pack] + self.rng.random_range(300..2_500);
        for of in 0..self.scenario.schedulers {
            let killed_at = plans[pack].saturating_sub(self.rng.random_range(0..1_000));
            self.add(EndsFault::Kill, killed_at, Deed::Kill(of), killed_at + 500, Some(Deed::Start(of)));
        }
        self.add(EndsFault::Twin, at, Deed::Twin { pack }, at, None);
        let dies_at = at + self.rng.random_range(100..2_500);
        self.machine_death(dies_at);
    }

    fn no_leaders(&mut self, at: u64) {
        let end = at + self.rng.random_range(100_000..160_000);
        for of in 0..self.scenario.schedulers {
            self.add(EndsFault::NoLeaders, at, Deed::Kill(of), end, Some(Deed::Start(of)));
            // Nor is it started for any other reason.
            self.scenario.deeds.retain(|(when, deed)| !(*when > at && *when < end && matches!(deed, Deed::Start(it) if *it == of)));
        }
    }
}
