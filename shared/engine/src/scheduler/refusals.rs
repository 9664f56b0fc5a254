//! The memory of which nodes refuse what is placed there, or do not know it afterwards. The books are wrong about such a node, whatever the
//! reason: a pause that grows keeps a job from going there and back all the time. Other nodes take its jobs meanwhile.

/// The first pause; doubled by each further wave of refusals.
const PAUSE_MS: u64 = 500;
const LONGEST_PAUSE_MS: u64 = 30_000;
/// A node that was trusted again for so long without a refusal begins anew.
const FORGET_AFTER_MS: u64 = 60_000;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Refusals {
    waves: u32,
    until_ms: u64,
}

impl Refusals {
    /// Nothing is placed there now.
    pub(super) fn is_paused(&self, now_ms: u64) -> bool {
        now_ms < self.until_ms
    }

    /// In the past when it is not paused.
    pub(super) fn paused_until_ms(&self) -> u64 {
        self.until_ms
    }

    /// It refused one more. All that were on their way together are one wave.
    pub(super) fn on_refused(&mut self, now_ms: u64) {
        self.note(PAUSE_MS, now_ms);
    }

    /// It did not know what had been placed there. Once that is the news of an end that was lost, which needs no pause.
    pub(super) fn on_unknown(&mut self, now_ms: u64) {
        self.note(0, now_ms);
    }

    fn note(&mut self, first_pause_ms: u64, now_ms: u64) {
        if self.is_paused(now_ms) {
            return;
        }
        let is_first = self.waves == 0 || now_ms >= self.until_ms + FORGET_AFTER_MS;
        self.waves = if is_first { 1 } else { self.waves + 1 };
        let pause_ms = if is_first { first_pause_ms } else { (PAUSE_MS << (self.waves - 1).min(16)).min(LONGEST_PAUSE_MS) };
        self.until_ms = now_ms + pause_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_are_forgotten_after_a_quiet_minute() {
        let mut refusals = Refusals::default();
        let (mut now_ms, mut pauses) = (100_000, Vec::new());
        for _ in 0..8 {
            refusals.on_refused(now_ms);
            refusals.on_refused(now_ms + 1);
            pauses.push(refusals.until_ms - now_ms);
            now_ms = refusals.until_ms;
            assert!(!refusals.is_paused(now_ms) && refusals.is_paused(now_ms - 1));
        }
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        refusals.on_refused(now_ms + FORGET_AFTER_MS);
        assert_eq!(refusals.until_ms, now_ms + FORGET_AFTER_MS + PAUSE_MS);
    }

    #[test]
    fn an_end_that_was_lost_once_costs_no_pause() {
        let mut refusals = Refusals::default();
        refusals.on_unknown(10_000);
        assert!(!refusals.is_paused(10_000));
        refusals.on_unknown(12_000);
        assert!(refusals.is_paused(12_999) && !refusals.is_paused(13_000));
    }
}
