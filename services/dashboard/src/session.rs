//! Who has signed in on the page: a random id for each, which its cookie holds instead of the token. Time is an argument.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use faultline_runtime::clock::random_u128;
use subtle::ConstantTimeEq;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::limits::MAX_SESSIONS;

/// How long one stays signed in.
pub(crate) const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// All that are signed in, oldest first. They end with the process.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<Vec<Session>>);

#[derive(Debug)]
struct Session {
    id: String,
    until: Instant,
    /// Told when it is gone: what was opened with it, such as a WebSocket, ends too.
    ended: CancellationToken,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

/// What a request was let in with: what stays open must close when it is over.
#[derive(Debug, Clone)]
pub(crate) struct Leave(Option<(Instant, CancellationToken)>);

impl Leave {
    /// Of those who carry the token themselves, or need none.
    pub(crate) const UNLIMITED: Leave = Leave(None);

    /// Returns when one was signed out, or was signed in for too long.
    pub(crate) async fn over(&self) {
        match &self.0 {
            None => std::future::pending().await,
            Some((until, ended)) => tokio::select! {
                () = ended.cancelled() => {}
                () = tokio::time::sleep_until(*until) => {}
            },
        }
    }
}

impl Sessions {
    /// Begins one and gives its id: 256 random bits in hexadecimal.
    pub(crate) fn begin(&self, now: Instant) -> String {
        let id = format!("{:032x}{:032x}", random_u128(), random_u128());
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|session| session.until > now);
        if sessions.len() >= MAX_SESSIONS {
            sessions.remove(0);
        }
        sessions.push(Session { id: id.clone(), until: now + LIFETIME, ended: CancellationToken::new() });
        id
    }

    pub(crate) fn find(&self, id: &str, now: Instant) -> Option<Leave> {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = sessions.iter().filter(|session| session.until > now).find(|session| same(&session.id, id))?;
        Some(Leave(Some((found.until, found.ended.clone()))))
    }

    pub(crate) fn end(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|session| !same(&session.id, id));
    }
}

fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_found_until_it_ends() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let (first, second) = (sessions.begin(now), sessions.begin(now));
        assert!(first != second && first.len() == 64);
        assert!(sessions.find(&first, now).is_some() && sessions.find(&second, now + LIFETIME / 2).is_some());
        assert!(sessions.find(&first, now + LIFETIME).is_none(), "it expires");
        assert!(sessions.find("", now).is_none() && sessions.find(&first[..63], now).is_none());
        sessions.end(&first);
        assert!(sessions.find(&first, now).is_none() && sessions.find(&second, now).is_some());
    }

    #[test]
    fn there_are_only_so_many_and_the_oldest_makes_room() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let ids: Vec<String> = (0..=MAX_SESSIONS).map(|_| sessions.begin(now)).collect();
        assert!(sessions.find(&ids[0], now).is_none());
        assert!(ids[1..].iter().all(|id| sessions.find(id, now).is_some()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_opened_with_it_ends_with_it() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let (left, expired) = (sessions.begin(now), sessions.begin(now));
        let leave = sessions.find(&left, now).unwrap();
        sessions.end(&left);
        tokio::time::timeout(Duration::from_secs(1), leave.over()).await.unwrap();
        let leave = sessions.find(&expired, now).unwrap();
        assert!(tokio::time::timeout(LIFETIME - Duration::from_secs(1), leave.over()).await.is_err());
        tokio::time::timeout(Duration::from_secs(2), leave.over()).await.unwrap();
        assert!(tokio::time::timeout(LIFETIME * 2, Leave::UNLIMITED.over()).await.is_err());
    }
}
