//! What can be wrong with a file of jobs or nodes: as a whole, or in one row.

use serde::Serialize;
use thiserror::Error;

/// Where in a file something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The first is 1, and is the header where there is one.
    Line(u64),
    /// The position in a list that is not kept line by line; the first is 1.
    Item(u64),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Line(line) => write!(f, "line {line}"),
            Place::Item(item) => write!(f, "job {item}"),
        }
    }
}

/// A row that cannot be used, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Error)]
#[error("{place}, field `{field}`: {why}; {remedy}")]
pub struct BadRow {
    pub place: Place,
    pub field: String,
    pub why: String,
    pub remedy: String,
}

/// Why a file gives nothing at all.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    #[error("{file} cannot be read: the file does not exist; check the path")]
    NotFound { file: String },
    #[error("{file} cannot be read: {why}; name a file that you may read")]
    Unreadable { file: String, why: String },
    #[error("{file} cannot be read: it is larger than {limit_mib} MiB; split it, or leave out columns")]
    TooLarge { file: String, limit_mib: u64 },
    #[error("{file}, line {line} cannot be read: it is longer than {limit_kib} KiB; correct that line, or check that the file is a table")]
    LongLine { file: String, line: u64, limit_kib: usize },
    #[error("{file}, line {line} cannot be read: it is not UTF-8 text; save it as UTF-8")]
    NotText { file: String, line: u64 },
    #[error("{file}, line 1: missing column `{column}`: the first line has {there}; name the columns {needed} there")]
    MissingColumn { file: String, column: String, there: String, needed: String },
    #[error("{file}, line 1: two columns are called `{column}`, and which one is meant is unknown: rename one, or take it out")]
    DuplicateColumn { file: String, column: String },
    #[error("{file} has no rows behind its first line: add at least one")]
    NoRows { file: String },
    #[error("{file} has an unknown format: its first line is `{first_line}`; name the format: {known}")]
    UnknownFormat { file: String, first_line: String, known: String },
    #[error("{file} is not JSON: {why}; correct it there, or name another format")]
    NotJson { file: String, why: String },
    #[error("{file}, {bad}")]
    Row { file: String, bad: BadRow },
    #[error("{file} contains no usable job: {why}")]
    NothingUsable { file: String, why: String },
}
