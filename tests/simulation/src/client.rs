//! What a process asks of the server, as NATS's client would: every question is a message, and every answer may be lost.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use async_nats::datetime::{DateTime, from_nanos};
use faultline_runtime::generation::Sight;
use faultline_runtime::sight::Look;
use faultline_runtime::wire::Incoming;
use futures::stream::{self, StreamExt};

use super::bug::Bug;
use super::cast::Proc;
use super::message::{Op, Reply, Stored};
use super::stage::Stage;
use super::stream::static_name;
use super::world::World;

/// How long the client waits for an answer of its own accord.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// How often a stream that is followed is asked for what is new. An answer without news says nothing, so there is no question then.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);
pub(crate) const TIMED_OUT: &str = "timed out";

/// One life of a process, as a client of the server.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) world: World,
    pub(crate) proc: Proc,
    pub(crate) life: u32,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("proc", &self.proc).finish_non_exhaustive()
    }
}

pub(crate) fn datetime(unix_ms: u64) -> DateTime {
    from_nanos(i128::from(unix_ms) * 1_000_000).expect("it is a time of this century")
}

impl Client {
    /// The stage, while this life of the process lasts.
    pub(crate) fn stage(&self) -> Option<MutexGuard<'_, Stage>> {
        Some(self.world.lock()).filter(|stage| stage.net.links[self.proc].life == self.life)
    }

    /// Nothing comes of what a dead process still asks.
    pub(crate) async fn ask(&self, op: Op, limit: Duration) -> Result<Reply, String> {
        let asked = self.stage().map(|mut stage| stage.net.request(self.proc, op));
        let Some(reply) = asked else { return std::future::pending().await };
        tokio::time::timeout(limit, reply).await.ok().and_then(Result::ok).ok_or_else(|| TIMED_OUT.to_owned())
    }

    pub(crate) fn is_worker(&self, stage: &Stage) -> bool {
        stage.cast.workers().contains(&self.proc)
    }

    pub(crate) async fn look_at(&self, stream: &str) -> Result<(Look, Sight), String> {
        match self.ask(Op::Look { stream: static_name(stream) }, ANSWER_LIMIT).await? {
            Reply::Look(look, sight) => Ok((look, sight)),
            other => Err(format!("{other:?}")),
        }
    }

    pub(crate) async fn since(&self, stream: &'static str, seq: u64) -> Result<(Sight, Vec<Arc<Stored>>), String> {
        match self.ask(Op::Since { stream, seq }, ANSWER_LIMIT).await? {
            Reply::Since(sight, stored) => Ok((sight, stored)),
            other => Err(format!("{other:?}")),
        }
    }

    /// What is in a stream after a sequence, and what comes into it: each with how many more there are.
    pub(crate) fn follow_from(self, stream: &'static str, first: Vec<Arc<Stored>>) -> Incoming<(Arc<Stored>, u64)> {
        let news = stream::unfold((self, 0, Some(first)), move |(wire, after, first)| async move {
            let found = match first {
                Some(found) => found,
                None => loop {
                    tokio::time::sleep(FOLLOW_EVERY).await;
                    if wire.stage().is_some_and(|stage| !stage.has_news(stream, after)) {
                        continue;
                    }
                    match wire.since(stream, after).await {
                        Ok((_, found)) if !found.is_empty() => break found,
                        Ok(_) | Err(_) => {}
                    }
                },
            };
            let (last, pending) = (found.last().map_or(after, |last| last.seq), found.len() as u64);
            Some((found.into_iter().zip((0..pending).rev()).collect::<Vec<_>>(), (wire, last, None)))
        });
        news.flat_map(stream::iter).boxed()
    }

    /// NATS's client would have told the truth about a conflict; this one forges what is read after it.
    pub(crate) fn forge(&self, key: &str) -> bool {
        self.stage().is_some_and(|mut stage| stage.disbelieved.remove(&(self.proc, key.to_owned())))
    }

    pub(crate) fn note_conflict(&self, key: &str) {
        if let Some(mut stage) = self.stage()
            && stage.net.has(Bug::NoReadBackOfConflict)
        {
            stage.disbelieved.insert((self.proc, key.to_owned()));
        }
    }
}
