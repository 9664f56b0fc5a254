//! What `up` is told to run, and whether that makes sense. Nothing is started here.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use faultline_engine::detector::EstimatorKind;
use faultline_engine::fault::{FaultPreset, check_time_scale};
use faultline_engine::scheduler::LivePolicy;
use faultline_engine::workload::check_load;
use faultline_protocol::messages::check_rate;
use faultline_runtime::config::MAX_SEED;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::nats_server::fsync::Fsync;

/// `[up]` of the settings file, `FAULTLINE_UP_*`, and the flags of `up`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpSettings {
    pub data_dir: PathBuf,
    pub workers: u32,
    pub nodes_per_worker: u32,
    /// Generated jobs a minute; none, and no load, leaves the last setting.
    pub rate: Option<f64>,
    /// The same as a share of the cluster's GPU time, in percent.
    pub load: Option<f64>,
    /// Whether the generator takes rates outside 0.1 to 50.
    pub unbounded_rate: bool,
    pub seed: Option<u64>,
    pub dashboard_port: u16,
    pub nats_port: u16,
    pub nats_servers: u32,
    /// None: once a second for one server, always for three.
    pub sync: Option<Fsync>,
    pub no_proxy: bool,
    pub faults: FaultPreset,
    /// None leaves it to the workers' own settings.
    pub fault_time_scale: Option<f64>,
    /// A built-in policy, or `service:NAME` for a program of one's own on NATS.
    pub policy: LivePolicy,
    pub detector: EstimatorKind,
    pub schedulers: u32,
    pub no_generator: bool,
    pub no_detector: bool,
    pub no_dashboard: bool,
    /// Whether a terminal shows all that services say, and not only what is wrong.
    pub verbose: bool,
}

impl Default for UpSettings {
    fn default() -> Self {
        Self {
            data_dir: ".data".into(),
            workers: 8,
            nodes_per_worker: 1,
            rate: None,
            load: None,
            unbounded_rate: false,
            seed: None,
            dashboard_port: 8080,
            nats_port: 4222,
            nats_servers: 1,
            sync: None,
            no_proxy: false,
            faults: FaultPreset::default(),
            fault_time_scale: None,
            policy: LivePolicy::default(),
            detector: EstimatorKind::default(),
            schedulers: 2,
            no_generator: false,
            no_detector: false,
            no_dashboard: false,
            verbose: false,
        }
    }
}

/// The servers of a cluster: the fewest of which one may be gone.
const CLUSTER_SIZE: u32 = 3;
/// From a server's port to the one on which the others of its cluster reach it: 4222 and 6222, as NATS' own examples have it.
const ROUTE_PORT_OFFSET: u16 = 2000;

/// The loopback ports of NATS servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsPorts {
    pub clients: Vec<u16>,
    /// None for a single server.
    pub routes: Vec<u16>,
}

impl NatsPorts {
    /// Where clients connect.
    pub fn url(&self) -> String {
        let urls: Vec<String> = self.clients.iter().map(|port| format!("nats://{}:{port}", Ipv4Addr::LOCALHOST)).collect();
        urls.join(",")
    }

    pub fn all(&self) -> impl Iterator<Item = u16> {
        self.clients.iter().chain(&self.routes).copied()
    }
}

/// The most workers that `up` starts: each is a process.
pub const MAX_WORKERS: u32 = 500;
const MAX_NODES_PER_WORKER: u32 = 1000;
const MAX_SCHEDULERS: u32 = 9;

impl UpSettings {
    /// The ports of the NATS servers that `up` starts; none when there are no such ports.
    pub fn nats_ports(&self) -> Option<NatsPorts> {
        let count = u16::try_from(self.nats_servers).ok()?;
        let from = |first: u16| (0..count).map(|number| first.checked_add(number)).collect::<Option<Vec<u16>>>();
        let routes = if count > 1 { from(self.nats_port.checked_add(ROUTE_PORT_OFFSET)?)? } else { Vec::new() };
        Some(NatsPorts { clients: from(self.nats_port)?, routes })
    }

    /// Refuses absurd numbers, naming the flag.
    pub fn validate(&self) -> Result<(), Error> {
        let within = |flag: &str, value: u32, low: u32, high: u32| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(Error::Invalid(format!("{flag} must be between {low} and {high}, not {value}")))
            }
        };
        within("--workers", self.workers, 0, MAX_WORKERS)?;
        within("--nodes-per-worker", self.nodes_per_worker, 1, MAX_NODES_PER_WORKER)?;
        within("--schedulers", self.schedulers, 0, MAX_SCHEDULERS)?;
        within("--nats-port", self.nats_port.into(), 1, u16::MAX.into())?;
        within("--dashboard-port", self.dashboard_port.into(), 1, u16::MAX.into())?;
        self.validate_rate()?;
        self.validate_faults()?;
        if ![1, CLUSTER_SIZE].contains(&self.nats_servers) {
            return Err(Error::Invalid(format!("--nats-servers must be 1 or {CLUSTER_SIZE}, not {}", self.nats_servers)));
        }
        let Some(ports) = self.nats_ports() else {
            let most = u16::MAX - ROUTE_PORT_OFFSET - 2;
            return Err(Error::Invalid(format!("--nats-port must be at most {most} with {CLUSTER_SIZE} servers, not {}", self.nats_port)));
        };
        if ports.all().any(|port| port == self.dashboard_port) && !self.no_dashboard {
            return Err(Error::Invalid(format!("--nats-port and --dashboard-port are both {}: use different ports", self.dashboard_port)));
        }
        Ok(())
    }
}

