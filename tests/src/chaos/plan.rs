//! Which fault comes when: drawn from a seed and nothing else, so that the same seed gives the same plan.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

pub use super::step::{LinkFault, Op, Service, Step};
use super::stores;

/// Workers that run from the beginning. Those that come later are numbered on from here.
pub const WORKERS: usize = 6;
pub const SUBMITTERS: usize = 2;
/// Kills of processes (NATS among them, submitters not) and kills of NATS in each minute, at least.
pub const KILLS_PER_MIN: f64 = 6.0;
pub const NATS_KILLS_PER_MIN: f64 = 1.0;
/// Freezes of NATS in each minute, at least.
pub const NATS_FREEZES_PER_MIN: f64 = 0.5;
/// Wall clocks that are set in each minute, at least.
pub const CLOCK_JUMPS_PER_MIN: f64 = 4.0;
/// Buckets deleted and set up again, and fillings of a small disk, in each minute, at least.
pub const BUCKETS_PER_MIN: f64 = 2.0;
pub const FILLS_PER_MIN: f64 = 0.5;
/// What is planned is a little more than what must be reached.
const PLANNED_KILLS_PER_MIN: f64 = 8.0;
const PLANNED_NATS_KILLS_PER_MIN: f64 = 1.4;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In the order of time.
    pub steps: Vec<Step>,
}

struct Draw {
    rng: Pcg64Mcg,
    steps: Vec<Step>,
    /// When each may be touched again.
    free_at_ms: BTreeMap<Service, u64>,
    /// The same for its link.
    link_free_at_ms: BTreeMap<Service, u64>,
    deck: Vec<&'static str>,
}

impl Plan {
    pub fn new(seed: u64, length: Duration) -> Plan {
        let length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let minutes = length.as_secs_f64() / 60.0;
        let kills = (PLANNED_KILLS_PER_MIN * minutes).ceil() as u64;
        let nats_kills = (PLANNED_NATS_KILLS_PER_MIN * minutes).ceil() as u64;
        let mut draw = Draw {
            rng: Pcg64Mcg::seed_from_u64(seed),
            steps: Vec::new(),
            free_at_ms: BTreeMap::new(),
            link_free_at_ms: BTreeMap::new(),
            deck: Vec::new(),
        };
        // Each kind of fault has a rhythm of its own; what is due is drawn in the order of time.
        let mut due: Vec<(u64, &'static str)> = Vec::new();
        for index in 0..kills {
            let gap_ms = length_ms / kills;
            let is_nats = (index * nats_kills) / kills != ((index + 1) * nats_kills) / kills;
            due.push((index * gap_ms + draw.rng.random_range(0..gap_ms / 2), if is_nats { "nats" } else { "kill" }));
        }
        for (what, every_ms) in [("freeze", 11_000), ("fault", 14_000), ("link", 9_000), ("submitter", 17_000), ("scale", 37_000)] {
            let mut at_ms = draw.rng.random_range(2_000..every_ms);
            while at_ms + 1_000 < length_ms {
                due.push((at_ms, what));
                at_ms += draw.rng.random_range(every_ms / 2..every_ms * 3 / 2);
            }
        }
        due.sort_unstable();
        draw.set_clocks(length_ms);
        let mut next_worker = WORKERS + 1;
        for (at_ms, what) in due {
            match what {
                "nats" => {
                    draw.kill(at_ms, Service::Nats, 300..3_000);
                    draw.freeze_nats(at_ms);
                }
                "kill" => draw.kill_some_service(at_ms),
                "freeze" => draw.freeze(at_ms),
                "submitter" => {
                    let index = draw.rng.random_range(1..=SUBMITTERS);
                    draw.kill_if_free(at_ms, Service::Submitter(index), 100..1_500);
                }
                "fault" => draw.fault(at_ms),
                "link" => draw.link(at_ms),
                _ => {
                    draw.scale(at_ms, Service::Worker(next_worker));
                    next_worker += 1;
                }
            }
        }
        let mut steps = draw.steps;
        steps.sort_by_key(|step| step.at_ms);
        steps.extend(stores::draw(&mut draw.rng, length_ms, &steps));
        // Everything that ends a fault comes at the end at the latest: `heal` does what is left.
        steps.retain(|step| step.at_ms < length_ms);
        steps.sort_by_key(|step| step.at_ms);
        Plan { steps }
    }

    /// Planned kills by kind of service.
    pub fn kills(&self) -> BTreeMap<&'static str, u64> {
        let mut kills = BTreeMap::new();
        for step in &self.steps {
            if let Op::Kill(service) = step.op {
                *kills.entry(service.kind()).or_default() += 1;
            }
        }
        kills
    }
}

