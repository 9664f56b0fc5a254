//! Carries out the orders that other processes give to a running `up` over its socket.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use faultline_protocol::messages::{ChaosAbort, ChaosReply};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::experiment::service::Experiments;
use crate::up::cluster::Cluster;
use crate::up::orders::{Order, Reply};
use crate::up::who;

const NO_EXPERIMENTS: &str = "this `faultline up` cannot run experiments: NATS refused the user `up` at its start";
const LONGEST_LINE: u64 = 64 * 1024;

/// Who carries orders out.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) cluster: Arc<Cluster>,
    /// None when NATS refused the user that experiments need.
    pub(crate) experiments: Option<Arc<Experiments>>,
}

impl Desk {
    async fn handle(&self, order: Order, user: &str) -> Reply {
        match (order, &self.experiments) {
            (Order::Inject { fault, for_ms, via }, Some(experiments)) => {
                match experiments.injector().inject(fault, for_ms, &who::by(&via, user)).await {
                    Ok(_) => Reply::Done,
                    Err(reason) => Reply::Failed { reason },
                }
            }
            (Order::Abort { run }, Some(experiments)) => {
                match experiments.abort(&ChaosAbort { run, by: who::by("faultline chaos abort", user) }) {
                    ChaosReply::Aborting { run } | ChaosReply::Started { run, .. } => Reply::Aborting { run },
                    ChaosReply::Refused { reason } => Reply::NotFound { reason },
                }
            }
            (Order::Inject { .. } | Order::Abort { .. }, None) => Reply::Failed { reason: NO_EXPERIMENTS.into() },
            (order, _) => self.cluster.handle(order, user).await,
        }
    }
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
    // The kernel says who is at the other end.
    let user = stream.peer_cred().map_or_else(|_| "unknown".to_owned(), |peer| who::user_name(peer.uid()));
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader.take(LONGEST_LINE)).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let reply = match serde_json::from_str::<Order>(&line) {
            Ok(order) => desk.handle(order, &user).await,
            Err(error) => Reply::Failed { reason: format!("this order cannot be read: {error}") },
        };
        let mut text = serde_json::to_string(&reply).unwrap_or_default();
        text.push('\n');
        if writer.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}
