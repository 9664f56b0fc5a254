//! What the planted bugs do to messages that arrive.

use async_nats::Message;
use bytes::Bytes;
use faultline_protocol::messages::{AssignBatch, WorkerSync};
use faultline_protocol::{codec, subjects};

use super::bug::Bug;
use super::cast::Proc;
use super::net::Net;

/// What a worker, or a leader, is told instead of what was sent, when a bug is planted; `None`: it hears nothing.
pub(crate) fn on_arrival(net: &Net, to: Proc, message: Message) -> Option<Message> {
    let Some(bug) = net.bug else { return Some(message) };
    let changed = |body: Bytes, message: Message| Some(Message { length: body.len(), payload: body, ..message });
    match bug {
        Bug::SkipFence if subjects::matches(subjects::ASSIGN_ALL, &message.subject) => {
            let mut batch = codec::decode_body::<AssignBatch>(&message.payload).ok()?;
            batch.epoch = batch.epoch.max(net.shadow.epoch_of(to));
            changed(codec::encode(&batch), message)
        }
        Bug::ForeignClock | Bug::EpochMayFall if message.subject.as_str() == subjects::SCHED_SYNCED => {
            let mut sync = codec::decode_body::<WorkerSync>(&message.payload).ok()?;
            if bug == Bug::EpochMayFall {
                return sync.refused.is_none().then_some(message);
            }
            let now_ms = net.wall_ms(to, net.now);
            for running in sync.nodes.iter_mut().flat_map(|node| &mut node.running) {
                running.elapsed_ms = Some(now_ms.saturating_sub(running.assignment.placed_at_ms));
            }
            changed(codec::encode(&sync), message)
        }
        _ => Some(message),
    }
}
