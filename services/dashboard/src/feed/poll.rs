//! Asks the leader for its figures, nodes and jobs, twice a second while it answers.

use std::sync::Arc;
use std::time::Duration;

use faultline_engine::job::JobId;
use faultline_protocol::messages::{JobView, MAX_QUERY_ROWS, NodeView, Query, QueryReply};
use faultline_runtime::clock::unix_ms;

use crate::cluster::{Cluster, ClusterError};
use crate::view::{LeaderAnswer, SharedView};

const POLL_EVERY: Duration = Duration::from_millis(500);
const CHAOS_EVERY: Duration = Duration::from_secs(5);
const CHAOS_RUNS: u32 = 20;
/// Held jobs beyond this are shown with what the open markers say.
const MAX_JOB_PAGES: usize = 3;
/// Of the nodes so many pages are asked for at a time, the next ones the next time: the whole of a large cluster, with all
/// that its GPUs report, twice a second would cost more than everything else here. What is booked on the GPUs of 10,000
/// nodes is then up to 13 s old; health, load and attempts come from elsewhere and are not.
const NODE_PAGES: usize = 2;

/// Polls for ever.
pub(crate) async fn run(cluster: Arc<dyn Cluster>, view: SharedView) {
    let mut ticks = tokio::time::interval(POLL_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut answered = None;
    let mut nodes_after = None;
    loop {
        ticks.tick().await;
        let outcome = ask(cluster.as_ref(), nodes_after.take()).await;
        let answers = outcome.is_ok();
        match outcome {
            Ok(answer) => {
                nodes_after = answer.nodes.last().filter(|_| !answer.nodes_to_the_end).map(|node| node.spec.node.clone());
                view.write().on_leader_answer(answer, unix_ms());
            }
            Err(error) => {
                view.write().on_leader_silent();
                if answered != Some(false) {
                    tracing::warn!(%error, "no scheduler answers: showing what is known here");
                }
            }
        }
        if answers && answered == Some(false) {
            tracing::info!("a scheduler answers again");
        }
        answered = Some(answers);
    }
}

/// Asks for ever whether a `faultline up` runs experiments. Their progress comes by itself.
pub(crate) async fn run_chaos(cluster: Arc<dyn Cluster>, view: SharedView) {
    let mut ticks = tokio::time::interval(CHAOS_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answer = cluster.chaos_list(CHAOS_RUNS).await;
        view.write().chaos.on_list(answer.as_ref().map_err(ToString::to_string));
    }
}

async fn ask(cluster: &dyn Cluster, nodes_after: Option<String>) -> Result<LeaderAnswer, ClusterError> {
    let QueryReply::Stats(stats) = cluster.query(Query::Stats).await? else { return Err(other_answer()) };
    let (nodes, nodes_to_the_end) = some_nodes(cluster, nodes_after.clone()).await?;
    Ok(LeaderAnswer { stats: *stats, nodes_after, nodes, nodes_to_the_end, jobs: first_jobs(cluster).await? })
}

/// The nodes after that one, and whether there are no more of them.
async fn some_nodes(cluster: &dyn Cluster, mut after: Option<String>) -> Result<(Vec<NodeView>, bool), ClusterError> {
    let mut nodes: Vec<NodeView> = Vec::new();
    for _ in 0..NODE_PAGES {
        let QueryReply::Nodes(rows) = cluster.query(Query::Nodes { after: after.clone(), limit: MAX_QUERY_ROWS }).await? else {
            return Err(other_answer());
        };
        // A page holds as many rows as fit into a message: only an empty one is the last.
        if rows.is_empty() {
            return Ok((nodes, true));
        }
        nodes.extend(rows);
        after = nodes.last().map(|node| node.spec.node.clone());
    }
    Ok((nodes, false))
}

async fn first_jobs(cluster: &dyn Cluster) -> Result<Vec<JobView>, ClusterError> {
    let mut jobs: Vec<JobView> = Vec::new();
    for _ in 0..MAX_JOB_PAGES {
        let after: Option<JobId> = jobs.last().map(|job| job.id);
        let QueryReply::Jobs(rows) = cluster.query(Query::Jobs { after, limit: MAX_QUERY_ROWS }).await? else { return Err(other_answer()) };
        if rows.is_empty() {
            break;
        }
        jobs.extend(rows);
    }
    Ok(jobs)
}

fn other_answer() -> ClusterError {
    ClusterError::Failed("the scheduler answered another question, or refused this one".into())
}
