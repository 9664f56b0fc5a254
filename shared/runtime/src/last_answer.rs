//! When NATS answered last.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Silence within this is none yet: a question, its limit, and the pause before the next one.
const NOTABLE: Duration = Duration::from_millis(2_500);

/// When the server answered last; nothing is known before the first question.
#[derive(Debug, Default)]
pub(crate) struct LastAnswer(Mutex<Option<Instant>>);

impl LastAnswer {
    pub(crate) fn heard(&self, now: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    pub(crate) fn silent_for(&self, now: Instant) -> Option<Duration> {
        let heard = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(now.saturating_duration_since(heard)).filter(|silence| *silence > NOTABLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_counts_from_the_last_answer() {
        let (answering, begin) = (LastAnswer::default(), Instant::now());
        assert_eq!(answering.silent_for(begin + Duration::from_secs(60)), None, "nothing asks");
        answering.heard(begin);
        assert_eq!(answering.silent_for(begin + NOTABLE), None);
        assert_eq!(answering.silent_for(begin + Duration::from_secs(6)), Some(Duration::from_secs(6)));
        answering.heard(begin + Duration::from_secs(6));
        assert_eq!(answering.silent_for(begin + Duration::from_secs(7)), None);
    }
}
