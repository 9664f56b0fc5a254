//! A consumer of JOBS as a process sees it.

use std::time::Duration;

use faultline_engine::job::Priority;
use faultline_runtime::clock::ms;
use faultline_runtime::wire::{Backlog, Consumer, Delivered, Doing, Incoming};
use futures::FutureExt;
use futures::stream::{self, StreamExt};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::client::Client;
use super::message::Op;

pub(crate) struct ModelConsumer {
    pub(crate) client: Client,
    pub(crate) priority: Priority,
    pub(crate) backlog: Backlog,
}

impl Consumer for ModelConsumer {
    fn backlog(&self) -> Backlog {
        self.backlog
    }

    fn fetch(&self, batch: usize, expires: Duration) -> Doing<'_, Result<Incoming<Result<Delivered, String>>, String>> {
        let (_, closed) = mpsc::unbounded_channel();
        let messages = self.client.stage().map_or(closed, |mut stage| {
            let pull = stage.net.next_request();
            let (of, priority, expires_ms) = (self.client.proc, self.priority, ms(expires));
            let messages = stage.net.links[of].add_pull(pull);
            stage.net.send(of, Op::Pull { priority, pull, want: batch, expires_ms });
            messages
        });
        let until = Instant::now() + expires;
        let fetched = stream::unfold((messages, batch), move |(mut messages, left)| async move {
            if left == 0 {
                return None;
            }
            match tokio::time::timeout_at(until, messages.recv()).await {
                Ok(Some(delivered)) => Some((Ok(delivered), (messages, left - 1))),
                Ok(None) => std::future::pending().await,
                Err(_) => None,
            }
        });
        std::future::ready(Ok(fetched.boxed())).boxed()
    }
}
