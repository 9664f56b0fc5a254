//! The chaos suite: real processes, a real NATS, and a seeded plan that kills, freezes and breaks all of them under load.
//! Afterwards everything heals, and each submitted job must have ended exactly once. `plan` says what happens
//! when, `stores` what happens to NATS' store, `stage` does it, `load` says which jobs there are, `witness` watches RESULTS by itself, `verdict` holds it all against
//! each other. Run by `just chaos` and, shorter, by the tests.

pub mod load;
pub mod plan;
mod settings;
pub mod stage;
mod step;
pub mod stores;
pub mod verdict;
pub mod witness;

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use plan::Plan;
pub use settings::Settings;
use stage::Stage;
use verdict::{Evidence, Report};
use witness::Witness;

/// How long the cluster may take after the last fault until every job has ended. A job whose submitter died between its two
/// writes is swept up after 2 minutes.
const HEAL_LIMIT: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(500);

/// Runs the plan of the seed and says what came of it.
pub async fn run(settings: &Settings) -> anyhow::Result<Report> {
    let plan = Plan::new(settings.seed, settings.length);
    let (server, disk) = stores::server().await;
    let mut cluster = Cluster::bare(server).await;
    cluster.log_level("info");
    cluster.with_links();
    let witness = Witness::start(&cluster.nats);
    let mut stage = Stage::raise(cluster, disk, settings).await?;
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
