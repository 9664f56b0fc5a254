//! What was decided before this process started: KV HEALTH, read once. A detector that starts must kill nobody, and raise nobody.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream::kv;
use faultline_protocol::messages::Verdict;
use faultline_protocol::{codec, streams};
use faultline_runtime::connect::Nats;
use futures::{StreamExt, TryStreamExt};
use tokio_util::sync::CancellationToken;

const PAUSE: Duration = Duration::from_millis(500);
const READS_AT_ONCE: usize = 64;

/// The verdicts that stand, and who is registered.
pub(crate) struct Standing {
    pub(crate) store: kv::Store,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) registered: BTreeSet<String>,
}

/// Reads until it succeeds; none when told to stop before.
pub(crate) async fn read(nats: &Nats, stop: &CancellationToken) -> Option<Standing> {
    loop {
        let reason = tokio::select! {
            () = stop.cancelled() => return None,
            read = try_read(nats) => match read {
                Ok(standing) => return Some(standing),
                Err(reason) => reason,
            },
        };
        tracing::warn!(reason, "the verdicts of before cannot be read yet: trying again");
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn try_read(nats: &Nats) -> Result<Standing, String> {
    let nodes = nats.bucket(streams::KV_NODES).await.map_err(|error| error.to_string())?;
    let registered: BTreeSet<String> = keys(&nodes).await?.into_iter().collect();
    let store = nats.bucket(streams::KV_HEALTH).await.map_err(|error| error.to_string())?;
    let reads = futures::stream::iter(keys(&store).await?).map(|key| {
        let store = &store;
        async move { store.get(&key).await.map(|body| read_verdict(&key, &body?)).map_err(|error| error.to_string()) }
    });
    let verdicts: Vec<Option<Verdict>> = reads.buffer_unordered(READS_AT_ONCE).try_collect().await?;
    Ok(Standing { store, verdicts: verdicts.into_iter().flatten().collect(), registered })
}

fn read_verdict(node: &str, body: &[u8]) -> Option<Verdict> {
    match codec::decode_body::<Verdict>(body) {
        Ok(verdict) => Some(verdict).filter(|verdict| verdict.node == node),
        Err(error) => {
            tracing::warn!(node, %error, "a verdict of before cannot be read: the node counts as alive");
            None
        }
    }
}

async fn keys(store: &kv::Store) -> Result<Vec<String>, String> {
    let keys = store.keys().await.map_err(|error| error.to_string())?;
    keys.try_collect().await.map_err(|error| error.to_string())
}
