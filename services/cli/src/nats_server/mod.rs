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

/// Writes configuration and keys under `dir` and returns the configuration's path.
pub(crate) fn prepare(dir: &Path, host: IpAddr, port: u16) -> anyhow::Result<PathBuf> {
    let dir = std::path::absolute(dir).with_context(|| format!("finding {}", dir.display()))?;
    keys::private_dir(&dir)?;
    let store = dir.join("jetstream");
    let store_dir = store.to_str().with_context(|| format!("{} is not valid UTF-8: choose another folder", store.display()))?.to_owned();
    let public_keys = keys::ensure(&dir, permissions::users())?;
    let path = dir.join("nats-server.conf");
    keys::write_private(&path, &config::render(&ServerSettings { host, port, store_dir, public_keys }))?;
    Ok(path)
}

/// `faultline nats-config`.
pub(crate) fn write_for_others(flags: &NatsConfigFlags) -> Result<(), Failure> {
    let config = prepare(&flags.out, flags.host, flags.port)?;
    let reach = if flags.host.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { flags.host };
    let url = format!("nats://{}", std::net::SocketAddr::new(reach, flags.port));
    eprintln!("start the server:  nats-server -c {}", config.display());
    eprintln!("provision it:      faultline setup --nats-url {url} --data-dir {}", flags.out.display());
    eprintln!("run the cluster:   faultline up --nats-url {url} --data-dir {}", flags.out.display());
    println!("{}", config.display());
    Ok(())
}
