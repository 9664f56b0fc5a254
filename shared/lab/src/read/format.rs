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

    /// What it is a format of, and where such files come from.
    pub fn source(self) -> (&'static str, &'static str) {
        match self {
            Format::Openb => ("tasks of Alibaba's cluster-trace-gpu-v2023", "https://github.com/alibaba/clusterdata"),
            Format::Swf => ("Standard Workload Format", "https://www.cs.huji.ac.il/labs/parallel/workload/swf.html"),
            Format::PhillyCsv => {
                ("jobs of Microsoft's Philly as the Sia artifact (SOSP'23) has them", "https://github.com/siasosp23/artifacts")
            }
            Format::PhillyJson => ("cluster_job_log of Microsoft's Philly (ATC'19)", "https://github.com/msr-fiddle/philly-traces"),
            Format::Helios => ("jobs of SenseTime's Helios (SC'21)", "https://github.com/S-Lab-System-Group/HeliosData"),
            Format::Sacct => ("what Slurm's `sacct -P` prints", "https://slurm.schedmd.com/sacct.html"),
            Format::Jobs => ("Faultline's own table, which `faultline lab record` writes", "docs/traces.md"),
        }
    }

    /// How the first line shows that a file has it.
    pub fn known_by(self) -> &'static str {
        match self {
            Format::Openb => "columns num_gpu and gpu_milli",
            Format::Swf => "`;` in front, or 18 numbers",
            Format::PhillyCsv => "columns timestamp, duration, and num_gpus",
            Format::PhillyJson => "`[` in front",
            Format::Helios => "columns job_id, gpu_num, and submit_time",
            Format::Sacct => "columns JobID and State between `|`",
            Format::Jobs => "columns submit_s and duration_s",
        }
    }

    /// The columns or fields that must be there, and others that are read.
    pub fn columns(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Format::Openb => (
                &["cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "creation_time", "deletion_time", "scheduled_time"],
                &["name", "gpu_spec", "qos", "pod_phase"],
            ),
            Format::Swf => (&["18 numbers a line: 2, 4, 5, and 8 are needed"], &["9", "10", "11", "12", "15", "17", "18"]),
            Format::PhillyCsv => (&["timestamp", "duration", "num_gpus"], &["cluster"]),
            Format::PhillyJson => (&["jobid", "submitted_time", "attempts"], &["status", "vc", "user"]),
            Format::Helios => {
                (&["job_id", "gpu_num", "state", "submit_time", "start_time", "duration"], &["user", "vc", "cpu_num", "node_num"])
            }
            Format::Sacct => (
                &["JobID", "Submit", "Start", "End", "State"],
                &["User", "Partition", "Elapsed", "ElapsedRaw", "Timelimit", "TimelimitRaw", "NNodes", "NCPUS", "AllocTRES", "ReqTRES"],
            ),
            Format::Jobs => (
                &["submit_s", "duration_s", "gpu_milli"],
                &["tasks", "cpu_milli", "memory_mib", "models", "user", "queue", "name", "priority", "estimate_s", "status"],
            ),
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
