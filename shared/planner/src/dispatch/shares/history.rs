//! What a queue used in the past: an average over time in which an instant counts half as much for each half-life that has gone by.
//!
//! Sources: KAI's time-aware fairness (usage x 0.5^(age / half-life), as a part of the cluster, moves the weights above the quota); Kueue's
//! admission fair sharing (the same average, and a penalty at admission, without which a burst of jobs starts before their usage is counted);
//! Slurm's fair tree, whose shares decay in the same way.

use super::amounts::{Amounts, Parts};

/// How much the past counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HistorySettings {
    pub half_life_ms: u64,
    /// KAI's `kValue`: a queue whose weight is the part W of all weights and that used the part U of the cluster gets the weight
    /// W + strength x (W - U), or none below 0.
    pub strength: f64,
    /// A job that starts counts at once as though it had run for so long.
    pub entry_ms: u64,
}

impl Default for HistorySettings {
    /// A week, as in Slurm and in Kueue's examples, and five minutes, which is how often Kueue takes samples.
    fn default() -> Self {
        Self { half_life_ms: 168 * 3_600_000, strength: 1.0, entry_ms: 300_000 }
    }
}

impl HistorySettings {
    /// How much of an average was made in the last `span_ms`.
    pub(crate) fn part_of(&self, span_ms: u64) -> f64 {
        1.0 - 0.5_f64.powf(span_ms as f64 / self.half_life_ms as f64)
    }
}

/// The average of what a queue held.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Used {
    average: Parts,
    until_ms: u64,
}

impl Used {
    pub(super) fn average(&self) -> &Parts {
        &self.average
    }

    /// It held so much since it was told last.
    pub(super) fn held(&mut self, amounts: &Amounts, now_ms: u64, settings: &HistorySettings) {
        let part = settings.part_of(now_ms.saturating_sub(self.until_ms));
        for (average, held) in self.average.iter_mut().zip(amounts.parts()) {
            *average += part * (held - *average);
        }
        self.until_ms = self.until_ms.max(now_ms);
    }

    /// A job of this size starts.
    pub(super) fn enters(&mut self, amounts: &Amounts, settings: &HistorySettings) {
        let part = settings.part_of(settings.entry_ms);
        for (average, enters) in self.average.iter_mut().zip(amounts.parts()) {
            *average += part * enters;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_counts_half_as_much_an_hour_later() {
        let settings = HistorySettings { half_life_ms: 3_600_000, strength: 1.0, entry_ms: 3_600_000 };
        let eight = Amounts { gpu_milli: 8000, ..Amounts::default() };
        let mut used = Used::default();
        used.held(&eight, 3_600_000, &settings);
        assert!((used.average()[0] - 4000.0).abs() < 1e-6, "{used:?}");
        used.held(&Amounts::default(), 7_200_000, &settings);
        assert!((used.average()[0] - 2000.0).abs() < 1e-6, "{used:?}");
        // A clock that goes back changes nothing.
        used.held(&eight, 7_000_000, &settings);
        assert!((used.average()[0] - 2000.0).abs() < 1e-6, "{used:?}");
        used.enters(&eight, &settings);
        assert!((used.average()[0] - 6000.0).abs() < 1e-6, "{used:?}");
    }

    #[test]
    fn steps_of_time_add_up() {
        let settings = HistorySettings::default();
        let three = Amounts { gpu_milli: 3000, cpu_milli: 5, memory_mib: 7 };
        let (mut at_once, mut in_steps) = (Used::default(), Used::default());
        at_once.held(&three, 1_000_000, &settings);
        (1..=100).for_each(|step| in_steps.held(&three, step * 10_000, &settings));
        let differ = at_once.average().iter().zip(in_steps.average()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(differ < 1e-9, "{differ}");
    }
}
