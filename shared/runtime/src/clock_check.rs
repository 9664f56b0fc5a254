//! Compares this machine's clock with the NATS server's, and says so when they differ: in the log, in `/readyz`, in a metric, and over the
//! services API, where `faultline doctor` reads it.

use std::time::Duration;

use faultline_engine::words::about;
use tokio_util::sync::CancellationToken;

use crate::admin::Readiness;
use crate::clock;
use crate::connect::Nats;
use crate::metrics::{Family, Kind, Metrics};
use crate::server_time;
pub use crate::server_time::{ServerTime, stored_ms};

const LOOK_EVERY: Duration = Duration::from_secs(1);
const COMPARE_EVERY: Duration = Duration::from_secs(10);

impl Nats {
    /// Asks for the NATS server's time. None when it does not answer, or has no stream JOBS to answer about.
    pub async fn server_time(&self) -> Option<ServerTime> {
        server_time::ask(&self.jetstream).await
    }

    /// Sets the cluster's time of this process by the NATS server's clock. Changes nothing, and returns false, when the server does not
    /// tell it.
    pub async fn learn_time(&self) -> bool {
        server_time::learn(&self.jetstream).await
    }
}

/// Compares the clocks for ever, for a process that is not a service.
pub async fn keep_time(nats: Nats) {
    loop {
        nats.learn_time().await;
        tokio::time::sleep(COMPARE_EVERY).await;
    }
}

/// How wrong the wall clock is, in words; none when it is right or has not been compared.
pub fn wrong_clock(wall_ahead_ms: Option<i64>) -> Option<String> {
    let ahead_ms = wall_ahead_ms.filter(|ahead_ms| ahead_ms.unsigned_abs() >= clock::WRONG_FROM_MS)?;
    let way = if ahead_ms > 0 { "ahead of" } else { "behind" };
    Some(format!("this machine's clock is {} {way} the NATS server's", about(ahead_ms.unsigned_abs())))
}

const CLOCK: &str = "faultline_clock_ahead_seconds";
const FAMILIES: &[Family] = &[Family {
    name: CLOCK,
    help: "How far this machine's wall clock is ahead of the NATS server's; negative when it is behind.",
    kind: Kind::Gauge,
    labels: &[],
}];

/// Absent before the first comparison.
pub(crate) fn register_metric(metrics: &Metrics) {
    metrics.live(FAMILIES, |out| {
        if let Some(ahead_ms) = clock::wall_ahead_ms() {
            out.put(CLOCK, &[], ahead_ms as f64 / 1000.0);
        }
    });
}

/// Looks at the wall clock until cancelled. The work goes on with a wrong one, so the process stays ready; it warns.
pub(crate) async fn watch(readiness: Readiness, cancel: CancellationToken) {
    let mut is_wrong = false;
    loop {
        let wrong = wrong_clock(clock::wall_ahead_ms());
        match &wrong {
            Some(words) if !is_wrong => tracing::warn!("{words}: synchronise it with NTP; no decision depends on it"),
            None if is_wrong => tracing::info!("this machine's clock agrees with the NATS server's again"),
            Some(_) | None => {}
        }
        is_wrong = wrong.is_some();
        readiness.warn("clock", wrong);
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_wrong_from_two_seconds_on_either_way() {
        assert_eq!(wrong_clock(None), None);
        assert_eq!(wrong_clock(Some(-1_999)), None);
        assert_eq!(wrong_clock(Some(-2_000)).unwrap(), "this machine's clock is 2.0 s behind the NATS server's");
        assert_eq!(wrong_clock(Some(3_600_000)).unwrap(), "this machine's clock is 1 h ahead of the NATS server's");
    }
}
