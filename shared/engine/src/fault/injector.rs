//! Breaks one node and its GPUs: by the node's own hazard, by outages of what it shares with others, and on order. Pure: time is an
//! argument and the randomness is seeded. What a fault does to the attempts on the node is the worker's business.

use std::collections::{BTreeMap, VecDeque};

use rand::RngExt;
use rand_distr::{Distribution, Exp1};
use rand_pcg::Pcg64Mcg;

use super::hazard::{Hazard, stream};
use super::outage::{FailureDomain, Outage};
use super::profile::FaultProfile;
use super::{FaultCause, FaultDepth, FaultKind, FaultScope, FaultTruth, MAX_ORDERED_MS, MAX_SLOW_FACTOR, MIN_SLOW_FACTOR, fault_id};

/// Outages are computed this far ahead, so that most ticks need not.
const OUTAGES_AHEAD_MS: u64 = 10 * 60 * 1000;

/// One fault that a node has or had.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// A ULID.
    pub id: String,
    pub kind: FaultKind,
    /// For faults of one GPU.
    pub gpu: Option<u8>,
    /// How many times slower the node is; 1 for every kind but `Slow`.
    pub factor: f64,
    pub from_ms: u64,
    /// When it will be repaired, in Unix milliseconds; see [`Fault::planned_end_ms`].
    pub until_ms: u64,
    pub cause: FaultCause,
    /// What failed, for a correlated fault.
    pub domain: Option<FailureDomain>,
    /// Who ordered it; empty for all others.
    pub by: String,
}

impl Fault {
    /// When it will be repaired. Unknown for a real device, unless the fault is over as soon as it has done its damage.
    pub fn planned_end_ms(&self) -> Option<u64> {
        (self.cause != FaultCause::Observed || self.kind.is_momentary()).then_some(self.until_ms)
    }

    /// The ground truth for the history. `until_ms`: the planned end when it begins, the real one when it ends.
    pub fn truth(&self, node: &str, until_ms: Option<u64>) -> FaultTruth {
        FaultTruth {
            id: self.id.clone(),
            kind: self.kind.as_str().to_owned(),
            depth: if self.cause == FaultCause::Observed { FaultDepth::Hardware } else { FaultDepth::Simulated },
            target: node.to_owned(),
            gpu: self.gpu,
            from_ms: self.from_ms,
            until_ms,
            cause: self.cause,
            domain: self.domain.map(|domain| domain.to_string()),
            by: self.by.clone(),
        }
    }
}

/// A change in a node's condition.
#[derive(Debug, Clone, PartialEq)]
pub enum FaultTransition {
    Began(Fault),
    Ended { fault: Fault, at_ms: u64 },
}

/// Which node an injector breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultyNode {
    /// Its number, from 1: decides its failure domains and whether it is a lemon.
    pub index: usize,
    /// Which life of the node this is, so that a restart does not repeat the faults of the life before.
    pub incarnation: u64,
    pub gpus: u8,
}

/// What an order breaks, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Injection {
    pub kind: FaultKind,
    /// Which GPU, for faults of one GPU; brought into its bounds.
    pub gpu: u8,
    /// At most [`MAX_ORDERED_MS`]; a momentary fault has no duration.
    pub for_ms: u64,
    /// For `Slow` only; brought into its bounds.
    pub factor: f64,
}

/// Breaks one node. The node has one fault at a time, and each of its GPUs another one; a new fault at the same place takes the
/// place of the one that is there.
#[derive(Debug, Clone)]
pub struct FaultInjector {
    profile: FaultProfile,
    seed: u64,
    node: FaultyNode,
    rng: Pcg64Mcg,
    /// By GPU; `None` for the node itself.
    active: BTreeMap<Option<u8>, Fault>,
    lived_until_ms: Option<u64>,
    /// The outages to come, by their beginning, and how far ahead they are known.
    outages: VecDeque<Outage>,
    outages_known_until_ms: u64,
    /// The node's own hazard, lemon or not.
    hazard: Hazard,
    /// The time since the node was last as good as new, stretched by heat and bad days.
    age_ms: f64,
    /// The integrated hazard that the node still survives: exponential with mean 1, so that the time between two ticks does
    /// not change when it fails.
    endurance: f64,
    /// The same for the errors of its GPUs, all of them together, with randomness of its own: profiles without them are as they were.
    gpu_endurance: f64,
    gpu_rng: Pcg64Mcg,
}

