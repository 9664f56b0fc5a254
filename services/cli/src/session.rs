//! What a command knows about the cluster that it talks to: settings, data folder, output format, and one way to connect.

use std::path::PathBuf;

use faultline_cluster::nats_server::keys;
use faultline_cluster::up::remote;
use faultline_cluster::up::settings::UpSettings;
use faultline_cluster::up::state::RunningState;
use faultline_cluster::up::supervisor::{ChildStatus, State};
use faultline_runtime::config::{self, Common, CommonArgs, ConfigError, DEFAULT_NATS_URL, without_secrets};
use faultline_runtime::connect::{self, ConnectError, Nats};
use faultline_runtime::{telemetry, times};

use crate::exit::Failure;
use crate::options::Options;
use crate::output::Format;
use crate::up_flags::UpFlags;

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
    pub(crate) fn open(options: &Options) -> Result<Self, Failure> {
        let mut common = options.common.load().map_err(usage)?;
        let flags = UpFlags { data_dir: options.data_dir.clone(), ..UpFlags::default() };
        let up: UpSettings = config::load_section(&options.common, "up", &flags).map_err(usage)?;
        let nats_is_external = names_nats(&options.common, &common);
        if let Some(ports) = up.nats_ports().filter(|_| !nats_is_external) {
            common.nats_url = ports.url();
        }
        Ok(Self { common, data_dir: up.data_dir, format: options.output, nats_is_external })
    }

    /// The same, with what every command that reads settings does first: times as they ask for, and a word on variables that nothing reads.
    pub(crate) fn begin(options: &Options) -> Result<Self, Failure> {
        let session = Self::open(options)?;
        times::show_utc(session.common.utc);
        for warning in config::unheeded_variables() {
            note!("faultline: warning: {warning}");
        }
        Ok(session)
    }

    /// Does it with a log that only reports what goes wrong. Not for `up`, which has its own, nor for `top`, which has the terminal for itself.
    pub(crate) async fn logged<T>(&self, work: impl Future<Output = T>) -> T {
        let _log = telemetry::init("faultline", &self.quiet_log());
        work.await
    }

    /// Where the `up` of this data folder is to be found.
    pub(crate) fn running(&self) -> Result<RunningState, Failure> {
        Ok(remote::running(&self.data_dir)?)
    }

    /// The `up` on this machine that runs the cluster of this session; it can be asked also while NATS is away.
    pub(crate) fn here(&self) -> Option<RunningState> {
        self.running().ok().filter(|up| up.nats_url == self.common_for("cli").nats_url)
    }

    /// For `doctor` when the settings cannot be read: flags and defaults.
    pub(crate) fn without_settings(options: &Options) -> Self {
        let mut common = Common { nkey_file: options.common.nkey_file.clone(), ..Common::default() };
        common.nats_url = options.common.nats_url.clone().unwrap_or(common.nats_url);
        common.color = options.common.color.unwrap_or_default();
        common.utc = options.common.utc;
        let data_dir = options.data_dir.clone().unwrap_or_else(|| UpSettings::default().data_dir);
        let nats_is_external = names_nats(&options.common, &common);
        Self { common, data_dir, format: options.output, nats_is_external }
    }

    /// The log settings of a command that ends soon: warnings on standard error and no file, unless told otherwise.
    fn quiet_log(&self) -> Common {
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
        let nats = match connect::connect_once(&common, user, &format!("faultline-{user}")).await {
            Ok(nats) => nats,
            Err(error) => return Err(self.unconnected(error).await),
        };
        // Ids and ages are in the cluster's time, whatever this machine's clock shows.
        nats.learn_time().await;
        Ok(nats)
    }

    async fn unconnected(&self, error: ConnectError) -> Failure {
        match error {
            ConnectError::Unreachable { ref url, ref reason } => Failure::Unreachable(match self.remedy_of_up(url).await {
                Some(remedy) => format!("NATS at {url} cannot be reached: {reason}. {remedy}"),
                None => error.to_string(),
            }),
            ConnectError::Refused { .. } | ConnectError::Tls { .. } => Failure::Unreachable(error.to_string()),
            ConnectError::Credentials(_) | ConnectError::BadUrl { .. } | ConnectError::Otlp(_) => Failure::Usage(error.to_string()),
        }
    }

    /// What to do about a NATS server at this URL that does not answer, when a running `up` of this data folder has started it: another
    /// one must not be started.
    pub(crate) async fn remedy_of_up(&self, url: &str) -> Option<String> {
        let up = self.running().ok().filter(|up| without_secrets(&up.nats_url) == without_secrets(url))?;
        let services = remote::status(&up).await.map(|(_, services)| services).unwrap_or_default();
        Some(remedy_words(up.pid, &services))
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

/// What `up` calls its server, or the first part of the names of several.
const NATS: &str = "nats";

/// `services`: what `up` runs; empty when it does not answer either.
fn remedy_words(pid: u32, services: &[ChildStatus]) -> String {
    let up = format!("`faultline up` (process {pid}) runs on this data folder");
    let is_nats = |child: &&ChildStatus| child.name == NATS || child.name.strip_prefix(NATS).is_some_and(|rest| rest.starts_with('-'));
    match services.iter().find(is_nats) {
        Some(ChildStatus { name, state: State::Running, .. }) => format!(
            "{up}, and its process {name} runs and does not answer: if it was frozen, continue it with `faultline kill {name} --signal cont`; \
             otherwise `faultline kill {name}` has it started again"
        ),
        Some(ChildStatus { name, .. }) => format!("{up} and is about to start {name} again: `faultline status` shows it"),
        None if services.is_empty() => format!("{up} and does not answer either: it may be frozen, which `kill -CONT {pid}` ends"),
        None => format!("{up} and uses this server, which it did not start: start that one again"),
    }
}

fn names_nats(args: &CommonArgs, common: &Common) -> bool {
    args.nats_url.is_some() || std::env::var_os("FAULTLINE_NATS_URL").is_some() || common.nats_url != DEFAULT_NATS_URL
}

fn usage(error: ConfigError) -> Failure {
    Failure::Usage(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_done_about_a_silent_nats_follows_from_what_up_says_of_it() {
        let child = |name: &str, state| ChildStatus {
            name: name.into(),
            state,
            pid: Some(7),
            uptime_s: 9,
            restarts: 0,
            last_exit: None,
            admin: None,
        };
        let frozen = remedy_words(5, &[child("scheduler-1", State::Running), child("nats", State::Running)]);
        assert!(frozen.contains("process 5") && frozen.contains("`faultline kill nats --signal cont`"), "{frozen}");
        assert!(remedy_words(5, &[child("nats-1", State::Running)]).contains("`faultline kill nats-1 --signal cont`"));
        assert!(remedy_words(5, &[child("nats", State::Waiting)]).contains("about to start nats again"));
        assert!(remedy_words(5, &[child("worker-01", State::Running)]).contains("did not start"));
        assert!(remedy_words(5, &[]).contains("kill -CONT 5"));
    }
}
