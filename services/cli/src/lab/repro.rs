//! `faultline lab repro`: published figures beside those that are computed here.

use std::path::PathBuf;

use faultline_lab::repro::{Effort, Failed, TARGETS, Target};
use serde::Serialize;

use super::files::beside;
use crate::exit::Failure;
use crate::output::{Mood, Output, figure, mood, plural, table};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ReproFlags {
    #[arg(value_name = "NAME", help = format!("all, or one of {}", TARGETS.map(|target| target.name).join(", ")))]
    name: String,
    /// All seeds and cases: minutes instead of seconds
    #[arg(long)]
    full: bool,
    /// Folder of traces, as `just traces` makes it
    #[arg(long, value_name = "DIR", env = "FAULTLINE_TRACES", default_value = "shared/traces")]
    traces: PathBuf,
}

/// One figure.
#[derive(Debug, Serialize)]
struct RowView {
    result: &'static str,
    figure: String,
    unit: &'static str,
    published: f64,
    here: f64,
    difference: f64,
    tolerance: f64,
    agrees: bool,
}

pub(super) fn run(out: &Output, flags: &ReproFlags) -> Result<(), Failure> {
    let targets: Vec<&Target> = match flags.name.as_str() {
        "all" => TARGETS.iter().collect(),
        name => {
            let known =
                || Failure::Usage(format!("unknown result {name}: use all, or one of {}", TARGETS.map(|target| target.name).join(", ")));
            vec![Target::named(name).ok_or_else(known)?]
        }
    };
    let effort = if flags.full { Effort::Full } else { Effort::Usual };
    let (mut rows, mut skipped) = (Vec::new(), Vec::new());
    for target in &targets {
        note!("{}: {}", target.name, target.source);
        match target.rows(&beside(&flags.traces), effort) {
            Ok(found) => rows.extend(found.iter().map(|row| RowView {
                result: target.name,
                figure: row.name.clone(),
                unit: row.unit,
                published: row.published,
                here: row.here,
                difference: row.here - row.published,
                tolerance: row.tolerance,
                agrees: row.agrees(),
            })),
            Err(error @ Failed::Missing { .. }) if targets.len() > 1 => {
                note!("{}: skipped: {error}", target.name);
                skipped.push(target.name);
            }
            Err(error) => return Err(Failure::Usage(error.to_string())),
        }
    }
    out.rows(&rows, |rows| {
        let mut shown = table(&["RESULT", "FIGURE", "UNIT", "REFERENCE", "HERE", "DIFFERENCE", "TOLERANCE", "VERDICT"]);
        for row in rows {
            let (word, feeling) = if row.agrees { ("agrees", Mood::Good) } else { ("DIFFERS", Mood::Bad) };
            let number = |value: f64| figure(decimals(value));
            let cells = [row.published, row.here, row.difference, row.tolerance].map(number);
            let names = [row.result, &row.figure, row.unit].map(comfy_table::Cell::new);
            shown.add_row(names.into_iter().chain(cells).chain([mood(word, feeling)]).collect::<Vec<_>>());
        }
        shown
    })?;
    if !skipped.is_empty() {
        note!("{} of {} were skipped: {}", skipped.len(), plural(targets.len() as u64, "result"), skipped.join(", "));
    }
    let differ = rows.iter().filter(|row| !row.agrees).count() as u64;
    if differ == 0 {
        Ok(())
    } else {
        Err(Failure::CheckFailed(format!("{} of {} differ by more than the tolerance", differ, plural(rows.len() as u64, "figure"))))
    }
}

/// Enough digits for what is compared: shares to four places, larger numbers to two.
fn decimals(value: f64) -> String {
    match value.abs() {
        size if size > 0.0 && size < 1e-4 => format!("{value:.1e}"),
        size if size < 1.5 => format!("{value:.4}"),
        _ => format!("{value:.2}"),
    }
}
