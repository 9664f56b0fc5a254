//! One scenario from its first job to its verdict: submits and breaks as planned, waits until all jobs have ended and the cluster is
//! whole again, and judges what the history says.

use std::time::Duration;

use faultline_client::observe::{Watch, nodes_and_leader};
use faultline_engine::job::{JobId, Priority};
use faultline_engine::words::agree;
use faultline_engine::words::{plural, span};
use faultline_protocol::messages::{ClauseResult, Measurements};
use faultline_protocol::subjects;
use faultline_runtime::clock::unix_ms;
use faultline_runtime::submit::Submitter;
use futures::StreamExt;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::cluster::OwnCluster;
use crate::error::Error;
use crate::experiment::plan as targets;
use crate::scenario::file::Scenario;
use crate::scenario::plan::{Plan, PlannedFault, PlannedJob, What};

/// As what the faults are signed.
const COMMAND: &str = "faultline scenario run";
const TICK: Duration = Duration::from_secs(1);
/// Submissions under way at once.
const IN_FLIGHT: usize = 256;
/// A submission is repeated with the same id while NATS is away, for less than an id may be old.
const SUBMIT_WITHIN: Duration = Duration::from_secs(45);
const PAUSE: Duration = Duration::from_millis(200);
/// The last events are written by then.
const SETTLE: Duration = Duration::from_millis(500);

/// What came of a scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScenarioReport {
    pub scenario: String,
    pub seed: u64,
    pub passed: bool,
    /// Why it did not pass; empty when it did.
    pub reason: String,
    /// From the first job to the verdict, in milliseconds.
    pub took_ms: u64,
    /// What was broken, and when, in milliseconds from the first job on.
    pub faults: Vec<InjectedFault>,
    pub measured: Measurements,
    pub clauses: Vec<ClauseResult>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InjectedFault {
    pub at_ms: u64,
    pub for_ms: u64,
    pub what: String,
}

/// News from the tasks that do what was planned.
enum News {
    Accepted { job: JobId, submitted_at_ms: u64 },
    NotAccepted { reason: String },
    Broke(InjectedFault),
    NotBroken { reason: String },
}

/// What the loop knows.
struct Progress<'a> {
    say: &'a dyn Fn(&str),
    accepted: u32,
    faults: Vec<InjectedFault>,
    trouble: Vec<String>,
}

/// Runs it on a cluster that is whole. `say` hears how it goes.
pub async fn run(scenario: &Scenario, plan: &Plan, seed: u64, cluster: &OwnCluster, say: &dyn Fn(&str)) -> Result<ScenarioReport, Error> {
    let (started, from_ms) = (Instant::now(), unix_ms());
    let mut seen = Watch::new(&cluster.nats, from_ms);
    if let Some((nodes, leader)) = nodes_and_leader(&cluster.nats).await {
        seen.know(&nodes, &leader);
    }
    seen.look_at_ledger().await;
    let (tell, mut news) = mpsc::unbounded_channel();
    let work = async {
        tokio::join!(
            submit_all(plan, started, cluster, &tell),
            poison_all(plan, started, cluster, &tell),
            break_all(plan, started, cluster, &tell)
        );
    };
    let mut progress = Progress { say, accepted: 0, faults: Vec::new(), trouble: Vec::new() };
    let over = {
        let watching = watch(scenario, plan, (started, from_ms), cluster, &mut seen, &mut news, &mut progress);
        let mut watching = std::pin::pin!(watching);
        let mut work = std::pin::pin!(work);
        tokio::select! {
            over = &mut watching => over,
            () = &mut work => watching.await,
        }
    };
    tokio::time::sleep(SETTLE).await;
    seen.conclude().await?;
    let measured = seen.observer.measure(from_ms, unix_ms());
    let clauses: Vec<ClauseResult> = scenario.asserts.iter().flat_map(|assert| assert.hypothesis.judge(&measured)).collect();
    let failed = clauses.iter().filter(|clause| !clause.passed).count();
    let mut reasons = progress.trouble;
    if !over {
        reasons.push(format!("it was not over within {}: {} left", span_of(scenario.limit), plural(measured.open, "open job")));
    }
    if failed > 0 {
        reasons.push({
            let (all, verb) = (plural(clauses.len() as u64, "assertion"), agree(failed as u64, "does", "do"));
            format!("{failed} of {all} {verb} not hold")
        });
    }
    Ok(ScenarioReport {
        scenario: scenario.name.clone(),
        seed,
        passed: reasons.is_empty(),
        reason: reasons.join("; "),
        took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        faults: progress.faults,
        measured,
        clauses,
    })
}

