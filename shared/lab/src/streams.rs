//! Randomness that belongs to one job or one node. What is drawn for it depends on the seed, the purpose, its number, and how many times it
//! was drawn before, and on nothing else: another policy changes no arrival and no fault.

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;

/// What something is drawn for. Each has streams of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// How old a node is at the beginning.
    Age = 1,
    /// How much a node endures until it fails again.
    Endurance,
    /// How long a fault lasts.
    Repair,
    /// How long a fault stays unseen.
    Detection,
    /// Whether a node has a defect.
    Defect,
    /// Whom a wrong diagnosis blames.
    Diagnosis,
    /// Jobs that are generated, and their estimates.
    Arrival,
    Work,
    Estimate,
    /// What a fault does to its node.
    Extent,
}

/// A generator for the `count`-th time that something of this purpose is drawn for this job or node.
pub fn stream(seed: u64, purpose: Purpose, of: u64, count: u64) -> Pcg64Mcg {
    let mixed = [purpose as u64, of, count].into_iter().fold(seed, |mixed, word| mix(mixed ^ word.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    Pcg64Mcg::seed_from_u64(mixed)
}

/// The finalizer of SplitMix64: Steele, Lea, and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
fn mix(word: u64) -> u64 {
    let word = (word.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::RngExt;

    use super::*;

    #[test]
    fn streams_differ_in_each_of_their_keys_and_are_spread_evenly() {
        let first = |seed, purpose, of, count| stream(seed, purpose, of, count).random::<u64>();
        let mut seen = BTreeSet::new();
        for seed in 0..4 {
            for purpose in [Purpose::Age, Purpose::Repair] {
                for of in 0..50 {
                    seen.extend((0..50).map(|count| first(seed, purpose, of, count)));
                }
            }
        }
        assert_eq!(seen.len(), 4 * 2 * 50 * 50);
        let mean = seen.iter().map(|word| *word as f64 / u64::MAX as f64).sum::<f64>() / seen.len() as f64;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        assert_eq!(first(7, Purpose::Work, 3, 0), first(7, Purpose::Work, 3, 0));
    }
}
