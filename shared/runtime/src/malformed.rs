//! Messages that cannot be read: each is counted and left alone, since an unreadable message stops no service, and a flood of them must not
//! become one of log lines.

use std::fmt::Display;
use std::time::Duration;

use faultline_protocol::codec::{self, Message};
use tokio::time::Instant;

use crate::connection::Connection;
use crate::seldom::Seldom;

/// At most one line in the log within this time.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// Reads plain messages for one loop, and keeps count of those that it could not read.
#[derive(Debug)]
pub struct PlainReader {
    connection: Connection,
    unreadable: u64,
    lines: Seldom,
}

impl PlainReader {
    pub fn new(connection: &Connection) -> Self {
        Self { connection: connection.clone(), unreadable: 0, lines: Seldom::new(LOG_EVERY) }
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

    /// How many could not be read so far.
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Counts something else that came in and cannot be read, and says so now and then.
    pub fn note(&mut self, from: &str, error: &dyn Display) {
        self.connection.note_malformed();
        self.unreadable += 1;
        if self.lines.admit(Instant::now()).is_some() {
            tracing::warn!(from, %error, so_far = self.unreadable, "a message cannot be read");
        }
    }
}
