//! Which programs `up` runs, with which arguments, under which names. Pure but for the look at the file system that
//! finds them.

use std::path::{Path, PathBuf};

use faultline_runtime::config::{Common, LogFormat};

use super::history::NATS;
use super::links::NATS_URL_FLAG;
use super::scale::{first_node, worker_name};
use super::settings::UpSettings;
use super::supervisor::Service;
use crate::error::Error;
use crate::nats_server::keys;

/// Where the services' binaries are looked for instead of beside this one; for tests.
pub(crate) const BIN_DIR_VARIABLE: &str = "FAULTLINE_BIN_DIR";

/// Everything that the services' command lines are made from.
#[derive(Debug, Clone)]
pub struct Plan {
    pub settings: UpSettings,
    /// One for all workers: racks, power supplies and switches fail by it, and their nodes are in several processes.
    pub fault_seed: u64,
    /// With the URL that the services shall use.
    pub common: Common,
    pub config_file: Option<PathBuf>,
    /// Whether the children's lines end on a terminal that shows colours.
    pub color: bool,
    pub bin_dir: PathBuf,
}

/// The folder with the services' binaries.
pub fn bin_dir() -> Result<PathBuf, Error> {
    if let Some(dir) = std::env::var_os(BIN_DIR_VARIABLE) {
        return Ok(dir.into());
    }
    let exe = std::env::current_exe().map_err(|error| anyhow::anyhow!("finding this program's own folder: {error}"))?;
    Ok(exe.parent().map(Path::to_owned).unwrap_or_default())
}

/// The token with which others than the user who runs `up` enter the dashboard.
pub fn dashboard_token(data_dir: &Path) -> PathBuf {
    data_dir.join("dashboard.token")
}

/// The name of a NATS server among so many, counted from 1.
pub fn nats_name(number: u32, of: u32) -> String {
    if of == 1 { NATS.to_owned() } else { format!("{NATS}-{number}") }
}

/// A NATS server as a child, under the guard that ends it when `up` is gone.
pub fn nats_server(name: String, own_program: PathBuf, server: &Path, config: &Path) -> Service {
    let args = ["guard".into(), "--".into(), server.display().to_string(), "-c".into(), config.display().to_string()];
    Service { name, program: own_program, args: args.into(), admin: None }
}

impl Plan {
    /// All services in the order in which they start.
    pub fn all(&self) -> Vec<Service> {
        let settings = &self.settings;
        let mut services = Vec::new();
        if !settings.no_detector {
            services.push(self.service("fault-detector", "fault-detector", &[("--detector", settings.detector.as_str().to_owned())]));
        }
        services.extend((1..=settings.schedulers).map(|number| self.scheduler(number)));
        services.extend((1..=settings.workers).map(|index| self.worker(index)));
        if !settings.no_dashboard {
            let token = dashboard_token(&settings.data_dir).display().to_string();
            let flags = [("--port", settings.dashboard_port.to_string()), ("--local-token-file", token)];
            services.push(self.service("dashboard", "dashboard", &flags));
        }
        if !settings.no_generator {
            let mut flags = Vec::new();
            flags.extend(settings.rate.map(|rate| ("--rate", rate.to_string())));
            flags.extend(settings.load.map(|percent| ("--load", percent.to_string())));
            flags.extend(self.seed());
            let mut generator = self.service("generator", "generator", &flags);
            generator.args.extend(settings.unbounded_rate.then(|| "--unbounded-rate".to_owned()));
            services.push(generator);
        }
        services
    }

    fn scheduler(&self, number: u32) -> Service {
        let name = format!("scheduler-{number}");
        let mut flags = vec![("--name", name.clone()), ("--policy", self.settings.policy.to_string())];
        flags.extend(self.seed());
        self.service("scheduler", &name, &flags)
    }

    pub fn worker(&self, index: u32) -> Service {
        let name = worker_name(index);
        let nodes = self.settings.nodes_per_worker;
        let mut flags = vec![
            ("--name", name.clone()),
            ("--first-node", first_node(index, nodes).to_string()),
            ("--nodes", nodes.to_string()),
            ("--faults", self.settings.faults.as_str().to_owned()),
            ("--seed", self.fault_seed.to_string()),
        ];
        flags.extend(self.settings.fault_time_scale.map(|factor| ("--fault-time-scale", factor.to_string())));
        self.service("worker", &name, &flags)
    }

    fn seed(&self) -> Option<(&'static str, String)> {
        self.settings.seed.map(|seed| ("--seed", seed.to_string()))
    }

