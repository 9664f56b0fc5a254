//! The formats, and how a file shows which one it has.

use std::str::FromStr;

use serde::Serialize;

use super::error::ReadError;
use super::source::Source;
use super::table::short;

/// A format of job traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Tasks of Alibaba's cluster-trace-gpu-v2023.
    Openb,
    /// The Standard Workload Format of the Parallel Workloads Archive.
    Swf,
    /// Jobs of Microsoft's Philly as the Sia artifact has them.
    PhillyCsv,
    /// `cluster_job_log` of Microsoft's Philly.
    PhillyJson,
    /// Jobs of SenseTime's Helios.
    Helios,
    /// What Slurm's `sacct -P` prints.
    Sacct,
    /// Faultline's own.
    Jobs,
}

impl Format {
    pub const ALL: [Format; 7] = [Self::Openb, Self::Swf, Self::PhillyCsv, Self::PhillyJson, Self::Helios, Self::Sacct, Self::Jobs];

    pub fn as_str(self) -> &'static str {
        match self {
            Format::Openb => "openb",
            Format::Swf => "swf",
            Format::PhillyCsv => "philly-csv",
            Format::PhillyJson => "philly-json",
            Format::Helios => "helios",
            Format::Sacct => "sacct",
            Format::Jobs => "jobs",
        }
    }

    /// The format that the first line shows.
    pub fn of(source: &Source) -> Result<Self, ReadError> {
        let line = source.first_line();
        let has = |delimiter: char, columns: &[&str]| {
            let names: Vec<&str> = line.split(delimiter).map(|name| name.trim().trim_matches('"')).collect();
            columns.iter().all(|column| names.contains(column))
        };
        let is_swf = line.starts_with(';')
            || (line.split_whitespace().count() >= 18 && line.split_whitespace().all(|field| field.parse::<f64>().is_ok()));
        match () {
            () if line.starts_with('[') => Ok(Format::PhillyJson),
            () if is_swf => Ok(Format::Swf),
            () if has('|', &["JobID", "State"]) => Ok(Format::Sacct),
            () if has(',', &["num_gpu", "gpu_milli"]) => Ok(Format::Openb),
            () if has(',', &["timestamp", "duration", "num_gpus"]) => Ok(Format::PhillyCsv),
            () if has(',', &["job_id", "gpu_num", "submit_time"]) => Ok(Format::Helios),
            () if has(',', &["submit_s", "duration_s"]) => Ok(Format::Jobs),
            () => Err(ReadError::UnknownFormat {
                file: source.name.clone(),
                first_line: short(line, 80),
                known: Self::ALL.map(Self::as_str).join(", "),
            }),
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|format| format.as_str() == text)
            .ok_or_else(|| format!("unknown format `{}`: use one of {}", short(text, 40), Self::ALL.map(Self::as_str).join(", ")))
    }
}
