//! Answers queries from the engine's books. Changes nothing.

use faultline_engine::job::{JobId, JobState};
use faultline_engine::ledger::LedgerSnapshot;
use faultline_engine::node::Health;
use faultline_engine::scheduler::{Held, HeldState, NodeState, Scheduler};
use faultline_protocol::messages::{ClusterStats, JobView, MAX_QUERY_ROWS, NodeView, Query, QueryReply, RunningBrief};

/// What the engine does not know and a reply wants.
pub(crate) struct Surroundings<'a> {
    pub(crate) leader: &'a str,
    pub(crate) epoch: u64,
    pub(crate) leader_since_ms: u64,
    pub(crate) jobs_in_stream: u64,
    pub(crate) ledger: LedgerSnapshot,
    pub(crate) now_ms: u64,
}

pub(crate) fn answer(query: &Query, scheduler: &Scheduler, around: &Surroundings<'_>) -> QueryReply {
    let rows = |limit: u32| limit.clamp(1, MAX_QUERY_ROWS) as usize;
    match query {
        Query::Stats => QueryReply::Stats(Box::new(stats(scheduler, around))),
        Query::Nodes { after, limit } => QueryReply::Nodes(
            scheduler.nodes_after(after.as_deref()).take(rows(*limit)).map(|node| node_view(node, scheduler, around.now_ms)).collect(),
        ),
        Query::Node { node } => {
            QueryReply::Nodes(scheduler.node(node).map(|node| node_view(node, scheduler, around.now_ms)).into_iter().collect())
        }
        Query::Jobs { after, limit } => {
            QueryReply::Jobs(scheduler.jobs_after(*after).take(rows(*limit)).map(|held| job_view(held, scheduler, around.now_ms)).collect())
        }
        Query::Job { job } => {
            QueryReply::Jobs(scheduler.job(*job).map(|held| job_view(held, scheduler, around.now_ms)).into_iter().collect())
        }
    }
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

fn job_view(held: &Held, scheduler: &Scheduler, now_ms: u64) -> JobView {
    let (state, node, progress_permille) = match &held.state {
        HeldState::Running(running) => (JobState::Running, Some(running.node.clone()), running.progress_permille),
        HeldState::ReadingBack | HeldState::Waiting { .. } | HeldState::Returning { .. } => {
            (JobState::Queued, held.history.last().map(|row| row.node.clone()), 0)
        }
    };
    JobView {
        id: held.spec.id,
        name: held.spec.name.clone(),
        kind: held.spec.kind.clone(),
        priority: held.spec.priority,
        state,
        submitted_at_ms: held.spec.submitted_at_ms,
        ended_at_ms: None,
        demand: Some(held.spec.demand.clone()),
        node,
        progress_permille,
        failures: held.failures,
        requeues: held.requeues,
        attempts: held.path(),
        result: String::new(),
        reason: String::new(),
        waiting: scheduler.why_waiting(held.spec.id, now_ms),
    }
}

fn stats(scheduler: &Scheduler, around: &Surroundings<'_>) -> ClusterStats {
    let count = |health: Health| u32::try_from(scheduler.nodes().filter(|node| node.health == health).count()).unwrap_or(u32::MAX);
    let counters = scheduler.counters();
    let running = scheduler.running() as u64;
    let held = scheduler.jobs_after(None).count() as u64;
    ClusterStats {
        leader: around.leader.to_owned(),
        epoch: around.epoch,
        leader_since_ms: around.leader_since_ms,
        policy: scheduler.policy_name().to_owned(),
        nodes_alive: count(Health::Alive),
        nodes_suspect: count(Health::Suspect),
        nodes_gone: count(Health::Gone),
        nodes_dead: count(Health::Dead),
        nodes_draining: u32::try_from(scheduler.nodes().filter(|node| node.draining || node.leaving).count()).unwrap_or(u32::MAX),
        gpus_total: u32::try_from(scheduler.nodes().map(|node| node.slots.len()).sum::<usize>()).unwrap_or(u32::MAX),
        gpu_used_milli: scheduler.nodes().flat_map(|node| &node.slots).map(|slot| u64::from(slot.used_milli)).sum(),
        queued_in_stream: around.jobs_in_stream.saturating_sub(held),
        queued_held: held.saturating_sub(running),
        running,
        placed_total: counters.placed,
        requeued_total: counters.requeued,
        retried_total: counters.retried,
        requeue_p50_ms: counters.requeue.percentile_ms(50),
        requeue_p95_ms: counters.requeue.percentile_ms(95),
        recovery_p50_ms: counters.recovery.percentile_ms(50),
        recovery_p95_ms: counters.recovery.percentile_ms(95),
        violations_total: counters.violations,
        last_violation: counters.last_violation.clone(),
        ledger: around.ledger.clone(),
        at_ms: around.now_ms,
    }
}
