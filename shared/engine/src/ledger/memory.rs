//! What one scheduler knows of the ledger and of the streams that it counts, from its own looks at them: as their leader and as a standby.
//!
//! The stored ledger goes back together with the streams when a whole store is put back, and then agrees with them. Only a process that saw
//! more can tell. So what it saw is kept here until the stored ledger tells of what is gone, under this leader or another. Asking the server is the
//! caller's.

use std::collections::BTreeMap;

use super::stores::{self, Change, Setback, Sight, Stream};
use super::{Anchor, Ledger, LedgerState};

/// A replica that has just begun to lead a stream may not have applied everything yet: only what is still missing after this is believed.
pub const DOUBT_MS: u64 = 5_000;
/// A leader that knows as much has told of it by then: it has looked again after its doubt, read RESULTS and stored what it found.
pub const TOLD_WITHIN_MS: u64 = 10_000;

/// One answer of the server about a stream.
#[derive(Debug, Clone, Copy)]
pub struct Glance {
    pub sight: Sight,
    pub replicas: usize,
    /// By the server's clock.
    pub at_ms: u64,
    /// By the process's own clock, which never jumps.
    pub steady_ms: u64,
}

/// A stream that is less than it was: as it was seen last before, and first after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fall {
    pub stream: Stream,
    pub change: Change,
    pub before: Sight,
    pub after: Sight,
    pub replicas: usize,
    pub at_ms: u64,
    /// When `before` was seen, by the server's clock.
    pub whole_at_ms: u64,
    steady_ms: u64,
    /// Of the newest ledger that was known.
    version: u64,
}

impl Fall {
    pub fn setback(&self) -> Setback {
        let Self { stream, change, before, after, at_ms, whole_at_ms, .. } = *self;
        let (store, from_seq, to_seq) = (stream.as_str().to_owned(), before.last_seq, after.last_seq);
        Setback { store, change, from_seq, to_seq, messages: before.messages, at_ms, whole_at_ms }
    }
}

#[derive(Debug, Clone, Copy)]
struct Known {
    sight: Sight,
    /// When that was, by the server's clock; it may have been later.
    at_ms: u64,
    doubted_since_ms: Option<u64>,
}

impl Known {
    fn new(sight: Sight, at_ms: u64) -> Self {
        Self { sight, at_ms, doubted_since_ms: None }
    }
}

#[derive(Debug, Default)]
pub struct Memory {
    /// The newest ledger that this process has stored, or has seen while it stood by.
    newest: Option<LedgerState>,
    /// Its anchor, until RESULTS is another stream.
    anchor: Option<Anchor>,
    streams: BTreeMap<Stream, Known>,
    /// Those that the stored ledger does not tell of yet.
    falls: Vec<Fall>,
}

impl Memory {
    /// Takes in what the server says of a stream. Returns what is gone, once that is certain.
    pub fn saw(&mut self, stream: Stream, glance: Glance) -> Option<Fall> {
        let Glance { sight, replicas, at_ms, steady_ms } = glance;
        let known = self.streams.entry(stream).or_insert(Known::new(sight, at_ms));
        let Some(change) = known.sight.change_to(sight, replicas) else {
            *known = Known::new(sight, at_ms);
            return None;
        };
        let since_ms = *known.doubted_since_ms.get_or_insert(steady_ms);
        if replicas > 1 && steady_ms.saturating_sub(since_ms) < DOUBT_MS {
            return None;
        }
        Some(self.note(stream, change, glance))
    }

    /// Another message stands where the anchor stood: RESULTS went back, and has grown again since. To be told before [`Memory::saw`].
    pub fn saw_rewritten(&mut self, glance: Glance) -> Option<Fall> {
        let anchor = self.anchor?;
        let known = self.streams.get(&Stream::Results)?;
        // It is another stream, or still shorter: that says more.
        if known.sight.change_to(glance.sight, glance.replicas).is_some() {
            return None;
        }
        let after = Sight { last_seq: glance.sight.last_seq.min(anchor.seq.saturating_sub(1)), ..glance.sight };
        let fall = self.note(Stream::Results, Change::WentBack, Glance { sight: after, ..glance });
        self.streams.insert(Stream::Results, Known::new(glance.sight, glance.at_ms));
        Some(fall)
    }

