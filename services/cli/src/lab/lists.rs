//! `faultline lab policies`, `formats`, and `presets`: what there is to choose from.

use faultline_lab::experiment::parse;
use faultline_lab::presets::{PRESETS, Preset};
use faultline_lab::read::Format;
use faultline_planner::{Blocking, OrderName, PolicyName, TieRule};
use serde::Serialize;

use crate::exit::Failure;
use crate::output::{Output, table};

/// One name of a field of `[policy.NAME]`.
#[derive(Debug, Serialize)]
struct Choice {
    field: &'static str,
    name: &'static str,
    /// Used when the field is left out.
    is_default: bool,
}

pub(super) fn policies(out: &Output) -> Result<(), Failure> {
    let choices = |field: &'static str, names: &[&'static str], default: &str| -> Vec<Choice> {
        names.iter().map(|name| Choice { field, name, is_default: *name == default }).collect()
    };
    let rows = [
        choices("placement", &PolicyName::ALL.map(PolicyName::as_str), PolicyName::default().as_str()),
        choices("tie", &TieRule::ALL.map(TieRule::as_str), TieRule::default().as_str()),
        choices("scores", &["exact", "cut"], "exact"),
        choices("order", &OrderName::ALL.map(OrderName::as_str), OrderName::default().as_str()),
        choices("blocking", &Blocking::ALL.map(Blocking::as_str), Blocking::default().as_str()),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>();
    out.rows(&rows, |rows| {
        let mut shown = table(&["FIELD", "NAME", "DEFAULT"]);
        for row in rows {
            shown.add_row([row.field, row.name, if row.is_default { "yes" } else { "" }]);
        }
        shown
    })
}

/// One format of traces.
#[derive(Debug, Serialize)]
struct FormatRow {
    format: &'static str,
    what: &'static str,
    known_by: &'static str,
    needed: &'static [&'static str],
    others: &'static [&'static str],
    source: &'static str,
}

pub(super) fn formats(out: &Output) -> Result<(), Failure> {
    let rows = Format::ALL.map(|format| {
        let ((what, source), (needed, others)) = (format.source(), format.columns());
        FormatRow { format: format.as_str(), what, known_by: format.known_by(), needed, others, source }
    });
    out.rows(&rows, |rows| {
        let mut shown = table(&["FORMAT", "FILE", "NEEDED", "READ AS WELL", "FROM"]);
        for row in rows {
            shown.add_row([row.format, row.what, &row.needed.join(", "), &row.others.join(", "), row.source]);
        }
        shown
    })
}

#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    question: String,
}

pub(super) fn presets(out: &Output, name: Option<&str>) -> Result<(), Failure> {
    if let Some(name) = name {
        let known = || Failure::Usage(format!("unknown experiment {name}: use one of {}", PRESETS.map(|preset| preset.name).join(", ")));
        return out.text(Preset::named(name).ok_or_else(known)?.text);
    }
    let rows = PRESETS.map(|preset| Row { name: preset.name, question: parse(preset.text).map(|file| file.question).unwrap_or_default() });
    out.rows(&rows, |rows| {
        let mut shown = table(&["EXPERIMENT", "QUESTION"]);
        for row in rows {
            shown.add_row([row.name, &row.question]);
        }
        shown
    })
}
