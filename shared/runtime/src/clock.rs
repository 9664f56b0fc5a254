//! The one door to the wall clock and to entropy. `engine` never comes here.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::RngExt;

/// Unix time in milliseconds.
#[allow(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, ms)
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
    #[test]
    fn a_seed_can_be_handed_on_as_a_setting() {
        assert!((0..1000).all(|_| super::random_seed() < 1 << 53));
    }
}
