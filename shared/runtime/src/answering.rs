//! Whether NATS answers. A server that hangs, or a link that swallows everything, leaves a connection that looks whole for seconds.

use std::time::Duration;

use faultline_protocol::streams;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::connect::Nats;
use crate::connection::Connection;

const ASK_EVERY: Duration = Duration::from_secs(1);
/// The slowest answer that counts. Busy machines take their time.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

impl Connection {
    /// For how long NATS has not answered, by the monotonic clock; none while it does, or when nothing asks it.
    pub fn silent_for(&self) -> Option<Duration> {
        self.last_answer().silent_for(Instant::now())
    }
}

impl Nats {
    /// Asks again and again, until cancelled. For processes that tell others whether NATS answers.
    pub async fn keep_asking(self, cancel: CancellationToken) {
        self.last_answer().heard(Instant::now());
        let mut asks = tokio::time::interval(ASK_EVERY);
        asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = asks.tick() => {}
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                answers = self.answers() => if answers {
                    self.last_answer().heard(Instant::now());
                },
            }
        }
    }

    /// Whether JetStream answers a question that everyone may ask. A refusal is an answer too.
    pub async fn answers(&self) -> bool {
        use async_nats::jetstream::context::GetStreamErrorKind;

        if !self.is_connected() {
            return false;
        }
        match tokio::time::timeout(ANSWER_LIMIT, self.jetstream.get_stream(streams::RESULTS)).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => matches!(error.kind(), GetStreamErrorKind::JetStream(_)),
            Err(_) => false,
        }
    }
}
