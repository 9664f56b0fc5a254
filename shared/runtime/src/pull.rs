//! A pull loop that cannot fall silent: on any error the stream is dropped and, after a pause, made anew.

use std::time::Duration;

use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::connection::Connection;
use crate::wire::Delivered;

/// Left alone a failed stream stays silent for 20 s; without the pause it spins.
const PAUSE: Duration = Duration::from_millis(250);
/// No idle heartbeats: async-nats 0.51 answers one with a pending poll that nothing wakes, so that the next message would
/// wait for the request's own end. A request is short instead, and is dropped at every reconnect, which forgot it.
const EXPIRES: Duration = Duration::from_secs(2);
/// The most messages in one fetch: more cost the server no less for each.
const MAX_FETCH: usize = 256;
/// About the most bytes in one fetch: the server cuts a connection on which 64 MiB are waiting. Not asked for as the fetch's `max_bytes`: the
/// server ends such a fetch with a status of its own, and with three copies of the consumer that status overtakes the messages, which then
/// find no listener.
const MAX_FETCH_BYTES: usize = 8 << 20;
/// What a message counts as before one was seen.
const USUAL_BYTES: usize = 32 << 10;

/// Fetches up to `want()` messages at a time from a durable consumer and hands them on. `want` says how many more can
/// be taken now; while it is 0 nothing is fetched.
pub async fn run(
    nats: Connection,
    stream: &'static str,
    consumer: String,
    want: impl Fn() -> usize + Send,
    out: mpsc::Sender<Delivered>,
    cancel: CancellationToken,
) {
    let what = format!("consumer {stream}/{consumer}");
    let mut largest = USUAL_BYTES;
    while !cancel.is_cancelled() {
        let step = fetch_until_error(&nats, (stream, &consumer, &what), &want, &mut largest, &out);
        tokio::select! {
            biased;
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
    nats: &Connection,
    (stream, name, what): (&str, &str, &str),
    want: &(impl Fn() -> usize + Send),
    largest: &mut usize,
    out: &mpsc::Sender<Delivered>,
) -> Result<(), String> {
    let found = nats.consumer(stream, name).await;
    nats.missing().note(what, found.as_ref().map(drop).map_err(Clone::clone));
    let consumer = found?;
    let mut connections = nats.connections();
    connections.mark_unchanged();
    loop {
        let batch = want().min(at_once(*largest));
        if batch == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            continue;
        }
        let mut messages = consumer.fetch(batch, EXPIRES).await?;
        let mut largest_here = 0;
        loop {
            let next = tokio::select! {
                biased;
                next = messages.next() => next,
                _ = connections.changed() => return Err("reconnected".into()),
            };
            let Some(message) = next else { break };
            let message = message?;
            // Those of this fetch alone count: a single large message must not slow all that follow.
            largest_here = largest_here.max(message.length);
            *largest = largest_here;
            if out.send(message).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// How many messages of this size are asked for at once.
fn at_once(largest: usize) -> usize {
    (MAX_FETCH_BYTES / largest.max(1)).clamp(1, MAX_FETCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_messages_are_fetched_a_few_at_a_time_and_none_is_too_large() {
        assert_eq!([1, USUAL_BYTES, 120 << 10, 1 << 20, usize::MAX].map(at_once), [256, 256, 68, 8, 1]);
    }
}
