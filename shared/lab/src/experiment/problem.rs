//! What is wrong with an experiment's file, and where.

use thiserror::Error;
use toml::de::{DeTable, DeValue};

/// One complaint.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}{}{problem}", line.map(|line| format!("line {line}: ")).unwrap_or_default(), if field.is_empty() { String::new() } else { format!("{field}: ") })]
pub struct Problem {
    pub line: Option<usize>,
    /// Its path, such as `policy.fgd.tie`; empty when the text is no TOML at all.
    pub field: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// Where things stand in a text that is TOML.
pub(crate) struct Lines<'a> {
    text: &'a str,
    whole: Option<DeTable<'a>>,
}

impl<'a> Lines<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        Self { text, whole: DeTable::parse(text).ok().map(toml::Spanned::into_inner) }
    }

    /// A complaint about a field. `path` has keys, and positions in lists, separated by points.
    pub(crate) fn problem(&self, path: &str, problem: impl Into<String>) -> Problem {
        Problem { line: self.line_of(path), field: path.to_owned(), problem: problem.into() }
    }

    /// The line of the last part of a path that the text has, from 1.
    pub(super) fn line_of(&self, path: &str) -> Option<usize> {
        let mut at = None;
        let mut table = self.whole.as_ref();
        let mut list = None;
        for part in path.split('.') {
            let value = match (table, list) {
                (Some(known), _) => {
                    let Some((key, value)) = known.iter().find(|(key, _)| key.get_ref() == part) else { break };
                    at = Some(key.span().start);
                    value
                }
                (None, Some(items)) => {
                    let items: &toml::de::DeArray = items;
                    let Some(value) = part.parse::<usize>().ok().and_then(|number| items.get(number)) else { break };
                    at = Some(value.span().start);
                    value
                }
                (None, None) => break,
            };
            (table, list) = match value.get_ref() {
                DeValue::Table(inner) => (Some(inner), None),
                DeValue::Array(items) => (None, Some(items)),
                _ => (None, None),
            };
        }
        at.map(|offset| line_at(self.text, offset))
    }

    /// Where a key of the top level's table `of` begins, to put keys into the order of the text.
    pub(super) fn offset_of(&self, of: &str, key: &str) -> usize {
        let table = self.whole.as_ref().and_then(|whole| whole.iter().find(|(name, _)| name.get_ref() == of));
        let DeValue::Table(inner) = (match table {
            Some((_, value)) => value.get_ref(),
            None => return usize::MAX,
        }) else {
            return usize::MAX;
        };
        inner.iter().find(|(name, _)| name.get_ref() == key).map_or(usize::MAX, |(name, _)| name.span().start)
    }
}

/// The line of a byte, from 1.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count()
}
