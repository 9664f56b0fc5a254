//! Why there is no NATS for a test.

use std::time::Duration;

/// How long a server may take from its start to its first `INFO`. Milliseconds usually; minutes only on a machine that swaps.
pub(super) const START_LIMIT: Duration = Duration::from_secs(30);

/// Why there is no NATS for a test.
#[derive(Debug, thiserror::Error)]
pub enum TestNatsError {
    /// `FAULTLINE_TEST_NATS` holds something else than `docker` or `process`.
    #[error("FAULTLINE_TEST_NATS is '{0}': it takes docker or process, or is left unset")]
    UnknownChoice(String),
    /// No usable engine or image.
    #[error("no NATS in a container: {0}")]
    Container(String),
    /// No usable local server.
    #[error("no local nats-server: {0}")]
    Process(String),
    /// It started and ended by itself: a bad configuration, or another program took the port.
    #[error("nats-server on port {port} ended: {detail}")]
    Ended {
        /// The loopback port.
        port: u16,
        /// Its last words.
        detail: String,
    },
    /// It started and never answered.
    #[error("nats-server on port {port} did not answer within {} s: {detail}", START_LIMIT.as_secs())]
    Silent {
        /// The loopback port.
        port: u16,
        /// What was seen last.
        detail: String,
    },
}

impl TestNatsError {
    /// Did another program take the port between our look and the server's bind? The words are the server's and the engine's.
    pub(super) fn is_port_taken(&self) -> bool {
        let text = self.to_string();
        ["address already in use", "port is already allocated"].iter().any(|words| text.contains(words))
    }
}
