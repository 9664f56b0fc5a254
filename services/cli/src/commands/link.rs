//! The connection that every data command opens.

use std::path::PathBuf;

use anyhow::anyhow;
use faultline_cluster::up::state::RunningState;
use faultline_protocol::streams;
use faultline_runtime::connect::{self, Nats};

use crate::exit::Failure;
use crate::output::Output;
use crate::session::Session;

/// What a data command works with.
pub(crate) struct Link {
    pub nats: Nats,
    pub out: Output,
    pub data_dir: PathBuf,
    /// The `faultline up` of that folder, if it runs this cluster.
    pub up: Option<RunningState>,
}

impl Link {
    pub(crate) async fn open(session: &Session) -> Result<Self, Failure> {
        let out = Output::new(session.format, session.common.color);
        let nats = session.connect().await?;
        require_streams(&nats).await?;
        Ok(Self { nats, out, up: session.here(), data_dir: session.data_dir.clone() })
    }
}

/// Does something with a connection, which is closed afterwards.
pub(crate) async fn with(session: &Session, work: impl AsyncFnOnce(&Link) -> Result<(), Failure>) -> Result<(), Failure> {
    let link = Link::open(session).await?;
    let done = work(&link).await;
    link.nats.close().await;
    done
}

/// Without the streams every command would fail, each in its own dark words.
async fn require_streams(nats: &Nats) -> Result<(), Failure> {
    let failed = |error: String| Failure::Failed(anyhow!("reading the state of RESULTS failed: {error}"));
    let stream = nats.jetstream.get_stream_no_info(streams::RESULTS).await.map_err(|error| failed(error.to_string()))?;
    match stream.get_info().await {
        Ok(_) => Ok(()),
        Err(error) if connect::is_no_jetstream(&error) => {
            Err(Failure::Failed(anyhow!("this NATS server runs without JetStream: start it with -js, or use `faultline up`")))
        }
        Err(error) if error.to_string().contains("stream not found") => {
            Err(Failure::Failed(anyhow!("this NATS server has no streams of Faultline yet: run `faultline setup`, or `faultline up`")))
        }
        Err(error) => Err(failed(error.to_string())),
    }
}
