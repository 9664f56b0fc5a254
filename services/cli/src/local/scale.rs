//! `faultline scale`: how many workers run.

use std::time::Duration;

use clap::ValueEnum;
use faultline_client::Leader;
use faultline_cluster::up::remote;
use faultline_cluster::up::settings::MAX_WORKERS;
use faultline_cluster::up::state::RunningState;
use faultline_cluster::up::supervisor::State;
use faultline_protocol::messages::NodeView;
use tokio::time::Instant;

use crate::exit::Failure;
use crate::output;
use crate::session::Session;

/// A scaling that waits for jobs says so, and how it goes on.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Flags of `scale`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ScaleFlags {
    /// What to change the number of
    #[arg(value_enum)]
    what: Scalable,
    /// Number of workers
    #[arg(value_parser = clap::value_parser!(u32).range(0..=MAX_WORKERS as i64))]
    count: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scalable {
    Workers,
}

/// `faultline scale workers N`: returns when it is done, and says what it waits for.
pub(crate) async fn run(session: &Session, flags: &ScaleFlags) -> Result<(), Failure> {
    let Scalable::Workers = flags.what;
    let state = session.running()?;
    let mut asked = std::pin::pin!(remote::scale(&state, flags.count));
    let mut waits = tokio::time::interval_at(Instant::now() + TELL_EVERY, TELL_EVERY);
    let mut told = String::new();
    let (started, stopped) = loop {
        tokio::select! {
            reply = &mut asked => break reply?,
            _ = waits.tick() => {
                let text = waited_for(session, &state).await;
                if !text.is_empty() && text != told {
                    note!("{text}");
                    told = text;
                }
            }
        }
    };
    let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(" ") };
    note!("started: {}; stopped: {}", list(&started), list(&stopped));
    Ok(())
}

/// The workers that are stopping, with the jobs that they still have; empty when there are none.
async fn waited_for(session: &Session, state: &RunningState) -> String {
    let Ok((_, services)) = remote::status(state).await else { return String::new() };
    let stopping: Vec<String> = services.into_iter().filter(|child| child.state == State::Stopping).map(|child| child.name).collect();
    let nodes = match session.connect().await {
        Ok(nats) => {
            let nodes = Leader::of(&nats).nodes().await.unwrap_or_default();
            nats.close().await;
            nodes
        }
        Err(_) => Vec::new(),
    };
    waiting_words(&stopping, &nodes)
}

fn waiting_words(stopping: &[String], nodes: &[NodeView]) -> String {
    if stopping.is_empty() {
        return String::new();
    }
    let jobs_of =
        |worker: &String| nodes.iter().filter(|node| node.spec.worker == *worker).map(|node| node.running.len() as u64).sum::<u64>();
    let each: Vec<String> = stopping.iter().map(|worker| format!("{worker} ({})", output::plural(jobs_of(worker), "job"))).collect();
    format!("waiting until these have finished what they run, 30 s at most: {}", each.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scaling_names_the_workers_that_it_waits_for() {
        assert_eq!(waiting_words(&[], &[]), "");
        let words = waiting_words(&["worker-09".to_owned(), "worker-10".to_owned()], &[]);
        assert_eq!(words, "waiting until these have finished what they run, 30 s at most: worker-09 (0 jobs), worker-10 (0 jobs)");
    }
}