impl FaultInjector {
    /// The same profile, seed, node, ticks and orders give the same faults. All nodes of a cluster must get the same seed: outages of
    /// what they share follow from it.
    pub fn new(profile: FaultProfile, seed: u64, node: FaultyNode) -> Self {
        let mut rng = stream(seed.wrapping_add(node.incarnation), "node", node.index as u64);
        let hazard = profile.lemons.map_or(profile.hazard, |lemons| profile.hazard.times(lemons.factor(seed, node.index)));
        let age_ms = hazard.age_when_met(&mut rng);
        let endurance = Exp1.sample(&mut rng);
        let mut gpu_rng = stream(seed.wrapping_add(node.incarnation), "gpu", node.index as u64);
        let gpu_endurance = Exp1.sample(&mut gpu_rng);
        Self {
            profile,
            seed,
            node,
            rng,
            active: BTreeMap::new(),
            lived_until_ms: None,
            outages: VecDeque::new(),
            outages_known_until_ms: 0,
            hazard,
            age_ms,
            endurance,
            gpu_endurance,
            gpu_rng,
        }
    }

    /// See [`FaultProfile::percent_per_min`].
    pub fn percent_per_min(&self) -> f64 {
        self.profile.percent_per_min(self.seed, self.node.index)
    }

    /// What is broken now: the node's own fault first, then those of its GPUs.
    pub fn active(&self) -> impl Iterator<Item = &Fault> {
        self.active.values()
    }

    /// Whether time alone changes nothing: nothing is broken, and nothing breaks by itself.
    pub fn is_still(&self) -> bool {
        self.active.is_empty() && self.hazard == Hazard::Never && self.profile.outages.is_none() && self.profile.gpu_errors.is_none()
    }

    /// Lives up to `now_ms` and says what began and ended on the way, in order. `heat_factor` multiplies the rate since the
    /// last tick, see `device::hazard_factor`. The first tick only starts the time, and joins outages that are under way.
    pub fn tick(&mut self, now_ms: u64, heat_factor: f64) -> Vec<FaultTransition> {
        let mut transitions = Vec::new();
        self.look_ahead(now_ms);
        let from_ms = self.lived_until_ms.unwrap_or(now_ms);
        self.lived_until_ms = Some(now_ms.max(from_ms));
        let heat = if heat_factor.is_finite() { heat_factor.max(0.0).powf(self.profile.heat_sensitivity) } else { 1.0 };
        let mut at_ms = from_ms as f64;
        loop {
            let next_end_ms = self.active.values().map(|fault| fault.until_ms).min().unwrap_or(u64::MAX);
            let next_outage_ms = self.outages.front().map_or(u64::MAX, |outage| outage.from_ms);
            let limit_ms = next_end_ms.min(next_outage_ms).min(now_ms);
            let gpu_error_ms = self.next_gpu_error_ms(at_ms);
            let until_ms = gpu_error_ms.min(limit_ms as f64);
            if self.may_fail()
                && let Some(failed_at_ms) = self.survive(at_ms, until_ms, heat)
            {
                self.wear_gpus(failed_at_ms - at_ms);
                at_ms = failed_at_ms;
                self.begin_drawn(at_ms as u64, &mut transitions);
                continue;
            }
            if gpu_error_ms < limit_ms as f64 {
                at_ms = gpu_error_ms;
                self.begin_gpu_error(at_ms as u64, &mut transitions);
                continue;
            }
            self.wear_gpus(until_ms - at_ms);
            at_ms = at_ms.max(limit_ms as f64);
            if next_end_ms <= limit_ms {
                self.end_due(at_ms as u64, &mut transitions);
            } else if next_outage_ms <= limit_ms
                && let Some(outage) = self.outages.pop_front()
            {
                self.begin_outage(&outage, &mut transitions);
            } else {
                return transitions;
            }
        }
    }

