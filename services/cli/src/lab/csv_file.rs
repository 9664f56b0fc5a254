//! A CSV file with a header, read field by field: what is wrong is told with file, line, field, and remedy.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use csv::{ReaderBuilder, StringRecord, Trim};

use crate::exit::Failure;

/// All rows of a file.
pub(crate) struct CsvFile {
    path: PathBuf,
    header: StringRecord,
    rows: Vec<StringRecord>,
}

/// One row.
pub(crate) struct Row<'a> {
    file: &'a CsvFile,
    record: &'a StringRecord,
}

impl CsvFile {
    /// Reads a file that has at least these columns and one row.
    pub(crate) fn read(path: &Path, columns: &[&str]) -> Result<Self, Failure> {
        let name = path.display();
        let file = File::open(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Failure::NotFound(format!("{name} cannot be read: the file does not exist; check the path")),
            _ => Failure::Usage(format!("{name} cannot be read: {error}; name a file that you may read")),
        })?;
        let mut reader = ReaderBuilder::new().flexible(true).trim(Trim::All).from_reader(file);
        let header = reader.headers().map_err(|error| unreadable(path, &error))?.clone();
        if let Some(column) = columns.iter().find(|column| !header.iter().any(|name| name == **column)) {
            let there: Vec<&str> = header.iter().collect();
            return Err(Failure::Usage(format!(
                "{name}, line 1: missing column `{column}`: the first line has {}; name the columns {} there",
                if there.join("").is_empty() { "no columns".to_owned() } else { format!("`{}`", there.join(",")) },
                columns.join(", ")
            )));
        }
        let rows: Vec<StringRecord> = reader.records().collect::<Result<_, _>>().map_err(|error| unreadable(path, &error))?;
        if rows.is_empty() {
            return Err(Failure::Usage(format!("{name} has no rows behind its first line: add at least one")));
        }
        Ok(Self { path: path.to_owned(), header, rows })
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|record| Row { file: self, record })
    }
}

impl Row<'_> {
    fn position(&self, column: &str) -> Option<usize> {
        self.file.header.iter().position(|name| name == column)
    }

    /// A field, empty where the file has no such column.
    pub(crate) fn optional(&self, column: &str) -> &str {
        self.position(column).and_then(|position| self.record.get(position)).unwrap_or_default()
    }

    pub(crate) fn text(&self, column: &str) -> Result<&str, Failure> {
        let field = self.position(column).and_then(|position| self.record.get(position)).filter(|text| !text.is_empty());
        field.ok_or_else(|| self.invalid(column, "it is empty", "fill it in"))
    }

    /// A whole number of a range.
    pub(crate) fn number<N: FromStr + PartialOrd + std::fmt::Display>(&self, column: &str, lowest: N, highest: N) -> Result<N, Failure> {
        let text = self.text(column)?;
        let number = text.parse().ok().filter(|number| (&lowest..=&highest).contains(&number));
        number.ok_or_else(|| {
            let text: String = text.chars().take(40).collect();
            self.invalid(column, &format!("unexpected `{text}`"), &format!("use a whole number from {lowest} to {highest}"))
        })
    }

    /// What is wrong with a field, and what to do.
    pub(crate) fn invalid(&self, column: &str, why: &str, remedy: &str) -> Failure {
        let line = self.record.position().map_or(0, csv::Position::line);
        Failure::Usage(format!("{}, line {line}, field `{column}`: {why}; {remedy}", self.file.path.display()))
    }
}

fn unreadable(path: &Path, error: &csv::Error) -> Failure {
    let line = error.position().map_or_else(String::new, |position| format!(", line {}", position.line()));
    let (why, remedy) = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => ("it is not UTF-8 text".to_owned(), "save it as UTF-8"),
        csv::ErrorKind::Io(error) => (error.to_string(), "name a file that you may read"),
        _ => (error.to_string(), "correct that line"),
    };
    Failure::Usage(format!("{}{line} cannot be read: {why}; {remedy}", path.display()))
}
