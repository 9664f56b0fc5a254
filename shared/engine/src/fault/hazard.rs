//! How likely a node is to fail by itself at a given age, which nodes are lemons, and bad days that raise the hazard of all.
//! All of it is pure: what chance decides follows from the seed, so that several processes agree without talking.

use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Gamma, LogNormal};
use rand_pcg::Pcg64Mcg;

/// One random stream a purpose: the same seed, purpose and index give the same stream in every process.
pub(super) fn stream(seed: u64, purpose: &str, index: u64) -> Pcg64Mcg {
    // FNV-1a over the three, then the generator's own seeding spreads it.
    let bytes = seed.to_le_bytes().into_iter().chain(purpose.bytes()).chain(index.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    Pcg64Mcg::seed_from_u64(hash)
}

/// How long a fault lasts: lognormal, which Schroeder and Gibson, "A Large-Scale Study of Failures in High-Performance
/// Computing Systems", DSN 2006, found to fit repair times best; cut off at both ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RepairTime {
    pub median_ms: f64,
    /// Standard deviation of the logarithm.
    pub sigma: f64,
    pub min_ms: f64,
    pub max_ms: f64,
}

impl RepairTime {
    /// One of these, in milliseconds.
    pub fn draw(&self, rng: &mut Pcg64Mcg) -> u64 {
        let drawn = LogNormal::new(self.median_ms.max(1.0).ln(), self.sigma).map_or(self.median_ms, |repair| repair.sample(rng));
        drawn.max(self.min_ms).min(self.max_ms) as u64
    }
}

/// The hazard of one node as a function of its age, the time since it was last as good as new.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Hazard {
    Never,
    /// Failures are as likely at any age.
    Constant {
        mean_ms: f64,
    },
    /// Time between failures is Weibull distributed with this shape and mean. A shape below 1: a repaired node fails soon again, or
    /// lasts long. Above 1: nodes wear out.
    Weibull {
        shape: f64,
        mean_ms: f64,
    },
}

impl Hazard {
    /// The mean time between failures; infinite for `Never`.
    pub fn mean_ms(self) -> f64 {
        match self {
            Hazard::Never => f64::INFINITY,
            Hazard::Constant { mean_ms } | Hazard::Weibull { mean_ms, .. } => mean_ms,
        }
    }

    /// The same hazard, so many times as high at any age.
    pub fn times(self, factor: f64) -> Self {
        match self {
            Hazard::Never => Hazard::Never,
            Hazard::Constant { mean_ms } => Hazard::Constant { mean_ms: mean_ms / factor },
            Hazard::Weibull { shape, mean_ms } => Hazard::Weibull { shape, mean_ms: mean_ms / factor },
        }
    }

    /// The hazard integrated from birth to this age.
    pub fn cumulative(self, age_ms: f64) -> f64 {
        match self {
            Hazard::Never => 0.0,
            Hazard::Constant { mean_ms } => age_ms / mean_ms,
            Hazard::Weibull { shape, mean_ms } => (age_ms / weibull_scale(shape, mean_ms)).powf(shape),
        }
    }

    /// The age at which the integrated hazard reaches this.
    pub fn age_at(self, cumulative: f64) -> f64 {
        match self {
            Hazard::Never => f64::INFINITY,
            Hazard::Constant { mean_ms } => cumulative * mean_ms,
            Hazard::Weibull { shape, mean_ms } => weibull_scale(shape, mean_ms) * cumulative.powf(1.0 / shape),
        }
    }

    /// The age of a node that is met at a random moment of a long life: without it, a whole cluster would start as good as new
    /// and, with a shape below 1, fail all at once. The interval that a random moment falls into is drawn in proportion to its
    /// length, whose integrated hazard is then Gamma(1 + 1 / shape); the moment is uniform in it.
    pub fn age_when_met(self, rng: &mut Pcg64Mcg) -> f64 {
        match self {
            Hazard::Never | Hazard::Constant { .. } => 0.0,
            Hazard::Weibull { shape, .. } => {
                let cumulative = Gamma::new(1.0 + 1.0 / shape, 1.0).map_or(1.0, |gamma| gamma.sample(rng));
                self.age_at(cumulative) * rng.random::<f64>()
            }
        }
    }
}

/// The scale of a Weibull distribution with this mean: mean / Gamma(1 + 1 / shape).
fn weibull_scale(shape: f64, mean_ms: f64) -> f64 {
    mean_ms / gamma(1.0 + 1.0 / shape)
}

/// The gamma function for arguments of 1 and more, by Stirling's series after shifting the argument up (Abramowitz and Stegun,
/// "Handbook of Mathematical Functions", 6.1.37); good to seven digits.
fn gamma(x: f64) -> f64 {
    let mut shifted = x;
    let mut divisor = 1.0;
    while shifted < 10.0 {
        divisor *= shifted;
        shifted += 1.0;
    }
    let series = 1.0 + 1.0 / (12.0 * shifted) + 1.0 / (288.0 * shifted.powi(2)) - 139.0 / (51_840.0 * shifted.powi(3));
    (std::f64::consts::TAU / shifted).sqrt() * (shifted / std::f64::consts::E).powf(shifted) * series / divisor
}

