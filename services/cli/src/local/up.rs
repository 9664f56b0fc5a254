//! `faultline up`: what it is started with.

use faultline_cluster::up::run::{self, Start};
use faultline_cluster::up::services;
use faultline_cluster::up::settings::UpSettings;
use faultline_runtime::config;

use crate::exit::Failure;
use crate::options::Options;
use crate::session::Session;
use crate::settings;
use crate::up_flags::UpFlags;

/// Runs the cluster until a signal or `faultline down`.
pub(crate) async fn run(options: &Options, session: &Session, flags: &UpFlags) -> Result<(), Failure> {
    let flags = UpFlags { data_dir: Some(session.data_dir.clone()), ..flags.clone() };
    let up: UpSettings = config::load_section(&options.common, "up", &flags).map_err(|error| Failure::Usage(error.to_string()))?;
    settings::check_services(options, &services::bin_dir()?)?;
    let start = Start {
        settings: up,
        common: session.common.clone(),
        config_file: options.common.config.clone(),
        nats_is_external: session.nats_is_external,
    };
    Ok(run::run(start).await?)
}
