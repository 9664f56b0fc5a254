//! Faults that were recorded in a real cluster.

use serde::Deserialize;
use thiserror::Error;

/// A node was broken from one instant to another, in milliseconds of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordedFault {
    /// The node's number.
    pub node: usize,
    pub from_ms: u64,
    pub until_ms: u64,
}

/// Why recorded faults cannot be used.
#[derive(Debug, Error)]
pub enum InvalidRecord {
    #[error("faults: {0}; expected columns start_day, end_day, and node")]
    Csv(#[from] csv::Error),
    #[error("faults, line {line}: the fault of `{node}` ends on day {end_day}, before it begins on day {start_day}: correct the row")]
    Backwards { line: u64, node: String, start_day: f64, end_day: f64 },
    #[error("faults, line {line}: unknown node `{node}`: name nodes as the cluster does, or rename neither")]
    UnknownNode { line: u64, node: String },
}

#[derive(Debug, Deserialize)]
struct Row {
    start_day: f64,
    end_day: f64,
    node: String,
}

const DAY_MS: f64 = 86_400_000.0;

/// Reads rows with `start_day`, `end_day`, and `node`. With `names`, each node must be one of them; without, nodes get numbers in the order in
/// which they appear. Faults of one node that overlap or touch become one.
pub fn read_recorded(csv: impl std::io::Read, names: Option<&[String]>) -> Result<Vec<RecordedFault>, InvalidRecord> {
    let mut numbers: std::collections::HashMap<String, usize> =
        names.unwrap_or_default().iter().enumerate().map(|(number, name)| (name.clone(), number)).collect();
    let mut faults = Vec::new();
    for (at, row) in csv::Reader::from_reader(csv).deserialize::<Row>().enumerate() {
        let (row, line) = (row?, at as u64 + 2);
        if row.end_day < row.start_day {
            return Err(InvalidRecord::Backwards { line, node: row.node, start_day: row.start_day, end_day: row.end_day });
        }
        let next = numbers.len();
        let node = match names {
            Some(_) => numbers.get(&row.node).copied().ok_or_else(|| InvalidRecord::UnknownNode { line, node: row.node.clone() })?,
            None => *numbers.entry(row.node).or_insert(next),
        };
        let ms = |day: f64| (day * DAY_MS).round().max(0.0) as u64;
        faults.push(RecordedFault { node, from_ms: ms(row.start_day), until_ms: ms(row.end_day) });
    }
    Ok(merged(faults))
}

/// One fault instead of several of the same node that overlap.
fn merged(mut faults: Vec<RecordedFault>) -> Vec<RecordedFault> {
    faults.sort_unstable();
    let mut merged: Vec<RecordedFault> = Vec::new();
    for fault in faults {
        match merged.last_mut() {
            Some(last) if last.node == fault.node && fault.from_ms <= last.until_ms => last.until_ms = last.until_ms.max(fault.until_ms),
            _ => merged.push(fault),
        }
    }
    merged.sort_unstable_by_key(|fault| (fault.from_ms, fault.node));
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_that_overlap_become_one_and_wrong_rows_are_named() {
        let csv = "start_day,end_day,node,level\n2,3,b,x\n1,2.5,a,x\n2.25,4,a,y\n";
        let day = 86_400_000;
        let expected =
            [RecordedFault { node: 1, from_ms: day, until_ms: 4 * day }, RecordedFault { node: 0, from_ms: 2 * day, until_ms: 3 * day }];
        assert_eq!(read_recorded(csv.as_bytes(), None).unwrap(), expected);
        let error = |csv: &str, names: Option<&[String]>| read_recorded(csv.as_bytes(), names).unwrap_err().to_string();
        assert!(error("start_day,end_day,node\n3,2,a\n", None).starts_with("faults, line 2: the fault of `a` ends on day 2"));
        assert!(error("start_day,end_day,node\n1,2,z\n", Some(&["a".to_owned()])).contains("unknown node `z`"));
        assert!(error("start,end_day,node\n1,2,z\n", None).contains("expected columns start_day"));
    }
}
