//! What a link may be like, and which of it makes sense.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Longer than any timeout that the services have.
const LONGEST_DELAY_MS: u64 = 60_000;
/// Above this the retransmissions of one chunk take minutes: that is a stall, and should be called so.
const HIGHEST_LOSS_PERCENT: f64 = 90.0;

/// Whether bytes pass at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// They pass.
    #[default]
    Open,
    /// A partition, as a machine without network sees it: connections stay, new ones are accepted, and nothing flows, not even
    /// the news that a side has closed. After healing all of it is delivered, in order.
    Stalled,
    /// Connections are reset, and new ones are reset as soon as they are made.
    Closed,
}

/// Which way of a link the conditions are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    #[default]
    Both,
    /// From the service to NATS: the service hears and is not heard.
    Up,
    /// From NATS to the service: the service is heard and does not hear.
    Down,
}

/// What one link is like. The default is open and clean.
///
/// `delay_ms`, `jitter_ms` and `loss_percent` count at the moment at which a chunk comes in: what is under way keeps its time when
/// they change. `state` and `bytes_per_s` count at the moment at which it goes out.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinkConditions {
    pub state: LinkState,
    /// The way that all of this is about; the other one is open and clean.
    pub direction: Direction,
    /// Milliseconds that each chunk takes longer, in each direction that is meant: 50 make a round trip 100 longer.
    pub delay_ms: u64,
    /// Up to so many milliseconds more, drawn evenly for each chunk. Order is kept, as TCP keeps it.
    pub jitter_ms: u64,
    /// Bytes a second; unlimited if `None`.
    pub bytes_per_s: Option<u64>,
    /// Percent of the chunks that are lost, 0 to 90. Bytes of a TCP stream cannot be missing, so a lost chunk is one that comes
    /// late: after a retransmission timeout of 200 ms (Linux' `TCP_RTO_MIN`) plus the round trip, doubled each time it is lost
    /// again (RFC 6298, section 5.5), up to 120 s. All that follows waits behind it. Without fast retransmit and tail loss probes:
    /// the model is that of a thin stream, where nothing follows that could tell of the gap.
    pub loss_percent: f64,
}

/// Conditions that make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct InvalidConditions {
    /// The field of [`LinkConditions`].
    pub field: &'static str,
    /// What is wrong with it, and what would do.
    pub reason: String,
}

impl LinkConditions {
    /// A partition.
    pub fn stalled() -> Self {
        Self { state: LinkState::Stalled, ..Self::default() }
    }

    /// Connections are reset, and so are new ones.
    pub fn closed() -> Self {
        Self { state: LinkState::Closed, ..Self::default() }
    }

    /// Whether no problem found with the link.
    pub fn is_clean(&self) -> bool {
        Self { direction: Direction::Both, ..*self } == Self::default()
    }

    /// Names the field that makes no sense.
    pub fn validate(&self) -> Result<(), InvalidConditions> {
        let refuse = |field, reason: String| Err(InvalidConditions { field, reason });
        for (field, ms) in [("delay_ms", self.delay_ms), ("jitter_ms", self.jitter_ms)] {
            if ms > LONGEST_DELAY_MS {
                return refuse(
                    field,
                    format!("{ms} is more than {LONGEST_DELAY_MS}; for a link that passes nothing use the state stalled"),
                );
            }
        }
        if self.bytes_per_s == Some(0) {
            return refuse("bytes_per_s", "0 passes nothing: use the state stalled, or leave it out for no limit".into());
        }
        if !(0.0..=HIGHEST_LOSS_PERCENT).contains(&self.loss_percent) {
            let loss = self.loss_percent;
            return refuse(
                "loss_percent",
                format!("{loss} is not within 0 to {HIGHEST_LOSS_PERCENT}; for all of it use the state stalled"),
            );
        }
        if self.state == LinkState::Closed && self.direction != Direction::Both {
            return refuse("direction", "a connection cannot be closed one way: use both, or the state stalled".into());
        }
        Ok(())
    }

    /// The conditions of one way, `Up` or `Down`.
    pub(crate) fn one_way(&self, way: Direction) -> Self {
        if self.direction == Direction::Both || self.direction == way { *self } else { Self::default() }
    }

    pub(crate) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms)
    }
}

/// In words, for people: `open`, `stalled, service to NATS only`, `delay 50 to 60 ms, loss 2 %`.
impl fmt::Display for LinkConditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        match self.state {
            LinkState::Open => {}
            LinkState::Stalled => words.push("stalled".to_owned()),
            LinkState::Closed => words.push("closed".to_owned()),
        }
        match (self.delay_ms, self.jitter_ms) {
            (0, 0) => {}
            (delay, 0) => words.push(format!("delay {delay} ms")),
            (delay, jitter) => words.push(format!("delay {delay} to {} ms", delay + jitter)),
        }
        words.extend(self.bytes_per_s.map(|bytes| format!("{bytes} B/s")));
        if self.loss_percent > 0.0 {
            words.push(format!("loss {} %", self.loss_percent));
        }
        if words.is_empty() {
            return f.write_str("open");
        }
        match self.direction {
            Direction::Both => {}
            Direction::Up => words.push("service to NATS only".to_owned()),
            Direction::Down => words.push("NATS to service only".to_owned()),
        }
        f.write_str(&words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean() -> LinkConditions {
        LinkConditions::default()
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_its_name() {
        let bad = [
            ("delay_ms", LinkConditions { delay_ms: 60_001, ..clean() }),
            ("jitter_ms", LinkConditions { jitter_ms: u64::MAX, ..clean() }),
            ("bytes_per_s", LinkConditions { bytes_per_s: Some(0), ..clean() }),
            ("loss_percent", LinkConditions { loss_percent: f64::NAN, ..clean() }),
            ("loss_percent", LinkConditions { loss_percent: -0.1, ..clean() }),
            ("loss_percent", LinkConditions { loss_percent: 100.0, ..clean() }),
            ("direction", LinkConditions { direction: Direction::Up, ..LinkConditions::closed() }),
        ];
        for (field, conditions) in bad {
            assert_eq!(conditions.validate().unwrap_err().field, field, "{conditions:?}");
        }
        let strange = LinkConditions { delay_ms: 60_000, jitter_ms: 60_000, bytes_per_s: Some(1), loss_percent: 90.0, ..clean() };
        assert_eq!(
            [strange, clean(), LinkConditions::stalled(), LinkConditions::closed()].map(|good| good.validate()),
            [const { Ok(()) }; 4]
        );
    }

    #[test]
    fn one_way_leaves_the_other_clean() {
        let up = LinkConditions { direction: Direction::Up, ..LinkConditions::stalled() };
        assert_eq!(up.one_way(Direction::Up).state, LinkState::Stalled);
        assert!(up.one_way(Direction::Down).is_clean());
        assert!(!up.is_clean());
        assert!(LinkConditions { direction: Direction::Up, ..clean() }.is_clean());
    }

    #[test]
    fn they_are_told_in_words() {
        assert_eq!(clean().to_string(), "open");
        assert_eq!(LinkConditions { direction: Direction::Down, ..LinkConditions::stalled() }.to_string(), "stalled, NATS to service only");
        let poor = LinkConditions { delay_ms: 50, jitter_ms: 10, bytes_per_s: Some(1024), loss_percent: 2.5, ..clean() };
        assert_eq!(poor.to_string(), "delay 50 to 60 ms, 1024 B/s, loss 2.5 %");
    }
}
