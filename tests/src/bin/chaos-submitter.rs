//! A submitter of the chaos suite, to be killed: it writes each id into a journal before it submits the job, and repeats
//! after a restart what it had not confirmed, and a little of what it had. On SIGTERM it makes no new jobs and ends when all are
//! confirmed, or too old to be repeated.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Parser;
use faultline_engine::job::JobId;
use faultline_protocol::messages::{CancelReply, CancelRequest};
use faultline_protocol::subjects;
use faultline_runtime::clock::{random_u128, unix_ms};
use faultline_runtime::config::CommonArgs;
use faultline_runtime::connect::{Nats, connect};
use faultline_runtime::shutdown::Shutdown;
use faultline_runtime::submit::{SubmitError, Submitter};
use faultline_runtime::telemetry;
use faultline_tests::chaos::load::{Journal, is_cancelled, job_of};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const TICK: Duration = Duration::from_millis(50);
const RETRY: Duration = Duration::from_millis(250);
const IN_FLIGHT: usize = 512;
/// Confirmed jobs that are submitted once more after a restart: nothing may come of it.
const REPEATED: usize = 50;
const CANCEL_LIMIT: Duration = Duration::from_secs(3);

/// Submits jobs at a steady rate and keeps a journal of them.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
    #[arg(long)]
    journal: PathBuf,
    /// Jobs a second
    #[arg(long)]
    rate: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let common = args.common.load()?;
    let _telemetry = telemetry::init("chaos-submitter", &common);
    let shutdown = Shutdown::from_signals(common.stop_with_parent);
    let (stop, hurry) = (shutdown.token(), shutdown.hurry());
    let (journal, entries) = Journal::open(&args.journal)?;
    let journal = Arc::new(Mutex::new(journal));
    let nats = connect(&common, "test", "chaos-submitter").await?;
    // As every program that submits: its ids are in the cluster's time, whatever its own clock shows.
    while !nats.learn_time().await && !stop.is_cancelled() {
        sleep(TICK).await;
    }
    let mut tasks = JoinSet::new();
    let settled: BTreeSet<JobId> = entries.confirmed.union(&entries.refused).copied().collect();
    let unconfirmed = entries.ids.iter().filter(|id| !settled.contains(id));
    for id in unconfirmed.chain(entries.confirmed.iter().rev().take(REPEATED)) {
        tasks.spawn(submit(nats.clone(), Arc::clone(&journal), *id));
    }
    let (started, mut made) = (Instant::now(), 0_u64);
    while !stop.is_cancelled() {
        let due = (started.elapsed().as_secs_f64() * f64::from(args.rate)) as u64;
        let room = IN_FLIGHT.saturating_sub(tasks.len()) as u64;
        let ids: Vec<JobId> = (0..due.saturating_sub(made).min(room)).map(|_| JobId::new(unix_ms(), random_u128())).collect();
        made += ids.len() as u64;
        journal.lock().unwrap_or_else(PoisonError::into_inner).write("id", &ids)?;
        for id in ids {
            tasks.spawn(submit(nats.clone(), Arc::clone(&journal), id));
        }
        while tasks.try_join_next().is_some() {}
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(TICK) => {}
        }
    }
    tokio::select! {
        () = hurry.cancelled() => {}
        () = async { while tasks.join_next().await.is_some() {} } => {}
    }
    nats.close().await;
    Ok(ExitCode::SUCCESS)
}

/// Until it is durable, or too old. Some are cancelled right away, which may come too late.
async fn submit(nats: Nats, journal: Arc<Mutex<Journal>>, id: JobId) {
    let (submitter, spec) = (Submitter::new(&nats), job_of(id));
    let word = loop {
        match submitter.submit(&spec).await {
            Ok(_) => break "ok",
            Err(SubmitError::TooOld) => break "refused",
            Err(error) if error.is_transient() => sleep(RETRY).await,
            Err(error) => {
                tracing::error!(%id, %error, "not submitted");
                break "refused";
            }
        }
    };
    if let Err(error) = journal.lock().unwrap_or_else(PoisonError::into_inner).write(word, &[id]) {
        tracing::error!(%id, %error, "the journal cannot be written");
    }
    if word == "ok" && is_cancelled(id) {
        let request = CancelRequest { jobs: vec![id], by: "chaos".into() };
        if let Err(error) = nats.request::<_, CancelReply>(subjects::SCHED_CANCEL, &request, CANCEL_LIMIT).await {
            tracing::debug!(%id, %error, "not cancelled");
        }
    }
}