    /// Learns of the outages up to now and a while ahead; the first time also of those that are under way.
    fn look_ahead(&mut self, now_ms: u64) {
        let Some(rates) = &self.profile.outages else { return };
        let domains = FailureDomain::of_node(self.node.index);
        if self.lived_until_ms.is_none() {
            self.outages.extend(rates.under_way(self.seed, &domains, now_ms));
            self.outages_known_until_ms = now_ms;
        }
        if self.lived_until_ms.is_none() || now_ms > self.outages_known_until_ms {
            let until_ms = now_ms.saturating_add(OUTAGES_AHEAD_MS);
            self.outages.extend(rates.beginning(self.seed, &domains, self.outages_known_until_ms, until_ms));
            self.outages_known_until_ms = until_ms;
        }
    }

    /// Wears the node down from one moment to another; the moment at which it fails, if it does.
    fn survive(&mut self, from_ms: f64, to_ms: f64, heat: f64) -> Option<f64> {
        let mut at_ms = from_ms;
        while at_ms < to_ms {
            let (surge, holds_until_ms) = self.profile.surges.map_or((1.0, f64::INFINITY), |surges| surges.at(self.seed, at_ms));
            let end_ms = to_ms.min(holds_until_ms);
            let factor = heat * surge;
            if factor > 0.0 {
                let aged_ms = self.age_ms + (end_ms - at_ms) * factor;
                let lived_through = self.hazard.cumulative(self.age_ms);
                let exposure = self.hazard.cumulative(aged_ms) - lived_through;
                if exposure > self.endurance {
                    let failed_at_age_ms = self.hazard.age_at(lived_through + self.endurance);
                    let failed_at_ms = at_ms + (failed_at_age_ms - self.age_ms).max(0.0) / factor;
                    self.age_ms = 0.0;
                    self.endurance = Exp1.sample(&mut self.rng);
                    return Some(failed_at_ms.min(end_ms));
                }
                self.age_ms = aged_ms;
                self.endurance -= exposure;
            }
            at_ms = end_ms;
        }
        None
    }

    /// Whether the node's own hazard counts now. One that has errors of GPUs beside it fails at the same rate with and without them.
    fn may_fail(&self) -> bool {
        match self.profile.gpu_errors {
            Some(_) => !self.active.contains_key(&None),
            None => self.active.is_empty(),
        }
    }

    /// How many errors of GPUs the node has in a millisecond: none while it has a fault of its own.
    fn gpu_errors_per_ms(&self) -> f64 {
        let of = self.profile.gpu_errors.as_ref().filter(|_| !self.active.contains_key(&None));
        of.map_or(0.0, |errors| f64::from(self.node.gpus) / errors.mean_ms)
    }

    /// When the next one is due if the node stays as it is; infinite when none is.
    fn next_gpu_error_ms(&self, at_ms: f64) -> f64 {
        let per_ms = self.gpu_errors_per_ms();
        if per_ms > 0.0 { at_ms + self.gpu_endurance / per_ms } else { f64::INFINITY }
    }

    fn wear_gpus(&mut self, for_ms: f64) {
        self.gpu_endurance -= for_ms.max(0.0) * self.gpu_errors_per_ms();
    }

    fn begin_gpu_error(&mut self, at_ms: u64, transitions: &mut Vec<FaultTransition>) {
        self.gpu_endurance = Exp1.sample(&mut self.gpu_rng);
        let Some(errors) = &self.profile.gpu_errors else { return };
        let kind = errors.weights.pick(&mut self.gpu_rng);
        let for_ms = self.profile.repair.draw(&mut self.gpu_rng).max(1);
        let gpu = self.gpu_rng.random_range(0..self.node.gpus.max(1));
        self.begin(Injection { kind, gpu, for_ms, factor: 1.0 }, (FaultCause::Hazard, ""), at_ms, transitions);
    }

    fn begin_drawn(&mut self, at_ms: u64, transitions: &mut Vec<FaultTransition>) {
        let kind = self.profile.weights.pick(&mut self.rng);
        let repair_ms = self.profile.repair.draw(&mut self.rng).max(1);
        // Most slow nodes are a few times slower; the full range is for orders.
        let factor = if kind == FaultKind::Slow { self.rng.random_range(MIN_SLOW_FACTOR..6.0) } else { 1.0 };
        let gpu = self.rng.random_range(0..self.node.gpus.max(1));
        self.begin(Injection { kind, gpu, for_ms: repair_ms, factor }, (FaultCause::Hazard, ""), at_ms, transitions);
    }

