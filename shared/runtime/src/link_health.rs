//! What a process knows of its link to NATS.

use std::sync::atomic::AtomicBool;

use prometheus::IntCounter;
use tokio_util::sync::CancellationToken;

use crate::generation::Generations;
use crate::last_answer::LastAnswer;
use crate::missing::Missing;

/// What is known about the link: most of it comes from the event callback.
#[derive(Debug)]
pub(crate) struct LinkHealth {
    pub(crate) connects: IntCounter,
    pub(crate) slow_consumer_drops: IntCounter,
    pub(crate) permission_errors: IntCounter,
    pub(crate) malformed: IntCounter,
    pub(crate) unsent: IntCounter,
    pub(crate) closed: AtomicBool,
    /// Cancelled when the client's own task has ended, which it does by itself only when it panics.
    pub(crate) lost: CancellationToken,
    pub(crate) missing: Missing,
    pub(crate) last_answer: LastAnswer,
    pub(crate) generations: Generations,
}

impl LinkHealth {
    pub(crate) fn new() -> Self {
        let counter = |name, help| IntCounter::new(name, help).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self {
            connects: counter("faultline_nats_connects_total", "Times that the connection to NATS was made, the first one included."),
            slow_consumer_drops: counter(
                "faultline_nats_slow_consumer_drops_total",
                "Times that messages were dropped because they came faster than they were read.",
            ),
            permission_errors: counter(
                "faultline_nats_permission_errors_total",
                "Publishes and subscriptions that NATS refused to this user.",
            ),
            malformed: counter(
                "faultline_messages_malformed_total",
                "Messages that could not be read: they were ignored, or sent to DEAD.",
            ),
            unsent: counter(
                "faultline_messages_unsent_total",
                "Messages that were not sent: larger than the NATS server allows, or without a connection.",
            ),
            closed: AtomicBool::new(false),
            lost: CancellationToken::new(),
            missing: Missing::default(),
            last_answer: LastAnswer::default(),
            generations: Generations::default(),
        }
    }
}
