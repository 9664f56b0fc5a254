//! `faultline lab report`: the report of a folder, from its tables.

use std::path::Path;

use faultline_lab::batch::read_folder;
use faultline_lab::report::html;
use serde::Serialize;

use super::files::beside;
use super::run::{existing, write_report};
use crate::exit::Failure;
use crate::output::Output;

#[derive(Debug, Serialize)]
struct Made {
    report: String,
    hash: String,
}

pub(super) fn run(out: &Output, folder: &Path) -> Result<(), Failure> {
    let tables = read_folder(&beside(existing(folder)?)).map_err(|error| Failure::Usage(format!("{}: {error}", folder.display())))?;
    let path = write_report(folder, &html(&tables))?;
    let made = Made { report: path.display().to_string(), hash: tables.manifest.hash.clone() };
    out.one(&made, |made| format!("{} was made again; hash {}", made.report, made.hash))
}
