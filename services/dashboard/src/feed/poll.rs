//! Asks the leader for its figures, nodes and jobs, twice a second while it answers.

use std::sync::Arc;
use std::time::Duration;

use faultline_engine::job::JobId;
use faultline_protocol::messages::{JobView, MAX_QUERY_ROWS, NodeView, Query, QueryReply};
use faultline_runtime::clock::unix_ms;

use crate::app::SharedView;
use crate::cluster::{Cluster, ClusterError};
use crate::view::LeaderAnswer;

const POLL_EVERY: Duration = Duration::from_millis(500);
/// Held jobs beyond this are shown with what the open markers say.
const MAX_JOB_PAGES: usize = 3;
const MAX_NODE_PAGES: usize = 100;

/// Polls for ever.
pub(crate) async fn run(cluster: Arc<dyn Cluster>, view: SharedView) {
    let mut ticks = tokio::time::interval(POLL_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut answered = None;
    loop {
        ticks.tick().await;
        let outcome = ask(cluster.as_ref()).await;
        let answers = outcome.is_ok();
        match outcome {
            Ok(answer) => view.write().on_leader_answer(answer, unix_ms()),
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

async fn ask(cluster: &dyn Cluster) -> Result<LeaderAnswer, ClusterError> {
    let QueryReply::Stats(stats) = cluster.query(Query::Stats).await? else { return Err(other_answer()) };
    Ok(LeaderAnswer { stats: *stats, nodes: all_nodes(cluster).await?, jobs: first_jobs(cluster).await? })
}

async fn all_nodes(cluster: &dyn Cluster) -> Result<Vec<NodeView>, ClusterError> {
    let mut nodes: Vec<NodeView> = Vec::new();
    for _ in 0..MAX_NODE_PAGES {
        let after = nodes.last().map(|node| node.spec.node.clone());
        let QueryReply::Nodes(rows) = cluster.query(Query::Nodes { after, limit: MAX_QUERY_ROWS }).await? else {
            return Err(other_answer());
        };
        let full = rows.len() >= MAX_QUERY_ROWS as usize;
        nodes.extend(rows);
        if !full {
            break;
        }
    }
    Ok(nodes)
}

async fn first_jobs(cluster: &dyn Cluster) -> Result<Vec<JobView>, ClusterError> {
    let mut jobs: Vec<JobView> = Vec::new();
    for _ in 0..MAX_JOB_PAGES {
        let after: Option<JobId> = jobs.last().map(|job| job.id);
        let QueryReply::Jobs(rows) = cluster.query(Query::Jobs { after, limit: MAX_QUERY_ROWS }).await? else { return Err(other_answer()) };
        let full = rows.len() >= MAX_QUERY_ROWS as usize;
        jobs.extend(rows);
        if !full {
            break;
        }
    }
    Ok(jobs)
}

fn other_answer() -> ClusterError {
    ClusterError::Failed("the scheduler answered another question, or refused this one".into())
}
