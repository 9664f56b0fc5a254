//! A nats-server of our own: which binary, which configuration, which keys. Starting it is `up`'s business.

pub(crate) mod config;
pub(crate) mod find;
pub(crate) mod keys;
pub(crate) mod permissions;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::args::NatsConfigFlags;
use crate::exit::Failure;
use config::ServerSettings;

/// One server of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Which one, from 0.
    pub(crate) index: usize,
    /// `HOST:PORT` on which it listens to the others.
    pub(crate) listen: String,
    /// `HOST:PORT` of all of them.
    pub(crate) routes: Vec<String>,
}

impl Member {
    /// One of several on this machine, with these ports.
    pub(crate) fn on_loopback(index: usize, ports: &[u16]) -> Self {
        let routes: Vec<String> = ports.iter().map(|port| format!("{}:{port}", Ipv4Addr::LOCALHOST)).collect();
        Self { index, listen: routes[index].clone(), routes }
    }

    /// One of several on machines of their own.
    fn on_hosts(index: usize, hosts: &[String]) -> Self {
        let routes = hosts.iter().map(|host| format!("{host}:{ROUTE_PORT}")).collect();
        Self { index, listen: format!("{}:{ROUTE_PORT}", Ipv4Addr::UNSPECIFIED), routes }
    }
}

/// The port that NATS' own examples use for routes.
const ROUTE_PORT: u16 = 6222;

/// Where the files of a server and its users lie.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    dir: PathBuf,
    /// Folder of JetStream's files, as the server sees it.
    store: PathBuf,
    /// Whether each user's key has a folder of its own, which can be handed on without the others'.
    apart: bool,
}

impl Layout {
    /// All of it under one folder, as `up` wants it.
    pub(crate) fn together(dir: &Path) -> anyhow::Result<Self> {
        let dir = std::path::absolute(dir).with_context(|| format!("finding {}", dir.display()))?;
        Ok(Self { store: dir.clone(), dir, apart: false })
    }

    fn seed_path(&self, user: &str) -> PathBuf {
        if self.apart { self.dir.join(user).join(format!("{user}.nk")) } else { keys::seed_path(&self.dir, user) }
    }

    fn config_dir(&self) -> PathBuf {
        if self.apart { self.dir.join("nats") } else { self.dir.clone() }
    }
}

/// The server's own certificate, and the CA of its clients'.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerTls {
    pub(crate) cert_file: String,
    pub(crate) key_file: String,
    pub(crate) ca_file: String,
}

/// Writes a server's configuration, and the keys, and returns the configuration's path. Each member of a cluster has
/// a configuration and a folder of its own, beside those of a single server.
pub(crate) fn prepare(
    layout: &Layout,
    host: IpAddr,
    port: u16,
    member: Option<&Member>,
    tls: Option<ServerTls>,
) -> anyhow::Result<PathBuf> {
    let dir = layout.config_dir();
    keys::private_dir(&dir)?;
    let number = member.map(|member| format!("-{}", member.index + 1)).unwrap_or_default();
    let store = layout.store.join(format!("jetstream{number}"));
    let store_dir = store.to_str().with_context(|| format!("{} is not valid UTF-8: choose another folder", store.display()))?.to_owned();
    let public_keys = keys::ensure(permissions::users(), |user| layout.seed_path(user))?;
    let route_secret = member.map(|_| keys::ensure_secret(&dir.join("route.secret"))).transpose()?.unwrap_or_default();
    let path = dir.join(format!("nats-server{number}.conf"));
    let settings = ServerSettings { host, port, store_dir, public_keys, member: member.cloned(), tls, route_secret };
    keys::write_private(&path, &config::render(&settings))?;
    Ok(path)
}

/// `faultline nats-config`.
pub(crate) fn write_for_others(flags: &NatsConfigFlags) -> Result<(), Failure> {
    let tls = server_tls(flags)?;
    let together = Layout::together(&flags.out)?;
    let layout = Layout { store: flags.store_dir.clone().unwrap_or_else(|| together.store.clone()), apart: flags.apart, ..together };
    if flags.apart {
        for config in write_apart(&layout, flags, tls.as_ref())? {
            println!("{}", config.display());
        }
        return Ok(());
    }
    let (scheme, more) = match tls {
        Some(_) => ("tls", " --tls-ca-file CA --tls-cert-file CERT --tls-key-file KEY"),
        None => ("nats", ""),
    };
    let config = prepare(&layout, flags.host, flags.port, None, tls)?;
    let reach = if flags.host.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { flags.host };
    let url = format!("{scheme}://{}", std::net::SocketAddr::new(reach, flags.port));
    note!("start the server:  nats-server -c {}", config.display());
    note!("provision it:      faultline setup --nats-url {url} --data-dir {}{more}", flags.out.display());
    note!("run the cluster:   faultline up --nats-url {url} --data-dir {}{more}", flags.out.display());
    println!("{}", config.display());
    Ok(())
}

/// For machines or containers that share nothing but what each is given.
fn write_apart(layout: &Layout, flags: &NatsConfigFlags, tls: Option<&ServerTls>) -> Result<Vec<PathBuf>, Failure> {
    let configs = match flags.servers.as_slice() {
        [] | [_] => vec![prepare(layout, flags.host, flags.port, None, tls.cloned())?],
        hosts => {
            let members = (0..hosts.len()).map(|index| Member::on_hosts(index, hosts));
            members.map(|member| prepare(layout, flags.host, flags.port, Some(&member), tls.cloned())).collect::<anyhow::Result<_>>()?
        }
    };
    keys::ensure_secret(&layout.dir.join("dashboard").join("dashboard.token"))?;
    Ok(configs)
}

/// The three files, as absolute paths: the server may be started anywhere.
fn server_tls(flags: &NatsConfigFlags) -> Result<Option<ServerTls>, Failure> {
    let (Some(cert), Some(key), Some(ca)) = (&flags.server_cert, &flags.server_key, &flags.client_ca) else { return Ok(None) };
    let file = |flag: &str, path: &Path| match std::path::absolute(path).ok().filter(|path| path.is_file()) {
        Some(path) => Ok(path.display().to_string()),
        None => Err(Failure::Usage(format!("{flag}: there is no file {}; docs/tls.md shows how to make certificates", path.display()))),
    };
    Ok(Some(ServerTls { cert_file: file("--server-cert", cert)?, key_file: file("--server-key", key)?, ca_file: file("--client-ca", ca)? }))
}
