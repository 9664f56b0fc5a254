//! The generator: submits jobs as a Poisson process whose rate and mix operators set. It does not follow what becomes of a job,
//! and keeps nothing: the settings live in KV CONTROL.

mod arrivals;
mod control;
mod hand_over;
mod metrics;
mod settings;
mod source;

use std::time::Duration;

use faultline_protocol::streams;
use faultline_runtime::service::Process;
use faultline_runtime::{micro, watch};
use tokio::sync::mpsc;

pub use settings::{DEFAULT_RATE_PER_MINUTE, Settings};

use crate::metrics::GeneratorMetrics;
use crate::source::Source;

/// How long submissions that are under way are waited for at the end.
const STOP_LIMIT: Duration = Duration::from_secs(2);
const BUFFERED_NEWS: usize = 4096;
const BUFFERED_SETTINGS: usize = 64;

/// Submits jobs until the stop signal.
pub async fn run(settings: Settings, process: Process) -> anyhow::Result<()> {
    process.readiness.unmet("settings", "the settings in KV CONTROL have not been read yet");
    let Some(nats) = process.connect_to_streams().await? else { return Ok(()) };
    let shutdown = process.shutdown.clone();
    let stop = shutdown.token();
    let _service = micro::register(&nats, "generator", "generator").await;
    let Some(start) = source::read_start(&settings, &nats, &stop).await else { return Ok(()) };
    process.readiness.met("settings");
    process.readiness.describe("submits jobs");
    let (changed, mut changes) = mpsc::channel(BUFFERED_SETTINGS);
    shutdown.spawn("control-watch", watch::run(nats.clone(), streams::KV_CONTROL, changed, stop.clone()));
    let (told, mut news) = mpsc::channel(BUFFERED_NEWS);
    let metrics = GeneratorMetrics::new(&process.metrics);
    let mut source = Source::new(settings, start, &nats, shutdown.clone(), told, metrics);
    source.submit_first().await;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(entry) = changes.recv() => source.on_control(&entry).await,
            Some(one) = news.recv() => source.on_news(one),
            permit = source.next_permit() => source.submit_due(permit),
        }
    }
    source.finish(&mut news, STOP_LIMIT).await;
    nats.close().await;
    Ok(())
}
