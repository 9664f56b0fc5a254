//! What other commands may ask of a running `up`: one line of JSON in, one out, over a socket in its data folder.
//! Only processes on this machine use it; between services there is nothing but NATS.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use faultline_protocol::messages::ProcessSignalled;
use faultline_proxy::LinkConditions;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::links::LinkStatus;
use super::signal::KillSignal;
use super::supervisor::ChildStatus;
use crate::experiment::fault::Fault;

/// The path of a socket must fit into 108 bytes, <https://man7.org/linux/man-pages/man7/unix.7.html>; 104 on others.
const LONGEST_SOCKET_PATH: usize = 100;
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
        /// The command through which it is ordered, for the history.
        via: String,
    },
    /// What a service's network is like from now on.
    Link {
        service: String,
        conditions: LinkConditions,
    },
    Links,
    /// Break something and put it right after `for_ms`: a step of a scenario or a demo.
    Inject {
        fault: Fault,
        for_ms: u64,
        /// The command through which it is ordered, for the history.
        via: String,
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
    Signalled { told: ProcessSignalled },
    Aborting { run: String },
    Done,
    NotFound { reason: String },
    Failed { reason: String },
}

/// Where the socket of this data folder goes.
pub(crate) fn socket_path(data_dir: &Path) -> PathBuf {
    let beside = data_dir.join("control.sock");
    if beside.as_os_str().len() <= LONGEST_SOCKET_PATH {
        return beside;
    }
    std::env::temp_dir().join(format!("faultline-{}.sock", std::process::id()))
}

/// Sends one order and awaits its reply, for as long as it takes to carry it out.
pub(crate) async fn ask(socket: &Path, order: &Order) -> anyhow::Result<Reply> {
    let stream = UnixStream::connect(socket).await.with_context(|| format!("reaching `faultline up` at {}", socket.display()))?;
    let mut stream = BufReader::new(stream);
    // A frozen `up` would carry the order out when it wakes, long after the client has gone: first it must show that it is awake.
    let awake = tokio::time::timeout(AWAKE_WITHIN, exchange(&mut stream, &Order::Status)).await;
    let status = awake.map_err(|_| {
        anyhow::anyhow!("no answer from `faultline up` within {} s: it may be frozen or overloaded", AWAKE_WITHIN.as_secs())
    })??;
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
        let order: Order = serde_json::from_str(r#"{"order":"kill","service":"worker-03","signal":"kill","via":"x"}"#).unwrap();
        assert_eq!(order, Order::Kill { service: "worker-03".into(), signal: KillSignal::Kill, via: "x".into() });
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