    /// `user` is at once the program's short name and its NATS user.
    fn service(&self, user: &str, name: &str, flags: &[(&str, String)]) -> Service {
        let common = &self.common;
        let key = common.nkey_file.clone().or_else(|| Some(keys::seed_path(&self.settings.data_dir, user)).filter(|path| path.is_file()));
        let path = |path: &Path| path.display().to_string();
        let mut pairs = vec![
            (NATS_URL_FLAG, common.nats_url.clone()),
            ("--log-level", common.log_level.clone()),
            ("--log-format", log_format(common.log_format).to_owned()),
            ("--color", if self.color { "always" } else { "never" }.to_owned()),
        ];
        pairs.extend(common.otlp_endpoint.clone().map(|endpoint| ("--otlp-endpoint", endpoint)));
        pairs.extend(common.log_dir.as_deref().map(|dir| ("--log-dir", path(dir))));
        pairs.extend(self.config_file.as_deref().map(|file| ("--config", path(file))));
        pairs.extend(key.map(|key| ("--nkey-file", path(&key))));
        pairs.extend(common.tls_files().map(|(flag, file)| (flag, path(file))));
        pairs.extend(flags.iter().cloned());
        let switches = ["--stop-with-parent"].into_iter().chain(common.utc.then_some("--utc")).map(str::to_owned);
        let args = pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).chain(switches).collect();
        Service { name: name.to_owned(), program: self.bin_dir.join(format!("faultline-{user}")), args, admin: None }
    }

    /// Says which binaries are missing before anything is started.
    pub fn check_binaries(&self) -> Result<(), Error> {
        let mut missing: Vec<String> = self
            .all()
            .into_iter()
            .map(|service| service.program)
            .filter(|program| !program.is_file())
            .map(|program| program.display().to_string())
            .collect();
        missing.dedup();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::Failed(anyhow::anyhow!("these programs are missing: {}. Build them with `./justw build`", missing.join(", "))))
    }
}

/// The word that a service's flag takes.
fn log_format(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    }
}

/// What stops together, in order: those that make work first, those that it runs through last. With the time that each
/// group gets before it is killed; together under 5 s.
pub fn stop_order(names: &[String]) -> Vec<(Vec<String>, std::time::Duration)> {
    let group = |prefixes: &[&str], ms: u64| {
        let chosen = names.iter().filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix))).cloned().collect();
        (chosen, std::time::Duration::from_millis(ms))
    };
    let groups = vec![
        group(&["generator"], 500),
        group(&["worker-"], 1300),
        group(&["scheduler-"], 700),
        group(&["fault-detector", "dashboard"], 600),
        group(&[NATS], 1200),
    ];
    groups.into_iter().filter(|(names, _): &(Vec<String>, _)| !names.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(settings: UpSettings) -> Plan {
        Plan { settings, fault_seed: 7, common: Common::default(), config_file: None, color: false, bin_dir: "/bin-dir".into() }
    }

    fn value<'a>(service: &'a Service, flag: &str) -> Option<&'a str> {
        service.args.iter().position(|arg| arg == flag).map(|at| service.args[at + 1].as_str())
    }

    #[test]
    fn workers_host_consecutive_nodes() {
        let plan = plan(UpSettings { nodes_per_worker: 4, ..UpSettings::default() });
        let worker = plan.worker(3);
        assert_eq!(worker.name, "worker-03");
        assert_eq!(worker.program, Path::new("/bin-dir/faultline-worker"));
        assert_eq!((value(&worker, "--first-node"), value(&worker, "--nodes")), (Some("9"), Some("4")));
        assert_eq!(value(&worker, "--faults"), Some("classroom"));
        assert!(worker.args.contains(&"--stop-with-parent".to_owned()));
        assert_eq!(value(&worker, "--seed"), Some("7"), "all workers have the same");
        assert_eq!(value(&plan.worker(4), "--seed"), Some("7"));
        assert_eq!(value(&plan.all()[1], "--seed"), None, "the scheduler draws its own");
        assert_eq!(value(&worker, "--fault-time-scale"), None, "the workers' own settings decide");
        let faster = self::plan(UpSettings { fault_time_scale: Some(2500.5), ..UpSettings::default() });
        assert_eq!(value(&faster.worker(1), "--fault-time-scale"), Some("2500.5"));
    }

    #[test]
    fn what_is_switched_off_does_not_start() {
        let settings =
            UpSettings { workers: 2, schedulers: 1, no_generator: true, no_detector: true, no_dashboard: true, ..UpSettings::default() };
        let names: Vec<String> = plan(settings).all().into_iter().map(|service| service.name).collect();
        assert_eq!(names, ["scheduler-1", "worker-01", "worker-02"]);
    }

    #[test]
    fn the_generator_takes_any_rate_only_when_that_is_asked_for() {
        let generator = |unbounded_rate| plan(UpSettings { unbounded_rate, ..UpSettings::default() }).all().pop().unwrap();
        for unbounded in [false, true] {
            let service = generator(unbounded);
            assert_eq!((service.name.as_str(), service.args.contains(&"--unbounded-rate".to_owned())), ("generator", unbounded));
        }
    }

    #[test]
    fn the_server_stops_last_and_all_of_it_within_five_seconds() {
        let names: Vec<String> =
            ["dashboard", "nats", "worker-02", "generator", "worker-01", "fault-detector", "scheduler-1"].map(String::from).into();
        let order = stop_order(&names);
        assert_eq!(order[0].0, ["generator"]);
        assert_eq!(order[1].0, ["worker-02", "worker-01"]);
        assert_eq!(order.last().unwrap().0, ["nats"]);
        assert_eq!(order.iter().map(|(names, _)| names.len()).sum::<usize>(), names.len());
        assert!(order.iter().map(|(_, limit)| *limit).sum::<std::time::Duration>() < std::time::Duration::from_millis(4500));
    }
}
