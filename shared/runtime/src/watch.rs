//! A watch on a bucket that cannot fall silent: whenever it ends it is, after a pause, made anew. What the values mean is
//! the caller's business.

use std::time::Duration;

use async_nats::jetstream::kv;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::connect::Nats;

const PAUSE: Duration = Duration::from_millis(250);

/// Sends the present values of a bucket and then every change, until cancelled. After an interruption the present values come again,
/// deletions among them.
pub async fn run(nats: Nats, bucket: &'static str, out: mpsc::Sender<kv::Entry>, cancel: CancellationToken) {
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            reason = watch_until_error(&nats, bucket, &out) => {
                if out.is_closed() {
                    return;
                }
                tracing::debug!(bucket, reason, "the watch ended: making a new one");
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }
}

async fn watch_until_error(nats: &Nats, bucket: &str, out: &mpsc::Sender<kv::Entry>) -> String {
    let store = match nats.bucket(bucket).await {
        Ok(store) => store,
        Err(error) => return error.to_string(),
    };
    let mut entries = match store.watch_with_history(">").await {
        Ok(entries) => entries,
        Err(error) => return error.to_string(),
    };
    while let Some(entry) = entries.next().await {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return error.to_string(),
        };
        if out.send(entry).await.is_err() {
            return "nobody listens any more".into();
        }
    }
    "it ended".into()
}
