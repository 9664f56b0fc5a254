//! A pull loop that cannot fall silent: on any error the stream is dropped and, after a pause, made anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::{Notify, mpsc};
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

/// How many more messages can be taken now. A pull loop waits while it is 0.
#[derive(Debug, Default)]
pub struct Allowance {
    messages: AtomicUsize,
    is_more: Notify,
}

impl Allowance {
    pub fn set(&self, messages: usize) {
        if self.messages.swap(messages, Ordering::SeqCst) == 0 && messages > 0 {
            self.is_more.notify_one();
        }
    }

    async fn get(&self) -> usize {
        loop {
            match self.messages.load(Ordering::SeqCst) {
                0 => self.is_more.notified().await,
                messages => return messages,
            }
        }
    }
}

/// Fetches as many messages at a time from a durable consumer as are allowed, and hands them on.
pub async fn run(
    nats: Connection,
    stream: &'static str,
    consumer: String,
    allowance: Arc<Allowance>,
    out: mpsc::Sender<Delivered>,
    cancel: CancellationToken,
) {
    let what = format!("consumer {stream}/{consumer}");
    let mut largest = USUAL_BYTES;
    while !cancel.is_cancelled() {
        let step = fetch_until_error(&nats, (stream, &consumer, &what), &allowance, &mut largest, &out);
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
    allowance: &Allowance,
    largest: &mut usize,
    out: &mpsc::Sender<Delivered>,
) -> Result<(), String> {
    let found = nats.consumer(stream, name).await;
    nats.missing().note(what, found.as_ref().map(drop).map_err(Clone::clone));
    let consumer = found?;
    let mut connections = nats.connections();
    connections.mark_unchanged();
    loop {
        let batch = allowance.get().await.min(at_once(*largest));
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

    #[tokio::test]
    async fn a_loop_that_may_take_nothing_waits_until_it_may() {
        use futures::FutureExt;
        let allowance = Allowance::default();
        let mut waits = std::pin::pin!(allowance.get());
        assert_eq!(waits.as_mut().now_or_never(), None);
        allowance.set(0);
        assert_eq!(waits.as_mut().now_or_never(), None);
        allowance.set(3);
        allowance.set(2);
        assert_eq!(waits.await, 2);
        // Told while none waited, taken back, given again: the latest counts.
        allowance.set(0);
        allowance.set(7);
        allowance.set(0);
        assert_eq!(allowance.get().now_or_never(), None);
        allowance.set(5);
        assert_eq!(allowance.get().now_or_never(), Some(5));
    }

    #[test]
    fn large_messages_are_fetched_a_few_at_a_time_and_none_is_too_large() {
        assert_eq!([1, USUAL_BYTES, 120 << 10, 1 << 20, usize::MAX].map(at_once), [256, 256, 68, 8, 1]);
    }
}
