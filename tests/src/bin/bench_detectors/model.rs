//! The ground truth: when nodes live, when they die, and when which of their heartbeats arrive. Drawn once for each share of loss
//! and replayed to every detector.

use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal};
use rand_pcg::Pcg64Mcg;

pub(crate) const LOSS_PERCENTS: [u32; 3] = [0, 5, 20];
pub(crate) const HEARTBEAT_MS: u64 = 1000;
/// What one message takes from sender to detector: lognormal, so that one in a hundred takes 16 times the median and one in a
/// hundred thousand 170 times.
pub(crate) const DELAY_MEDIAN_MS: f64 = 20.0;
pub(crate) const DELAY_SIGMA: f64 = 1.2;
/// A life, from a registration to a death: uniform between these. At least six windows of phi-accrual.
pub(crate) const LIFE_MS: (u64, u64) = (10 * 60_000, 30 * 60_000);
/// From a death until the node is back in a new life: longer than any detector takes.
pub(crate) const REPAIR_MS: u64 = 30_000;
/// Nodes of a trace; their hours add up.
const NODES: u64 = 10;

/// One life of one node.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) begins_at_ms: u64,
    pub(crate) dies_at_ms: u64,
    /// When the next life begins.
    pub(crate) ends_at_ms: u64,
    /// Arrivals at the detector, in order.
    pub(crate) heartbeats_ms: Vec<u64>,
}

#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) nodes: Vec<Vec<Life>>,
    /// Draws what happens to pings: it depends on the detector when they are sent.
    pub(crate) network: Network,
    pub(crate) seed: u64,
}

/// How a message fares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Network {
    loss: f64,
    delay: LogNormal<f64>,
}

impl Network {
    fn new(loss_percent: u32) -> Self {
        let delay = LogNormal::new(DELAY_MEDIAN_MS.ln(), DELAY_SIGMA).expect("a positive deviation");
        Self { loss: f64::from(loss_percent) / 100.0, delay }
    }

    /// When a message arrives that is sent now; `None` when it is lost.
    pub(crate) fn carry(&self, sent_at_ms: u64, rng: &mut Pcg64Mcg) -> Option<u64> {
        // Both drawn in any case, so that traces of different loss have the same delays.
        let (lost, delay_ms) = (rng.random::<f64>() < self.loss, self.delay.sample(rng));
        (!lost).then_some(sent_at_ms + delay_ms as u64)
    }
}

impl Trace {
    pub(crate) fn draw(seed: u64, node_hours: u64, loss_percent: u32) -> Self {
        let network = Network::new(loss_percent);
        let life_ms_of_a_node = node_hours * 3_600_000 / NODES;
        let nodes = (0..NODES).map(|node| lives(&network, life_ms_of_a_node, &mut Pcg64Mcg::seed_from_u64(mix(seed, node)))).collect();
        Self { nodes, network, seed }
    }

    /// A stream of randomness for the pings of one node.
    pub(crate) fn ping_rng(&self, node: usize) -> Pcg64Mcg {
        Pcg64Mcg::seed_from_u64(mix(self.seed, NODES + node as u64))
    }
}

fn mix(seed: u64, stream: u64) -> u64 {
    seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(stream)
}

/// Lives, one after the other, until they add up to so much.
fn lives(network: &Network, total_ms: u64, rng: &mut Pcg64Mcg) -> Vec<Life> {
    let mut lives = Vec::new();
    let (mut begins_at_ms, mut lived_ms) = (0, 0);
    while lived_ms < total_ms {
        let life = life(network, begins_at_ms, rng);
        lived_ms += life.dies_at_ms - begins_at_ms;
        begins_at_ms = life.ends_at_ms;
        lives.push(life);
    }
    lives
}

fn life(network: &Network, begins_at_ms: u64, rng: &mut Pcg64Mcg) -> Life {
    let dies_at_ms = begins_at_ms + rng.random_range(LIFE_MS.0..LIFE_MS.1);
    let mut heartbeats_ms = Vec::new();
    let mut last_ms = 0;
    // One connection: what is late holds up what follows.
    for sent_at_ms in (begins_at_ms..dies_at_ms).step_by(HEARTBEAT_MS as usize) {
        if let Some(arrives_at_ms) = network.carry(sent_at_ms, rng) {
            last_ms = arrives_at_ms.max(last_ms);
            heartbeats_ms.push(last_ms);
        }
    }
    Life { begins_at_ms, dies_at_ms, ends_at_ms: dies_at_ms + REPAIR_MS, heartbeats_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_has_the_hours_and_the_loss_that_were_asked_for() {
        let trace = Trace::draw(1, 20, 20);
        let lives: Vec<&Life> = trace.nodes.iter().flatten().collect();
        let lived_ms: u64 = lives.iter().map(|life| life.dies_at_ms - life.begins_at_ms).sum();
        assert!((20..26).contains(&(lived_ms / 3_600_000)), "{lived_ms} ms");
        let arrived: usize = lives.iter().map(|life| life.heartbeats_ms.len()).sum();
        let share = arrived as f64 * HEARTBEAT_MS as f64 / lived_ms as f64;
        assert!((0.79..0.81).contains(&share), "{share} of the heartbeats arrived");
        assert!(lives.iter().all(|life| life.heartbeats_ms.is_sorted()));
    }
}
