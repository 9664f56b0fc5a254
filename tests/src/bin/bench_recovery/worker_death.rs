//! A worker dies that holds a job of one second; the time until that job is committed elsewhere, its own second included.

use std::time::Duration;

use faultline_engine::node::Health;
use faultline_runtime::clock::random_u128;
use faultline_tests::cluster::{Cluster, sleep_job};
use faultline_tests::nats::TestNats;
use tokio::time::Instant;

use crate::report::{Sample, Target, ms};
use crate::watch::{Seen, Watch};

/// Below this many living nodes the detector's rule about mass silence would be in play with one of them silent.
const WORKERS: usize = 6;
const JOB_MS: i64 = 1_000;

/// By what the death is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Detection {
    #[default]
    Default,
    HeartbeatsOnly,
    None,
}

/// What is done to the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Means {
    #[default]
    Kill,
    /// SIGSTOP.
    Freeze,
    /// Its network stalls: nothing gets through, and no connection is closed.
    Partition,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Death {
    pub(crate) name: &'static str,
    pub(crate) means: Means,
    pub(crate) detector: Detection,
}

impl Death {
    fn targets(self) -> Vec<Target> {
        match (self.detector, self.means) {
            (Detection::Default, Means::Kill) => vec![Target::p50(1_200.0), Target::p99(1_500.0)],
            (Detection::Default, Means::Freeze | Means::Partition) => vec![Target::max(5_000.0)],
            (Detection::HeartbeatsOnly, _) => vec![Target::max(8_000.0)],
            (Detection::None, _) => vec![Target::max(20_000.0)],
        }
    }
}

pub(crate) async fn measure(death: Death, rounds: u32) -> anyhow::Result<(Vec<Sample>, String)> {
    let mut cluster = Cluster::bare(TestNats::start().await).await;
    cluster.log_level("info");
    if death.means == Means::Partition {
        cluster.with_links();
    }
    // In turns, so that a death does not always hit the node that was restarted last.
    cluster.spawn("scheduler-1", "faultline-scheduler", &["--name", "scheduler-1", "--policy", "round-robin"]);
    match death.detector {
        Detection::Default => cluster.detector(),
        Detection::HeartbeatsOnly => cluster.spawn("fault-detector", "faultline-fault-detector", &["--heartbeats-only"]),
        Detection::None => {}
    }
    for index in 1..=WORKERS {
        cluster.worker(index);
    }
    cluster.wait_for_nodes(WORKERS).await;
    // The detector gives no verdicts at first, and learns the rhythm of the heartbeats.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mut watch = Watch::start(&cluster.nats).await?;
    let mut samples = Vec::new();
    for round in 1..=rounds {
        let sample = one_death(&mut cluster, &mut watch, death).await?;
        eprintln!("{} {round}/{rounds}: {:.0} ms", death.name, sample.ms);
        samples.push(sample);
    }
    cluster.assert_audit_clean();
    Ok((samples, cluster.server.description().to_owned()))
}

async fn one_death(cluster: &mut Cluster, watch: &mut Watch, death: Death) -> anyhow::Result<Sample> {
    // Any moment of the heartbeats' second.
    tokio::time::sleep(Duration::from_millis(u64::try_from(random_u128() % 1_000)?)).await;
    let job = cluster.submit(&[sleep_job(JOB_MS)]).await[0];
    let node = watch
        .until("the job's placement", |_, seen| match seen {
            Seen::Assigned { job: placed, node } if placed == job => Some(node),
            _ => None,
        })
        .await?;
    let incarnation = incarnation(cluster, &node).await;
    // Any moment of the job's first half.
    tokio::time::sleep(Duration::from_millis(100 + u64::try_from(random_u128() % 400)?)).await;
    let worker = node.replace("gpu-node", "worker");
    let started = Instant::now();
    match death.means {
        Means::Kill => cluster.kill9(&worker),
        Means::Freeze => cluster.freeze(&worker),
        Means::Partition => cluster.partition(&worker),
    }
    let (mut verdict, mut placed) = (None, None);
    let (committed, record) = watch
        .until("the job's commit", |at, seen| {
            match seen {
                Seen::Judged { node: judged, health: Health::Gone | Health::Dead } if judged == node => {
                    verdict.get_or_insert(at);
                }
                Seen::Assigned { job: again, .. } if again == job => {
                    placed.get_or_insert(at);
                }
                Seen::Committed(record) if record.job == job => return Some((at, record)),
                _ => {}
            }
            None
        })
        .await?;
    let ended_on = record.history.last().map(|row| row.node.clone()).unwrap_or_default();
    anyhow::ensure!(ended_on != node, "{job} was committed on {node}, which was dead: nothing was measured");
    if death.means != Means::Kill {
        cluster.kill9(&worker);
    }
    if death.means == Means::Partition {
        cluster.heal(&worker);
    }
    let index = worker.rsplit('-').next().and_then(|digits| digits.parse().ok()).unwrap_or_default();
    cluster.worker(index);
    wait_reborn(cluster, &node, incarnation).await;
    Ok(Sample {
        case: death.name,
        ms: ms(committed - started),
        verdict_ms: verdict.map(|at| ms(at - started)),
        placed_ms: placed.map(|at| ms(at - started)),
        targets: death.targets(),
    })
}

async fn incarnation(cluster: &Cluster, node: &str) -> u64 {
    cluster.nodes().await.iter().find(|view| view.spec.node == node).map_or(0, |view| view.spec.incarnation)
}

/// Waits until the node beats in a later life and is trusted.
async fn wait_reborn(cluster: &Cluster, node: &str, before: u64) {
    cluster
        .wait_until(&format!("{node} is back"), async || {
            cluster.nodes().await.iter().any(|view| {
                view.spec.node == node
                    && view.spec.incarnation > before
                    && view.health == Health::Alive
                    && view.heartbeat_age_ms.is_some_and(|age| age < 2_000)
            })
        })
        .await;
}
