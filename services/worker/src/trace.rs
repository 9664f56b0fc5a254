//! What a worker tells of a job's trace: how the job came here, its attempt, and the commit.

use faultline_engine::job::{Assignment, AttemptOutcome, Commit, EndedAttempt};
use faultline_runtime::connection::Connection;
use faultline_runtime::trace::{Span, SpanId, Tracer};

/// An attempt that ended here. A lost one is told by the scheduler, which also knows of those whose worker is dead.
pub(crate) fn tell_attempt(tracer: &Tracer, assignment: &Assignment, started_at_ms: u64, ended: &EndedAttempt) {
    tracer.tell(assignment.spec.id, |trace, root| {
        let placement = Span {
            trace,
            id: SpanId::random(),
            parent: Some(root),
            name: "placement".into(),
            start_ms: assignment.placed_at_ms,
            end_ms: started_at_ms,
            attributes: vec![("node", assignment.node.clone()), ("why", assignment.why_words())],
            error: None,
        };
        if ended.outcome == AttemptOutcome::Lost {
            return vec![placement];
        }
        let is_good = ended.outcome == AttemptOutcome::Committed;
        let attempt = Span {
            id: SpanId::of_attempt(assignment.attempt),
            name: format!("attempt {}", assignment.failures + assignment.requeues + 1),
            start_ms: started_at_ms,
            end_ms: ended.at_ms,
            attributes: vec![
                ("node", assignment.node.clone()),
                ("attempt", assignment.attempt.to_string()),
                ("job.kind", assignment.spec.kind.clone()),
                ("outcome", format!("{:?}", ended.outcome).to_lowercase()),
            ],
            error: (!is_good).then(|| ended.detail.clone()),
            ..placement.clone()
        };
        vec![placement, attempt]
    });
}

/// The stream's answer to a result.
pub(crate) fn tell_commit(nats: &Connection, assignment: &Assignment, start_ms: u64, commit: &Commit) {
    nats.tracer().tell(assignment.spec.id, |trace, _| {
        let error = match commit {
            Commit::Committed => None,
            Commit::TooLate(ended) => Some(format!("the job had already ended: {ended:?}")),
            Commit::NoRecord => Some("the job's record is missing in RESULTS".into()),
        };
        let (id, parent, name) = (SpanId::random(), Some(SpanId::of_attempt(assignment.attempt)), "commit".to_owned());
        vec![Span { trace, id, parent, name, start_ms, end_ms: nats.unix_ms(), attributes: vec![("node", assignment.node.clone())], error }]
    });
}
