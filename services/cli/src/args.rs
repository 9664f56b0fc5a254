//! The command line. What each flag means in the end is decided where it is used.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use faultline_engine::fault::FaultPreset;
use faultline_runtime::config::{COMMON_HEADING, CommonArgs};
use serde::{Deserialize, Serialize};

use crate::commands::DataCommand;
use crate::output::Format;
use crate::scenario::command::ScenarioCommand;
use crate::settings::ConfigCommand;
use crate::top::TopFlags;
use crate::up::link_command::LinkFlags;

pub(crate) const EXIT_CODES: &str = "Exit codes: 0 ok, 1 failed, 2 usage, 3 NATS unreachable, 4 not found, 5 a check failed";

/// An autonomous GPU cluster that you can break.
#[derive(Debug, Parser)]
#[command(name = "faultline", version, after_help = EXIT_CODES, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Folder of the NATS server's data, the keys and the lock of `faultline up` (default .data)
    #[arg(long, global = true, value_name = "DIR", help_heading = COMMON_HEADING)]
    pub(crate) data_dir: Option<PathBuf>,
    /// How results are printed on standard output
    #[arg(short = 'o', long, global = true, value_enum, default_value_t = Format::Table, help_heading = COMMON_HEADING)]
    pub(crate) output: Format,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the whole cluster until Ctrl-C: NATS server, services and workers
    Up(UpFlags),
    /// Stop the cluster that `up` runs
    Down,
    /// Show what `up` runs
    Status,
    /// Change how many workers run; fewer drains those that go
    Scale {
        #[arg(value_enum)]
        what: Scalable,
        /// How many there shall be
        #[arg(value_parser = clap::value_parser!(u32).range(0..=MAX_WORKERS as i64))]
        count: u32,
    },
    /// Send a signal to one process of the running cluster, to see what happens
    Kill {
        /// Its name in `faultline status`, such as worker-03
        service: String,
        #[arg(long, value_enum, default_value_t = KillSignal::Kill)]
        signal: KillSignal,
    },
    /// Show or break the network between services and NATS: cut, stall, delay, limit, loss, heal
    Link(LinkFlags),
    /// Create streams, consumers and buckets on a NATS server that somebody else runs; may be repeated
    Setup(SetupFlags),
    /// Write a server configuration and users' keys, for those who run nats-server themselves
    NatsConfig(NatsConfigFlags),
    /// Run what a file says on a cluster of its own, and judge it
    #[command(subcommand)]
    Scenario(ScenarioCommand),
    /// Watch nodes and jobs live, and act on them; `?` lists the keys
    Top(TopFlags),
    /// Check everything that a cluster needs, with the remedy for what is wrong; exit code 5 when a check failed, 3 without NATS
    Doctor,
    /// Show the settings that count and where they come from, or check a file
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a script that lets a shell complete commands and flags
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print this program's manual page, or write the pages of all commands
    Man {
        /// Folder for all pages; made when it is not there
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    #[command(flatten)]
    Data(DataCommand),
    /// Run a command until it ends or standard input does
    #[command(hide = true)]
    Guard {
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

impl Cli {
    /// A command line that says no more than which settings to load.
    pub(crate) fn for_settings(common: CommonArgs) -> Self {
        Self { common, data_dir: None, output: Format::Table, command: Command::Doctor }
    }
}

/// The most workers that `up` starts: each is a process.
pub(crate) const MAX_WORKERS: u32 = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scalable {
    Workers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KillSignal {
    /// SIGKILL: gone without a word
    Kill,
    /// SIGTERM: may say goodbye
    Term,
    /// SIGSTOP: frozen
    Stop,
    /// SIGCONT: goes on
    Cont,
}

impl KillSignal {
    pub(crate) fn name(self) -> &'static str {
        match self {
            KillSignal::Kill => "SIGKILL",
            KillSignal::Term => "SIGTERM",
            KillSignal::Stop => "SIGSTOP",
            KillSignal::Cont => "SIGCONT",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Policy {
    #[default]
    LeastLoaded,
    BestFit,
    RoundRobin,
    Random,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Detector {
    #[default]
    PhiAccrual,
    FixedTimeout,
    KOfN,
}

/// The word that a service's flag takes for this value.
pub(crate) fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|possible| possible.get_name().to_owned()).unwrap_or_default()
}

/// Flags of `up`; each is also a key of `[up]` in the settings file and a variable `FAULTLINE_UP_<KEY>`.
#[derive(Debug, Clone, Default, clap::Args, Serialize)]
pub(crate) struct UpFlags {
    /// Set from the global flag `--data-dir`.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Worker processes (default 8)
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) workers: Option<u32>,
    /// Simulated machines in each worker (default 1)
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nodes_per_worker: Option<u32>,
    /// Generated jobs a minute, until `faultline rate set` changes it (default: the last setting, else 2)
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<f64>,
    /// Makes generator, placement and faults repeatable
    #[arg(long, value_name = "N", value_parser = faultline_runtime::config::seed)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<u64>,
    /// Port of the dashboard on 127.0.0.1 (default 8080)
    #[arg(long, value_name = "PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dashboard_port: Option<u16>,
    /// Port of the NATS server that `up` starts on 127.0.0.1 (default 4222); of three, the first one's
    #[arg(long, value_name = "PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nats_port: Option<u16>,
    /// How simulated nodes fail: classroom (5-12 % a minute, the default), calibrated, rsc-1, rsc-2 (published production rates), lemon,
    /// correlated, wear-out or off
    #[arg(long, value_name = "PRESET")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) faults: Option<FaultPreset>,
    /// With calibrated, rsc-1 and rsc-2: how many times faster than life faults come and go (default 1)
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fault_time_scale: Option<f64>,
    /// How the scheduler chooses among nodes that fit (default least-loaded)
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<Policy>,
    /// Let services connect to NATS straight, not through proxies that `faultline link` can break
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) no_proxy: bool,
    /// NATS servers: 1, or 3 that form a cluster with three copies of everything (default 1)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nats_servers: Option<u32>,
    /// How silent nodes are judged (default phi-accrual)
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detector: Option<Detector>,
    /// Scheduler processes: one leads, the others stand by (default 2)
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) schedulers: Option<u32>,
    /// Generate no jobs
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) no_generator: bool,
    /// Judge no nodes: lost jobs come back by JetStream's ack timeout alone
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) no_detector: bool,
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) no_dashboard: bool,
}

