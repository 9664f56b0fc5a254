//! A pull loop that cannot fall silent: on any error the stream is dropped and, after a pause, made anew.

use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::pull;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::connect::Nats;

/// Left alone a failed stream stays silent for 20 s; without the pause it spins.
const PAUSE: Duration = Duration::from_millis(250);
/// No idle heartbeats: async-nats 0.51 answers one with a pending poll that nobody wakes, so that the next message would
/// wait for the request's own end. A request is short instead, and is dropped at every reconnect, which forgot it.
const EXPIRES: Duration = Duration::from_secs(2);

/// Fetches up to `want()` messages at a time from a durable consumer and hands them on. `want` says how many more can
/// be taken now; while it is 0 nothing is fetched.
pub async fn run(
    nats: Nats,
    stream: &'static str,
    consumer: String,
    want: impl Fn() -> usize + Send,
    out: mpsc::Sender<Message>,
    cancel: CancellationToken,
) {
    let what = format!("consumer {stream}/{consumer}");
    while !cancel.is_cancelled() {
        let step = fetch_until_error(&nats, (stream, &consumer, &what), &want, &out);
        tokio::select! {
            () = cancel.cancelled() => break,
            outcome = step => {
                if let Err(reason) = outcome {
                    tracing::debug!(consumer, reason, "the pull stream ended: making a new one");
                }
                if out.is_closed() {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    nats.missing().forget(&what);
}

async fn fetch_until_error(
    nats: &Nats,
    (stream, name, what): (&str, &str, &str),
    want: &(impl Fn() -> usize + Send),
    out: &mpsc::Sender<Message>,
) -> Result<(), String> {
    let found = nats.jetstream.get_consumer_from_stream::<pull::Config, _, _>(name, stream).await.map_err(|error| error.to_string());
    nats.missing().note(what, found.as_ref().map(drop).map_err(Clone::clone));
    let consumer = found?;
    let mut connections = nats.connections();
    connections.mark_unchanged();
    loop {
        let batch = want();
        if batch == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            continue;
        }
        let mut messages = consumer.batch().max_messages(batch).expires(EXPIRES).messages().await.map_err(|error| error.to_string())?;
        loop {
            let next = tokio::select! {
                next = messages.next() => next,
                _ = connections.changed() => return Err("reconnected".into()),
            };
            let Some(message) = next else { break };
            let message = message.map_err(|error| error.to_string())?;
            if out.send(message).await.is_err() {
                return Ok(());
            }
        }
    }
}
