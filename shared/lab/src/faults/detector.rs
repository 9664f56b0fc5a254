//! How long a fault stays unseen.

use std::fmt;
use std::str::FromStr;

use rand_distr::{Distribution, LogNormal};
use rand_pcg::Pcg64Mcg;

/// A standard normal is below this with probability 0.99.
const NORMAL_P99: f64 = 2.3263;

/// Where the delay between a fault and its verdict comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Detector {
    /// Without any delay.
    Instant,
    /// Always the same.
    After(u64),
    /// As measured in docs/detectors.md: heartbeats each second, a ping for who is suspect, and a network that loses nothing.
    #[default]
    PhiAccrual,
    FixedTimeout,
    KOfN,
}

impl Detector {
    const NAMED: [(Detector, &'static str); 4] =
        [(Self::Instant, "instant"), (Self::PhiAccrual, "phi-accrual"), (Self::FixedTimeout, "fixed-timeout"), (Self::KOfN, "k-of-n")];

    /// The median and the 99th percentile of the delay, in milliseconds.
    fn measured(self) -> (f64, f64) {
        match self {
            Detector::Instant => (0.0, 0.0),
            Detector::After(ms) => (ms as f64, ms as f64),
            Detector::PhiAccrual => (2_500.0, 3_400.0),
            Detector::FixedTimeout => (2_600.0, 3_600.0),
            Detector::KOfN => (3_100.0, 3_600.0),
        }
    }

    /// The mean of the delay, in milliseconds.
    pub fn mean_ms(self) -> f64 {
        let (median_ms, p99_ms) = self.measured();
        if median_ms <= 0.0 { median_ms } else { median_ms * (sigma(median_ms, p99_ms).powi(2) / 2.0).exp() }
    }

    /// A lognormal distribution with the measured median and 99th percentile.
    pub(crate) fn delay_ms(self, rng: &mut Pcg64Mcg) -> u64 {
        let (median_ms, p99_ms) = self.measured();
        if p99_ms <= median_ms {
            return median_ms as u64;
        }
        LogNormal::new(median_ms.ln(), sigma(median_ms, p99_ms)).map_or(median_ms, |delay| delay.sample(rng)) as u64
    }
}

/// The standard deviation of the logarithm.
fn sigma(median_ms: f64, p99_ms: f64) -> f64 {
    (p99_ms / median_ms).ln() / NORMAL_P99
}

impl fmt::Display for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMED.iter().find(|(detector, _)| detector == self) {
            Some((_, name)) => f.pad(name),
            None => write!(f, "{:.1} s", self.measured().0 / 1000.0),
        }
    }
}

impl FromStr for Detector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::NAMED.iter().find(|(_, name)| *name == text).map(|(detector, _)| *detector);
        named.ok_or_else(|| format!("unknown detector `{text}`: use {}", Self::NAMED.map(|(_, name)| name).join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::{Purpose, stream};

    #[test]
    fn delays_have_the_measured_median_and_percentile() {
        for detector in [Detector::PhiAccrual, Detector::FixedTimeout, Detector::KOfN] {
            let mut delays: Vec<u64> = (0..20_000).map(|node| detector.delay_ms(&mut stream(1, Purpose::Detection, node, 0))).collect();
            let mean = delays.iter().sum::<u64>() as f64 / delays.len() as f64;
            delays.sort_unstable();
            let (median_ms, p99_ms) = detector.measured();
            let is_close = |here: f64, expected: f64| (here / expected - 1.0).abs() < 0.02;
            assert!(is_close(delays[10_000] as f64, median_ms) && is_close(delays[19_800] as f64, p99_ms), "{detector}");
            assert!(is_close(mean, detector.mean_ms()), "{detector}: {mean}");
        }
        for name in ["instant", "phi-accrual", "fixed-timeout", "k-of-n"] {
            assert_eq!(name.parse::<Detector>().unwrap().to_string(), name);
        }
        assert_eq!(Detector::After(90_000).to_string(), "90.0 s");
        assert!("psychic".parse::<Detector>().unwrap_err().contains("use instant, phi-accrual"));
    }
}
