//! `faultline nats-config`: configuration and keys for those who run nats-server themselves.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use faultline_cluster::nats_server::files::{Layout, Prepared, prepare, settle_former_stores};
use faultline_cluster::nats_server::fsync::Fsync;
use faultline_cluster::nats_server::keys;
use faultline_cluster::nats_server::member::{Member, ServerTls};
use faultline_runtime::shell;

use crate::exit::Failure;
use crate::output::{Output, plural};
use crate::session::Session;
use crate::up_flags::fsync;

/// Flags of `nats-config`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct NatsConfigFlags {
    /// Folder for nats-server.conf, the keys and the server's data
    #[arg(long, value_name = "DIR", default_value = "nats")]
    pub(crate) out: PathBuf,
    /// Address to listen on
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    pub(crate) host: std::net::IpAddr,
    /// Port to listen on
    #[arg(long, value_name = "PORT", default_value_t = 4222)]
    pub(crate) port: u16,
    /// When the server writes to its disk what it acknowledged: 1s loses up to the last second when the machine dies, always loses nothing
    /// and is slower (default 1s for one server, always for three)
    #[arg(long, value_name = "WHEN", value_parser = fsync())]
    pub(crate) sync: Option<Fsync>,
    /// Put each user's key into a folder of its own, DIR/USER/USER.nk, and the configuration into DIR/nats, so that each can be handed on
    /// alone; also makes a token in DIR/dashboard/dashboard.token
    #[arg(long)]
    pub(crate) apart: bool,
    /// Folder of JetStream's files, as the server sees it (default: that of --out)
    #[arg(long, value_name = "DIR")]
    pub(crate) store_dir: Option<PathBuf>,
    /// Move the streams of an earlier version, which kept all of them in one account, into the accounts of this version; the NATS server must
    /// be stopped
    #[arg(long)]
    pub(crate) move_store: bool,
    /// Names of three hosts whose servers form a cluster, with commas between: a configuration for each (only with --apart)
    #[arg(long, value_name = "HOST,HOST,HOST", value_delimiter = ',', requires = "apart", value_parser = parse_host)]
    pub(crate) servers: Vec<String>,
    /// The server's certificate (PEM): clients must then use TLS and show certificates of their own
    #[arg(long, value_name = "FILE", requires = "server_key", requires = "client_ca")]
    pub(crate) server_cert: Option<PathBuf>,
    /// Private key (PEM) of the server's certificate
    #[arg(long, value_name = "FILE", requires = "server_cert")]
    pub(crate) server_key: Option<PathBuf>,
    /// CA certificates (PEM) that the clients' certificates must come from
    #[arg(long, value_name = "FILE", requires = "server_cert")]
    pub(crate) client_ca: Option<PathBuf>,
}

/// A host's name or address, as it goes into a server's configuration.
fn parse_host(text: &str) -> Result<String, String> {
    let is_plain = !text.is_empty() && text.len() <= 253 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    if is_plain { Ok(text.to_owned()) } else { Err("a host's name has letters, digits, `.`, `-` and `_`".into()) }
}

/// `faultline nats-config`.
pub(crate) fn run(session: &Session, flags: &NatsConfigFlags) -> Result<(), Failure> {
    let tls = server_tls(flags)?;
    let out = Output::new(session.format, session.common.color);
    let layout = Layout::for_others(&flags.out, flags.store_dir.as_deref(), flags.apart)?;
    let members = members(flags);
    settle_former_stores(&layout, &members, flags.move_store, |moved, store| {
        note!("moved {} in {} to the accounts of this version", plural(moved as u64, "stream"), store.display());
    })?;
    if flags.apart {
        for config in write_apart(&layout, &members, flags, tls.as_ref())? {
            out.text(&config.display().to_string())?;
        }
        return Ok(());
    }
    let (scheme, more) = match tls {
        Some(_) => ("tls", " --tls-ca-file CA --tls-cert-file CERT --tls-key-file KEY"),
        None => ("nats", ""),
    };
    let config = told(prepare(&layout, (flags.host, flags.port), flags.sync, None, tls)?);
    let reach = if flags.host.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { flags.host };
    let url = format!("{scheme}://{}", std::net::SocketAddr::new(reach, flags.port));
    for line in next_steps(&config, &url, &flags.out, more) {
        note!("{line}");
    }
    out.text(&config.display().to_string())
}

/// The configuration's path, after a note of each setting that was another one in a file that was there.
fn told(Prepared { path, changes }: Prepared) -> PathBuf {
    for change in changes {
        note!("{} was written again: {change}", path.display());
    }
    path
}

/// What to do with the files, as commands to paste.
fn next_steps(config: &Path, url: &str, dir: &Path, more: &str) -> [String; 3] {
    let (config, dir) = (shell::word(config), shell::word(dir));
    [
        format!("start the server:  nats-server -c {config}"),
        format!("provision it:      faultline setup --nats-url {url} --data-dir {dir}{more}"),
        format!("run the cluster:   faultline up --nats-url {url} --data-dir {dir}{more}"),
    ]
}

/// The servers of a cluster; none of them for a single one.
fn members(flags: &NatsConfigFlags) -> Vec<Member> {
    match flags.servers.as_slice() {
        [] | [_] => Vec::new(),
        hosts => (0..hosts.len()).map(|index| Member::on_hosts(index, hosts)).collect(),
    }
}

/// For machines or containers that share nothing but what each is given.
fn write_apart(layout: &Layout, members: &[Member], flags: &NatsConfigFlags, tls: Option<&ServerTls>) -> Result<Vec<PathBuf>, Failure> {
    let one = |member| prepare(layout, (flags.host, flags.port), flags.sync, member, tls.cloned()).map(told);
    let configs = if members.is_empty() {
        vec![one(None)?]
    } else {
        members.iter().map(|member| one(Some(member))).collect::<anyhow::Result<_>>()?
    };
    keys::ensure_secret(&layout.dashboard_token())?;
    Ok(configs)
}

/// The three files, as absolute paths: the server may be started anywhere.
fn server_tls(flags: &NatsConfigFlags) -> Result<Option<ServerTls>, Failure> {
    let (Some(cert), Some(key), Some(ca)) = (&flags.server_cert, &flags.server_key, &flags.client_ca) else { return Ok(None) };
    let file = |flag: &str, path: &Path| match std::path::absolute(path).ok().filter(|path| path.is_file()) {
        Some(path) => Ok(path.display().to_string()),
        None => Err(Failure::Usage(format!("{flag}: file {} not found; docs/tls.md shows how to make certificates", path.display()))),
    };
    Ok(Some(ServerTls { cert_file: file("--server-cert", cert)?, key_file: file("--server-key", key)?, ca_file: file("--client-ca", ca)? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_to_paste_survive_any_folder() {
        let dir = Path::new("my cluster");
        let [start, provision, run] = next_steps(&dir.join("nats-server.conf"), "nats://127.0.0.1:4222", dir, " --tls-ca-file CA");
        assert_eq!(start, "start the server:  nats-server -c 'my cluster/nats-server.conf'");
        assert!(provision.ends_with("--data-dir 'my cluster' --tls-ca-file CA") && run.contains("--data-dir 'my cluster'"), "{provision}");
    }
}
