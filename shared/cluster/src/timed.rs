//! A run by the clock: jobs are submitted one after the other and workers are killed when it says, and then the whole history is read. The live side
//! of the cross-check with the lab.

use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::anyhow;
use faultline_client::audit::{self, AuditReport};
use faultline_client::observe::Watch;
use faultline_client::{Leader, observe};
use faultline_engine::goodput::history::Row;
use faultline_engine::job::{JobId, JobSpec};
use faultline_engine::words::plural;
use faultline_protocol::codec;
use faultline_protocol::messages::{ClusterEvent, EventBatch, NodeView, Record, TerminalRecord};
use faultline_protocol::streams;
use faultline_runtime::clock::{random_u128, unix_ms};
use faultline_runtime::read::{From, ReadError, Reader};
use faultline_runtime::submit::Submitter;
use tokio::time::Instant;

use crate::error::Error;
use crate::experiment::fault::Fault;
use crate::scenario::cluster::OwnCluster;

/// As what the faults are signed.
const COMMAND: &str = "faultline lab cross-check";
/// Jobs and nodes are looked at so often once everything was submitted.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The last events are written by then.
const SETTLE: Duration = Duration::from_millis(1_500);
const AUDIT_LIMIT: Duration = Duration::from_secs(15);
/// What an ended job still holds is given back by then: the leader may have to hear of the end by the next heartbeats, or by a delivery.
const RELEASED_WITHIN: Duration = Duration::from_secs(40);
/// A submission is repeated for so long.
const SUBMIT_WITHIN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);
/// A new leader listens for up to 1.2 s before it places anything, and a new fault detector gives no verdict for two heartbeats.
const WARM_UP: Duration = Duration::from_secs(3);

/// What is done when, in milliseconds from the beginning.
#[derive(Debug, Clone, PartialEq)]
pub struct Timetable {
    /// Ascending. Identity and time of submission are filled in.
    pub jobs: Vec<(u64, JobSpec)>,
    /// SIGKILL to a worker, which is not started again for so long: when, whom, how long.
    pub kills: Vec<(u64, String, u64)>,
    /// After this the run has failed.
    pub limit: Duration,
}

/// What the streams say of a run, with times in Unix milliseconds.
#[derive(Debug)]
pub struct History {
    pub from_ms: u64,
    pub to_ms: u64,
    /// In the order of submission.
    pub jobs: Vec<(JobId, u64)>,
    /// With the time at which RESULTS stored them.
    pub ends: Vec<(u64, TerminalRecord)>,
    /// As EVENTS has them.
    pub events: Vec<ClusterEvent>,
    /// Where GPU time had gone in the leader's term before the run, and after it.
    pub gpu_time: (Row, Row),
    /// At the end.
    pub nodes: Vec<NodeView>,
    pub waiting: u64,
    pub audit: AuditReport,
}

