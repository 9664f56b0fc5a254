//! What the scheduler tells of a job's trace when it places the job: how long it had waited, and what came before. An attempt that was
//! lost is told here, since the worker that ran it may be dead.

use faultline_engine::job::{Assignment, AttemptOutcome};
use faultline_runtime::trace::{Span, SpanId, Tracer};

pub(crate) fn tell_placement(tracer: &Tracer, assignment: &Assignment) {
    tracer.tell(assignment.spec.id, |trace, root| {
        let node = || vec![("node", assignment.node.clone()), ("why", assignment.why_words())];
        let span = |name: &str, start_ms: u64| Span {
            trace,
            id: SpanId::random(),
            parent: Some(root),
            name: name.to_owned(),
            start_ms,
            end_ms: assignment.placed_at_ms,
            attributes: node(),
            error: None,
        };
        let Some(last) = assignment.history.last() else {
            return vec![span("queue wait", assignment.spec.submitted_at_ms)];
        };
        let ended_ms = last.ended_at_ms.unwrap_or(assignment.placed_at_ms);
        if last.outcome != AttemptOutcome::Lost {
            return vec![span("retry wait", ended_ms)];
        }
        let number = assignment.failures + assignment.requeues;
        let lost = Span {
            id: SpanId::of_attempt(last.attempt),
            name: format!("attempt {number}"),
            start_ms: last.placed_at_ms,
            end_ms: ended_ms,
            attributes: vec![("node", last.node.clone()), ("outcome", "interrupted".into())],
            error: Some(last.detail.clone()),
            ..span("", 0)
        };
        vec![lost, span("reaction", ended_ms)]
    });
}
