//! What a command knows about the cluster that it talks to: settings, data folder, output format, and one way to connect.

use std::path::PathBuf;

use faultline_runtime::config::{self, Common, CommonArgs, ConfigError, DEFAULT_NATS_URL};
use faultline_runtime::connect::{self, ConnectError, Nats};

use crate::args::{Cli, UpFlags};
use crate::exit::Failure;
use crate::nats_server::keys;
use crate::output::Format;
use crate::up::settings::UpSettings;
use crate::up::state::RunningState;

/// Settings of one run of the command.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// NATS URL, nkey and logs. When nothing names a NATS server, the URL is that of the running `faultline up`, and without one where
    /// `[up]` would start its servers.
    pub(crate) common: Common,
    /// Where `faultline up` keeps its server's data, keys and lock.
    pub(crate) data_dir: PathBuf,
    pub(crate) format: Format,
    /// Whether a flag, the environment or the file names a NATS server, so that `up` must not start one.
    pub(crate) nats_is_external: bool,
}

impl Session {
    pub(crate) fn open(cli: &Cli) -> Result<Self, Failure> {
        let mut common = cli.common.load().map_err(usage)?;
        let flags = UpFlags { data_dir: cli.data_dir.clone(), ..UpFlags::default() };
        let up: UpSettings = config::load_section(&cli.common, "up", &flags).map_err(usage)?;
        let nats_is_external = names_nats(&cli.common, &common);
        if let Some(ports) = up.nats_ports().filter(|_| !nats_is_external) {
            common.nats_url = ports.url();
        }
        Ok(Self { common, data_dir: up.data_dir, format: cli.output, nats_is_external })
    }

    /// For `doctor` when the settings cannot be read: flags and defaults.
    pub(crate) fn without_settings(cli: &Cli) -> Self {
        let mut common = Common { nkey_file: cli.common.nkey_file.clone(), ..Common::default() };
        common.nats_url = cli.common.nats_url.clone().unwrap_or(common.nats_url);
        common.color = cli.common.color.unwrap_or_default();
        let data_dir = cli.data_dir.clone().unwrap_or_else(|| UpSettings::default().data_dir);
        let nats_is_external = names_nats(&cli.common, &common);
        Self { common, data_dir, format: cli.output, nats_is_external }
    }

    /// The log settings of a command that ends soon: warnings on standard error and no file, unless told otherwise.
    pub(crate) fn quiet_log(&self) -> Common {
        let mut common = self.common.clone();
        if common.log_level == Common::default().log_level {
            common.log_level = "warn".to_owned();
        }
        common.log_dir = None;
        common
    }

    /// Connects as the user `cli`.
    pub(crate) async fn connect(&self) -> Result<Nats, Failure> {
        self.connect_as("cli").await
    }

    /// Connects as `user`, with that user's key of the data folder unless a key file is named.
    pub(crate) async fn connect_as(&self, user: &str) -> Result<Nats, Failure> {
        let common = self.common_for(user);
        connect::connect_once(&common, user, &format!("faultline-{user}")).await.map_err(|error| match error {
            ConnectError::Unreachable { .. } | ConnectError::Refused { .. } | ConnectError::Tls { .. } => {
                Failure::Unreachable(error.to_string())
            }
            ConnectError::Credentials(_) | ConnectError::BadUrl { .. } | ConnectError::Otlp(_) => Failure::Usage(error.to_string()),
        })
    }

    /// The common settings with URL and key filled in for `user`.
    pub(crate) fn common_for(&self, user: &str) -> Common {
        let mut common = self.common.clone();
        if !self.nats_is_external
            && let Some(state) = RunningState::read(&self.data_dir)
        {
            common.nats_url = state.nats_url;
        }
        if common.nkey_file.is_none() {
            common.nkey_file = Some(keys::seed_path(&self.data_dir, user)).filter(|path| path.is_file());
        }
        common
    }
}

fn names_nats(args: &CommonArgs, common: &Common) -> bool {
    args.nats_url.is_some() || std::env::var_os("FAULTLINE_NATS_URL").is_some() || common.nats_url != DEFAULT_NATS_URL
}

fn usage(error: ConfigError) -> Failure {
    Failure::Usage(error.to_string())
}
