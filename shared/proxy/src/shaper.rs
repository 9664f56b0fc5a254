//! When a chunk arrives at the other side: pure, with time as an argument and randomness from a seed.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tokio::time::Instant;

use crate::conditions::LinkConditions;

/// Linux' `TCP_RTO_MIN`, <https://github.com/torvalds/linux/blob/master/include/net/tcp.h>; RFC 6298 would say one second.
const RTO_MIN: Duration = Duration::from_millis(200);
/// Linux' `TCP_RTO_MAX`.
const RTO_MAX: Duration = Duration::from_secs(120);
/// Linux' default of `tcp_retries2`: after so many retransmissions the connection would be given up.
const MOST_RETRANSMISSIONS: u32 = 15;
/// With a limit, a chunk is written in pieces of about this long, so that bytes trickle instead of coming in one burst.
const PIECE: Duration = Duration::from_millis(20);

/// One direction of one connection.
#[derive(Debug)]
pub(crate) struct Shaper {
    rng: Pcg64Mcg,
    /// When the chunk before arrives; none overtakes it.
    last_arrival: Option<Instant>,
    /// When the narrow link is free for the next piece.
    free_at: Option<Instant>,
}

impl Shaper {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: Pcg64Mcg::seed_from_u64(seed), last_arrival: None, free_at: None }
    }

    /// When a chunk that came in at `now` arrives.
    pub(crate) fn arrival(&mut self, conditions: &LinkConditions, now: Instant) -> Instant {
        let mut arrival = now + conditions.delay();
        if conditions.jitter_ms > 0 {
            arrival += Duration::from_secs_f64(self.rng.random_range(0.0..conditions.jitter_ms as f64) / 1000.0);
        }
        if conditions.loss_percent > 0.0 {
            arrival += self.retransmission(conditions);
        }
        let arrival = self.last_arrival.map_or(arrival, |last| arrival.max(last));
        self.last_arrival = Some(arrival);
        arrival
    }

    /// How long the sender's timeouts take until a transmission is not lost. RFC 6298, section 2.2: the timeout is the smoothed
    /// round trip plus a variance, which Linux keeps at 200 ms or more.
    fn retransmission(&mut self, conditions: &LinkConditions) -> Duration {
        let mut timeout = RTO_MIN + 2 * conditions.delay();
        let mut waited = Duration::ZERO;
        for _ in 0..MOST_RETRANSMISSIONS {
            if !self.rng.random_bool(conditions.loss_percent / 100.0) {
                break;
            }
            waited += timeout;
            timeout = (timeout * 2).min(RTO_MAX);
        }
        waited
    }

    /// When the next piece may go out that arrives at `arrival`.
    pub(crate) fn departure(&self, conditions: &LinkConditions, arrival: Instant) -> Instant {
        match self.free_at {
            Some(free_at) if conditions.bytes_per_s.is_some() => arrival.max(free_at),
            _ => arrival,
        }
    }

    /// How many of `bytes` may go out at once, 1 at least.
    pub(crate) fn piece(&self, conditions: &LinkConditions, bytes: usize) -> usize {
        let Some(rate) = conditions.bytes_per_s else { return bytes };
        let piece = (rate as f64 * PIECE.as_secs_f64()) as usize;
        bytes.min(piece.max(1))
    }

    /// So many bytes went out at `now`.
    pub(crate) fn sent(&mut self, conditions: &LinkConditions, bytes: usize, now: Instant) {
        let Some(rate) = conditions.bytes_per_s else { return };
        let started = self.free_at.map_or(now, |free_at| free_at.max(now - PIECE));
        self.free_at = Some(started + Duration::from_secs_f64(bytes as f64 / rate as f64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_clean_link_takes_no_time() {
        let now = at();
        let (mut shaper, clean) = (Shaper::new(1), LinkConditions::default());
        assert_eq!(shaper.arrival(&clean, now), now);
        assert_eq!((shaper.departure(&clean, now), shaper.piece(&clean, 70_000)), (now, 70_000));
    }

    #[test]
    fn delay_and_jitter_stay_within_their_bounds_and_keep_the_order() {
        let now = at();
        let mut shaper = Shaper::new(2);
        let conditions = LinkConditions { delay_ms: 50, jitter_ms: 40, ..LinkConditions::default() };
        let mut last = now;
        for _ in 0..1000 {
            let arrival = shaper.arrival(&conditions, now);
            assert!((50.0..90.0).contains(&((arrival - now).as_secs_f64() * 1000.0)), "{:?}", arrival - now);
            assert!(arrival >= last);
            last = arrival;
        }
        assert!(last - now > Duration::from_millis(85), "of a thousand draws the largest comes near the bound");
    }

    #[test]
    fn a_lost_chunk_waits_for_doubling_timeouts() {
        let now = at();
        let conditions = LinkConditions { delay_ms: 10, loss_percent: 50.0, ..LinkConditions::default() };
        // One shaper a draw, so that no chunk waits for the one before. 10 ms, then 220, 440, 880 more.
        let mut counts = std::collections::BTreeMap::<u128, u32>::new();
        for seed in 0..4000 {
            *counts.entry((Shaper::new(seed).arrival(&conditions, now) - now).as_millis()).or_default() += 1;
        }
        let first: Vec<u128> = counts.keys().copied().take(4).collect();
        assert_eq!(first, [10, 230, 670, 1550]);
        let share = |ms: u128| f64::from(counts[&ms]) / 4000.0;
        assert!((share(10) - 0.5).abs() < 0.04 && (share(230) - 0.25).abs() < 0.04, "{counts:?}");
    }

    #[test]
    fn what_follows_a_lost_chunk_waits_behind_it() {
        let now = at();
        let lossy = LinkConditions { loss_percent: 90.0, ..LinkConditions::default() };
        let mut shaper = Shaper::new(3);
        let lost = shaper.arrival(&lossy, now);
        assert!(lost > now);
        assert_eq!(shaper.arrival(&LinkConditions::default(), now), lost);
    }

    #[test]
    fn a_limit_is_kept_over_time_and_an_idle_link_saves_up_nothing() {
        let start = at();
        let conditions = LinkConditions { bytes_per_s: Some(100_000), ..LinkConditions::default() };
        let mut shaper = Shaper::new(4);
        let (mut now, mut left) = (start, 200_000);
        while left > 0 {
            now = shaper.departure(&conditions, now).max(now);
            let piece = shaper.piece(&conditions, left);
            assert!(piece <= 2_000);
            shaper.sent(&conditions, piece, now);
            left -= piece;
        }
        let took = (shaper.departure(&conditions, now) - start).as_secs_f64();
        assert!((1.95..=2.05).contains(&took), "200 kB at 100 kB/s took {took} s");
        // An hour later: one piece at once, the next after its time again.
        now += Duration::from_secs(3600);
        shaper.sent(&conditions, 2_000, now);
        shaper.sent(&conditions, 2_000, now);
        assert!(shaper.departure(&conditions, now) >= now + Duration::from_millis(19));
    }

    #[test]
    fn the_slowest_link_still_moves() {
        let conditions = LinkConditions { bytes_per_s: Some(1), ..LinkConditions::default() };
        assert_eq!(Shaper::new(5).piece(&conditions, 100), 1);
    }

    #[test]
    fn the_seed_decides() {
        let now = at();
        let conditions = LinkConditions { jitter_ms: 1000, ..LinkConditions::default() };
        let draw = |seed| Shaper::new(seed).arrival(&conditions, now);
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