/// A few nodes that fail far more often than the others: one in `one_in`, `times` as often.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lemons {
    pub one_in: usize,
    pub times: f64,
}

impl Lemons {
    /// Whether node `index`, counted from 1, is a lemon: of each `one_in` nodes in a row the seed picks one.
    pub fn is_lemon(self, seed: u64, index: usize) -> bool {
        let (block, place) = (index.saturating_sub(1) / self.one_in, index.saturating_sub(1) % self.one_in);
        stream(seed, "lemon", block as u64).random_range(0..self.one_in) == place
    }

    /// The hazard of this node relative to the mean of all.
    pub fn factor(self, seed: u64, index: usize) -> f64 {
        let mean = (self.one_in as f64 - 1.0 + self.times) / self.one_in as f64;
        if self.is_lemon(seed, index) { self.times / mean } else { 1.0 / mean }
    }
}

/// Bad days: in each window of time the hazard of all nodes is multiplied by one common factor, gamma distributed with
/// mean 1 and this variance. It stands for what hits a whole fleet and leaves no other trace: heat, a bad driver, a stress test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Surges {
    pub window_ms: f64,
    pub variance: f64,
}

impl Surges {
    /// The factor at this time, and until when it holds.
    pub fn at(self, seed: u64, at_ms: f64) -> (f64, f64) {
        let window = (at_ms / self.window_ms).floor();
        let factor =
            Gamma::new(1.0 / self.variance, self.variance).map_or(1.0, |gamma| gamma.sample(&mut stream(seed, "surge", window as u64)));
        (factor, (window + 1.0) * self.window_ms)
    }
}

#[cfg(test)]
mod tests {
    use rand_distr::Exp1;

    use super::*;

    #[test]
    fn the_gamma_function_is_right_where_it_is_known() {
        for (x, expected) in [(1.0, 1.0), (2.0, 1.0), (5.0, 24.0), (1.5, 0.886_226_925_452_758), (2.5, 1.329_340_388_179_137)] {
            assert!((gamma(x) / expected - 1.0).abs() < 1e-7, "gamma({x}) = {}", gamma(x));
        }
    }

    #[test]
    fn lives_have_the_mean_and_the_spread_of_their_distribution() {
        // Coefficients of variation of Weibull distributions by shape: sqrt(gamma(1 + 2/k) / gamma(1 + 1/k)^2 - 1).
        for (hazard, expected_cv) in [
            (Hazard::Constant { mean_ms: 1e6 }, 1.0),
            (Hazard::Weibull { shape: 0.7, mean_ms: 1e6 }, 1.462),
            (Hazard::Weibull { shape: 1.0, mean_ms: 1e6 }, 1.0),
            (Hazard::Weibull { shape: 3.0, mean_ms: 1e6 }, 0.363),
        ] {
            let mut rng = stream(1, "test", 0);
            let lives: Vec<f64> = (0..100_000).map(|_| hazard.age_at(Exp1.sample(&mut rng))).collect();
            let mean = lives.iter().sum::<f64>() / lives.len() as f64;
            let variance = lives.iter().map(|life| (life - mean).powi(2)).sum::<f64>() / lives.len() as f64;
            assert!((mean / 1e6 - 1.0).abs() < 0.02, "{hazard:?}: mean {mean}");
            assert!((variance.sqrt() / mean / expected_cv - 1.0).abs() < 0.03, "{hazard:?}: {}", variance.sqrt() / mean);
            assert!((hazard.cumulative(hazard.age_at(1.7)) - 1.7).abs() < 1e-9);
        }
    }

    #[test]
    fn one_node_in_so_many_is_a_lemon_and_the_mean_stays() {
        let lemons = Lemons { one_in: 8, times: 10.0 };
        for seed in 0..50 {
            for block in 0..4 {
                let nodes = block * 8 + 1..=block * 8 + 8;
                assert_eq!(nodes.clone().filter(|index| lemons.is_lemon(seed, *index)).count(), 1);
                let mean = nodes.map(|index| lemons.factor(seed, index)).sum::<f64>() / 8.0;
                assert!((mean - 1.0).abs() < 1e-9);
            }
        }
        let picked: std::collections::BTreeSet<usize> =
            (0..50).flat_map(|seed| (1..=8).filter(move |index| lemons.is_lemon(seed, *index))).collect();
        assert_eq!(picked.len(), 8, "any node can be the lemon");
    }

    #[test]
    fn surges_are_the_same_for_all_and_have_mean_and_variance() {
        let surges = Surges { window_ms: 1000.0, variance: 2.0 };
        assert_eq!(surges.at(7, 12_345.0), surges.at(7, 12_999.0));
        assert_eq!(surges.at(7, 12_345.0).1, 13_000.0);
        let factors: Vec<f64> = (0..50_000).map(|window| surges.at(7, window as f64 * 1000.0).0).collect();
        let mean = factors.iter().sum::<f64>() / factors.len() as f64;
        let variance = factors.iter().map(|factor| (factor - mean).powi(2)).sum::<f64>() / factors.len() as f64;
        assert!((mean - 1.0).abs() < 0.03 && (variance / 2.0 - 1.0).abs() < 0.1, "{mean} {variance}");
    }
}
