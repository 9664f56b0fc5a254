//! Whether a scheduler answers, for what depends on it for longer than one question: an absence is told once it has lasted, since a standby takes
//! over. The caller chooses the words.

use std::convert::Infallible;
use std::time::Duration;

use faultline_runtime::connect::Nats;
use tokio::time::{Instant, sleep};

use crate::{ClientError, Leader};

const ASK_EVERY: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(2);
/// A standby takes over within its lease of 3 s.
const TELL_AFTER: Duration = Duration::from_secs(4);

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Led,
    NoScheduler,
    NoNats,
}

/// What was told last, and since when it is not so any more.
#[derive(Debug)]
struct Told {
    standing: Standing,
    otherwise: Option<(Standing, Instant)>,
}

impl Told {
    /// What there is to say now: a change that has lasted, once.
    fn on_answer(&mut self, now: Standing, at: Instant) -> Option<Standing> {
        if now == self.standing {
            self.otherwise = None;
            return None;
        }
        let since = match self.otherwise {
            Some((standing, since)) if standing == now => since,
            Some(_) | None => at,
        };
        self.otherwise = Some((now, since));
        if now != Standing::Led && at.duration_since(since) < TELL_AFTER {
            return None;
        }
        (self.standing, self.otherwise) = (now, None);
        Some(now)
    }
}

/// Asks until it is dropped, and tells of each change; at first a scheduler is taken to answer.
pub async fn follow(nats: &Nats, mut tell: impl FnMut(Standing)) -> Infallible {
    let mut told = Told { standing: Standing::Led, otherwise: None };
    loop {
        let standing = match Leader::once(nats, ANSWER).stats().await {
            Err(ClientError::NoLeader { .. }) => Standing::NoScheduler,
            Err(ClientError::Disconnected | ClientError::Silent) => Standing::NoNats,
            // Whatever it says, it answers.
            Ok(_) | Err(_) => Standing::Led,
        };
        if let Some(changed) = told.on_answer(standing, Instant::now()) {
            tell(changed);
        }
        sleep(ASK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absence_is_told_once_it_has_lasted_and_again_whenever_it_changes() {
        let began = Instant::now();
        let mut told = Told { standing: Standing::Led, otherwise: None };
        let mut after = |s, standing| told.on_answer(standing, began + Duration::from_secs(s));
        assert_eq!(after(0, Standing::NoScheduler), None);
        assert_eq!(after(2, Standing::NoScheduler), None, "a standby may take over");
        assert_eq!(after(4, Standing::NoScheduler), Some(Standing::NoScheduler));
        assert_eq!(after(60, Standing::NoScheduler), None, "it has been told");
        assert_eq!((after(62, Standing::NoNats), after(66, Standing::NoNats)), (None, Some(Standing::NoNats)));
        assert_eq!(after(68, Standing::Led), Some(Standing::Led));
        assert_eq!((after(70, Standing::NoScheduler), after(72, Standing::Led)), (None, None), "a change of leader is not reported");
        assert_eq!((after(74, Standing::NoScheduler), after(78, Standing::NoScheduler).is_some()), (None, true));
    }
}
