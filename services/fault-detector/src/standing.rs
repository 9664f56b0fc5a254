//! What was decided before this process started: KV HEALTH, read once. A detector that starts must neither kill nor revive a node.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv::{Entry, Operation};
use faultline_protocol::messages::Verdict;
use faultline_protocol::{codec, streams};
use faultline_runtime::connection::Connection;
use faultline_runtime::wire::Bucket;
use futures::{StreamExt, TryStreamExt};
use tokio_util::sync::CancellationToken;

const PAUSE: Duration = Duration::from_millis(500);
const READS_AT_ONCE: usize = 64;

/// The verdicts that stand, and who is registered.
pub(crate) struct Standing {
    pub(crate) store: Arc<dyn Bucket>,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) registered: BTreeSet<String>,
}

/// Reads until it succeeds; none when told to stop before.
pub(crate) async fn read(nats: &Connection, stop: &CancellationToken) -> Option<Standing> {
    loop {
        let reason = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            read = try_read(nats) => match read {
                Ok(standing) => return Some(standing),
                Err(reason) => reason,
            },
        };
        tracing::warn!(reason, "previous verdicts cannot be read yet: trying again");
        tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn try_read(nats: &Connection) -> Result<Standing, String> {
    let nodes = nats.open_bucket(streams::KV_NODES).await.map_err(|error| error.to_string())?;
    let registered: BTreeSet<String> = nodes.keys().await?.into_iter().collect();
    let store = nats.open_bucket(streams::KV_HEALTH).await.map_err(|error| error.to_string())?;
    let reads = futures::stream::iter(store.keys().await?).map(|key| {
        let store = &store;
        async move { Ok::<_, String>(store.entry(&key).await?.and_then(|entry| read_verdict(&key, &entry))) }
    });
    let verdicts: Vec<Option<Verdict>> = reads.buffer_unordered(READS_AT_ONCE).try_collect().await?;
    Ok(Standing { store, verdicts: verdicts.into_iter().flatten().collect(), registered })
}

fn read_verdict(node: &str, entry: &Entry) -> Option<Verdict> {
    if entry.operation != Operation::Put {
        return None;
    }
    match codec::decode_body::<Verdict>(&entry.value) {
        Ok(verdict) => Some(verdict).filter(|verdict| verdict.node == node),
        Err(error) => {
            tracing::warn!(node, %error, "unreadable previous verdict: the node counts as alive");
            None
        }
    }
}
