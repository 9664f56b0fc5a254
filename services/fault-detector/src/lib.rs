//! The fault detector: feeds heartbeats, hints about connections and the time to [`faultline_engine::detector::Detector`] and performs
//! what it answers. It decides nothing by itself and holds no truth: its verdicts are kept in KV HEALTH, and the nodes beat.

mod hearing;
mod inputs;
mod metrics;
mod outbox;
mod service;
mod standing;

use std::time::Duration;

use faultline_engine::detector::DetectorConfig;
use faultline_runtime::connection::Connection;
use faultline_runtime::micro;
use faultline_runtime::service::Process;

/// The section `[fault-detector]`.
pub type Settings = DetectorConfig;

const STOP_LIMIT: Duration = Duration::from_secs(1);

/// Judges until the stop signal.
pub async fn run(settings: Settings, process: Process) -> anyhow::Result<()> {
    process.readiness.unmet("standing", "previous verdicts not loaded yet");
    let Some(nats) = process.connect_to_streams().await? else { return Ok(()) };
    let _service = micro::register(&nats, "fault-detector", "fault-detector").await;
    serve(settings, &nats, &process, service::TICK_EVERY).await?;
    nats.close().await;
    Ok(())
}

/// The same over any wire, with the time between two looks at the clock.
pub async fn serve(settings: Settings, nats: &Connection, process: &Process, tick: Duration) -> anyhow::Result<()> {
    service::run(settings, nats, process, tick).await?;
    process.shutdown.wait_for_tasks(STOP_LIMIT).await;
    Ok(())
}
