//! The fault detector: feeds heartbeats, hints about connections and the time to [`faultline_engine::detector::Detector`] and performs
//! what it answers. It decides nothing by itself and holds no truth: its verdicts are kept in KV HEALTH, and the nodes beat.

mod desk;
mod inputs;
mod link;
mod metrics;
mod outbox;
mod standing;

use std::sync::Arc;
use std::time::Duration;

use faultline_engine::detector::DetectorConfig;
use faultline_protocol::{streams, subjects};
use faultline_runtime::clock::unix_ms;
use faultline_runtime::service::Process;
use faultline_runtime::{micro, watch};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::desk::Desk;
use crate::link::Link;
use crate::metrics::DetectorMetrics;
use crate::outbox::Outbox;

/// The section `[fault-detector]`.
pub type Settings = DetectorConfig;

/// Short, since the grace after a disconnect ends between two ticks: at 100 ms a killed worker's job came back 50 ms later on average.
const TICK_EVERY: Duration = Duration::from_millis(20);
/// Verdicts are plain publishes, so a scheduler may have missed one.
const REPEAT_EVERY: Duration = Duration::from_secs(2);
const STOP_LIMIT: Duration = Duration::from_secs(1);
const BUFFERED_REGISTRATIONS: usize = 1024;
const BUFFERED_PINGS: usize = 1024;

/// Judges until the stop signal.
pub async fn run(settings: Settings, process: Process) -> anyhow::Result<()> {
    process.readiness.unmet("standing", "the verdicts of before have not been read yet");
    let Some(nats) = process.connect_to_streams().await? else { return Ok(()) };
    let shutdown = process.shutdown.clone();
    let stop = shutdown.token();
    let _service = micro::register(&nats, "fault-detector", "fault-detector").await;
    // Subscribed before anything is read, so that nothing falls in between.
    let mut heartbeats = nats.client.subscribe(subjects::HEARTBEAT_ALL).await?;
    let mut goodbyes = nats.client.subscribe(subjects::GOODBYE_ALL).await?;
    let mut connects = nats.client.subscribe(subjects::SYSTEM_CONNECT).await?;
    let mut disconnects = nats.client.subscribe(subjects::SYSTEM_DISCONNECT).await?;
    let mut connections = nats.connections();
    connections.mark_unchanged();

    let Some(standing) = standing::read(&nats, &stop).await else { return Ok(()) };
    let outbox = Arc::new(Outbox::default());
    shutdown.spawn("health-writer", outbox::run(Arc::clone(&outbox), standing.store.clone(), stop.clone()));
    let link = Arc::new(Link::new(&settings, unix_ms()));
    shutdown.spawn("link-probe", link::run(Arc::clone(&link), nats.clone(), stop.clone()));
    let (registered, mut registrations) = mpsc::channel(BUFFERED_REGISTRATIONS);
    shutdown.spawn("node-watch", watch::run(nats.clone(), streams::KV_NODES, registered, stop.clone()));
    let (answers, mut pings) = mpsc::channel(BUFFERED_PINGS);

    let mut desk = Desk::new(settings, nats.clone(), shutdown.clone(), outbox, link, answers, DetectorMetrics::new(&process.metrics));
    desk.restore(standing);
    let mut ticks = tokio::time::interval(TICK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut repeats = tokio::time::interval(REPEAT_EVERY);
    repeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tracing::info!(detector = settings.detector.as_str(), nodes = desk.nodes(), "watching");
    process.readiness.met("standing");
    process.readiness.describe(format!("watches, by {}", settings.detector.as_str()));
    loop {
        let actions = tokio::select! {
            () = stop.cancelled() => break,
            Some(message) = heartbeats.next() => desk.on_heartbeat(&message),
            Some(message) = goodbyes.next() => desk.on_goodbye(&message),
            Some(message) = connects.next() => desk.on_connect(&message),
            Some(message) = disconnects.next() => desk.on_disconnect(&message),
            Some(entry) = registrations.recv() => desk.on_registration(&entry),
            Some(answer) = pings.recv() => desk.on_ping_answer(answer),
            Ok(()) = connections.changed() => desk.on_own_reconnect(),
            _ = ticks.tick() => desk.on_tick(),
            _ = seconds.tick() => {
                desk.measure();
                continue;
            }
            _ = repeats.tick() => {
                desk.repeat_verdicts().await;
                continue;
            }
        };
        desk.perform(actions).await;
    }
    shutdown.wait_for_tasks(STOP_LIMIT).await;
    tracing::info!(nodes = desk.nodes(), ignored = desk.ignored(), "stopped");
    nats.close().await;
    Ok(())
}