impl Draw {
    /// Every few seconds one process of any kind finds its wall clock set, by seconds, minutes or hours, to and fro.
    fn set_clocks(&mut self, length_ms: u64) {
        let mut services = vec![Service::Scheduler(1), Service::Scheduler(2), Service::Detector, Service::Generator, Service::Dashboard];
        services.extend((1..=WORKERS).map(Service::Worker));
        services.extend((1..=SUBMITTERS).map(Service::Submitter));
        let mut deck = Vec::new();
        let mut at_ms = self.rng.random_range(1_000..6_000);
        while at_ms < length_ms {
            if deck.is_empty() {
                deck.clone_from(&services);
                deck.shuffle(&mut self.rng);
            }
            let longest_ms = *[5_000, 180_000, 10_800_000].choose(&mut self.rng).unwrap_or(&180_000);
            if let Some(service) = deck.pop() {
                let ahead_ms = self.rng.random_range(-longest_ms..=longest_ms);
                self.push(at_ms, Op::SetClock(service, ahead_ms));
            }
            at_ms += self.rng.random_range(4_000..12_000);
        }
    }

    fn is_free(&self, service: Service, at_ms: u64) -> bool {
        self.free_at_ms.get(&service).is_none_or(|free| *free <= at_ms)
    }

    fn push(&mut self, at_ms: u64, op: Op) {
        self.steps.push(Step { at_ms, op });
    }

    fn kill(&mut self, at_ms: u64, service: Service, down_ms: std::ops::Range<u64>) {
        let back_ms = at_ms + self.rng.random_range(down_ms);
        self.push(at_ms, Op::Kill(service));
        self.push(back_ms, Op::Start(service));
        self.free_at_ms.insert(service, back_ms + 1_000);
    }

    fn kill_if_free(&mut self, at_ms: u64, service: Service, down_ms: std::ops::Range<u64>) {
        if self.is_free(service, at_ms) {
            self.kill(at_ms, service, down_ms);
        }
    }

    fn free_workers(&self, at_ms: u64) -> Vec<Service> {
        (1..=WORKERS).map(Service::Worker).filter(|worker| self.is_free(*worker, at_ms)).collect()
    }

    /// Every kind of service has its turn: a deck is dealt to its end before it is shuffled again, and a card that cannot be played
    /// now stays in it, the next to be dealt.
    fn kill_some_service(&mut self, at_ms: u64) {
        let mut kept = Vec::new();
        for _ in 0..20 {
            let kind = self.deal();
            let service = match kind {
                "scheduler" => Some(Service::Scheduler(self.rng.random_range(1..=2))),
                "detector" => Some(Service::Detector),
                "generator" => Some(Service::Generator),
                "dashboard" => Some(Service::Dashboard),
                _ => self.free_workers(at_ms).choose(&mut self.rng).copied(),
            };
            match service.filter(|service| self.is_free(*service, at_ms)) {
                Some(service) => {
                    self.kill(at_ms, service, 0..5_000);
                    break;
                }
                None => kept.push(kind),
            }
        }
        self.deck.extend(kept);
    }

