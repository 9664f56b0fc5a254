//! Keeps a flood of bad messages from becoming a flood of log lines.

use std::sync::atomic::{AtomicU64, Ordering};

const QUIET_MS: u64 = 10_000;

/// Lets one line through every 10 s and counts the rest.
#[derive(Debug, Default)]
pub(crate) struct Noise {
    quiet_until_ms: AtomicU64,
    silenced: AtomicU64,
}

impl Noise {
    /// `Some(how many were kept silent before)` when a line may be written now.
    pub(crate) fn may_speak(&self, now_ms: u64) -> Option<u64> {
        let until = self.quiet_until_ms.load(Ordering::Relaxed);
        let free = now_ms >= until
            && self.quiet_until_ms.compare_exchange(until, now_ms.saturating_add(QUIET_MS), Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if free {
            return Some(self.silenced.swap(0, Ordering::Relaxed));
        }
        self.silenced.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_ten_seconds_says_how_many_were_silent() {
        let noise = Noise::default();
        assert_eq!(noise.may_speak(1_000), Some(0));
        assert_eq!(noise.may_speak(1_001), None);
        assert_eq!(noise.may_speak(10_999), None);
        assert_eq!(noise.may_speak(11_000), Some(2));
    }
}
