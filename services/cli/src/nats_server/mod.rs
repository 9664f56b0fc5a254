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

/// One server of a cluster on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Which one, from 0.
    pub(crate) index: usize,
    /// The loopback ports on which they reach one another.
    pub(crate) routes: Vec<u16>,
}

/// Writes a server's configuration, and the keys, under `dir`, and returns the configuration's path. Each member of a cluster has
/// a configuration and a folder of its own, beside those of a single server.
pub(crate) fn prepare(dir: &Path, host: IpAddr, port: u16, member: Option<&Member>) -> anyhow::Result<PathBuf> {
    let dir = std::path::absolute(dir).with_context(|| format!("finding {}", dir.display()))?;
    keys::private_dir(&dir)?;
    let number = member.map(|member| format!("-{}", member.index + 1)).unwrap_or_default();
    let store = dir.join(format!("jetstream{number}"));
    let store_dir = store.to_str().with_context(|| format!("{} is not valid UTF-8: choose another folder", store.display()))?.to_owned();
    let public_keys = keys::ensure(&dir, permissions::users())?;
    let path = dir.join(format!("nats-server{number}.conf"));
    keys::write_private(&path, &config::render(&ServerSettings { host, port, store_dir, public_keys, member: member.cloned() }))?;
    Ok(path)
}

/// `faultline nats-config`.
pub(crate) fn write_for_others(flags: &NatsConfigFlags) -> Result<(), Failure> {
    let config = prepare(&flags.out, flags.host, flags.port, None)?;
    let reach = if flags.host.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { flags.host };
    let url = format!("nats://{}", std::net::SocketAddr::new(reach, flags.port));
    eprintln!("start the server:  nats-server -c {}", config.display());
    eprintln!("provision it:      faultline setup --nats-url {url} --data-dir {}", flags.out.display());
    eprintln!("run the cluster:   faultline up --nats-url {url} --data-dir {}", flags.out.display());
    println!("{}", config.display());
    Ok(())
}
