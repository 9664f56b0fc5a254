//! Where GPU time went.

use faultline_engine::goodput::history::Row;
use faultline_protocol::messages::{GoodputHistory, Query, QueryReply};

use super::{Sample, T, sample};

pub(super) fn all() -> Vec<Sample> {
    let row = |from_ms: u64, for_ms: u64, productive: u64, lost: u64| Row {
        from_ms,
        for_ms,
        classes: vec![0, 0, 0, 0, productive, lost, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, for_ms * 8_000 - productive - lost - 7],
        lost: vec![lost, 0, 0, 0, 0, 0, 0, 0, 0],
    };
    let history = GoodputHistory {
        leader: "scheduler-2".into(),
        epoch: 4,
        at_ms: T + 12_000,
        term: row(T, 12_000, 40_000_000, 1_500_000),
        overbooked: 0,
        rows: vec![row(T, 10_000, 40_000_000, 1_500_000), row(T + 10_000, 2_000, 0, 0)],
    };
    vec![sample("", history.clone()), sample("goodput", Query::Goodput), sample("goodput", QueryReply::Goodput(Box::new(history)))]
}
