//! What a test reads about the past of its cluster: the logs of its processes, and EVENTS.

use async_nats::jetstream::consumer::pull::OrderedConfig;
use faultline_protocol::messages::{ClusterEvent, EventBatch, EventKind};
use faultline_protocol::{codec, streams};
use faultline_runtime::clock::random_u128;
use futures::StreamExt;

use super::Cluster;

impl Cluster {
    /// All that the processes of that name have logged so far.
    pub fn log(&self, name: &str) -> String {
        let prefix = format!("{name}-");
        let entries = std::fs::read_dir(self.logs.path()).into_iter().flatten().flatten();
        let own = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
        own.map(|entry| std::fs::read_to_string(entry.path()).unwrap_or_default()).collect()
    }

    /// The cluster's history so far, in its order.
    pub async fn events(&self) -> Vec<ClusterEvent> {
        let stream = self.nats.jetstream.get_stream(streams::EVENTS).await.expect("the stream EVENTS is there");
        let last = stream.cached_info().state.last_sequence;
        let mut events = Vec::new();
        if last == 0 {
            return events;
        }
        let config = OrderedConfig { name: Some(format!("test-{:032x}", random_u128())), ..OrderedConfig::default() };
        let mut messages = stream.create_consumer(config).await.expect("a consumer").messages().await.expect("its messages");
        while let Some(message) = messages.next().await {
            let message = message.expect("a message of EVENTS");
            events.extend(codec::decode::<EventBatch>(message.headers.as_ref(), &message.payload).expect("a batch of events").events);
            if message.info().expect("a JetStream message").stream_sequence >= last {
                break;
            }
        }
        events
    }

    /// The events of these kinds, in their order.
    pub async fn events_of(&self, kinds: &[EventKind]) -> Vec<ClusterEvent> {
        self.events().await.into_iter().filter(|event| kinds.contains(&event.kind)).collect()
    }
}
