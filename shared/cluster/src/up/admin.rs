//! The services' admin addresses: a loopback port for each process, held here for as long as `up` runs (bound, never listened on), so
//! that a process which starts again answers where it did before and no other program can take the port in between. Where they all are is
//! written into the data folder as Prometheus reads it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::net::TcpSocket;

use super::supervisor::Service;
use crate::nats_server::keys::write_private;

const ADMIN_BIND_FLAG: &str = "--admin-bind";
const TARGETS_FILE: &str = "prometheus-targets.json";

/// All ports, by the name of the process.
#[derive(Debug)]
pub(crate) struct AdminPorts {
    targets_file: PathBuf,
    held: Mutex<BTreeMap<String, Held>>,
}

#[derive(Debug)]
struct Held {
    _socket: TcpSocket,
    address: SocketAddr,
    /// The program's name.
    job: String,
}

/// One entry of a Prometheus `file_sd` file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Target {
    targets: [String; 1],
    labels: BTreeMap<String, String>,
}

impl AdminPorts {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self { targets_file: data_dir.join(TARGETS_FILE), held: Mutex::default() }
    }

    /// The service with its admin address, which it keeps until [`AdminPorts::remove`].
    pub(crate) fn give(&self, mut service: Service) -> anyhow::Result<Service> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let address = match held.get(&service.name) {
            Some(known) => known.address,
            None => {
                let (socket, address) =
                    reserve().with_context(|| format!("reserving a loopback port for the metrics of {}", service.name))?;
                let job = service.program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                held.insert(service.name.clone(), Held { _socket: socket, address, job });
                self.write(&held)?;
                address
            }
        };
        service.args.extend([ADMIN_BIND_FLAG.to_owned(), address.to_string()]);
        service.admin = Some(address);
        Ok(service)
    }

    /// The process is gone for good.
    pub(crate) fn remove(&self, names: &[String]) -> anyhow::Result<()> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|name, _| !names.contains(name));
        self.write(&held)
    }

    fn write(&self, held: &BTreeMap<String, Held>) -> anyhow::Result<()> {
        let target = |(name, held): (&String, &Held)| Target {
            targets: [held.address.to_string()],
            labels: [("job", &held.job), ("instance", name)].map(|(label, value)| (label.to_owned(), value.clone())).into(),
        };
        let targets: Vec<Target> = held.iter().map(target).collect();
        write_private(&self.targets_file, &format!("{}\n", serde_json::to_string_pretty(&targets)?))
    }

    /// No process answers there any more.
    pub(crate) fn forget(data_dir: &Path) {
        let _ = std::fs::remove_file(data_dir.join(TARGETS_FILE));
    }
}

fn reserve() -> std::io::Result<(TcpSocket, SocketAddr)> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> Service {
        Service { name: name.into(), program: "/bin-dir/faultline-worker".into(), args: vec![], admin: None }
    }

    #[test]
    fn a_process_keeps_its_port_and_prometheus_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let ports = AdminPorts::new(dir.path());
        let first = ports.give(service("worker-01")).unwrap();
        let second = ports.give(service("worker-02")).unwrap();
        assert_ne!(first.admin, second.admin);
        assert_eq!(first.args, ["--admin-bind".to_owned(), first.admin.unwrap().to_string()]);
        assert_eq!(ports.give(service("worker-01")).unwrap(), first, "started again");
        let targets = || -> Vec<Target> { serde_json::from_slice(&std::fs::read(dir.path().join(TARGETS_FILE)).unwrap()).unwrap() };
        let labels = [("instance", "worker-01"), ("job", "faultline-worker")].map(|(label, value)| (label.into(), value.into()));
        assert_eq!(targets()[0], Target { targets: [first.admin.unwrap().to_string()], labels: labels.into() });
        assert_eq!(targets().len(), 2);
        ports.remove(&["worker-01".into()]).unwrap();
        assert_eq!(targets().len(), 1);
        AdminPorts::forget(dir.path());
        assert!(!dir.path().join(TARGETS_FILE).exists());
    }

    #[test]
    fn nobody_else_gets_a_port_that_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let held = AdminPorts::new(dir.path());
        let address = held.give(service("worker-01")).unwrap().admin.unwrap();
        assert!(std::net::TcpListener::bind(address).is_err());
    }
}
