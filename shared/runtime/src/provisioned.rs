//! Whether the streams and consumers that a process works with are there: waited for at its start, and looked for while it runs.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use faultline_protocol::streams;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::connect::Nats;

/// How often a process that waits for the streams looks for them.
const WAIT_PAUSE: Duration = Duration::from_millis(500);
/// How often a running process looks whether they are there still.
const LOOK_EVERY: Duration = Duration::from_secs(10);
const NOT_LOOKED: &str = "the streams have not been looked for yet";

/// What is not there, by its name, and why.
#[derive(Debug)]
pub(crate) struct Missing(Mutex<BTreeMap<String, String>>);

impl Default for Missing {
    fn default() -> Self {
        Self(Mutex::new(BTreeMap::from([(String::new(), NOT_LOOKED.to_owned())])))
    }
}

impl Missing {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the process cannot do its work.
    pub(crate) fn reasons(&self) -> Vec<String> {
        self.all().values().cloned().collect()
    }

    /// Takes in how a look came out, and says what is news. An error that says nothing about it changes nothing.
    pub(crate) fn note(&self, what: &str, outcome: Result<(), String>) {
        let mut all = self.all();
        match outcome {
            Ok(()) => {
                if all.remove(what).is_some() {
                    tracing::info!("the {what} is there again");
                }
            }
            Err(reason) if reason.contains("not found") => {
                if all.insert(what.to_owned(), format!("the {what} is not there: {reason}")).is_none() {
                    tracing::warn!(reason, "the {what} is gone: `faultline setup` makes it anew");
                }
            }
            Err(reason) => tracing::debug!(reason, "the {what} could not be looked for"),
        }
    }

    /// Nobody needs it any more.
    pub(crate) fn forget(&self, what: &str) {
        self.all().remove(what);
    }
}

/// Every stream, those of the buckets included.
fn wanted() -> Vec<String> {
    let streams = streams::stream_configs(streams::Provision::default()).into_iter().map(|config| config.name);
    let buckets = streams::bucket_configs(streams::Provision::default()).into_iter().map(|config| format!("KV_{}", config.bucket));
    streams.chain(buckets).collect()
}

impl Nats {
    /// Waits until `faultline setup` has created everything. Says once what it waits for. False when cancelled.
    pub async fn wait_until_provisioned(&self, cancel: &CancellationToken) -> bool {
        let wanted = wanted();
        let mut told = false;
        loop {
            let Some((stream, reason)) = self.first_missing(&wanted).await else {
                self.missing().all().clear();
                return true;
            };
            *self.missing().all() = BTreeMap::from([(String::new(), format!("the stream {stream} is not there: {reason}"))]);
            if !told {
                tracing::warn!(stream, reason, "waiting for the streams: run `faultline setup` (or `faultline up`, which does it)");
                told = true;
            }
            tokio::select! {
                () = cancel.cancelled() => return false,
                () = tokio::time::sleep(WAIT_PAUSE) => {}
            }
        }
    }

    async fn first_missing<'a>(&self, wanted: &'a [String]) -> Option<(&'a str, String)> {
        for name in wanted {
            if let Err(error) = self.jetstream.get_stream(name).await {
                return Some((name, error.to_string()));
            }
        }
        None
    }

    /// Notes which streams go and come, until cancelled.
    pub async fn keep_looking(self, cancel: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let wanted = wanted();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = looks.tick() => {}
            }
            for name in &wanted {
                let found = self.jetstream.get_stream(name).await;
                self.missing().note(&format!("stream {name}"), found.map(drop).map_err(|error| error.to_string()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_is_a_reason_until_it_comes_back_or_nobody_needs_it() {
        let missing = Missing::default();
        assert_eq!(missing.reasons(), [NOT_LOOKED]);
        missing.all().clear();
        missing.note("stream EVENTS", Err("stream not found".into()));
        missing.note("consumer JOBS/sched-low", Err("consumer not found".into()));
        missing.note("stream JOBS", Err("timed out".into()));
        assert_eq!(
            missing.reasons(),
            ["the consumer JOBS/sched-low is not there: consumer not found", "the stream EVENTS is not there: stream not found"]
        );
        missing.note("stream EVENTS", Ok(()));
        missing.forget("consumer JOBS/sched-low");
        assert!(missing.reasons().is_empty());
    }
}
