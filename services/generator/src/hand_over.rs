//! Hands one job over, again and again with the same id, until it is durable or too old to be tried once more.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use faultline_engine::job::{JobId, JobSpec};
use faultline_runtime::submit::{SubmitError, Submitter};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::GeneratorMetrics;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(5);
/// Once the stop signal has come, a job that is not handed over by then is given up.
const STOP_GRACE: Duration = Duration::from_millis(1500);

/// What the loop is told about one job.
#[derive(Debug)]
pub(crate) enum News {
    HandedOver,
    /// The queue takes no more: the job is tried again, and new ones had better wait.
    QueueFull(String),
    /// It did not work, and is tried again.
    Repeated,
    GivenUp {
        job: JobId,
        reason: String,
    },
}

/// Ends with exactly one [`News::HandedOver`] or [`News::GivenUp`]. The permit is given back at the end.
pub(crate) async fn run(
    submitter: Submitter,
    spec: JobSpec,
    permit: OwnedSemaphorePermit,
    news: mpsc::Sender<News>,
    metrics: GeneratorMetrics,
    stop: CancellationToken,
) {
    let began = Instant::now();
    let mut last_error = String::new();
    let attempt = || async { submitter.submit(&spec).await };
    // Without a limit of its own: the submitter refuses what is older than `MAX_SUBMIT_AGE`.
    let delays = ExponentialBuilder::default().with_min_delay(FIRST_DELAY).with_max_delay(MAX_DELAY).with_jitter().without_max_times();
    let repeated = attempt.retry(delays).when(SubmitError::is_transient).notify(|error, delay| {
        tracing::debug!(job = %spec.id, %error, delay_ms = delay.as_millis(), "submitting again");
        last_error = error.to_string();
        metrics.repeated.inc();
        // When there is no room for it the loop has heard the same from others.
        let _ = news.try_send(match error {
            SubmitError::QueueFull(reason) | SubmitError::ResultsFull(reason) => News::QueueFull(reason.clone()),
            _ => News::Repeated,
        });
    });
    let outcome = tokio::select! {
        outcome = repeated => Some(outcome),
        () = async { stop.cancelled().await; tokio::time::sleep(STOP_GRACE).await } => None,
    };
    let ending = match outcome {
        Some(Ok(submitted)) => {
            tracing::debug!(job = %spec.id, name = spec.name, kind = spec.kind, open_seq = submitted.open_seq, "submitted");
            News::HandedOver
        }
        Some(Err(SubmitError::TooOld)) => News::GivenUp { job: spec.id, reason: format!("timed out; last error: {last_error}") },
        Some(Err(error)) => News::GivenUp { job: spec.id, reason: error.to_string() },
        None => News::GivenUp { job: spec.id, reason: format!("the generator stopped; last error: {last_error}") },
    };
    metrics.in_flight.dec();
    match &ending {
        News::HandedOver => {
            metrics.submitted.inc();
            metrics.submit_seconds.observe(began.elapsed().as_secs_f64());
        }
        _ => metrics.given_up.inc(),
    }
    drop(permit);
    // The receiver is gone only after the last job.
    let _ = news.send(ending).await;
}
