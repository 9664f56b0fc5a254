//! Whether the log is still the one that was folded. A log that lost its tail gives the lost positions to other messages, which a fold that is
//! ahead would never read.

use super::fold::Fold;

/// What the log says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSight {
    pub first_pos: u64,
    pub last_pos: u64,
    /// When the message at the fold's position was stored; none when the log does not have that message.
    pub ts_at_pos: Option<u64>,
}

/// How a fold fits the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogCheck {
    /// Read on behind the fold's position.
    Fits,
    /// The log is another one, or lost what was folded: begin again, from a snapshot that fits or from the beginning.
    WentBack,
    /// Messages behind the fold's position were trimmed: take a newer snapshot.
    Trimmed,
}

impl Fold {
    /// To be asked when a snapshot was loaded, and after every reconnect before anything else.
    pub fn check(&self, log: LogSight) -> LogCheck {
        if self.pos == 0 {
            return if log.first_pos > 1 { LogCheck::Trimmed } else { LogCheck::Fits };
        }
        match log.ts_at_pos {
            Some(ts) if ts == self.pos_ts => LogCheck::Fits,
            Some(_) => LogCheck::WentBack,
            None if self.pos > log.last_pos => LogCheck::WentBack,
            None if log.first_pos > self.pos.saturating_add(1) => LogCheck::Trimmed,
            // The one message by which the log is known was trimmed, so that nothing tells whether it is the same.
            None => LogCheck::WentBack,
        }
    }
}
