//! The scheduler: waits for the lease, leads while it holds it, and stands by again when it is lost.
//! It never runs a job, and holds no truth of its own: a new leader rebuilds everything from JetStream and the workers.

mod cancel;
mod flight;
mod goodput;
mod intake;
mod leadership;
mod ledger;
mod memory;
mod metrics;
mod pending;
mod perform;
mod program;
mod records;
mod service;
mod settings;
mod term;
mod trace;
mod views;

use std::time::Duration;

use faultline_protocol::messages::{EventKind, Level};
use faultline_protocol::streams;
use faultline_runtime::connection::Connection;
use faultline_runtime::events::EventSink;
use faultline_runtime::lease::{self, NotAcquired};
use faultline_runtime::micro;
use faultline_runtime::service::Process;

pub use settings::Settings;

use crate::memory::{SharedMemory, Standby};
use crate::metrics::SchedulerMetrics;

/// How often a standby asks whether the lease is free. Two small requests, and part of the time in which no scheduler places.
const STANDBY_EVERY: Duration = Duration::from_millis(150);
/// How often a leader looks at the clock when nothing else happens.
const TICK: Duration = Duration::from_millis(50);

/// Stands by and leads, in turns, until told to stop.
pub async fn run(settings: Settings, process: Process) -> anyhow::Result<()> {
    process.readiness.unmet("lease", "lease not requested yet");
    let Some(nats) = process.connect_to_streams().await? else { return Ok(()) };
    let _service = micro::register(&nats, "scheduler", &settings.name).await;
    serve(&settings, &nats, &process, TICK).await?;
    nats.close().await;
    Ok(())
}

/// The same over any wire, with the time between two looks of the leader at the clock.
pub async fn serve(settings: &Settings, nats: &Connection, process: &Process, tick: Duration) -> anyhow::Result<()> {
    let shutdown = process.shutdown.clone();
    let stop = shutdown.token();
    let events = EventSink::new(nats, &settings.name);
    let metrics = SchedulerMetrics::new(&process.metrics);
    let memory = SharedMemory::default();
    let store = nats.open_bucket(streams::KV_LEASE).await?;
    let mut standby = Standby::new(nats, nats.open_bucket(streams::KV_LEDGER).await?, &memory);
    tracing::info!("standing by for the lease");
    while !stop.is_cancelled() {
        let acquired = lease::try_acquire(nats, &store, streams::KEY_LEASE, &settings.name).await;
        match &acquired {
            Ok(_) | Err(NotAcquired::Held) => process.readiness.met("lease"),
            Err(error) => process.readiness.unmet("lease", format!("lease request failed: {error}")),
        }
        let Ok(lease) = acquired else {
            process.readiness.describe("stands by");
            standby.look().await;
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = tokio::time::sleep(STANDBY_EVERY) => continue,
            }
        };
        let epoch = lease.epoch;
        tracing::info!(epoch, "leading");
        process.readiness.describe(format!("leads, epoch {epoch}"));
        metrics.on_lease(true);
        events.send(events.event(Level::Info, EventKind::LeaderElected, format!("{} leads, epoch {epoch}", settings.name))).await;
        let outcome = leadership::lead(settings, nats, &events, &metrics, (&memory, &process.readiness), lease, (&stop, tick)).await;
        process.readiness.met(service::REFUSED_CONDITION);
        metrics.on_lease(false);
        if !stop.is_cancelled() {
            let why = match outcome {
                Ok(()) => format!("{} lost the lease, epoch {epoch}", settings.name),
                Err(error) => format!("{} ended its term, epoch {epoch}: {error:#}", settings.name),
            };
            tracing::warn!(epoch, why, "standing by");
            events.send(events.event(Level::Warn, EventKind::LeaderLost, why)).await;
            tokio::time::sleep(STANDBY_EVERY).await;
        }
    }
    shutdown.wait_for_tasks(Duration::from_secs(1)).await;
    Ok(())
}
