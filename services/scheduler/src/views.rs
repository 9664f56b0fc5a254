//! Answers queries from the engine's books. Changes nothing.

use faultline_engine::job::{JobId, JobState, Submission};
use faultline_engine::ledger::LedgerSnapshot;
use faultline_engine::node::Health;
use faultline_engine::scheduler::{Held, HeldState, NodeState, Scheduler, Spot, WhyWaiting, WouldFit};
use faultline_protocol::batch;
use faultline_protocol::messages::{
    ClusterStats, JobView, MAX_QUERY_ROWS, NodeView, Query, QueryReply, RunningBrief, WouldFitQuery, possible_time,
};
use serde::Serialize;

use crate::goodput::Earlier;

/// What the engine does not know and a reply wants.
pub(crate) struct Surroundings<'a> {
    pub(crate) leader: &'a str,
    pub(crate) epoch: u64,
    pub(crate) leader_since_ms: u64,
    pub(crate) jobs_in_stream: u64,
    pub(crate) ledger: LedgerSnapshot,
    pub(crate) earlier: &'a Earlier,
    /// By the leader's own time.
    pub(crate) now_ms: u64,
    /// What a reply may take.
    pub(crate) most_bytes: usize,
}

/// A page of rows: as many as one message carries. The client continues behind the last of them, until a page is empty.
fn page<T: Serialize>(rows: impl Iterator<Item = T>, around: &Surroundings<'_>, reply: impl Fn(Vec<T>) -> QueryReply) -> QueryReply {
    match batch::first_that_fit(rows, batch::bytes_of(&reply(Vec::new())), around.most_bytes) {
        Ok(rows) => reply(rows),
        Err(bytes) => QueryReply::Error(format!("the answer takes {bytes} bytes, more than the {} that NATS allows", around.most_bytes)),
    }
}

pub(crate) fn answer(query: &Query, scheduler: &Scheduler, around: &Surroundings<'_>) -> QueryReply {
    let rows = |limit: u32| limit.clamp(1, MAX_QUERY_ROWS) as usize;
    match query {
        Query::Stats => QueryReply::Stats(Box::new(stats(scheduler, around))),
        Query::Nodes { after, limit } => {
            let nodes = scheduler.nodes_after(after.as_deref()).take(rows(*limit));
            page(nodes.map(|node| node_view(node, scheduler, around.now_ms)), around, QueryReply::Nodes)
        }
        Query::Node { node } => {
            let node = scheduler.node(node).into_iter();
            page(node.map(|node| node_view(node, scheduler, around.now_ms)), around, QueryReply::Nodes)
        }
        Query::Jobs { after, limit } => {
            let jobs = scheduler.jobs_after(*after).take(rows(*limit));
            let mut reasons = scheduler.waiting_reasons(around.now_ms);
            page(jobs.map(|held| job_view(held, reasons.of(held.spec.id))), around, QueryReply::Jobs)
        }
        Query::Job { job } => {
            let view = |held: &Held| {
                let waiting = scheduler.why_waiting_in_full(held.spec.id, around.now_ms);
                job_view(held, waiting).with_submission(Some(Submission::from(&held.spec)))
            };
            page(scheduler.job(*job).map(view).into_iter(), around, QueryReply::Jobs)
        }
        Query::WouldFit(query) => would_fit(query, scheduler, around),
        Query::Goodput => QueryReply::Goodput(Box::new(around.earlier.until_now(scheduler, around.leader, around.now_ms))),
    }
}

/// With as many of the places as one message carries: the count of all is there.
fn would_fit(query: &WouldFitQuery, scheduler: &Scheduler, around: &Surroundings<'_>) -> QueryReply {
    let mut answer = match scheduler.would_fit(&query.demand, &query.kind, query.count, around.now_ms) {
        Ok(answer) => Box::new(answer),
        Err(invalid) => return QueryReply::Error(invalid.to_string()),
    };
    let spots: Vec<Spot> = std::mem::take(&mut answer.spots);
    let reply = |spots| QueryReply::WouldFit(Box::new(WouldFit { spots, ..(*answer).clone() }));
    page(spots.into_iter(), around, reply)
}

