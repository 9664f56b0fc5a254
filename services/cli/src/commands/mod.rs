//! Commands that ask or tell the running cluster something.

use clap::Subcommand;

use crate::exit::Failure;
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// STUB: replaced by the owner of this folder
    Decode,
}

pub async fn run(command: DataCommand, _session: &Session) -> Result<(), Failure> {
    match command {
        DataCommand::Decode => Err(Failure::Usage("not there yet".into())),
    }
}
