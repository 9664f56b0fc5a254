//! The one door to clocks and to entropy. `engine` never comes here. There are three times, each for one purpose:
//!
//! | function | what it reads | what it is for |
//! | --- | --- | --- |
//! | [`steady_ms`] | this process's monotonic clock | durations, limits and decisions: all that the engine is handed. It never leaves the process |
//! | [`unix_ms`] | the cluster's time, which is the NATS server's clock | ids, and the times that other processes and people read |
//! | [`wall_ms`] | this machine's wall clock | only to say how far it is off |
//!
//! The monotonic clock is `CLOCK_MONOTONIC`, which stands still while the machine is suspended, and not `CLOCK_BOOTTIME`. Nothing here
//! runs during a suspension either: neither the attempts whose limits are counted, nor the timers of tokio, nor those of a NATS server on
//! the same machine. A laptop that wakes up therefore finds no node dead and no attempt overdue. When only this machine was
//! suspended, its leases have expired on the server meanwhile; the epoch and the commit refuse what it still tries.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::RngExt;
use tokio::time::Instant;

/// Names a file that holds a number of milliseconds to add to the wall clock. A test instrument: tests let the clock of a running process
/// jump with it. Nothing else follows the wall clock.
pub const OFFSET_FILE_VARIABLE: &str = "FAULTLINE_TEST_CLOCK_OFFSET_FILE";
/// A wall clock that differs from the NATS server's by this much is called wrong.
pub const WRONG_FROM_MS: u64 = 2_000;
/// The cluster's time is corrected when a comparison contradicts it by more than this, beyond what the comparison may be wrong by.
const CORRECT_FROM_MS: u64 = 2;

/// When the process began: by the monotonic clock and by the wall clock.
static BEGAN: LazyLock<(Instant, u64)> = LazyLock::new(|| (Instant::now(), wall_ms()));
static OFFSET_FILE: LazyLock<Option<std::path::PathBuf>> = LazyLock::new(|| std::env::var_os(OFFSET_FILE_VARIABLE).map(Into::into));
/// How far the cluster's time is ahead of [`steady_ms`].
static CLUSTER_AHEAD_MS: AtomicI64 = AtomicI64::new(0);
static IS_COMPARED: AtomicBool = AtomicBool::new(false);

/// The wall time at which the process began plus what has passed since by the monotonic clock, in milliseconds. It never jumps, and
/// says nothing to other processes.
pub fn steady_ms() -> u64 {
    let (began, began_ms) = *BEGAN;
    began_ms.saturating_add(ms(Instant::now().saturating_duration_since(began)))
}

/// The cluster's time in Unix milliseconds: the NATS server's clock as it was last compared, or before the first comparison the wall
/// clock at the start of the process. It jumps only with the server's clock.
pub fn unix_ms() -> u64 {
    steady_ms().saturating_add_signed(CLUSTER_AHEAD_MS.load(Ordering::Relaxed))
}

/// What this machine's wall clock shows, in Unix milliseconds.
#[allow(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
pub fn wall_ms() -> u64 {
    let shown_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, ms);
    let offset_ms = OFFSET_FILE.as_ref().and_then(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok());
    shown_ms.saturating_add_signed(offset_ms.unwrap_or(0))
}

/// How far the wall clock is ahead of the NATS server's clock, negative when it is behind; none before the first comparison.
pub fn wall_ahead_ms() -> Option<i64> {
    IS_COMPARED.load(Ordering::Relaxed).then(|| signed_difference(wall_ms(), unix_ms()))
}

/// Takes in what the NATS server's clock showed between two moments of [`steady_ms`].
pub(crate) fn compare(server_ms: u64, asked_ms: u64, answered_ms: u64) {
    let uncertain_ms = answered_ms.saturating_sub(asked_ms) / 2;
    let ahead_ms = signed_difference(server_ms, asked_ms + uncertain_ms);
    let known_ms = CLUSTER_AHEAD_MS.load(Ordering::Relaxed);
    let is_first = !IS_COMPARED.swap(true, Ordering::Relaxed);
    if is_first || contradicts(known_ms, ahead_ms, uncertain_ms) {
        CLUSTER_AHEAD_MS.store(ahead_ms, Ordering::Relaxed);
        if !is_first && known_ms.abs_diff(ahead_ms) >= WRONG_FROM_MS {
            tracing::warn!(by_ms = ahead_ms.saturating_sub(known_ms), "the NATS server's clock was set: the cluster's time follows it");
        }
    }
}

/// Whether a comparison that may be wrong by `uncertain_ms` contradicts what is known. The noise of round trips must not move the time.
fn contradicts(known_ms: i64, compared_ms: i64, uncertain_ms: u64) -> bool {
    known_ms.abs_diff(compared_ms) > uncertain_ms + CORRECT_FROM_MS
}

fn signed_difference(one_ms: u64, other_ms: u64) -> i64 {
    i64::try_from(i128::from(one_ms) - i128::from(other_ms)).unwrap_or(if one_ms > other_ms { i64::MAX } else { i64::MIN })
}

/// In milliseconds, as messages and figures have it.
pub fn ms(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// Random bits for an id.
pub fn random_u128() -> u128 {
    rand::rng().random()
}

/// A seed for a component that was not given one, below 2^53: settings hold signed whole numbers, JSON readers often doubles,
/// and a seed is handed on through both.
pub fn random_seed() -> u64 {
    rand::rng().random::<u64>() >> 11
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_can_be_handed_on_as_a_setting() {
        assert!((0..1000).all(|_| random_seed() < 1 << 53));
    }

    #[tokio::test(start_paused = true)]
    async fn the_steady_time_passes_with_the_monotonic_clock_alone() {
        let before_ms = steady_ms();
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(steady_ms() - before_ms, 90_000);
    }

    #[test]
    fn a_comparison_corrects_the_time_only_beyond_its_own_uncertainty() {
        assert!(!contradicts(100, 140, 40), "it may be the round trip");
        assert!(contradicts(100, 143, 40));
        assert!(contradicts(3_600_000, 0, 500));
        assert_eq!((signed_difference(5, 7), signed_difference(u64::MAX, 0)), (-2, i64::MAX));
    }
}
