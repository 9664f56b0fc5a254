//! What other commands may ask of a running `up`: one line of JSON in, one out, over a socket in its data folder.
//! Only processes on this machine use it; between services there is nothing but NATS.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use faultline_protocol::messages::{ChaosAbort, ChaosReply};
use faultline_proxy::LinkConditions;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::cluster::Cluster;
use super::links::LinkStatus;
use super::supervisor::ChildStatus;
use crate::args::KillSignal;
use crate::chaos::fault::Fault;
use crate::chaos::service::Experiments;

/// The path of a socket must fit into 108 bytes, <https://man7.org/linux/man-pages/man7/unix.7.html>; 104 on others.
const LONGEST_SOCKET_PATH: usize = 100;
const NO_EXPERIMENTS: &str = "this `up` cannot break anything: NATS refused the user `up` when it started";
const LONGEST_LINE: u64 = 64 * 1024;
const AWAKE_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "lowercase")]
pub(crate) enum Order {
    Status,
    Scale {
        workers: u32,
    },
    Kill {
        service: String,
        signal: KillSignal,
    },
    /// What a service's network is like from now on.
    Link {
        service: String,
        conditions: LinkConditions,
    },
    Links,
    /// Break something and put it right after `for_ms`: a step of a scenario.
    Inject {
        fault: Fault,
        for_ms: u64,
    },
    /// Put right what an experiment broke, and end it; only the one named, if one is. Works while NATS is what was broken.
    Abort {
        run: Option<String>,
    },
    Stop,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub(crate) enum Reply {
    Status { uptime_s: u64, services: Vec<ChildStatus> },
    Scaled { started: Vec<String>, stopped: Vec<String> },
    Links { links: Vec<LinkStatus> },
    Aborting { run: String },
    Done,
    NotFound { reason: String },
    Failed { reason: String },
}

/// Who carries orders out.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) cluster: Arc<Cluster>,
    /// None when NATS refused the user that experiments need.
    pub(crate) experiments: Option<Arc<Experiments>>,
}

impl Desk {
    async fn handle(&self, order: Order) -> Reply {
        match (order, &self.experiments) {
            (Order::Inject { fault, for_ms }, Some(experiments)) => match experiments.injector().inject(fault, for_ms).await {
                Ok(_) => Reply::Done,
                Err(reason) => Reply::Failed { reason },
            },
            (Order::Abort { run }, Some(experiments)) => match experiments.abort(&ChaosAbort { run, by: "cli".into() }) {
                ChaosReply::Aborting { run } | ChaosReply::Started { run, .. } => Reply::Aborting { run },
                ChaosReply::Refused { reason } => Reply::NotFound { reason },
            },
            (Order::Inject { .. } | Order::Abort { .. }, None) => Reply::Failed { reason: NO_EXPERIMENTS.into() },
            (order, _) => self.cluster.handle(order).await,
        }
    }
}

/// Where the socket of this data folder goes.
pub(crate) fn socket_path(data_dir: &Path) -> PathBuf {
    let beside = data_dir.join("control.sock");
    if beside.as_os_str().len() <= LONGEST_SOCKET_PATH {
        return beside;
    }
    std::env::temp_dir().join(format!("faultline-{}.sock", std::process::id()))
}

/// Opens the socket. The data folder's lock is held, so a socket that is there is a dead one's.
pub(crate) fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).with_context(|| format!("opening the socket {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .with_context(|| format!("closing {} to others", path.display()))?;
    Ok(listener)
}

/// Answers orders until cancelled.
pub(crate) async fn serve(listener: UnixListener, desk: Desk, cancel: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = cancel.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(answer(stream, desk.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "the control socket failed");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, desk: Desk) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader.take(LONGEST_LINE)).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let reply = match serde_json::from_str::<Order>(&line) {
            Ok(order) => desk.handle(order).await,
            Err(error) => Reply::Failed { reason: format!("this order cannot be read: {error}") },
        };
        let mut text = serde_json::to_string(&reply).unwrap_or_default();
        text.push('\n');
        if writer.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Sends one order and awaits its reply, for as long as it takes to carry it out.
pub(crate) async fn ask(socket: &Path, order: &Order) -> anyhow::Result<Reply> {
    let stream = UnixStream::connect(socket).await.with_context(|| format!("reaching `faultline up` at {}", socket.display()))?;
    let mut stream = BufReader::new(stream);
    // A frozen `up` would carry the order out when it wakes, long after whoever gave it has gone: first it must show that it is awake.
    let awake = tokio::time::timeout(AWAKE_WITHIN, exchange(&mut stream, &Order::Status)).await;
    let status =
        awake.map_err(|_| anyhow::anyhow!("`faultline up` does not answer within {} s: is it stopped?", AWAKE_WITHIN.as_secs()))??;
    if *order == Order::Status { Ok(status) } else { exchange(&mut stream, order).await }
}

async fn exchange(stream: &mut BufReader<UnixStream>, order: &Order) -> anyhow::Result<Reply> {
    stream.write_all(format!("{}\n", serde_json::to_string(order)?).as_bytes()).await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    serde_json::from_str(&line).context("`faultline up` stopped without an answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_have_a_readable_form() {
        assert_eq!(serde_json::to_string(&Order::Scale { workers: 3 }).unwrap(), r#"{"order":"scale","workers":3}"#);
        let order: Order = serde_json::from_str(r#"{"order":"kill","service":"worker-03","signal":"kill"}"#).unwrap();
        assert_eq!(order, Order::Kill { service: "worker-03".into(), signal: KillSignal::Kill });
        assert!(serde_json::from_str::<Order>(r#"{"order":"explode"}"#).is_err());
        let order: Order = serde_json::from_str(r#"{"order":"link","service":"worker-03","conditions":{"delay_ms":50}}"#).unwrap();
        let conditions = LinkConditions { delay_ms: 50, ..LinkConditions::default() };
        assert_eq!(order, Order::Link { service: "worker-03".into(), conditions });
    }

    #[test]
    fn a_deep_data_folder_still_gets_a_socket() {
        assert_eq!(socket_path(Path::new(".data")), Path::new(".data/control.sock"));
        assert!(socket_path(&PathBuf::from("/x".repeat(80))).as_os_str().len() <= LONGEST_SOCKET_PATH);
    }
}
