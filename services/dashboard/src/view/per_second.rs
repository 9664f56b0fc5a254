//! Counts of the last minute, a bucket a second.

const SECONDS: usize = 60;

/// Events by the second in which they happened.
#[derive(Debug)]
pub(crate) struct PerSecond {
    buckets: [(u64, u64); SECONDS],
}

impl Default for PerSecond {
    fn default() -> Self {
        Self { buckets: [(0, 0); SECONDS] }
    }
}

impl PerSecond {
    /// Counts one event that happened at `second`; older than what its bucket holds is ignored.
    pub(crate) fn add(&mut self, second: u64) {
        let bucket = &mut self.buckets[(second % SECONDS as u64) as usize];
        if second > bucket.0 {
            *bucket = (second, 0);
        }
        if second == bucket.0 {
            bucket.1 += 1;
        }
    }

    /// How many happened in that second, if it is one of the last 60.
    pub(crate) fn at(&self, second: u64) -> u64 {
        let (held, count) = self.buckets[(second % SECONDS as u64) as usize];
        if held == second { count } else { 0 }
    }

    /// How many happened in the 60 s up to and with `now`.
    pub(crate) fn last_minute(&self, now: u64) -> u64 {
        self.buckets.iter().filter(|(second, _)| *second <= now && now - second < SECONDS as u64).map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_minute_counts() {
        let mut counts = PerSecond::default();
        counts.add(1000);
        counts.add(1000);
        counts.add(1030);
        assert_eq!(counts.last_minute(1030), 3);
        assert_eq!((counts.at(1000), counts.at(1001), counts.at(940)), (2, 0, 0));
        assert_eq!(counts.last_minute(1059), 3);
        assert_eq!(counts.last_minute(1060), 1);
        counts.add(1060);
        counts.add(1000);
        assert_eq!(counts.last_minute(1060), 2);
        assert_eq!(counts.last_minute(5000), 0);
        assert_eq!(counts.last_minute(999), 0);
    }
}
