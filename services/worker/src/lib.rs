//! The worker: hosts nodes, runs attempts on them, and owns the ack of every job that it runs.
//! It never decides where a job runs, and never writes a result over another one.

mod agent;
mod attempt;
mod birth;
mod claim;
mod dcgm;
pub mod executor;
pub mod executors;
mod metrics;
mod node;
mod settings;
pub mod telemetry;
mod trace;

use faultline_runtime::service::Process;

pub use dcgm::GpuIdentity;
use executor::Registry;
pub use settings::{Identity, Settings};

/// Runs a worker with the kinds that come with it, until it is told to stop.
pub async fn run(settings: Settings, process: Process) -> anyhow::Result<()> {
    run_with(settings, Registry::with_defaults(), process).await
}

/// Runs a worker with kinds of your own, and with those of executors elsewhere as the settings say. It takes a free name when they give
/// none.
pub async fn run_with(settings: Settings, registry: Registry, mut process: Process) -> anyhow::Result<()> {
    process.readiness.unmet(agent::NODES_CONDITION, "the nodes have not been set up yet");
    let (identity, claim) = match settings.identity() {
        Some(identity) => (identity, None),
        None => match claim_name(&settings, &process).await? {
            Some(claim) => {
                process.rename(&claim.identity.name);
                (claim.identity.clone(), Some(claim))
            }
            None => return Ok(()),
        },
    };
    let Some(nats) = process.connect_to_streams().await? else { return Ok(()) };
    let work = agent::run(identity, settings, registry, nats.clone(), process);
    match claim {
        Some(claim) => claim.moved_to(&nats).await?.hold_while(work).await?,
        None => work.await?,
    }
    nats.close().await;
    Ok(())
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
