//! The settings that every program has. What of them makes sense together is checked by `config`, by those who use them.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Where a NATS server is looked for when nothing names one.
pub const DEFAULT_NATS_URL: &str = "nats://127.0.0.1:4222";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    Always,
    Never,
}

/// What the help calls the flags that every program takes.
pub const COMMON_HEADING: &str = "Options of every command";

/// The flags that every program of Faultline takes.
#[derive(Debug, Clone, Default, clap::Args, Serialize)]
#[command(next_help_heading = COMMON_HEADING)]
pub struct CommonArgs {
    /// Settings file (default: faultline.toml, when it is there)
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// NATS server, for example nats://127.0.0.1:4222; all servers of a cluster, with commas between
    #[arg(long, global = true, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nats_url: Option<String>,
    /// File with the nkey seed of this program's NATS user
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nkey_file: Option<PathBuf>,
    /// CA certificates (PEM) that the NATS server's certificate must come from; with it no connection without TLS
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca_file: Option<PathBuf>,
    /// Certificate (PEM) that this program shows to the NATS server
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert_file: Option<PathBuf>,
    /// Private key (PEM) of that certificate
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key_file: Option<PathBuf>,
    /// Log filter: error, warn, info, debug, trace, or module=level pairs
    #[arg(long, global = true, value_name = "LEVEL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_level: Option<String>,
    /// How log lines are written
    #[arg(long, global = true, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<LogFormat>,
    /// Also write a rolling log file into this folder
    #[arg(long, global = true, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_dir: Option<PathBuf>,
    /// When output and log lines are colored
    #[arg(long, global = true, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color: Option<Color>,
    /// Send traces of jobs to this OpenTelemetry collector, for example http://127.0.0.1:4318 [env: OTEL_EXPORTER_OTLP_ENDPOINT]
    #[arg(long, global = true, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_endpoint: Option<String>,
    /// Write times in UTC; without it, in local time with its offset
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub utc: bool,
    /// Stop when standard input ends: a parent that holds the other end takes its children with it
    #[arg(long, global = true, hide = true)]
    #[serde(skip)]
    pub stop_with_parent: bool,
}

/// What [`CommonArgs`], the environment and the file add up to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Common {
    pub nats_url: String,
    pub nkey_file: Option<PathBuf>,
    pub tls_ca_file: Option<PathBuf>,
    pub tls_cert_file: Option<PathBuf>,
    pub tls_key_file: Option<PathBuf>,
    pub log_level: String,
    pub log_format: LogFormat,
    pub log_dir: Option<PathBuf>,
    pub color: Color,
    pub otlp_endpoint: Option<String>,
    /// Times are written in UTC, not in local time.
    pub utc: bool,
    #[serde(skip)]
    pub stop_with_parent: bool,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            nats_url: DEFAULT_NATS_URL.to_owned(),
            nkey_file: None,
            tls_ca_file: None,
            tls_cert_file: None,
            tls_key_file: None,
            log_level: "info".to_owned(),
            log_format: LogFormat::Text,
            log_dir: None,
            color: Color::Auto,
            otlp_endpoint: None,
            utc: false,
            stop_with_parent: false,
        }
    }
}