fn node_view(node: &NodeState, scheduler: &Scheduler, now_ms: u64) -> NodeView {
    let progress = |job: &JobId| match scheduler.job(*job).map(|held| &held.state) {
        Some(HeldState::Running(running)) => (running.progress_permille, running.epoch),
        Some(HeldState::ReadingBack | HeldState::Waiting { .. } | HeldState::Returning { .. }) | None => (0, 0),
    };
    NodeView {
        spec: node.spec.clone(),
        health: node.health,
        draining: node.draining || node.leaving,
        gpu_used_milli: node.slots.iter().map(|slot| slot.used_milli).collect(),
        gpu_reserved_mib: node.slots.iter().map(|slot| slot.reserved_mib).collect(),
        running: node
            .attempts
            .iter()
            .map(|(attempt, job)| {
                let (progress_permille, epoch) = progress(job);
                RunningBrief { attempt: *attempt, job: *job, progress_permille, epoch }
            })
            .collect(),
        telemetry: node.telemetry.clone(),
        heartbeat_age_ms: node.last_heartbeat_ms.map(|last| now_ms.saturating_sub(last)),
        verdict: None,
    }
}

fn job_view(held: &Held, waiting: Option<WhyWaiting>) -> JobView {
    let (state, node, progress_permille) = match &held.state {
        HeldState::Running(running) => (JobState::Running, Some(running.node.clone()), running.progress_permille),
        HeldState::ReadingBack | HeldState::Waiting { .. } | HeldState::Returning { .. } => {
            (JobState::Queued, held.path.history.last().map(|row| row.node.clone()), 0)
        }
    };
    let path = held.path_so_far();
    JobView {
        id: held.spec.id,
        name: held.spec.name.clone(),
        kind: held.spec.kind.clone(),
        priority: held.spec.priority,
        state,
        submitted_at_ms: submitted_at_ms(held),
        ended_at_ms: None,
        demand: Some(held.spec.demand.clone()),
        node,
        progress_permille,
        failures: path.failures,
        requeues: path.requeues,
        attempts: path.history,
        result: String::new(),
        reason: String::new(),
        waiting,
        submission: None,
    }
}

/// The submitter's word, where it can be true of a job that JetStream stored then.
fn submitted_at_ms(held: &Held) -> u64 {
    let said_ms = held.spec.submitted_at_ms;
    if held.stored_at_ms == 0 { said_ms } else { possible_time(said_ms, held.stored_at_ms) }
}

fn stats(scheduler: &Scheduler, around: &Surroundings<'_>) -> ClusterStats {
    let short = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    let (counters, totals) = (scheduler.counters(), scheduler.totals());
    let count = |health: Health| short(totals.nodes[health as usize]);
    let held = scheduler.jobs_after(None).count() as u64;
    ClusterStats {
        leader: around.leader.to_owned(),
        epoch: around.epoch,
        leader_since_ms: around.leader_since_ms,
        policy: scheduler.policy_in_force(),
        nodes_alive: count(Health::Alive),
        nodes_suspect: count(Health::Suspect),
        nodes_gone: count(Health::Gone),
        nodes_dead: count(Health::Dead),
        nodes_draining: short(totals.draining),
        gpus_total: short(totals.gpus),
        gpu_used_milli: totals.gpu_used_milli,
        queued_in_stream: around.jobs_in_stream.saturating_sub(held),
        queued_held: held.saturating_sub(totals.running),
        running: totals.running,
        placed_total: counters.placed,
        requeued_total: counters.requeued,
        retried_total: counters.retried,
        requeue_p50_ms: counters.requeue.percentile_ms(50),
        requeue_p95_ms: counters.requeue.percentile_ms(95),
        recovery_p50_ms: counters.recovery.percentile_ms(50),
        recovery_p95_ms: counters.recovery.percentile_ms(95),
        violations_total: counters.violations,
        last_violation: counters.last_violation.clone(),
        refused_total: scheduler.refusals().total,
        refusal: scheduler.refusals().standing.clone(),
        policy_program: scheduler.program(),
        ledger: around.ledger.clone(),
        at_ms: scheduler.cluster_time(around.now_ms),
    }
}
