//! Asks JetStream while the servers of a cluster may still be finding one another: they agree on a leader of their own within 3 to 10 s of a
//! start, and streams that they hold have leaders seconds after that. Until then a request gets no answer, or one that says so.

use std::cell::Cell;
use std::fmt::Display;
use std::time::Duration;

use faultline_runtime::connect::Nats;
use tokio::time::Instant;

/// How long all that `setup` and `up` ask may wait for that together; a server that is missing for good is an error then.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(250);
const SAY_EVERY: Duration = Duration::from_secs(5);

/// What the client and the servers say meanwhile: no answer, no leader of the cluster (10008), no servers to place a stream on (10005), no
/// leader of a stream or a consumer (10118, 10119).
const SAID: [&str; 6] =
    ["timed out", "no responders", "temporarily unavailable", "no suitable peers", "stream is offline", "consumer is offline"];

/// Everything that is asked through one of these shares its limit.
pub struct Asking<'a> {
    pub nats: &'a Nats,
    limit: Duration,
    deadline: Instant,
    /// When it was last said that it waits.
    said_at: Cell<Option<Instant>>,
}

impl<'a> Asking<'a> {
    pub fn of(nats: &'a Nats, limit: Duration) -> Self {
        Self { nats, limit, deadline: Instant::now() + limit, said_at: Cell::new(None) }
    }

    /// Asks until the answer is another than that the cluster is forming. A single server is asked once.
    pub async fn ask<T, E, F>(&self, what: &str, mut ask: impl FnMut() -> F) -> Result<T, E>
    where
        E: Display,
        F: Future<Output = Result<T, E>>,
    {
        loop {
            let error = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let is_cluster = self.nats.client.server_info().cluster.is_some();
            if !is_cluster || !says_forming(&error.to_string()) {
                return Err(error);
            }
            if Instant::now() >= self.deadline {
                tracing::error!("{what} did not answer: the NATS servers have not formed a cluster within {} s", self.limit.as_secs());
                return Err(error);
            }
            self.say(what, &error);
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn say(&self, what: &str, error: &dyn Display) {
        if self.said_at.get().is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            self.said_at.set(Some(Instant::now()));
            tracing::info!(%error, "waiting for {what}: the NATS servers are forming their cluster");
        }
    }
}

fn says_forming(error: &str) -> bool {
    let error = error.to_lowercase();
    SAID.iter().any(|words| error.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_forms_is_told_from_a_refusal() {
        for error in [
            "request timed out",
            "asking: JetStream system temporarily unavailable (code 503, error code 10008)",
            "no suitable peers for placement (code 400, error code 10005)",
            "stream is offline (code 500, error code 10118)",
        ] {
            assert!(says_forming(error), "{error}");
        }
        for error in ["stream not found (code 404, error code 10059)", "insufficient resources", "stream name already in use"] {
            assert!(!says_forming(error), "{error}");
        }
    }
}