    fn deal(&mut self) -> &'static str {
        if self.deck.is_empty() {
            self.deck = ["scheduler", "scheduler", "worker", "worker", "worker", "detector", "generator", "dashboard"].to_vec();
            self.deck.shuffle(&mut self.rng);
        }
        self.deck.pop().unwrap_or("worker")
    }

    fn freeze(&mut self, at_ms: u64) {
        let mut services = vec![Service::Scheduler(1), Service::Scheduler(2), Service::Detector, Service::Generator, Service::Dashboard];
        services.extend(self.free_workers(at_ms));
        services.retain(|service| self.is_free(*service, at_ms));
        let Some(service) = services.choose(&mut self.rng).copied() else { return };
        let back_ms = at_ms + self.rng.random_range(1_000..=20_000);
        self.push(at_ms, Op::Freeze(service));
        if self.rng.random_bool(0.2) {
            // Killed while it is frozen: what it held in its buffers is never sent.
            self.push(back_ms, Op::Kill(service));
            self.push(back_ms + 500, Op::Start(service));
            self.free_at_ms.insert(service, back_ms + 1_500);
        } else {
            self.push(back_ms, Op::Thaw(service));
            self.free_at_ms.insert(service, back_ms + 1_000);
        }
    }

    /// Between two kills of it, which are 26 s apart or more.
    fn freeze_nats(&mut self, killed_ms: u64) {
        let at_ms = killed_ms + self.rng.random_range(10_000..16_000);
        let back_ms = at_ms + self.rng.random_range(2_000..=8_000);
        self.push(at_ms, Op::Freeze(Service::Nats));
        self.push(back_ms, Op::Thaw(Service::Nats));
    }

    fn fault(&mut self, at_ms: u64) {
        let node = self.rng.random_range(1..=WORKERS);
        let kind = *["crash", "hang", "heartbeat-loss", "slow"].choose(&mut self.rng).unwrap_or(&"crash");
        let for_s = self.rng.random_range(2..=12);
        self.push(at_ms, Op::Fault { node, kind, for_s });
    }

    /// The network of one process is broken for a while, whatever becomes of the process meanwhile.
    fn link(&mut self, at_ms: u64) {
        let mut services = vec![Service::Scheduler(1), Service::Scheduler(2), Service::Detector, Service::Generator, Service::Dashboard];
        services.extend((1..=WORKERS).map(Service::Worker));
        services.retain(|service| self.link_free_at_ms.get(service).is_none_or(|free| *free <= at_ms));
        let Some(service) = services.choose(&mut self.rng).copied() else { return };
        let fault = *LinkFault::ALL.choose(&mut self.rng).unwrap_or(&LinkFault::Stall);
        let back_ms = at_ms + self.rng.random_range(1_000..=15_000);
        self.push(at_ms, Op::Link(service, fault));
        self.push(back_ms, Op::HealLink(service));
        self.link_free_at_ms.insert(service, back_ms);
    }

    /// One more worker for a while; then it is told to stop.
    fn scale(&mut self, at_ms: u64, worker: Service) {
        let stop_ms = at_ms + self.rng.random_range(8_000..25_000);
        self.push(at_ms, Op::Start(worker));
        self.push(stop_ms, Op::Stop(worker));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_plan_and_another_seed_another() {
        let length = Duration::from_secs(300);
        assert_eq!(Plan::new(7, length), Plan::new(7, length));
        assert_ne!(Plan::new(7, length), Plan::new(8, length));
    }

    #[test]
    fn every_plan_has_its_kills_and_touches_nobody_twice_at_once() {
        for seed in 0..200 {
            for minutes in [2.0, 5.0] {
                let plan = Plan::new(seed, Duration::from_secs_f64(minutes * 60.0));
                let kills = plan.kills();
                let of_services: u64 = kills.iter().filter(|(kind, _)| **kind != "submitter").map(|(_, count)| count).sum();
                assert!(of_services as f64 >= KILLS_PER_MIN * minutes, "seed {seed}: {kills:?}");
                assert!(kills["nats"] as f64 >= NATS_KILLS_PER_MIN * minutes, "seed {seed}: {kills:?}");
                assert_eq!(kills.len(), 7, "every kind dies at least once; seed {seed}: {kills:?}");
                let freezes = plan.steps.iter().filter(|step| step.op == Op::Freeze(Service::Nats)).count();
                assert!(freezes as f64 >= (NATS_FREEZES_PER_MIN * minutes).floor(), "seed {seed}: {freezes} freezes of NATS");
                let clocks = plan.steps.iter().filter(|step| matches!(step.op, Op::SetClock(..))).count();
                assert!(clocks as f64 >= CLOCK_JUMPS_PER_MIN * minutes, "seed {seed}: {clocks} clocks are set");
                let of_store = |wanted: fn(&Op) -> bool| plan.steps.iter().filter(|step| wanted(&step.op)).count() as f64;
                assert!(of_store(|op| matches!(op, Op::Anew(_))) >= (BUCKETS_PER_MIN * minutes).floor(), "seed {seed}: buckets");
                assert!(of_store(|op| matches!(op, Op::FillDisk)) >= (FILLS_PER_MIN * minutes).floor(), "seed {seed}: disk");
                check_order(&plan, seed);
            }
        }
    }

    fn check_order(plan: &Plan, seed: u64) {
        let mut down = std::collections::BTreeSet::new();
        let mut frozen = std::collections::BTreeSet::new();
        for step in &plan.steps {
            match step.op {
                Op::Kill(service) => {
                    assert!(!frozen.remove(&service) || service != Service::Nats, "seed {seed}: NATS is killed while it is frozen");
                    assert!(down.insert(service), "seed {seed}: {service} is killed twice");
                }
                Op::Start(service) => assert!(
                    down.remove(&service) || matches!(service, Service::Worker(index) if index > WORKERS),
                    "seed {seed}: {service} is started twice"
                ),
                Op::Freeze(service) => assert!(!down.contains(&service) && frozen.insert(service), "seed {seed}: {service} cannot freeze"),
                Op::Thaw(service) => assert!(frozen.remove(&service), "seed {seed}: {service} is not frozen"),
                Op::Stop(_) | Op::Fault { .. } | Op::Link(..) | Op::HealLink(_) | Op::SetClock(..) => {}
                Op::FillDisk | Op::FreeDisk | Op::Anew(_) => {
                    assert!(!down.contains(&Service::Nats) && !frozen.contains(&Service::Nats), "seed {seed}: NATS cannot do that now");
                }
            }
        }
    }
}
