//! Jobs a second from the first submission to the last acknowledgement, and the same of one job at a time.

use std::time::{Duration, Instant};

use anyhow::ensure;
use futures::StreamExt;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::queue::Queue;

pub(crate) async fn measure(url: &str, jobs: usize, latency_jobs: usize, in_flight: usize, workers: usize) -> anyhow::Result<Value> {
    let mut queue = Queue::start(url, workers).await?;
    let mut latency = Histogram::<u64>::new_with_bounds(1, 120_000_000, 3)?;
    for _ in 0..latency_jobs {
        let began = Instant::now();
        queue.submitter.submit(0).await?;
        queue.wait_ended().await?;
        latency.saturating_record(u64::try_from(began.elapsed().as_micros())?);
    }
    let (submitter, began) = (queue.submitter.clone(), Instant::now());
    let submitting = async {
        let mut submitted = futures::stream::iter(0..jobs).map(|_| submitter.submit(0)).buffer_unordered(in_flight);
        while let Some(confirmed) = submitted.next().await {
            confirmed?;
        }
        anyhow::Ok(())
    };
    let ending = async {
        for _ in 0..jobs {
            queue.wait_ended().await?;
        }
        anyhow::Ok(began.elapsed())
    };
    let ((), took) = tokio::try_join!(submitting, ending)?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let left = queue.left().await?;
    ensure!(left == 0, "{left} jobs were not acknowledged, although as many acknowledgements were seen as there were jobs");
    let ms = |quantile| latency.value_at_quantile(quantile) as f64 / 1000.0;
    Ok(json!({
        "jobs_per_s": (jobs as f64 / took.as_secs_f64()).round(),
        "latency_ms": { "p50": ms(0.5), "p99": ms(0.99), "samples": latency.len() },
    }))
}
