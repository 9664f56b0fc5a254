//! The options that every command takes. They stand once in the help: `faultline help options`.

use std::path::PathBuf;

use clap::Args;
use faultline_runtime::config::{COMMON_HEADING, CommonArgs};

use crate::exit::Failure;
use crate::output::Format;

/// What `faultline options` does.
pub(crate) const ABOUT: &str = "Print the options that every command takes";
/// The last line of every other help.
pub(crate) const POINTER: &str = "`faultline help options` lists the options of every command: settings, NATS, output, logs";

#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Folder of the NATS server's data, the keys and the lock of `faultline up` (default .data)
    #[arg(long, global = true, value_name = "DIR", help_heading = COMMON_HEADING)]
    pub(crate) data_dir: Option<PathBuf>,
    /// How results are printed on standard output
    #[arg(short = 'o', long, global = true, value_enum, default_value_t = Format::Table, help_heading = COMMON_HEADING)]
    pub(crate) output: Format,
}

impl Options {
    /// No more than which settings to load.
    pub(crate) fn for_settings(common: CommonArgs) -> Self {
        Self { common, data_dir: None, output: Format::Table }
    }
}

/// `faultline options`, with all of them. Its own words stay.
pub(crate) fn of_command(command: clap::Command) -> clap::Command {
    Options::augment_args(command).about(ABOUT)
}

/// Shows them.
pub(crate) fn print() -> Result<(), Failure> {
    of_command(clap::Command::new("options").bin_name("faultline options")).print_long_help().map_err(|error| Failure::Failed(error.into()))
}
