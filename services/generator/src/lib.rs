//! The generator: submits jobs as a Poisson process whose rate and mix operators set, or which takes a share of the cluster. It does not follow what becomes of a job,
//! and keeps nothing: the settings live in KV CONTROL.

mod arrivals;
mod control;
mod hand_over;
mod load;
mod metrics;
mod service;
mod settings;

use faultline_runtime::micro;
use faultline_runtime::service::Process;

pub use settings::Settings;

/// Submits jobs until the stop signal.
pub async fn run(settings: Settings, process: Process) -> anyhow::Result<()> {
    process.readiness.unmet("settings", "settings in KV CONTROL not read yet");
    let Some(nats) = process.connect_to_streams().await? else { return Ok(()) };
    let _service = micro::register(&nats, "generator", "generator").await;
    service::run(settings, &nats, &process).await;
    nats.close().await;
    Ok(())
}
