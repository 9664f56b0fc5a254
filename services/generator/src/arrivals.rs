//! When the next job is due. Pure: time is an argument, in milliseconds from a start that does not matter.

use faultline_engine::workload::Workload;

/// A generator that stood still, or could not keep up, makes up for this much of the time lost, and no more.
const MAX_CATCH_UP_MS: u64 = 1000;

/// A Poisson process whose rate can change at any time.
#[derive(Debug)]
pub(crate) struct Arrivals {
    per_minute: f64,
    next_ms: u64,
}

impl Arrivals {
    pub(crate) fn new(per_minute: f64, now_ms: u64, workload: &mut Workload) -> Self {
        Self { per_minute, next_ms: now_ms.saturating_add(workload.next_interval_ms(per_minute)) }
    }

    pub(crate) fn per_minute(&self) -> f64 {
        self.per_minute
    }

    pub(crate) fn next_ms(&self) -> u64 {
        self.next_ms
    }

    /// The wait under way is drawn again: an hour-long interval must not delay a new rate of 50.
    pub(crate) fn set_rate(&mut self, per_minute: f64, now_ms: u64, workload: &mut Workload) {
        *self = Self::new(per_minute, now_ms, workload);
    }

    /// Nothing is due before this.
    pub(crate) fn pause_until(&mut self, until_ms: u64) {
        self.next_ms = self.next_ms.max(until_ms);
    }

    /// Takes one arrival when it is due. True when time was skipped since more of it was lost than is made up for.
    pub(crate) fn take(&mut self, now_ms: u64, workload: &mut Workload) -> Option<Arrival> {
        if self.next_ms > now_ms {
            return None;
        }
        let late_ms = now_ms - self.next_ms;
        let skipped = late_ms > MAX_CATCH_UP_MS;
        let from_ms = if skipped { now_ms } else { self.next_ms };
        self.next_ms = from_ms.saturating_add(workload.next_interval_ms(self.per_minute));
        Some(Arrival { skipped_ms: if skipped { late_ms } else { 0 } })
    }
}

/// One job is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// How much time was lost without making up for it.
    pub(crate) skipped_ms: u64,
}

#[cfg(test)]
mod tests {
    use faultline_engine::workload::WorkloadConfig;

    use super::*;

    fn workload() -> Workload {
        Workload::new(WorkloadConfig::default(), 42)
    }

    fn count(arrivals: &mut Arrivals, workload: &mut Workload, from_ms: u64, to_ms: u64) -> u32 {
        let mut taken = 0;
        for now in from_ms..to_ms {
            while arrivals.take(now, workload).is_some() {
                taken += 1;
            }
        }
        taken
    }

    #[test]
    fn the_mean_is_the_rate_from_rare_to_thousands_a_second() {
        let mut workload = workload();
        for (per_minute, minutes) in [(2.0, 500), (50.0, 60), (300_000.0, 1)] {
            let mut arrivals = Arrivals::new(per_minute, 0, &mut workload);
            let taken = f64::from(count(&mut arrivals, &mut workload, 0, minutes * 60_000));
            let expected = per_minute * minutes as f64;
            assert!((taken - expected).abs() < 4.0 * expected.sqrt(), "{taken} jobs where {expected} were expected");
        }
    }

    #[test]
    fn a_new_rate_holds_at_once() {
        let mut workload = workload();
        let mut arrivals = Arrivals::new(0.000_001, 0, &mut workload);
        assert!(arrivals.next_ms() > 60_000);
        arrivals.set_rate(6_000.0, 1_000, &mut workload);
        assert!(arrivals.next_ms() < 1_500 && (arrivals.per_minute() - 6_000.0).abs() < f64::EPSILON);
    }

    #[test]
    fn lost_time_is_made_up_for_within_reason() {
        let mut workload = workload();
        let mut arrivals = Arrivals::new(60_000.0, 0, &mut workload);
        count(&mut arrivals, &mut workload, 0, 1_000);
        let caught_up = count(&mut arrivals, &mut workload, 1_500, 1_501);
        assert!(caught_up > 300, "{caught_up}");
        let after_an_hour = count(&mut arrivals, &mut workload, 3_600_000, 3_600_001);
        assert!(after_an_hour < 20, "{after_an_hour}");
    }

    #[test]
    fn a_pause_holds_everything_back() {
        let mut workload = workload();
        let mut arrivals = Arrivals::new(60_000.0, 0, &mut workload);
        arrivals.pause_until(5_000);
        assert_eq!(count(&mut arrivals, &mut workload, 0, 5_000), 0);
        assert!(count(&mut arrivals, &mut workload, 5_000, 6_000) > 800);
    }
}
