//! Rows to CSV text and back.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::rows::UsageLine;

/// Why a table of a folder cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{line}{why}; make the folder again with `faultline lab run`", line = line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct Unreadable {
    pub line: Option<u64>,
    pub why: String,
}

impl From<csv::Error> for Unreadable {
    fn from(error: csv::Error) -> Self {
        let why = match error.kind() {
            csv::ErrorKind::Deserialize { err, .. } => err.to_string(),
            _ => error.to_string(),
        };
        Self { line: error.position().map(csv::Position::line), why }
    }
}

/// With a header, whose columns are the fields.
pub fn to_csv<T: Serialize>(rows: &[T]) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row).expect("rows are flat structs, and memory takes every byte");
    }
    writer.into_inner().expect("memory takes every byte")
}

/// What [`to_csv`] made.
pub fn from_csv<T: DeserializeOwned>(bytes: &[u8]) -> Result<Vec<T>, Unreadable> {
    csv::Reader::from_reader(bytes).deserialize().map(|row| row.map_err(Unreadable::from)).collect()
}

const FIXED: [&str; 6] = ["policy", "seed", "from_ms", "to_ms", "waiting", "running"];

/// `usage.csv`: a column for each class, in GPU-milliseconds.
pub fn usage_to_csv(classes: &[String], rows: &[UsageLine]) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = FIXED.into_iter().chain(classes.iter().map(String::as_str));
    let mut write = |fields: Vec<String>| writer.write_record(fields).expect("every row has a field for each class");
    write(header.map(str::to_owned).collect());
    for row in rows {
        let times = [row.seed, row.from_ms, row.to_ms].map(|number| number.to_string());
        let figures = [row.waiting, row.running].into_iter().chain(row.gpu_ms.iter().copied()).map(|figure| figure.to_string());
        write(std::iter::once(row.policy.clone()).chain(times).chain(figures).collect());
    }
    writer.into_inner().expect("memory takes every byte")
}

/// What [`usage_to_csv`] made: the classes and the rows.
pub fn usage_from_csv(bytes: &[u8]) -> Result<(Vec<String>, Vec<UsageLine>), Unreadable> {
    type Fields = (String, u64, u64, u64, f64, f64, Vec<f64>);
    let mut reader = csv::Reader::from_reader(bytes);
    let header = reader.headers()?.clone();
    if !header.iter().take(FIXED.len()).eq(FIXED) {
        return Err(Unreadable { line: Some(1), why: format!("the columns do not begin with {}", FIXED.join(",")) });
    }
    let classes = header.iter().skip(FIXED.len()).map(str::to_owned).collect();
    let rows = reader.deserialize().map(|row| {
        let (policy, seed, from_ms, to_ms, waiting, running, gpu_ms): Fields = row?;
        Ok(UsageLine { policy, seed, from_ms, to_ms, waiting, running, gpu_ms })
    });
    Ok((classes, rows.collect::<Result<_, Unreadable>>()?))
}

#[cfg(test)]
mod tests {
    use super::super::rows::{Group, SummaryLine};
    use super::*;

    #[test]
    fn rows_come_back_as_they_were() {
        let line = |of: &str, value| SummaryLine {
            policy: "a, \"quoted\"".to_owned(),
            tie: "first".to_owned(),
            seed: 7,
            group: Group::User,
            of: of.to_owned(),
            metric: "goodput".to_owned(),
            value,
        };
        let rows = [line("alice\nbob", Some(0.1 + 0.2)), line("", None)];
        let text = to_csv(&rows);
        assert!(text.starts_with(b"policy,tie,seed,group,of,metric,value\n"));
        assert_eq!(from_csv::<SummaryLine>(&text).unwrap(), rows);
    }

    #[test]
    fn usage_has_a_column_for_each_class() {
        let classes = ["productive", "no_demand"].map(str::to_owned);
        let row = |from_ms| UsageLine {
            policy: "fgd".to_owned(),
            seed: 1,
            from_ms,
            to_ms: from_ms + 5,
            waiting: 0.25,
            running: 3.0,
            gpu_ms: vec![1.5, 1e15],
        };
        let rows = [row(0), row(5)];
        let text = usage_to_csv(&classes, &rows);
        assert!(
            text.starts_with(b"policy,seed,from_ms,to_ms,waiting,running,productive,no_demand\nfgd,1,0,5,0.25,3,1.5,1000000000000000\n")
        );
        assert_eq!(usage_from_csv(&text).unwrap(), (classes.to_vec(), rows.to_vec()));
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_line() {
        let error = from_csv::<SummaryLine>(b"policy,tie,seed,group,of,metric,value\na,first,x,all,,goodput,1\n").unwrap_err();
        assert_eq!(error.line, Some(2));
        assert!(error.to_string().starts_with("line 2: field 2: ") || error.to_string().starts_with("line 2: "), "{error}");
        assert!(usage_from_csv(b"policy,seed\n").unwrap_err().to_string().contains("do not begin with policy,seed,from_ms"));
    }
}