fn span_of(duration: Duration) -> String {
    span(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// Follows what happens until all of it is over, or the limit is reached; false for the latter.
async fn watch(
    scenario: &Scenario,
    plan: &Plan,
    (started, from_ms): (Instant, u64),
    cluster: &OwnCluster,
    seen: &mut Watch<'_>,
    news: &mut mpsc::UnboundedReceiver<News>,
    progress: &mut Progress<'_>,
) -> bool {
    let last_fault_ms = plan.faults.iter().map(|fault| fault.at_ms + fault.for_ms).max().unwrap_or(0);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(told) = news.recv() => {
                take(told, seen, progress);
                continue;
            }
            _ = ticks.tick() => {}
        }
        let elapsed = started.elapsed();
        let read = seen.catch_up().await;
        let measured = seen.observer.measure(from_ms, unix_ms());
        let picture = cluster.picture().await;
        let trouble = match (&read, &picture) {
            (Err(error), _) => Some(format!("the history cannot be read: {error:#}")),
            (_, None) => Some("no scheduler answers".to_owned()),
            (_, Some(picture)) => picture.unfit(),
        };
        let ended = measured.committed + measured.dead + measured.cancelled + measured.abandoned;
        let state = trouble.clone().unwrap_or_else(|| "the cluster is whole".to_owned());
        (progress.say)(&format!("{:>3} s  {ended} of {} ended; {state}", elapsed.as_secs(), plural(plan.jobs.len() as u64, "job")));
        let all_ended = progress.accepted as usize == plan.jobs.len() && measured.open == 0;
        let all_broken = elapsed.as_millis() > u128::from(last_fault_ms);
        let poison_found = measured.dead_letters >= measured.dead + plan.poison.len() as u64;
        if all_ended && all_broken && poison_found && trouble.is_none() && news.is_empty() {
            return true;
        }
        if elapsed >= scenario.limit {
            return false;
        }
    }
}

fn take(told: News, seen: &mut Watch<'_>, progress: &mut Progress<'_>) {
    match told {
        News::Accepted { job, submitted_at_ms } => {
            seen.observer.on_accepted(job, submitted_at_ms, unix_ms());
            progress.accepted += 1;
        }
        News::NotAccepted { reason } => progress.trouble.push(format!("job refused: {reason}")),
        News::Broke(fault) => {
            (progress.say)(&format!("{:>3} s  {} for {}", fault.at_ms / 1000, fault.what, span(fault.for_ms)));
            progress.faults.push(fault);
        }
        News::NotBroken { reason } => progress.trouble.push(format!("a fault could not be injected: {reason}")),
    }
}

async fn submit_all(plan: &Plan, started: Instant, cluster: &OwnCluster, tell: &mpsc::UnboundedSender<News>) {
    let submitter = Submitter::new(&cluster.nats);
    futures::stream::iter(&plan.jobs)
        .map(|job| async {
            tokio::time::sleep_until(started + Duration::from_millis(job.at_ms)).await;
            let _ = tell.send(submit(&submitter, job).await);
        })
        .buffered(IN_FLIGHT)
        .collect::<()>()
        .await;
}

async fn submit(submitter: &Submitter, job: &PlannedJob) -> News {
    let spec = job.spec(unix_ms());
    let give_up = Instant::now() + SUBMIT_WITHIN;
    loop {
        match submitter.submit(&spec).await {
            Ok(_) => return News::Accepted { job: spec.id, submitted_at_ms: spec.submitted_at_ms },
            Err(error) if error.is_transient() && Instant::now() < give_up => tokio::time::sleep(PAUSE).await,
            Err(error) => return News::NotAccepted { reason: error.to_string() },
        }
    }
}

/// Unreadable messages in JOBS.
async fn poison_all(plan: &Plan, started: Instant, cluster: &OwnCluster, tell: &mpsc::UnboundedSender<News>) {
    futures::stream::iter(plan.poison.iter().copied())
        .for_each_concurrent(None, |(at_ms, random)| async move {
            tokio::time::sleep_until(started + Duration::from_millis(at_ms)).await;
            let subject = subjects::queue(Priority::Normal, "sleep", JobId::new(unix_ms(), random));
            let published = match cluster.nats.jetstream.publish(subject, "not a job".into()).await {
                Ok(ack) => ack.await.map(drop),
                Err(error) => Err(error),
            };
            if let Err(error) = published {
                let _ = tell.send(News::NotBroken { reason: format!("poison was not sent: {error}") });
            }
        })
        .await;
}

async fn break_all(plan: &Plan, started: Instant, cluster: &OwnCluster, tell: &mpsc::UnboundedSender<News>) {
    futures::stream::iter(&plan.faults)
        .for_each_concurrent(None, |planned| async {
            tokio::time::sleep_until(started + Duration::from_millis(planned.at_ms)).await;
            if let Err(reason) = break_one(planned, started, cluster, tell).await {
                let _ = tell.send(News::NotBroken { reason });
            }
        })
        .await;
}

async fn break_one(
    planned: &PlannedFault,
    started: Instant,
    cluster: &OwnCluster,
    tell: &mpsc::UnboundedSender<News>,
) -> Result<(), String> {
    let faults = match &planned.what {
        What::Drawn(faults) => faults.clone(),
        What::Open { request, seed } => {
            let picture = cluster.picture().await.ok_or("no scheduler answers")?;
            targets::faults(request, &picture, *seed)?
        }
    };
    for fault in faults {
        let what = fault.words();
        let at_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        cluster.inject(fault, planned.for_ms, COMMAND).await.map_err(|reason| format!("{what}: {reason}"))?;
        let _ = tell.send(News::Broke(InjectedFault { at_ms, for_ms: planned.for_ms, what }));
    }
    Ok(())
}
