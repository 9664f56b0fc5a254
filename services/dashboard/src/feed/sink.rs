//! The view as the feeds fill it.

use std::sync::Arc;
use std::time::Duration;

use faultline_protocol::codec::DecodeError;
use faultline_runtime::connect::Nats;
use faultline_runtime::seldom::Seldom;
use tokio::time::Instant;

use crate::view::SharedView;

/// After any error, before the next try.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

/// Where messages go, and what is said about those that cannot be read.
#[derive(Clone)]
pub(super) struct Sink {
    pub(super) view: SharedView,
    pub(super) noise: Arc<Seldom>,
    pub(super) nats: Nats,
}

impl Sink {
    /// Counts a message that cannot be read, and says so at most every few seconds.
    pub(super) fn undecodable(&self, subject: &str, error: &DecodeError) {
        self.view.write().on_undecodable();
        self.nats.note_malformed();
        if let Some(silenced) = self.noise.admit(Instant::now()) {
            tracing::warn!(subject, %error, silenced, "a message cannot be read and is left out");
        }
    }
}
