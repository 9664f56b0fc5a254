//! Messages that cannot be read: each is counted and left alone, since a poisoned message stops nobody, and a flood of them must not
//! become one of log lines.

use std::fmt::Display;

use faultline_protocol::codec::{self, Message};

use crate::connect::Nats;

/// Reads plain messages for one loop, and keeps count of those that it could not read.
#[derive(Debug)]
pub struct PlainReader {
    nats: Nats,
    unreadable: u64,
}

impl PlainReader {
    pub fn new(nats: &Nats) -> Self {
        Self { nats: nats.clone(), unreadable: 0 }
    }

    /// The message that was heard on this subject or wildcard; `None` when it is none of the kind.
    pub fn read<M: Message>(&mut self, heard_on: &str, message: &async_nats::Message) -> Option<M> {
        match codec::decode_plain(heard_on, message) {
            Ok(decoded) => Some(decoded),
            Err(error) => {
                self.note(&message.subject, &error);
                None
            }
        }
    }

    /// Counts something else that came in and cannot be read, and says so at the first, second, fourth, eighth, ... time.
    pub fn note(&mut self, from: &str, error: &dyn Display) {
        self.nats.note_malformed();
        self.unreadable += 1;
        if self.unreadable.is_power_of_two() {
            tracing::warn!(from, %error, so_far = self.unreadable, "a message cannot be read");
        }
    }
}
