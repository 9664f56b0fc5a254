//! Reads along what the processes say, and tells the shadow what that means.

use faultline_engine::job::{AttemptId, AttemptOutcome};
use faultline_protocol::codec;
use faultline_protocol::messages::{
    AssignBatch, ClusterEvent, EndedBatch, EventBatch, EventKind, Goodbye, KillAttempts, Level, WorkerSync,
};
use faultline_protocol::subjects;
use faultline_runtime::wire::Post;

use super::cast::Proc;
use super::message::is_event;
use super::stage::Stage;

/// A process says this; whether it arrives is another matter.
pub(crate) fn on_post(stage: &mut Stage, from: Proc, post: &Post) {
    let subject = post.subject.as_str();
    if subjects::is_ack(subject) {
        // Without a delay it is given back unfinished, by a worker that leaves: of that nothing has to be known.
        if post.body.starts_with(b"-NAK")
            && post.body.as_ref() != b"-NAK"
            && let Some(attempt) = stage.failed.get(&(from, subject.to_owned()))
        {
            stage.net.shadow.on_failure_handed_back(*attempt, stage.net.now);
        }
    } else if is_event(subject) {
        if let Ok(batch) = codec::decode_body::<EventBatch>(&post.body) {
            batch.events.iter().for_each(|event| on_event(stage, from, event));
        }
    } else if subject.starts_with("assign.") {
        if let Ok(batch) = codec::decode_body::<AssignBatch>(&post.body) {
            on_assignments(stage, from, batch);
        }
    } else if subject == subjects::SCHED_ENDED {
        if let Ok(batch) = codec::decode_body::<EndedBatch>(&post.body) {
            let superseded = batch.ended.iter().filter(|ended| ended.outcome == AttemptOutcome::Superseded).count();
            stage.net.stats.superseded += superseded as u64;
            for ended in batch.ended {
                stage.net.say(|| format!("{} reports {} as {:?} {}", batch.worker, ended.attempt, ended.outcome, ended.detail));
            }
        }
    } else if subject.starts_with("node.bye.") {
        // The scheduler believes it, whether or not the registration can still be removed.
        if let Ok(bye) = codec::decode_body::<Goodbye>(&post.body) {
            stage.net.shadow.on_unregistered(&bye.node, stage.net.now);
        }
    } else if subject == subjects::SCHED_SYNCED {
        if let Ok(sync) = codec::decode_body::<WorkerSync>(&post.body) {
            on_sync(stage, from, sync);
        }
    } else if subject.starts_with("ctl.")
        && subject.ends_with(".kill")
        && let Ok(order) = codec::decode_body::<KillAttempts>(&post.body)
    {
        on_kill(stage, from, order);
    }
}

fn on_assignments(stage: &mut Stage, from: Proc, batch: AssignBatch) {
    let name = stage.cast.name(from).to_owned();
    for assignment in batch.assignments {
        let (attempt, net) = (assignment.attempt, &mut stage.net);
        net.shadow.on_placed(attempt, net.now);
        net.say(|| format!("{name} places {} as {attempt} on {} (epoch {})", assignment.spec.name, assignment.node, batch.epoch));
        stage.assigned.insert(attempt, (batch.epoch, assignment));
    }
}

fn on_kill(stage: &mut Stage, from: Proc, order: KillAttempts) {
    let name = stage.cast.name(from).to_owned();
    stage.net.say(|| format!("{name} kills {:?}: {}", order.attempts, order.reason));
    if order.reason.contains("past its time limit") {
        for attempt in order.attempts {
            stage.net.shadow.on_past_limit(attempt, stage.net.now);
        }
    }
}

fn on_sync(stage: &mut Stage, from: Proc, sync: WorkerSync) {
    match sync.refused {
        Some(refused) => {
            let (epoch, newest) = (sync.epoch, refused.newest);
            stage.net.stats.fenced += refused.attempts.len() as u64;
            stage.net.say(|| format!("{} refuses epoch {epoch}: it has heard of {newest}", sync.worker));
        }
        None => stage.net.shadow.on_epoch_seen(from, sync.epoch),
    }
}

fn on_event(stage: &mut Stage, from: Proc, event: &ClusterEvent) {
    let is_worker = stage.cast.workers().contains(&from);
    let net = &mut stage.net;
    net.say(|| format!("{} tells {:?}: {}", event.service, event.kind, event.detail));
    match event.kind {
        // A warning: the same leader, above what workers had heard of.
        EventKind::LeaderElected if event.level == Level::Warn => net.stats.raised += 1,
        EventKind::LeaderElected => net.stats.terms += 1,
        EventKind::NodeGone | EventKind::NodeDead => net.stats.verdicts += 1,
        // The engine's own checks know nothing of a message that comes twice, which NATS does not do.
        EventKind::InvariantViolated if net.stats.doubled == 0 => net.shadow.fail(format!("{} reports: {}", event.service, event.detail)),
        EventKind::AttemptLost if !is_worker => {
            net.stats.requeues += 1;
            if let Some(job) = event.job {
                net.shadow.on_taken_away(job, net.now);
            }
        }
        EventKind::AttemptFailed if is_worker => {
            if let Some(attempt) = event.attempt {
                on_failed(stage, from, attempt);
            }
        }
        _ => {}
    }
}

/// Its failure is being written, perhaps again.
fn on_failed(stage: &mut Stage, from: Proc, attempt: AttemptId) {
    let Some((_, assignment)) = stage.assigned.get(&attempt) else { return };
    if stage.counted.insert(attempt) {
        stage.net.shadow.on_failed(attempt);
    }
    stage.failed.insert((from, assignment.ack_subject.clone()), attempt);
}
