//! A table with a header, read field by field: what is wrong with a row names its line, field, and remedy.

use std::str::FromStr;

use csv::{Reader, ReaderBuilder, StringRecord, Trim};

use super::error::{BadRow, Place, ReadError};
use super::source::Source;

/// The latest instant and the longest duration that a file may give: the year 2096, or 126 years.
const MAX_SECONDS: f64 = 4e9;

/// A text whose first line names its columns.
pub(super) struct Table<'a> {
    source: &'a Source,
    header: StringRecord,
    reader: Reader<&'a [u8]>,
}

/// One row.
pub(super) struct Row<'a> {
    header: &'a StringRecord,
    record: StringRecord,
}

impl<'a> Table<'a> {
    /// Values separated by commas, possibly in quotes.
    pub(super) fn commas(source: &'a Source, columns: &[&str]) -> Result<Self, ReadError> {
        Self::new(source, columns, ReaderBuilder::new().delimiter(b','))
    }

    /// Values separated by `|`, in which quotes mean nothing.
    pub(super) fn bars(source: &'a Source, columns: &[&str]) -> Result<Self, ReadError> {
        Self::new(source, columns, ReaderBuilder::new().delimiter(b'|').quoting(false))
    }

    fn new(source: &'a Source, columns: &[&str], reader: &mut ReaderBuilder) -> Result<Self, ReadError> {
        source.check_lines()?;
        let mut reader = reader.flexible(true).trim(Trim::All).from_reader(source.text.as_bytes());
        let header = reader.headers().map_err(|error| unreadable(source, &error))?.clone();
        if let Some(column) = columns.iter().find(|column| !header.iter().any(|name| name == **column)) {
            let there: Vec<&str> = header.iter().collect();
            return Err(ReadError::MissingColumn {
                file: source.name.clone(),
                column: (*column).to_owned(),
                there: if there.join("").is_empty() { "no columns".to_owned() } else { format!("`{}`", short(&there.join(","), 200)) },
                needed: columns.join(", "),
            });
        }
        let is_double = |(at, name): &(usize, &str)| !name.is_empty() && header.iter().take(*at).any(|before| before == *name);
        if let Some((_, column)) = header.iter().enumerate().find(is_double) {
            return Err(ReadError::DuplicateColumn { file: source.name.clone(), column: short(column, 80) });
        }
        Ok(Self { source, header, reader })
    }

    pub(super) fn has(&self, column: &str) -> bool {
        self.header.iter().any(|name| name == column)
    }

    /// Rows one after the other.
    pub(super) fn rows(&mut self) -> impl Iterator<Item = Result<Row<'_>, ReadError>> + use<'_, 'a> {
        let (source, header) = (self.source, &self.header);
        self.reader.records().map(move |record| match record {
            Ok(record) => Ok(Row { header, record }),
            Err(error) => Err(unreadable(source, &error)),
        })
    }
}

impl Row<'_> {
    fn field(&self, column: &str) -> Option<&str> {
        let position = self.header.iter().position(|name| name == column)?;
        self.record.get(position)
    }

    /// Refuses a row that does not have the header's fields: which of them are there or too many is unknown. Empty ones at the end are none.
    pub(super) fn whole(&self) -> Result<(), BadRow> {
        let (has, named) = (self.record.len(), self.header.len());
        let more = self.record.iter().skip(named).position(|field| !field.is_empty());
        match (has < named, more) {
            (false, None) => Ok(()),
            (false, Some(_)) => {
                let why = format!("the row has {has} fields, and the first line names {named}");
                Err(self.invalid("(behind the last)", &why, "name all columns, and put quotes around what contains the separator"))
            }
            (true, _) => {
                let why = format!("the row has {has} of {named} fields");
                Err(self.invalid(self.header.get(has).unwrap_or_default(), &why, "complete the row; the file may have been cut"))
            }
        }
    }

    pub(super) fn place(&self) -> Place {
        Place::Line(self.record.position().map_or(0, csv::Position::line))
    }

    /// A field, empty where its column is missing.
    pub(super) fn optional(&self, column: &str) -> &str {
        self.field(column).unwrap_or_default()
    }

    pub(super) fn text(&self, column: &str) -> Result<&str, BadRow> {
        self.field(column).filter(|text| !text.is_empty()).ok_or_else(|| self.invalid(column, "it is empty", "fill it in"))
    }

    /// A whole number of a range.
    pub(super) fn number<N: FromStr + PartialOrd + std::fmt::Display>(&self, column: &str, lowest: N, highest: N) -> Result<N, BadRow> {
        let text = self.text(column)?;
        let number = text.parse().ok().filter(|number| (&lowest..=&highest).contains(&number));
        number.ok_or_else(|| self.unexpected(column, text, &format!("use a whole number from {lowest} to {highest}")))
    }

    /// The same, or what holds when the field is empty or its column missing.
    pub(super) fn number_or<N: FromStr + PartialOrd + std::fmt::Display>(
        &self,
        column: &str,
        missing: N,
        lowest: N,
        highest: N,
    ) -> Result<N, BadRow> {
        if self.optional(column).is_empty() { Ok(missing) } else { self.number(column, lowest, highest) }
    }

    /// Seconds, possibly with a fraction, in milliseconds.
    pub(super) fn seconds_ms(&self, column: &str) -> Result<u64, BadRow> {
        let text = self.text(column)?;
        seconds_ms(text).ok_or_else(|| self.unexpected(column, text, "use seconds from 0 to 4000000000"))
    }

    /// What is wrong with a field, and what to do.
    pub(super) fn invalid(&self, column: &str, why: &str, remedy: &str) -> BadRow {
        BadRow { place: self.place(), field: column.to_owned(), why: why.to_owned(), remedy: remedy.to_owned() }
    }

    pub(super) fn unexpected(&self, column: &str, text: &str, remedy: &str) -> BadRow {
        self.invalid(column, &format!("unexpected `{}`", short(text, 40)), remedy)
    }
}

/// Seconds as a decimal number, in milliseconds.
pub(super) fn seconds_ms(text: &str) -> Option<u64> {
    let seconds: f64 = text.parse().ok()?;
    (0.0..=MAX_SECONDS).contains(&seconds).then(|| (seconds * 1e3).round() as u64)
}

/// The beginning of a text that may be anything.
pub(super) fn short(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

fn unreadable(source: &Source, error: &csv::Error) -> ReadError {
    ReadError::Unreadable { file: source.name.clone(), why: error.to_string() }
}
