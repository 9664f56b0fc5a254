//! What the planted bugs do to messages that go out. Each is a wire that says what is not so, never a service that does what it should not.

use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use faultline_protocol::codec;
use faultline_protocol::messages::{EventBatch, EventKind};
use faultline_runtime::wire::Post;

use super::bug::Bug;
use super::cast::Proc;
use super::message::Op;
use super::stage::Stage;
use super::witness;

/// Changes what goes out as the planted bug does; `None`: it does not go out.
pub(crate) fn on_sending(stage: &mut Stage, proc: Proc, post: Post) -> Option<Post> {
    let is_worker = stage.cast.workers().contains(&proc);
    match stage.net.bug {
        Some(Bug::PlaceAtOnce) if post.subject.starts_with("ctl.") && post.subject.ends_with(".sync") => None,
        Some(Bug::NakFirst) if is_worker && post.body.starts_with(b"-NAK") && stage.handed_back.remove(post.subject.as_str()) => None,
        _ => Some(post),
    }
}

/// A worker that hands its job back before the failure is in the history.
pub(crate) fn nak_first(stage: &mut Stage, proc: Proc, post: &Post) {
    let Ok(batch) = codec::decode_body::<EventBatch>(&post.body) else { return };
    let Some(event) = batch.events.first().filter(|event| event.kind == EventKind::AttemptFailed) else { return };
    let Some(ack_subject) = event.attempt.and_then(|attempt| stage.assigned.get(&attempt)).map(|(_, it)| it.ack_subject.clone()) else {
        return;
    };
    if stage.handed_back.insert(ack_subject.clone()) {
        let delay_ms = event.retry_at_ms.unwrap_or(event.at_ms).saturating_sub(event.at_ms);
        let nak = Post::bare(ack_subject, format!("-NAK {{\"delay\": {}}}", u128::from(delay_ms) * 1_000_000));
        witness::on_post(stage, proc, &nak);
        stage.net.send(proc, Op::Publish(nak));
    }
}

pub(crate) fn without_expectation(headers: HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, values) in headers.iter() {
        if *name != NATS_EXPECTED_LAST_SUBJECT_SEQUENCE {
            values.iter().for_each(|value| kept.append(name.clone(), value.clone()));
        }
    }
    kept
}
