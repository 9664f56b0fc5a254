//! The worker: hosts nodes, runs attempts on them, and owns the ack of every job that it runs.
//! It never decides where a job runs, and never writes a result over another one.

mod attempt;
mod birth;
mod claim;
mod dcgm;
pub mod executor;
pub mod executors;
mod metrics;
mod node;
mod refusing;
mod registrations;
mod service;
mod settings;
mod sync;
pub mod telemetry;
mod trace;

use std::time::Duration;

use faultline_runtime::connection::Connection;
use faultline_runtime::micro;
use faultline_runtime::service::Process;

pub use birth::OpenDevices;
pub use dcgm::GpuIdentity;
use executor::Registry;
use service::Heard;
pub use settings::{Identity, Settings};

/// Runs a worker with the kinds that come with it, until it is told to stop.
pub async fn run(settings: Settings, process: Process) -> anyhow::Result<()> {
    run_with(settings, executors::defaults(), process).await
}

/// Runs a worker with kinds of your own, and with those of executors elsewhere as the settings say. It takes a free name when they give
/// none.
pub async fn run_with(settings: Settings, mut registry: Registry, mut process: Process) -> anyhow::Result<()> {
    process.readiness.unmet(service::NODES_CONDITION, "nodes not set up yet");
    let stop = process.shutdown.token();
    let (nats, claim) = match settings.identity() {
        Some(identity) => {
            let Some(nats) = process.connect_to_streams().await? else { return Ok(()) };
            let claim = tokio::select! {
                claim = claim::take_named(&nats, identity) => claim?,
                () = stop.cancelled() => return Ok(()),
            };
            (nats, claim)
        }
        None => {
            let Some(claim) = claim_name(&settings, &process).await? else { return Ok(()) };
            process.rename(&claim.identity.name);
            let Some(nats) = process.connect_to_streams().await? else { return Ok(()) };
            let claim = claim.moved_to(&nats).await?;
            (nats, claim)
        }
    };
    if settings.service_executors {
        registry.register(executors::Service::new(nats.client.clone(), Duration::from_millis(settings.service_silence_ms)));
    }
    let identity = claim.identity.clone();
    let work = async {
        let heard = Heard::subscribe(&nats, &identity.name).await?;
        let _service = micro::register(&nats, "worker", &identity.name).await;
        let telemetry = settings.telemetry;
        let open = move |index| telemetry::open_devices(telemetry, index);
        service::run(identity.clone(), settings, registry, &open, (nats.connection(), heard), &process).await
    };
    claim.hold_while(work).await?;
    nats.close().await;
    Ok(())
}

/// Runs a worker over any wire, with devices of your own, until it is told to stop. No other process has its name.
pub async fn serve(
    identity: Identity,
    settings: Settings,
    registry: Registry,
    open_devices: &OpenDevices,
    nats: Connection,
    process: &Process,
) -> anyhow::Result<()> {
    let heard = Heard::subscribe(&nats, &identity.name).await?;
    service::run(identity, settings, registry, open_devices, (nats, heard), process).await
}

/// NATS knows a connection by the name that it began with, and the fault detector goes by it: so a name is claimed on a connection of its
/// own. `None` when told to stop.
async fn claim_name(settings: &Settings, process: &Process) -> anyhow::Result<Option<claim::Claim>> {
    let stop = process.shutdown.token();
    let Some(nats) = process.connect_aside(claim::NAMELESS).await? else { return Ok(None) };
    if !nats.wait_until_provisioned(&stop).await {
        return Ok(None);
    }
    let claim = tokio::select! {
        claim = claim::take(&nats, settings.nodes) => claim?,
        () = stop.cancelled() => return Ok(None),
    };
    nats.close().await;
    Ok(Some(claim))
}