/// Flags of `setup`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct SetupFlags {
    /// Copies of each stream: 1, or 3 on a cluster of three servers (default: as it is, else 1)
    #[arg(long, value_parser = ["1", "3"])]
    pub(crate) replicas: Option<String>,
    /// Bytes that JOBS holds before submissions are refused; given again, changes the stream (default 1 GiB)
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(i64).range(1 << 16..))]
    pub(crate) jobs_max_bytes: Option<i64>,
    /// Bytes that RESULTS holds; given again, changes the stream (default 2 GiB)
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(i64).range(1 << 16..))]
    pub(crate) results_max_bytes: Option<i64>,
    /// How long to wait for a server that does not answer yet
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub(crate) wait: u64,
}

/// Flags of `nats-config`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct NatsConfigFlags {
    /// Folder for nats-server.conf, the keys and the server's data
    #[arg(long, value_name = "DIR", default_value = "nats")]
    pub(crate) out: PathBuf,
    /// Address to listen on
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    pub(crate) host: std::net::IpAddr,
    #[arg(long, value_name = "PORT", default_value_t = 4222)]
    pub(crate) port: u16,
    /// Put each user's key into a folder of its own, DIR/USER/USER.nk, and the configuration into DIR/nats, so that each can be handed on
    /// alone; also makes a token in DIR/dashboard/dashboard.token
    #[arg(long)]
    pub(crate) apart: bool,
    /// Folder of JetStream's files, as the server sees it (default: that of --out)
    #[arg(long, value_name = "DIR")]
    pub(crate) store_dir: Option<PathBuf>,
    /// Names of three hosts whose servers form a cluster, with commas between: a configuration for each (only with --apart)
    #[arg(long, value_name = "HOST,HOST,HOST", value_delimiter = ',', requires = "apart", value_parser = parse_host)]
    pub(crate) servers: Vec<String>,
    /// The server's certificate (PEM): clients must then use TLS and show certificates of their own
    #[arg(long, value_name = "FILE", requires = "server_key", requires = "client_ca")]
    pub(crate) server_cert: Option<PathBuf>,
    /// Private key (PEM) of the server's certificate
    #[arg(long, value_name = "FILE", requires = "server_cert")]
    pub(crate) server_key: Option<PathBuf>,
    /// CA certificates (PEM) that the clients' certificates must come from
    #[arg(long, value_name = "FILE", requires = "server_cert")]
    pub(crate) client_ca: Option<PathBuf>,
}

/// A host's name or address, as it goes into a server's configuration.
fn parse_host(text: &str) -> Result<String, String> {
    let is_plain = !text.is_empty() && text.len() <= 253 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    if is_plain { Ok(text.to_owned()) } else { Err("a host's name has letters, digits, `.`, `-` and `_`".into()) }
}