/// Carries a timetable out on a cluster that is whole, until all jobs have ended and all workers are back. `say` hears how it goes.
pub async fn run(cluster: &OwnCluster, timetable: &Timetable, say: &dyn Fn(&str)) -> Result<History, Error> {
    let nats = &cluster.nats;
    tokio::time::sleep(WARM_UP).await;
    let mut seen = Watch::new(nats, unix_ms());
    let (nodes, leader) = observe::nodes_and_leader(nats).await.ok_or_else(|| anyhow!("no scheduler answers"))?;
    seen.know(&nodes, &leader);
    let before = Leader::of(nats).goodput().await?.term;
    let (started, from_ms) = (Instant::now(), unix_ms());
    let (jobs, ()) = tokio::try_join!(submit_all(cluster, timetable, started), kill_all(cluster, timetable, started))?;
    let give_up = started + timetable.limit;
    loop {
        seen.catch_up().await.map_err(unread)?;
        let open = seen.observer.measure(from_ms, unix_ms()).open;
        let trouble = cluster.picture().await.map_or_else(|| Some("no scheduler answers".to_owned()), |picture| picture.unfit());
        if open == 0 && trouble.is_none() {
            break;
        }
        if Instant::now() >= give_up {
            let trouble = trouble.unwrap_or_else(|| "the cluster is whole".to_owned());
            return Err(anyhow!("the run was not over in time: {} left, {trouble}", plural(open, "open job")).into());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let after = Leader::of(nats).goodput().await?.term;
    let to_ms = unix_ms();
    say(&format!("all jobs have ended after {} s", started.elapsed().as_secs()));
    tokio::time::sleep(SETTLE).await;
    let waiting = held_after(cluster, RELEASED_WITHIN).await?;
    Ok(History {
        from_ms,
        to_ms,
        jobs,
        ends: ends(cluster, from_ms).await.map_err(unread)?,
        events: events(cluster, from_ms).await.map_err(unread)?,
        gpu_time: (before, after),
        nodes: Leader::of(nats).nodes().await?,
        waiting,
        audit: audit::run(nats, AUDIT_LIMIT).await?,
    })
}

/// How many jobs the leader still holds once that time has passed, or none sooner.
async fn held_after(cluster: &OwnCluster, limit: Duration) -> Result<u64, Error> {
    let give_up = Instant::now() + limit;
    loop {
        let held = Leader::of(&cluster.nats).active_jobs().await?.len() as u64;
        if held == 0 || Instant::now() >= give_up {
            return Ok(held);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn unread(error: ReadError) -> Error {
    Error::Failed(anyhow!("the history cannot be read: {error}"))
}

/// One submitter: each job after the one before it was acknowledged.
async fn submit_all(cluster: &OwnCluster, timetable: &Timetable, started: Instant) -> Result<Vec<(JobId, u64)>, Error> {
    let submitter = Submitter::new(&cluster.nats);
    let mut jobs = Vec::with_capacity(timetable.jobs.len());
    for (at_ms, spec) in &timetable.jobs {
        tokio::time::sleep_until(started + Duration::from_millis(*at_ms)).await;
        let now_ms = unix_ms();
        let spec = JobSpec { id: JobId::new(now_ms, random_u128()), submitted_at_ms: now_ms, ..spec.clone() };
        let give_up = Instant::now() + SUBMIT_WITHIN;
        while let Err(error) = submitter.submit(&spec).await {
            if !error.is_transient() || Instant::now() >= give_up {
                return Err(Error::Failed(anyhow!("submitting {} failed: {error}", spec.name)));
            }
            tokio::time::sleep(PAUSE).await;
        }
        jobs.push((spec.id, now_ms));
    }
    Ok(jobs)
}

async fn kill_all(cluster: &OwnCluster, timetable: &Timetable, started: Instant) -> Result<(), Error> {
    let kills = timetable.kills.iter().map(|(at_ms, service, for_ms)| async move {
        tokio::time::sleep_until(started + Duration::from_millis(*at_ms)).await;
        cluster.inject(Fault::Kill { service: service.clone() }, *for_ms, COMMAND).await?;
        // Its end belongs to the run, too.
        tokio::time::sleep(Duration::from_millis(*for_ms)).await;
        Ok::<(), Error>(())
    });
    futures::future::try_join_all(kills).await.map(drop)
}

async fn ends(cluster: &OwnCluster, from_ms: u64) -> Result<Vec<(u64, TerminalRecord)>, ReadError> {
    let mut ends = Vec::new();
    let mut reader = Reader::new(&cluster.nats, streams::RESULTS, From::Time(from_ms));
    reader
        .read_to_end(|row| {
            if let Ok(Record::Ended(record)) = Record::decode(Some(&row.headers), &row.body) {
                ends.push((row.stored_at_ms, *record));
            }
            ControlFlow::Continue(())
        })
        .await?;
    Ok(ends)
}

async fn events(cluster: &OwnCluster, from_ms: u64) -> Result<Vec<ClusterEvent>, ReadError> {
    let mut events = Vec::new();
    let mut reader = Reader::new(&cluster.nats, streams::EVENTS, From::Time(from_ms));
    reader
        .read_to_end(|row| {
            if let Ok(batch) = codec::decode::<EventBatch>(Some(&row.headers), &row.body) {
                events.extend(batch.anchored(row.stored_at_ms));
            }
            ControlFlow::Continue(())
        })
        .await?;
    Ok(events)
}

impl History {
    /// For how long it ran, in milliseconds.
    pub fn took_ms(&self) -> u64 {
        self.to_ms.saturating_sub(self.from_ms)
    }
}