    fn note(&mut self, stream: Stream, change: Change, glance: Glance) -> Fall {
        let Glance { sight: after, replicas, at_ms, steady_ms } = glance;
        let now = Known::new(after, at_ms);
        let Known { sight: before, at_ms: whole_at_ms, .. } = self.streams.insert(stream, now).unwrap_or(now);
        let version = self.newest.as_ref().map_or(0, |known| known.version);
        let fall = Fall { stream, change, before, after, replicas, at_ms, whole_at_ms, steady_ms, version };
        if stream == Stream::Results {
            self.anchor = None;
        }
        if self.falls.len() < stores::KEPT {
            self.falls.push(fall);
        }
        fall
    }

    /// Takes in the stored ledger. One with a lower number than the newest is an older copy, or another ledger.
    pub fn saw_ledger(&mut self, state: &LedgerState) {
        if self.newest.as_ref().is_none_or(|known| state.version > known.version) {
            self.adopt(state);
        }
    }

    /// This is the ledger from now on: this process stored it.
    pub fn adopt(&mut self, state: &LedgerState) {
        self.falls.retain(|fall| !stores::tells(&state.setbacks, &fall.setback()));
        // While RESULTS is less than it was, the anchor of before would be missed once more when it has grown again.
        self.anchor = state.anchor.filter(|_| self.falls.iter().all(|fall| fall.stream != Stream::Results));
        // A process that has just started knows of the streams what the ledger says.
        let results = state.results.map(|sight| Sight { last_seq: sight.last_seq.max(state.counts.through_seq), ..sight });
        for (stream, sight) in [(Stream::Jobs, state.queue.sight), (Stream::Results, results)] {
            if let Some(sight) = sight {
                self.streams.entry(stream).or_insert(Known::new(sight, state.seen_at_ms()));
            }
        }
        self.newest = Some(state.clone());
    }

    pub fn newest(&self) -> Option<&LedgerState> {
        self.newest.as_ref()
    }

    /// By which RESULTS is recognised after a time in which it was not looked at.
    pub fn anchor(&self) -> Option<Anchor> {
        self.anchor
    }

    /// Whether a stream seems to be less than it was, and another look must say so too.
    pub fn is_in_doubt(&self) -> bool {
        self.streams.values().any(|known| known.doubted_since_ms.is_some())
    }

    /// What the stored ledger does not tell of yet, oldest first.
    pub fn falls(&self) -> &[Fall] {
        &self.falls
    }

    /// Whether these tell of everything that is known to be gone.
    pub fn is_told_by(&self, setbacks: &[Setback]) -> bool {
        self.falls.iter().all(|fall| stores::tells(setbacks, &fall.setback()))
    }

    /// What a standby has to write into the stored ledger itself: the leader does not know it, or it would have told.
    pub fn overdue(&self, steady_ms: u64) -> Vec<Setback> {
        let overdue = |fall: &&Fall| steady_ms.saturating_sub(fall.steady_ms) >= TOLD_WITHIN_MS;
        self.falls.iter().filter(overdue).map(Fall::setback).collect()
    }
}

impl Ledger {
    /// A stream went back after this ledger was stored. To be called before [`Ledger::on_results`], in the order in which that was seen: what
    /// was counted beyond it is gone, also if the stream has outgrown it. A ledger that was stored afterwards counts what is left.
    pub fn on_fall(&mut self, fall: &Fall) {
        let Fall { stream, before, after, replicas, at_ms, whole_at_ms, version, .. } = *fall;
        if self.state.version > version || stores::tells(&self.state.setbacks, &fall.setback()) {
            return;
        }
        match stream {
            Stream::Results if self.change_of_results(after, replicas).is_some() => {
                (self.state.results, self.results_seen_at_ms) = (Some(before), whole_at_ms);
                self.on_results(after, replicas, false, at_ms);
            }
            Stream::Jobs if self.state.queue.sight.is_some_and(|known| known.change_to(after, replicas).is_some()) => {
                (self.state.queue.sight, self.jobs_seen_at_ms) = (Some(before), whole_at_ms);
                self.on_jobs(after, replicas, at_ms);
            }
            Stream::Jobs | Stream::Results => {}
        }
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
