//! The NATS server dies and is started again a second later; the time from its first answer until a job that is submitted then is
//! committed, and until one that ended while there was no server is.

use std::time::Duration;

use faultline_engine::job::JobId;
use faultline_protocol::{streams, subjects};
use faultline_runtime::clock::unix_ms;
use faultline_runtime::submit::Submitter;
use faultline_tests::cluster::{Cluster, sleep_job};
use faultline_tests::nats::TestNats;
use tokio::time::Instant;

use crate::report::{Sample, Target, ms};
use crate::watch::{Seen, Watch};

const WORKERS: usize = 4;
const TARGET_MS: f64 = 5_000.0;
const AWAY: Duration = Duration::from_secs(1);
/// Ends while the server is away.
const RUNNING_JOB_MS: i64 = 600;
const SUBMIT_PAUSE: Duration = Duration::from_millis(20);

pub(crate) async fn measure(rounds: u32) -> anyhow::Result<(Vec<Sample>, String)> {
    let mut cluster = Cluster::bare(TestNats::start().await).await;
    cluster.log_level("info");
    cluster.scheduler("scheduler-1");
    cluster.detector();
    for index in 1..=WORKERS {
        cluster.worker(index);
    }
    cluster.wait_for_nodes(WORKERS).await;
    let mut watch = Watch::start(&cluster.nats).await?;
    let mut samples = Vec::new();
    for round in 1..=rounds {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let [new, running] = one_restart(&mut cluster, &mut watch).await?;
        eprintln!("nats-restart {round}/{rounds}: {:.0} ms for a new job, {:.0} ms for one that had ended meanwhile", new.ms, running.ms);
        samples.extend([new, running]);
    }
    cluster.assert_audit_clean();
    Ok((samples, cluster.server.description().to_owned()))
}

async fn one_restart(cluster: &mut Cluster, watch: &mut Watch) -> anyhow::Result<[Sample; 2]> {
    let running = cluster.submit(&[sleep_job(RUNNING_JOB_MS)]).await[0];
    cluster.wait_running(running).await;
    cluster.server.kill9().await;
    tokio::time::sleep(AWAY).await;
    cluster.server.restart().await;
    let (back, back_ms) = (Instant::now(), unix_ms());

    let job = sleep_job(0);
    let submitter = Submitter::new(&cluster.nats);
    loop {
        if cluster.nats.is_connected() && submitter.submit(&job).await.is_ok() {
            break;
        }
        tokio::time::sleep(SUBMIT_PAUSE).await;
    }
    let (committed, placed) = commit_of(watch, job.id).await?;
    cluster.wait_ended(&[running]).await;
    let running_ms = stored_at_ms(cluster, running).await?.saturating_sub(back_ms);
    let sample = |case, took_ms, placed: Option<Instant>| Sample {
        case,
        ms: took_ms,
        verdict_ms: None,
        placed_ms: placed.map(|at| ms(at - back)),
        targets: vec![Target::max(TARGET_MS)],
    };
    Ok([sample("nats-restart-new", ms(committed - back), placed), sample("nats-restart-ended", running_ms as f64, None)])
}

async fn commit_of(watch: &mut Watch, job: JobId) -> anyhow::Result<(Instant, Option<Instant>)> {
    let mut placed = None;
    watch
        .until("the new job's commit", |at, seen| match seen {
            Seen::Assigned { job: assigned, .. } if assigned == job => {
                placed = Some(at);
                None
            }
            Seen::Committed(record) if record.job == job => Some((at, placed)),
            _ => None,
        })
        .await
}

/// When the server stored the job's end, by its clock, which is this machine's. The message itself may pass by before this process
/// is connected again.
async fn stored_at_ms(cluster: &Cluster, job: JobId) -> anyhow::Result<u64> {
    let stream: async_nats::jetstream::stream::Stream<()> = cluster.nats.jetstream.get_stream_no_info(streams::RESULTS).await?;
    let message = stream.direct_get_last_for_subject(subjects::result(job)).await?;
    Ok(u64::try_from(message.time.unix_timestamp_nanos() / 1_000_000)?)
}
