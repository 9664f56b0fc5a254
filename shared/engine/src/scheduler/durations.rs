//! Durations counted in classes, as a histogram: constant in size however many there were. Nothing is decided by them.

/// Upper bounds of the classes, in milliseconds; what is longer belongs to one more class.
pub const BOUNDS_MS: [u64; 15] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 15_000, 60_000, 300_000];

/// How many durations fell into each class, and their sum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Durations {
    counts: [u64; BOUNDS_MS.len() + 1],
    sum_ms: u64,
}

impl Durations {
    pub(super) fn push(&mut self, value_ms: u64) {
        let class = BOUNDS_MS.iter().position(|bound| value_ms <= *bound).unwrap_or(BOUNDS_MS.len());
        self.counts[class] += 1;
        self.sum_ms = self.sum_ms.saturating_add(value_ms);
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub fn sum_ms(&self) -> u64 {
        self.sum_ms
    }

    /// How many were at most as long as each of [`BOUNDS_MS`].
    pub fn cumulative(&self) -> impl Iterator<Item = u64> + '_ {
        self.counts[..BOUNDS_MS.len()].iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_one_class_and_the_classes_add_up() {
        let mut durations = Durations::default();
        for value_ms in [0, 1, 3, 1_000, 1_001, 10_000_000] {
            durations.push(value_ms);
        }
        let counts: Vec<u64> = durations.cumulative().collect();
        assert_eq!((counts[0], counts[2], counts[9], counts[10]), (2, 3, 4, 5));
        assert_eq!((counts[14], durations.count(), durations.sum_ms()), (5, 6, 10_002_005));
    }
}
