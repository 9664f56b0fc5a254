//! A watch on a bucket that cannot fall silent: whenever it ends, and whenever the bucket turns out to be another one or to have lost
//! keys, it is made anew. What the values mean is the caller's business.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::kv;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::connection::Connection;
use crate::generation::Sight;
use crate::wire::Watching;

const PAUSE: Duration = Duration::from_millis(250);

/// What a watch tells.
#[derive(Debug)]
pub enum Watched {
    /// A present value, or a change.
    Entry(kv::Entry),
    /// This key was there, was not deleted, and is gone: the bucket was purged, made anew, or is an older copy. Comes after the present
    /// values.
    Vanished(String),
    /// The bucket was made anew, purged, or is an older copy: what this process has written there may be missing. Comes before the
    /// present values.
    BeganAgain,
}

/// Sends the present values of a bucket and then every change, until cancelled. After an interruption the present values come again,
/// deletions among them.
pub async fn run(nats: Connection, bucket: &'static str, out: mpsc::Sender<Watched>, cancel: CancellationToken) {
    let mut known = Known::default();
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            reason = watch_until_error(&nats, bucket, &mut known, &out) => {
                if out.is_closed() {
                    return;
                }
                tracing::debug!(bucket, reason, "the watch ended: making a new one");
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }
}

/// What was read of a bucket, to notice when that is not true any more.
#[derive(Debug, Default)]
struct Known {
    sight: Option<Sight>,
    /// The revision of each key, deleted ones among them.
    revisions: BTreeMap<String, u64>,
    /// The oldest and the newest revision at the last comparison. A look that was made before a change arrived here proves nothing, so
    /// only what was known one look ago is held against it.
    compared: Option<(u64, u64)>,
    /// A key has gone without a note.
    is_incomplete: bool,
}

impl Known {
    /// Whether the bucket is another one, or an older copy of itself.
    fn is_of_another(&self, now: &Sight) -> bool {
        let newest = self.compared.map_or(0, |(_, newest)| newest);
        self.sight.is_some_and(|former| now.begins_again_after(&former)) || now.last_seq < newest
    }

    /// Compares what was read with a look at the bucket. True when it has to be read from the beginning.
    fn compare(&mut self, now: &Sight) -> bool {
        let oldest = self.revisions.values().min().copied().unwrap_or(u64::MAX);
        let newest = self.revisions.values().max().copied().unwrap_or(0);
        let former = self.compared.replace((oldest, newest));
        self.is_incomplete = former.is_some_and(|(former, _)| former == oldest && now.first_seq > oldest);
        let newest_then = former.map_or(0, |(_, newest)| newest);
        self.is_incomplete || now.last_seq < newest_then || self.sight.is_some_and(|sight| now.created_ns != sight.created_ns)
    }

    /// A new watch begins, and finds the bucket like this. Returns what was known before, and whether that is of another bucket.
    fn begin(&mut self, now: Sight) -> (BTreeMap<String, u64>, bool) {
        let is_another = std::mem::take(&mut self.is_incomplete) || self.is_of_another(&now);
        (self.sight, self.compared) = (Some(now), None);
        (std::mem::take(&mut self.revisions), is_another)
    }
}

async fn watch_until_error(nats: &Connection, bucket: &str, known: &mut Known, out: &mpsc::Sender<Watched>) -> String {
    const CLOSED: &str = "the receiver is gone";
    let store = match nats.open_bucket(bucket).await {
        Ok(store) => store,
        Err(error) => return error.to_string(),
    };
    let Watching { sight, is_empty, mut entries } = match store.watch().await {
        Ok(watching) => watching,
        Err(reason) => return reason,
    };
    let (former, is_another) = known.begin(sight);
    if is_another {
        tracing::warn!(bucket, "the bucket has lost what was in it: reading it from the beginning");
        if out.send(Watched::BeganAgain).await.is_err() {
            return CLOSED.into();
        }
    }
    let mut looks = nats.looks();
    looks.mark_unchanged();
    let mut before = Some(former);
    if is_empty && !tell_vanished(known, before.take(), out).await {
        return CLOSED.into();
    }
    loop {
        let entry = tokio::select! {
            biased;
            entry = entries.next() => entry,
            Ok(()) = looks.changed() => {
                if nats.last_sight(store.stream()).is_some_and(|now| known.compare(&now)) {
                    return "the bucket has lost what was in it".into();
                }
                continue;
            }
        };
        let entry = match entry {
            Some(Ok(entry)) => entry,
            Some(Err(reason)) => return reason,
            None => return "it ended".into(),
        };
        known.revisions.insert(entry.key.clone(), entry.revision);
        let was_the_last = entry.delta == 0;
        if out.send(Watched::Entry(entry)).await.is_err() || (was_the_last && !tell_vanished(known, before.take(), out).await) {
            return CLOSED.into();
        }
    }
}

/// All present values have come: tells which of the former ones were not among them. False when the receiver is gone.
async fn tell_vanished(known: &Known, before: Option<BTreeMap<String, u64>>, out: &mpsc::Sender<Watched>) -> bool {
    for (key, _) in before.into_iter().flatten().filter(|(key, _)| !known.revisions.contains_key(key)) {
        if out.send(Watched::Vanished(key)).await.is_err() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(created_ns: i128, first_seq: u64, last_seq: u64) -> Sight {
        Sight { created_ns, first_seq, last_seq }
    }

    fn known() -> Known {
        let revisions = BTreeMap::from([("a".into(), 4), ("b".into(), 12)]);
        Known { sight: Some(sight(1, 3, 9)), revisions, compared: Some((4, 12)), is_incomplete: false }
    }

    #[test]
    fn a_bucket_that_was_purged_or_went_back_or_is_another_one_is_read_from_the_beginning() {
        assert!(!known().compare(&sight(1, 4, 12)));
        assert!(known().compare(&sight(1, 13, 12)), "purged: everything begins after what was read");
        assert!(known().compare(&sight(1, 5, 12)), "one key is gone without a note");
        assert!(known().compare(&sight(1, 4, 11)), "an older copy");
        assert!(known().compare(&sight(2, 4, 12)), "made anew");
        for (now, is_another) in [(sight(1, 4, 12), false), (sight(1, 4, 11), true), (sight(2, 4, 90), true)] {
            assert_eq!(known().begin(now).1, is_another, "{now:?}");
        }
        let mut purged = known();
        purged.compare(&sight(1, 13, 12));
        assert!(purged.begin(sight(1, 13, 12)).1);
    }

    #[test]
    fn a_look_that_crosses_a_change_proves_nothing() {
        let mut known = known();
        // The only old key was written again a moment ago: its entry is on the way.
        known.revisions.insert("a".into(), 13);
        assert!(!known.compare(&sight(1, 5, 12)), "the look was older than the entry");
        known.revisions.insert("b".into(), 14);
        assert!(!known.compare(&sight(1, 13, 15)));
        assert!(!known.begin(sight(1, 16, 17)).1, "changes while the watch was away are not a loss");
    }

    #[test]
    fn an_empty_bucket_has_nothing_to_lose() {
        let mut known = Known { sight: Some(sight(1, 1, 0)), ..Known::default() };
        assert!(!known.compare(&sight(1, 8, 9)) && !known.compare(&sight(1, 8, 9)) && !known.begin(sight(1, 8, 9)).1);
        assert!(!Known::default().begin(sight(1, 1, 0)).1);
    }
}
