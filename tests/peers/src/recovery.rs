//! A job of one second, and kill -9 to its worker as soon as the job has begun: from the kill until the job has ended elsewhere.

use std::time::Instant;

use serde_json::{Value, json};

use crate::queue::Queue;

pub(crate) async fn measure(url: &str, rounds: usize) -> anyhow::Result<Value> {
    let mut queue = Queue::start(url, 2).await?;
    let mut took_ms = Vec::new();
    for _ in 0..rounds {
        queue.submitter.submit(1000).await?;
        let pid = queue.wait_begun().await?;
        let killed = Instant::now();
        queue.kill(pid).await?;
        queue.wait_begun().await?;
        queue.wait_ended().await?;
        took_ms.push(u64::try_from(killed.elapsed().as_millis())?);
        queue.add_worker()?;
    }
    took_ms.sort_unstable();
    Ok(json!({ "p50_ms": took_ms.get(took_ms.len() / 2), "worst_ms": took_ms.last(), "rounds": rounds }))
}
