//! Whether the streams and consumers that a process works with are there: waited for at its start, and looked for while it runs.

use std::collections::BTreeMap;
use std::time::Duration;

use faultline_protocol::streams;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::connection::Connection;
use crate::count::Count;
use crate::generation::{Generation, Sight};

/// How often a process that waits for the streams looks for them.
const WAIT_PAUSE: Duration = Duration::from_millis(500);
/// How often a running process looks whether they are there still.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The same when something was not there.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How often the time is asked for before the work begins without it.
const TIME_TRIES: usize = 3;

impl Connection {
    /// Waits until `faultline setup` has created everything. Says once what it waits for. False when cancelled.
    pub async fn wait_until_provisioned(&self, cancel: &CancellationToken) -> bool {
        let wanted = streams::names();
        let mut told = false;
        loop {
            let Some((stream, reason)) = self.first_missing(&wanted).await else {
                self.missing().all().clear();
                // What the process writes down is to be in the cluster's time from the beginning. A later look tries again.
                for _ in 0..TIME_TRIES {
                    if self.learn_time().await {
                        break;
                    }
                }
                return true;
            };
            *self.missing().all() = BTreeMap::from([(String::new(), format!("missing stream {stream}: {reason}"))]);
            if !told {
                tracing::warn!(stream, reason, "waiting for the streams: run `faultline setup` (or `faultline up`, which does it)");
                told = true;
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => return false,
                () = tokio::time::sleep(WAIT_PAUSE) => {}
            }
        }
    }

    async fn first_missing<'a>(&self, wanted: &'a [String]) -> Option<(&'a str, String)> {
        let connection = self.connections().get();
        for name in wanted {
            match self.sight(name).await {
                Ok(sight) => drop(self.generations().note(name, sight, connection)),
                Err(reason) => return Some((name, reason)),
            }
        }
        None
    }

    /// Notes which streams go and come, and which begin again, until cancelled.
    pub async fn keep_looking(self, cancel: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let wanted = streams::names();
        let mut connections = self.connections();
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                _ = looks.tick() => {}
                // While this process was away the store may have become another one.
                Ok(()) = connections.changed() => {}
            }
            let connection = connections.see();
            self.learn_time().await;
            let mut is_complete = true;
            for name in &wanted {
                let found = self.sight(name).await;
                is_complete &= found.is_ok();
                if let Ok(sight) = &found
                    && self.generations().note(name, *sight, connection)
                {
                    tracing::warn!(stream = name, "the stream begins again: it was recreated, or restored from an older copy");
                }
                self.missing().note(&format!("stream {name}"), found.map(drop));
            }
            self.generations().round_is_over();
            if !is_complete {
                // A server that has just started does not know all its streams yet, or `setup` is about to make one.
                looks.reset_after(LOOK_AGAIN);
            }
        }
    }
}

impl Connection {
    /// Which stream of this name there is, as far as this process knows.
    pub fn generation(&self, stream: &str) -> Generation {
        self.generations().generation(stream, self.connections().get())
    }

    /// The stream as it was last looked at.
    pub fn last_sight(&self, stream: &str) -> Option<Sight> {
        self.generations().seen().get(stream).map(|seen| seen.sight)
    }

    /// Changes when all streams have been looked at: every few seconds, and soon after each reconnect.
    pub fn looks(&self) -> Count {
        self.generations().rounds.subscribe()
    }

    /// Whether a position in this stream that was taken in that generation is worth something still.
    pub fn is_current(&self, stream: &str, number: u64) -> bool {
        self.generation(stream) == Generation { number, is_certain: true }
    }
}
