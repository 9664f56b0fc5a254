//! The chaos suite: real processes, a real NATS, and a seeded plan that kills, freezes and breaks all of them under load.
//! Afterwards everything heals, and each job that anybody submitted must have ended exactly once. `plan` says what happens
//! when, `stage` does it, `load` says which jobs there are, `witness` watches RESULTS by itself, `verdict` holds it all against
//! each other. Run by `just chaos` and, shorter, by the tests.

pub mod load;
pub mod plan;
pub mod stage;
pub mod verdict;
pub mod witness;

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::nats::TestNats;
use plan::Plan;
use stage::Stage;
use verdict::{Evidence, Report};
use witness::Witness;

/// What one run is asked to do.
#[derive(Debug, Clone)]
pub struct Settings {
    pub seed: u64,
    pub length: Duration,
    /// Jobs a second that each of the two submitters makes.
    pub rate: u32,
    /// The most resident memory of any process, in MiB.
    pub max_memory_mib: u64,
}

/// How long the cluster may take after the last fault until every job has ended. A job whose submitter died between its two
/// writes is swept up after 2 minutes.
const HEAL_LIMIT: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(500);

/// Runs the plan of the seed and says what came of it.
pub async fn run(settings: &Settings) -> anyhow::Result<Report> {
    let plan = Plan::new(settings.seed, settings.length);
    let mut cluster = Cluster::bare(TestNats::start().await).await;
    cluster.log_level("info");
    cluster.with_links();
    let witness = Witness::start(&cluster.nats);
    let mut stage = Stage::raise(cluster, settings).await?;
    let started = Instant::now();
    for step in &plan.steps {
        let at = started + Duration::from_millis(step.at_ms);
        while Instant::now() < at {
            sleep(POLL.min(at - Instant::now())).await;
            stage.watch();
        }
        stage.act(&step.op).await;
    }
    let acted = started.elapsed();
    stage.heal().await;
    let healing = Instant::now();
    let ended = loop {
        stage.watch();
        let submitters_done = stage.submitters_are_done();
        if submitters_done && stage.all_jobs_ended(&witness).await {
            break true;
        }
        if healing.elapsed() > HEAL_LIMIT {
            break false;
        }
        sleep(POLL).await;
    };
    let evidence = Evidence { acted, healed_in: healing.elapsed(), ended };
    verdict::judge(settings, &plan, &mut stage, witness, evidence).await
}
