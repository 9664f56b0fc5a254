//! `faultline setup`: streams, consumers and buckets on a NATS server that runs already.

use std::time::Duration;

use faultline_cluster::nats_server::permissions::ADMIN;
use faultline_cluster::provision::{SetupOptions, provision};
use faultline_runtime::connect::Nats;
use tokio::time::Instant;

use crate::exit::Failure;
use crate::output::Output;
use crate::session::Session;

const ASK_EVERY: Duration = Duration::from_millis(250);

/// Flags of `setup`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct SetupFlags {
    /// Copies of each stream: 1, or 3 on a cluster of three servers (default: as it is, else 1)
    #[arg(long, value_parser = ["1", "3"])]
    pub(crate) replicas: Option<String>,
    /// Bytes that JOBS holds before submissions are refused; given again, changes the stream (default 1 GiB)
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(i64).range(1 << 16..))]
    pub(crate) jobs_max_bytes: Option<i64>,
    /// Bytes that RESULTS holds, 16 MiB or more and at least as many as JOBS; given again, changes the stream (default 2 GiB)
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) results_max_bytes: Option<i64>,
    /// How long to wait for a server that does not answer yet
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub(crate) wait: u64,
}

/// `faultline setup`.
pub(crate) async fn run(session: &Session, flags: &SetupFlags) -> Result<(), Failure> {
    let nats = connect_within(session, Duration::from_secs(flags.wait)).await?;
    let options = SetupOptions {
        replicas: flags.replicas.as_deref().and_then(|text| text.parse().ok()),
        jobs_max_bytes: flags.jobs_max_bytes,
        results_max_bytes: flags.results_max_bytes,
    };
    let done = provision(&nats, options).await?;
    let out = Output::new(session.format, session.common.color);
    for (what, names) in [("created", &done.created), ("changed", &done.changed), ("already there", &done.kept)] {
        if !names.is_empty() {
            out.text(&format!("{what}: {}", names.join(", ")))?;
        }
    }
    nats.close().await;
    Ok(())
}

async fn connect_within(session: &Session, patience: Duration) -> Result<Nats, Failure> {
    let deadline = Instant::now() + patience;
    loop {
        match session.connect_as(ADMIN).await {
            Err(Failure::Unreachable(_)) if Instant::now() < deadline => tokio::time::sleep(ASK_EVERY).await,
            outcome => return outcome,
        }
    }
}
