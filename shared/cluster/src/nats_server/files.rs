//! Where the files of a NATS server lie, and those of its users: writes configuration and keys, and settles what an earlier version left.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::config::{self, ServerSettings};
use super::fsync::Fsync;
use super::member::{Member, ServerTls};
use super::{former_store, keys, permissions};
use crate::error::Error;

/// Where the files of a server and its users lie.
#[derive(Debug, Clone)]
pub struct Layout {
    dir: PathBuf,
    /// Folder of JetStream's files, as the server sees it.
    store: PathBuf,
    /// Whether each user's key has a folder of its own, which can be handed on without the others'.
    apart: bool,
}

impl Layout {
    /// All of it under one folder, as `up` wants it.
    pub fn together(dir: &Path) -> anyhow::Result<Self> {
        let dir = std::path::absolute(dir).with_context(|| format!("finding {}", dir.display()))?;
        Ok(Self { store: dir.clone(), dir, apart: false })
    }

    /// The same for servers that run elsewhere: with the folder of JetStream's files as they see it, if it is another one, and with the
    /// users' keys apart, if each is to be handed on alone.
    pub fn for_others(dir: &Path, store: Option<&Path>, apart: bool) -> anyhow::Result<Self> {
        let together = Self::together(dir)?;
        Ok(Self { store: store.map_or_else(|| together.store.clone(), Path::to_owned), apart, ..together })
    }

    /// The dashboard's token, where keys lie apart.
    pub fn dashboard_token(&self) -> PathBuf {
        self.dir.join("dashboard").join("dashboard.token")
    }

    fn seed_path(&self, user: &str) -> PathBuf {
        if self.apart { self.dir.join(user).join(format!("{user}.nk")) } else { keys::seed_path(&self.dir, user) }
    }

    /// Folder of one server's files, as the server sees it.
    pub fn store_dir(&self, member: Option<&Member>) -> PathBuf {
        self.store.join(store_name(member))
    }

    fn config_dir(&self) -> PathBuf {
        if self.apart { self.dir.join("nats") } else { self.dir.clone() }
    }
}

/// Each member of a cluster has a folder of its own, beside that of a single server.
fn store_name(member: Option<&Member>) -> String {
    format!("jetstream{}", numbered(member))
}

fn numbered(member: Option<&Member>) -> String {
    member.map(|member| format!("-{}", member.index + 1)).unwrap_or_default()
}

/// A server's configuration as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    pub path: PathBuf,
    /// What the file said otherwise before, such as `sync_interval: "always" -> "1s"`.
    pub changes: Vec<String>,
}

/// Writes a server's configuration, and the keys. Each member of a cluster has a configuration and a folder of its own, beside those of a
/// single server.
pub fn prepare(
    layout: &Layout,
    (host, port): (IpAddr, u16),
    fsync: Option<Fsync>,
    member: Option<&Member>,
    tls: Option<ServerTls>,
) -> anyhow::Result<Prepared> {
    let dir = layout.config_dir();
    keys::private_dir(&dir)?;
    let store = layout.store_dir(member);
    let store_dir = store.to_str().with_context(|| format!("{} is not valid UTF-8: choose another folder", store.display()))?.to_owned();
    let public_keys = keys::ensure(permissions::users(), |user| layout.seed_path(user))?;
    let route_secret = member.map(|_| keys::ensure_secret(&dir.join("route.secret"))).transpose()?.unwrap_or_default();
    let path = dir.join(format!("nats-server{}.conf", numbered(member)));
    let fsync = fsync.unwrap_or_else(|| Fsync::default_for(member.is_some()));
    let settings = ServerSettings { host, port, store_dir, public_keys, member: member.cloned(), tls, route_secret, fsync };
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let text = config::render(&settings);
    keys::write_private(&path, &text)?;
    Ok(Prepared { changes: config::changes(&before, &text), path })
}

/// What an earlier version stored, as far as it can be seen from here: in the folder of --store-dir, or, with a volume mounted for each
/// server, in the folder of its number there. `on_moved` hears how many streams were moved, and in which folder.
pub fn settle_former_stores(layout: &Layout, members: &[Member], may_move: bool, on_moved: impl Fn(usize, &Path)) -> Result<(), Error> {
    let servers = if members.is_empty() { vec![None] } else { members.iter().map(Some).collect() };
    for member in servers {
        let volume = layout.store.join(member.map_or(1, |member| member.index + 1).to_string());
        for store in [layout.store_dir(member), volume.join(store_name(member))] {
            match (member, may_move) {
                (Some(_), _) => former_store::refuse_former_member(&store)?,
                (None, false) => former_store::refuse_former(&store)?,
                (None, true) => {
                    let moved = former_store::adopt(&store)?;
                    if moved > 0 {
                        on_moved(moved, &store);
                    }
                }
            }
        }
    }
    Ok(())
}
