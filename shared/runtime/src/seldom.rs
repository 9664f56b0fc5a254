//! A log line that would come thousands of times a second comes now and then, with how often it would have.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lets one of many through.
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    kept_back: u64,
}

impl Seldom {
    pub fn new(every: Duration) -> Self {
        Self { every, state: Mutex::default() }
    }

    /// How many were kept back since the last one that was let through, when this one is.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| now.duration_since(last) < self.every) {
            state.kept_back += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.kept_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_period_comes_and_says_how_many_did_not() {
        let (seldom, began) = (Seldom::new(Duration::from_secs(10)), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        assert_eq!([at(0), at(1), at(9), at(10), at(25)].map(|now| seldom.admit(now)), [Some(0), None, None, Some(2), Some(0)]);
    }
}
