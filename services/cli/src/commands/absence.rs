//! What a command that waits for jobs says while no scheduler answers. It goes on waiting: the jobs are queued, and the next scheduler runs them.

use std::convert::Infallible;
use std::time::Duration;

use faultline_client::{ClientError, Leader};
use faultline_runtime::connect::Nats;
use indicatif::ProgressBar;
use tokio::time::{Instant, sleep};

const ASK_EVERY: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(2);
/// A standby takes over within its lease of 3 s.
const TELL_AFTER: Duration = Duration::from_secs(4);

/// Whom a wait depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Led,
    NoScheduler,
    NoNats,
}

impl Standing {
    fn words(self) -> &'static str {
        match self {
            Standing::Led => "a scheduler answers again",
            Standing::NoScheduler => {
                "no scheduler answers: the jobs are queued, and run once one does; `faultline status` shows what runs, `faultline up` starts \
                 it; Ctrl-C ends the wait and leaves the jobs queued"
            }
            Standing::NoNats => "NATS does not answer: the wait goes on once it does; `faultline doctor` looks for the cause",
        }
    }
}

/// What was told last, and since when it is not so any more.
#[derive(Debug)]
struct Told {
    standing: Standing,
    otherwise: Option<(Standing, Instant)>,
}

impl Told {
    /// What there is to say now: a change that has lasted, once.
    fn on_answer(&mut self, now: Standing, at: Instant) -> Option<&'static str> {
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
        Some(now.words())
    }
}

/// Asks for as long as the command waits, and says when nobody answers, and when somebody does again.
pub(crate) async fn tell(nats: &Nats, bar: &ProgressBar) -> Infallible {
    let mut told = Told { standing: Standing::Led, otherwise: None };
    loop {
        let standing = match Leader::once(nats, ANSWER).stats().await {
            Err(ClientError::NoLeader { .. }) => Standing::NoScheduler,
            Err(ClientError::Disconnected | ClientError::Silent) => Standing::NoNats,
            // Whatever it says, it answers.
            Ok(_) | Err(_) => Standing::Led,
        };
        if let Some(words) = told.on_answer(standing, Instant::now()) {
            bar.suspend(|| note!("faultline: {words}"));
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
        assert_eq!(after(4, Standing::NoScheduler), Some(Standing::NoScheduler.words()));
        assert_eq!(after(60, Standing::NoScheduler), None, "it has been told");
        assert_eq!((after(62, Standing::NoNats), after(66, Standing::NoNats)), (None, Some(Standing::NoNats.words())));
        assert_eq!(after(68, Standing::Led), Some(Standing::Led.words()));
        assert_eq!((after(70, Standing::NoScheduler), after(72, Standing::Led)), (None, None), "a change of leader is no news");
        assert_eq!((after(74, Standing::NoScheduler), after(78, Standing::NoScheduler).is_some()), (None, true));
    }
}
