//! Failures of what several nodes share: a rack, a power supply, a switch. Which outages there are is a pure function of the seed,
//! the failure domain and the window of time, so every process computes the same ones and no node has to be told.

use std::fmt;

use rand::RngExt;
use rand_distr::{Distribution, Poisson};

use super::hazard::{RepairTime, stream};
use super::{FaultKind, fault_id};
use crate::device::default_node;

/// What several nodes share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SharedPart {
    /// Two nodes.
    Rack,
    /// Feeds two racks: 1 and 2, 3 and 4, ...
    PowerSupply,
    /// Connects two racks, others than those that share power: 2 and 3, 4 and 5, ...
    Switch,
}

/// One part with the nodes that depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FailureDomain {
    pub part: SharedPart,
    /// From 1.
    pub number: usize,
}

impl FailureDomain {
    /// The domains of node `index`, counted from 1.
    pub fn of_node(index: usize) -> [FailureDomain; 3] {
        let rack = default_node(index).rack_number;
        [(SharedPart::Rack, rack), (SharedPart::PowerSupply, rack.div_ceil(2)), (SharedPart::Switch, rack / 2 + 1)]
            .map(|(part, number)| FailureDomain { part, number })
    }
}

impl fmt::Display for FailureDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.part {
            SharedPart::Rack => "rack",
            SharedPart::PowerSupply => "power",
            SharedPart::Switch => "switch",
        };
        write!(f, "{part}-{}", self.number)
    }
}

impl SharedPart {
    /// What its failure does to a node: without power it is down, without its switch it is cut off and works on.
    pub fn fault(self) -> FaultKind {
        match self {
            SharedPart::Rack | SharedPart::PowerSupply => FaultKind::Crash,
            SharedPart::Switch => FaultKind::Zombie,
        }
    }
}

/// How often each shared part fails: mean times between outages of one part, infinite for never.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutageRates {
    pub rack_mean_ms: f64,
    pub power_mean_ms: f64,
    pub switch_mean_ms: f64,
    pub repair: RepairTime,
}

/// One outage of one part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outage {
    pub domain: FailureDomain,
    pub from_ms: u64,
    pub until_ms: u64,
}

impl OutageRates {
    fn mean_ms(&self, part: SharedPart) -> f64 {
        match part {
            SharedPart::Rack => self.rack_mean_ms,
            SharedPart::PowerSupply => self.power_mean_ms,
            SharedPart::Switch => self.switch_mean_ms,
        }
    }

    /// The outages a millisecond that a node sees.
    pub(super) fn rate_per_ms(&self) -> f64 {
        [SharedPart::Rack, SharedPart::PowerSupply, SharedPart::Switch].map(|part| 1.0 / self.mean_ms(part)).iter().sum()
    }

    /// The outages of a node's domains that begin after `after_ms` and not after `through_ms`, by their beginning.
    pub fn beginning(&self, seed: u64, domains: &[FailureDomain], after_ms: u64, through_ms: u64) -> Vec<Outage> {
        let mut outages: Vec<Outage> = domains.iter().flat_map(|domain| self.in_windows(seed, *domain, after_ms, through_ms)).collect();
        outages.retain(|outage| outage.from_ms > after_ms && outage.from_ms <= through_ms);
        outages.sort_by_key(|outage| (outage.from_ms, outage.domain));
        outages
    }

    /// The outages of these domains that are under way at this time: what a process that starts in the middle of one must join.
    pub fn under_way(&self, seed: u64, domains: &[FailureDomain], now_ms: u64) -> Vec<Outage> {
        let longest_ms = self.repair.max_ms as u64;
        let mut outages = self.beginning(seed, domains, now_ms.saturating_sub(longest_ms), now_ms);
        outages.retain(|outage| outage.until_ms > now_ms);
        outages
    }

    /// Time is cut into windows of one mean time between outages. How many outages a window has is Poisson with mean 1, and they begin
    /// anywhere in it, which together is the Poisson process that outages should be.
    fn in_windows(&self, seed: u64, domain: FailureDomain, from_ms: u64, to_ms: u64) -> Vec<Outage> {
        let window_ms = self.mean_ms(domain.part);
        if !window_ms.is_finite() {
            return Vec::new();
        }
        let (first, last) = ((from_ms as f64 / window_ms).floor() as u64, (to_ms as f64 / window_ms).floor() as u64);
        let mut outages = Vec::new();
        for window in first..=last {
            let mut rng = stream(seed, &domain.to_string(), window);
            let count = Poisson::new(1.0).map_or(0.0, |poisson| poisson.sample(&mut rng));
            for _ in 0..count as u32 {
                let from_ms = ((window as f64 + rng.random::<f64>()) * window_ms) as u64;
                outages.push(Outage { domain, from_ms, until_ms: from_ms + self.repair.draw(&mut rng).max(1) });
            }
        }
        outages
    }
}

