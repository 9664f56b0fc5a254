//! A file's text, with limits on what comes in.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::error::ReadError;

/// The largest file: ten million jobs of a hundred bytes.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// The longest line of a table.
const MAX_LINE_BYTES: usize = 64 << 10;

/// Text and what to call it in errors.
#[derive(Debug, Clone)]
pub struct Source {
    pub(super) name: String,
    pub(super) text: String,
}

impl Source {
    /// Text that is there already.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: without_mark(text.into()) }
    }

    /// The whole of a file.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        Self::open_limited(path, MAX_FILE_BYTES)
    }

    pub(super) fn open_limited(path: &Path, limit: u64) -> Result<Self, ReadError> {
        let file = path.display().to_string();
        let unreadable = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => ReadError::NotFound { file: file.clone() },
            _ => ReadError::Unreadable { file: file.clone(), why: error.to_string() },
        };
        let mut bytes = Vec::new();
        File::open(path).and_then(|opened| opened.take(limit + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
        if bytes.len() as u64 > limit {
            return Err(ReadError::TooLarge { file, limit_mib: limit >> 20 });
        }
        Self::from_bytes(file, bytes)
    }

    /// Bytes that ought to be text.
    pub fn from_bytes(name: impl Into<String>, bytes: Vec<u8>) -> Result<Self, ReadError> {
        let name = name.into();
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self::new(name, text)),
            Err(error) => {
                let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = 1 + before.iter().filter(|byte| **byte == b'\n').count() as u64;
                Err(ReadError::NotText { file: name, line })
            }
        }
    }

    /// Refuses a text with a line that no table has.
    pub(super) fn check_lines(&self) -> Result<(), ReadError> {
        match self.text.split('\n').position(|line| line.len() > MAX_LINE_BYTES) {
            Some(line) => Err(ReadError::LongLine { file: self.name.clone(), line: line as u64 + 1, limit_kib: MAX_LINE_BYTES >> 10 }),
            None => Ok(()),
        }
    }

    /// The first line that says something.
    pub(super) fn first_line(&self) -> &str {
        self.text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
    }
}

/// Spreadsheets put a byte order mark in front, which would become part of the first column's name.
fn without_mark(mut text: String) -> String {
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    text
}
