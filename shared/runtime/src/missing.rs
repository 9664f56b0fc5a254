//! Streams and consumers that a process needs and that are not there.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    pub(crate) fn all(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
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
                    tracing::info!("the {what} exists again");
                }
            }
            Err(reason) if reason.contains("not found") => {
                if all.insert(what.to_owned(), format!("missing {what}: {reason}")).is_none() {
                    tracing::warn!(reason, "missing {what}: recreate it with `faultline setup`");
                }
            }
            Err(reason) => tracing::debug!(reason, "the {what} could not be looked for"),
        }
    }

    /// It is not needed any more.
    pub(crate) fn forget(&self, what: &str) {
        self.all().remove(what);
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
        assert_eq!(missing.reasons(), ["missing consumer JOBS/sched-low: consumer not found", "missing stream EVENTS: stream not found"]);
        missing.note("stream EVENTS", Ok(()));
        missing.forget("consumer JOBS/sched-low");
        assert!(missing.reasons().is_empty());
    }
}