impl Outage {
    /// The id of what this outage does to node `index`, the same in every process that computes it.
    pub(super) fn id_on(&self, seed: u64, index: usize) -> String {
        let mut rng = stream(seed ^ self.from_ms, &self.domain.to_string(), index as u64);
        fault_id(self.from_ms, rng.random())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    fn rates() -> OutageRates {
        OutageRates {
            rack_mean_ms: 3.0 * HOUR_MS as f64,
            power_mean_ms: 5.0 * HOUR_MS as f64,
            switch_mean_ms: f64::INFINITY,
            repair: RepairTime { median_ms: 60_000.0, sigma: 1.0, min_ms: 1_000.0, max_ms: 600_000.0 },
        }
    }

    #[test]
    fn domains_overlap_without_nesting() {
        let names = |index| FailureDomain::of_node(index).map(|domain| domain.to_string()).join(" ");
        let all: Vec<String> = (1..=8).map(names).collect();
        assert_eq!(all[0], "rack-1 power-1 switch-1");
        assert_eq!(all[1], all[0]);
        assert_eq!(all[2], "rack-2 power-1 switch-2");
        assert_eq!(all[4], "rack-3 power-2 switch-2");
        assert_eq!(all[7], "rack-4 power-2 switch-3");
    }

    #[test]
    fn every_node_of_a_domain_sees_the_same_outages_however_it_asks() {
        let day = 24 * HOUR_MS;
        let rack_mates = rates().beginning(5, &FailureDomain::of_node(1), 0, 30 * day);
        assert_eq!(rack_mates, rates().beginning(5, &FailureDomain::of_node(2), 0, 30 * day));
        // In small steps, as a running worker asks.
        let steps: Vec<Outage> =
            (0..30 * 24).flat_map(|hour| rates().beginning(5, &FailureDomain::of_node(1), hour * HOUR_MS, (hour + 1) * HOUR_MS)).collect();
        assert_eq!(rack_mates, steps);
        let neighbours = rates().beginning(5, &FailureDomain::of_node(3), 0, 30 * day);
        let shared = |outages: &[Outage]| -> Vec<Outage> {
            outages.iter().copied().filter(|outage| outage.domain.part == SharedPart::PowerSupply).collect()
        };
        assert!(!shared(&rack_mates).is_empty());
        assert_eq!(shared(&rack_mates), shared(&neighbours));
        assert_ne!(rack_mates, neighbours);
        assert_ne!(rack_mates, rates().beginning(6, &FailureDomain::of_node(1), 0, 30 * day), "the seed decides");
        let outage = rack_mates[0];
        assert_eq!(outage.id_on(5, 1), outage.id_on(5, 1));
        assert_ne!(outage.id_on(5, 1), outage.id_on(5, 2));
    }

    #[test]
    fn parts_fail_at_their_rate() {
        let days = 2_000;
        let outages = rates().beginning(3, &FailureDomain::of_node(1)[..1], 0, days * 24 * HOUR_MS);
        let expected = days as f64 * 24.0 / 3.0;
        assert!((outages.len() as f64 / expected - 1.0).abs() < 0.04, "{} instead of {expected}", outages.len());
        // Poisson: gaps vary as much as they are long.
        let gaps: Vec<f64> = outages.windows(2).map(|pair| (pair[1].from_ms - pair[0].from_ms) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((deviation / mean - 1.0).abs() < 0.06, "{}", deviation / mean);
    }

    #[test]
    fn an_outage_under_way_is_joined() {
        let domains = FailureDomain::of_node(1);
        for outage in rates().beginning(5, &domains, 0, 72 * HOUR_MS) {
            assert!(rates().under_way(5, &domains, outage.from_ms).contains(&outage));
            assert!(rates().under_way(5, &domains, outage.until_ms - 1).contains(&outage));
            assert!(!rates().under_way(5, &domains, outage.until_ms).contains(&outage));
        }
    }
}
