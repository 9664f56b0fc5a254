//! The scheduler: waits for the lease, leads while it holds it, and stands by again when it is lost.
//! It never runs a job, and holds no truth of its own: a new leader rebuilds everything from JetStream and the workers.

mod cancel;
mod intake;
mod leader;
mod ledger;
mod metrics;
mod pending;
mod perform;
mod records;
mod trace;
mod views;

use std::time::Duration;

use faultline_engine::placement::PolicyName;
use faultline_engine::scheduler::SchedulerConfig;
use faultline_protocol::messages::{EventKind, Level};
use faultline_protocol::streams;
use faultline_runtime::events::EventSink;
use faultline_runtime::service::Process;
use faultline_runtime::{lease, micro};
use serde::{Deserialize, Serialize};

use crate::metrics::SchedulerMetrics;

/// How often a standby asks whether the lease is free. Two small requests, and part of the time in which nobody places.
const STANDBY_EVERY: Duration = Duration::from_millis(150);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The process' name, one token.
    pub name: String,
    pub policy: PolicyName,
    /// Seed of whatever is drawn; drawn itself when not given.
    pub seed: Option<u64>,
    /// How long terminal records are kept, in seconds.
    pub terminal_ttl_s: u64,
    pub engine: SchedulerConfig,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "scheduler-1".into(),
            policy: PolicyName::default(),
            seed: None,
            terminal_ttl_s: streams::TERMINAL_TTL.as_secs(),
            engine: SchedulerConfig::default(),
        }
    }
}

impl Settings {
    /// Refuses what cannot work, naming the setting.
    pub fn validate(&self) -> Result<(), String> {
        if !faultline_engine::job::is_token(&self.name) {
            return Err(format!("scheduler.name: `{}` must be 1 to 64 letters, digits, `-` or `_`", self.name));
        }
        if !(2..=7 * 86_400).contains(&self.terminal_ttl_s) {
            return Err(format!("scheduler.terminal_ttl_s: {} is outside 2 to 604800", self.terminal_ttl_s));
        }
        Ok(())
    }
}

/// Stands by and leads, in turns, until told to stop.
pub async fn run(settings: Settings, process: Process) -> anyhow::Result<()> {
    process.readiness.unmet("lease", "the lease has not been asked for yet");
    let Some(nats) = process.connect_to_streams().await? else { return Ok(()) };
    let shutdown = process.shutdown.clone();
    let stop = shutdown.token();
    let _service = micro::register(&nats, "scheduler", &settings.name).await;
    let events = EventSink::new(&nats, &settings.name);
    let metrics = SchedulerMetrics::new(&process.metrics);
    let store = nats.bucket(streams::KV_LEASE).await?;
    tracing::info!("standing by for the lease");
    while !stop.is_cancelled() {
        let acquired = lease::try_acquire(&store, streams::KEY_LEASE, &settings.name).await;
        process.readiness.met("lease");
        let Ok(lease) = acquired else {
            process.readiness.describe("stands by");
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(STANDBY_EVERY) => continue,
            }
        };
        let epoch = lease.epoch;
        tracing::info!(epoch, "leading");
        process.readiness.describe(format!("leads, epoch {epoch}"));
        metrics.on_lease(true);
        events.send(events.event(Level::Info, EventKind::LeaderElected, format!("{} leads, epoch {epoch}", settings.name))).await;
        let outcome = leader::lead(&settings, &nats, &events, &metrics, lease, &stop).await;
        metrics.on_lease(false);
        if let Err(error) = outcome {
            tracing::error!(%error, "leading failed: standing by");
        }
        if !stop.is_cancelled() {
            tracing::warn!(epoch, "the lease is lost: standing by");
            events.send(events.event(Level::Warn, EventKind::LeaderLost, format!("{} lost the lease, epoch {epoch}", settings.name))).await;
            tokio::time::sleep(STANDBY_EVERY).await;
        }
    }
    shutdown.wait_for_tasks(Duration::from_secs(1)).await;
    nats.close().await;
    Ok(())
}
