//! Where GPU time went: what the leader answers, and what it keeps for the leader after it.

use faultline_engine::goodput::history::Row;
use serde::{Deserialize, Serialize};

use crate::codec::message;

/// The answer to [`super::Query::Goodput`], and the value of the key `goodput` in KV LEDGER.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GoodputHistory {
    pub leader: String,
    pub epoch: u64,
    /// When this was said, in Unix milliseconds.
    pub at_ms: u64,
    /// This leader's term until now.
    pub term: Row,
    /// What was booked beyond a node's capacity in this term: the classes sum to the capacity plus this.
    #[serde(default)]
    pub overbooked: u64,
    /// The last hour in rows of ten seconds, those of earlier leaders first. Time in which none led, and what a leader that died had not stored yet,
    /// is in no row.
    pub rows: Vec<Row>,
}

message!(GoodputHistory, "goodput");