impl UpSettings {
    /// Refuses what `up` could only do to a NATS server of its own, when it is to use one that runs already.
    pub fn validate_for_external_nats(&self) -> Result<(), Error> {
        let own = Self::default();
        let refused = [
            ("--sync", self.sync != own.sync, "set sync_interval in that server's configuration (faultline nats-config --sync does)"),
            ("--nats-servers", self.nats_servers != own.nats_servers, "name all servers of a cluster in --nats-url, with commas between"),
            ("--nats-port", self.nats_port != own.nats_port, "the port is part of --nats-url"),
        ];
        match refused.into_iter().find(|(_, is_set, _)| *is_set) {
            None => Ok(()),
            Some((flag, _, remedy)) => Err(Error::Invalid(format!(
                "{flag} has no effect on the NATS server that --nats-url names: {remedy}; or leave --nats-url out, so that `up` starts its own"
            ))),
        }
    }

    fn validate_rate(&self) -> Result<(), Error> {
        if self.rate.is_some() && self.load.is_some() {
            return Err(Error::Invalid("--rate and --load exclude each other: leave one out".to_owned()));
        }
        if let Some(percent) = self.load {
            check_load(percent).map_err(|problem| Error::Invalid(format!("--load: {problem}")))?;
        }
        let Some(rate) = self.rate else { return Ok(()) };
        check_rate(rate, self.unbounded_rate).map_err(|problem| {
            let remedy = if self.unbounded_rate { "" } else { "; --unbounded-rate allows other rates" };
            Error::Invalid(format!("--rate: {problem}{remedy}"))
        })
    }

    fn validate_faults(&self) -> Result<(), Error> {
        if let Some(seed) = self.seed.filter(|seed| *seed > MAX_SEED) {
            return Err(Error::Invalid(format!("--seed must be between 0 and {MAX_SEED}, not {seed}")));
        }
        let Some(factor) = self.fault_time_scale else { return Ok(()) };
        check_time_scale(factor).map_err(|problem| Error::Invalid(format!("--fault-time-scale {problem}")))?;
        if !self.faults.follows_time_scale() {
            let faults = self.faults.as_str();
            return Err(Error::Invalid(format!("--fault-time-scale needs --faults calibrated, rsc-1 or rsc-2; {faults} has a fixed pace")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        assert!(UpSettings::default().validate().is_ok());
        assert!(UpSettings { rate: Some(6000.0), unbounded_rate: true, ..UpSettings::default() }.validate().is_ok());
    }

    #[test]
    fn absurd_numbers_are_refused_by_flag() {
        let base = UpSettings::default;
        for (settings, flag) in [
            (UpSettings { workers: 100_000, ..base() }, "--workers"),
            (UpSettings { nodes_per_worker: 0, ..base() }, "--nodes-per-worker"),
            (UpSettings { rate: Some(-1.0), ..base() }, "--rate"),
            (UpSettings { rate: Some(f64::NAN), ..base() }, "--rate"),
            (UpSettings { rate: Some(51.0), ..base() }, "--unbounded-rate"),
            (UpSettings { rate: Some(1e12), unbounded_rate: true, ..base() }, "--rate"),
            (UpSettings { load: Some(0.0), ..base() }, "--load: a load of 0 % is outside 1 to 200"),
            (UpSettings { load: Some(60.0), rate: Some(2.0), ..base() }, "--rate and --load"),
            (UpSettings { seed: Some(MAX_SEED + 1), ..base() }, "--seed must be between 0 and 9223372036854775807"),
            (UpSettings { fault_time_scale: Some(0.0), faults: FaultPreset::Calibrated, ..base() }, "--fault-time-scale must be above 0"),
            (UpSettings { fault_time_scale: Some(f64::INFINITY), faults: FaultPreset::Rsc1, ..base() }, "--fault-time-scale"),
            (UpSettings { fault_time_scale: Some(100.0), ..base() }, "--fault-time-scale needs --faults calibrated"),
            (UpSettings { dashboard_port: 0, ..base() }, "--dashboard-port"),
            (UpSettings { nats_port: 8080, ..base() }, "--nats-port"),
            (UpSettings { nats_port: 6079, nats_servers: 3, ..base() }, "--dashboard-port"),
            (UpSettings { nats_port: 64_000, nats_servers: 3, ..base() }, "--nats-port"),
            (UpSettings { nats_servers: 2, ..base() }, "--nats-servers"),
        ] {
            match settings.validate() {
                Err(Error::Invalid(text)) => assert!(text.contains(flag), "{text}"),
                other => panic!("{flag}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_only_an_own_server_can_be_told_is_refused_for_another_one() {
        let base = UpSettings::default;
        assert!(base().validate_for_external_nats().is_ok());
        for (settings, flag) in [
            (UpSettings { sync: Some(Fsync::EverySecond), ..base() }, "--sync"),
            (UpSettings { nats_servers: 3, ..base() }, "--nats-servers"),
            (UpSettings { nats_port: 4333, ..base() }, "--nats-port"),
        ] {
            let text = settings.validate_for_external_nats().unwrap_err().to_string();
            assert!(text.contains(&format!("{flag} has no effect")), "{text}");
        }
    }

    #[test]
    fn three_servers_have_ports_in_a_row_and_routes_beside() {
        assert_eq!(UpSettings::default().nats_ports().unwrap(), NatsPorts { clients: vec![4222], routes: vec![] });
        let three = UpSettings { nats_servers: 3, ..UpSettings::default() };
        let wanted = NatsPorts { clients: vec![4222, 4223, 4224], routes: vec![6222, 6223, 6224] };
        assert_eq!(three.nats_ports().unwrap(), wanted);
    }
}