    /// A node that has no GPU has no faults of a GPU.
    fn begin(&mut self, order: Injection, (cause, by): (FaultCause, &str), at_ms: u64, transitions: &mut Vec<FaultTransition>) {
        let gpu = match order.kind.scope() {
            FaultScope::Node => None,
            FaultScope::Gpu if self.node.gpus == 0 => return,
            FaultScope::Gpu => Some(order.gpu.min(self.node.gpus - 1)),
        };
        let until_ms = if order.kind.is_momentary() { at_ms } else { at_ms.saturating_add(order.for_ms) };
        let id = fault_id(at_ms, self.rng.random());
        let by = by.to_owned();
        let fault = Fault { id, kind: order.kind, gpu, factor: order.factor, from_ms: at_ms, until_ms, cause, domain: None, by };
        self.put(fault, at_ms, transitions);
    }

    fn begin_outage(&mut self, outage: &Outage, transitions: &mut Vec<FaultTransition>) {
        // Down or cut off already by another outage that lasts longer: this one changes nothing.
        let longer = |fault: &Fault| fault.cause == FaultCause::Correlated && fault.until_ms >= outage.until_ms;
        if self.active.get(&None).is_some_and(longer) {
            return;
        }
        let fault = Fault {
            id: outage.id_on(self.seed, self.node.index),
            kind: outage.domain.part.fault(),
            gpu: None,
            factor: 1.0,
            from_ms: outage.from_ms,
            until_ms: outage.until_ms,
            cause: FaultCause::Correlated,
            domain: Some(outage.domain),
            by: String::new(),
        };
        self.put(fault, outage.from_ms, transitions);
    }

    fn put(&mut self, fault: Fault, at_ms: u64, transitions: &mut Vec<FaultTransition>) {
        self.end_at(fault.gpu, at_ms, transitions);
        self.active.insert(fault.gpu, fault.clone());
        transitions.push(FaultTransition::Began(fault));
    }

    fn end_due(&mut self, at_ms: u64, transitions: &mut Vec<FaultTransition>) {
        let due: Vec<Option<u8>> = self.active.iter().filter(|(_, fault)| fault.until_ms <= at_ms).map(|(place, _)| *place).collect();
        for place in due {
            self.end_at(place, at_ms, transitions);
        }
    }

    fn end_at(&mut self, place: Option<u8>, at_ms: u64, transitions: &mut Vec<FaultTransition>) {
        let Some(fault) = self.active.remove(&place) else { return };
        let rebooted = fault.kind == FaultKind::Crash;
        transitions.push(FaultTransition::Ended { fault, at_ms });
        if rebooted {
            // A reboot resets the GPUs.
            let of_gpus: Vec<Fault> = std::mem::take(&mut self.active).into_values().collect();
            transitions.extend(of_gpus.into_iter().map(|fault| FaultTransition::Ended { fault, at_ms }));
        }
    }

    /// Breaks something on purpose, after living up to now; a fault at the same place is ended first. `by` says who ordered it.
    pub fn order(&mut self, order: Injection, by: &str, now_ms: u64) -> Vec<FaultTransition> {
        let mut transitions = self.tick(now_ms, 1.0);
        let factor = match order.kind {
            FaultKind::Slow if order.factor.is_finite() => order.factor.clamp(MIN_SLOW_FACTOR, MAX_SLOW_FACTOR),
            FaultKind::Slow => MIN_SLOW_FACTOR,
            _ => 1.0,
        };
        let for_ms = order.for_ms.clamp(1, MAX_ORDERED_MS);
        self.begin(Injection { for_ms, factor, ..order }, (FaultCause::Ordered, by), now_ms, &mut transitions);
        self.end_due(now_ms, &mut transitions);
        transitions
    }

    /// Ends what is broken, after living up to now: on one GPU, or everything.
    pub fn restore(&mut self, gpu: Option<u8>, now_ms: u64) -> Vec<FaultTransition> {
        let mut transitions = self.tick(now_ms, 1.0);
        let places: Vec<Option<u8>> = self.active.keys().copied().filter(|place| gpu.is_none() || *place == gpu).collect();
        for place in places {
            self.end_at(place, now_ms, &mut transitions);
        }
        transitions
    }
}

#[cfg(test)]
mod tests;
