//! `what-if`: the jobs that the leader holds now, placed by other policies. The planner runs in this process, on what the leader says of nodes and
//! jobs; nothing is submitted, moved, or set.

use std::collections::BTreeMap;

use anyhow::anyhow;
use comfy_table::Table;
use faultline_client::Leader;
use faultline_engine::job::{AttemptOutcome, JobState};
use faultline_engine::node::Health;
use faultline_engine::scheduler::{SchedulerConfig, machine_of, task_class_of, turn_of};
use faultline_planner::{Closed, Decision, Limits, NodeId, Planner, PolicyName, Settings, TaskClass, TieRule, Turn, WHOLE_GPU_MILLI};
use faultline_protocol::messages::{JobView, NodeView};
use serde::Serialize;

use super::link::Link;
use crate::exit::Failure;
use crate::output::{count, figure, table};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct WhatIfFlags {
    #[arg(long = "policy", value_name = "NAME", help = format!("Placement policy, may be repeated; all when left out: {}", PolicyName::ALL.map(PolicyName::as_str).join(", ")))]
    policies: Vec<PolicyName>,
    /// For policies that draw
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// How a cluster looks under one policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Outcome {
    /// None for the cluster as it is.
    policy: Option<&'static str>,
    /// Of the jobs that wait: how many this policy would start where nothing that runs is moved.
    starts_now: usize,
    /// All jobs placed anew, one after the other as they came: how many run, and how many wait.
    running: usize,
    waiting: usize,
    gpu_used_milli: u64,
    /// GPUs of open nodes of which nothing is taken.
    whole_gpus_free: usize,
    nodes_in_use: usize,
}

/// What the leader said.
#[derive(Debug)]
struct Snapshot {
    nodes: Vec<NodeView>,
    /// Those that run, in the order in which they were placed.
    running: Vec<Running>,
    /// Those that wait for room, in their order.
    waiting: Vec<(Turn, TaskClass)>,
}

#[derive(Debug)]
struct Running {
    placed_at_ms: u64,
    turn: Turn,
    class: TaskClass,
    node: String,
    gpus: Vec<u8>,
}

pub(crate) async fn run(link: &Link, flags: &WhatIfFlags) -> Result<(), Failure> {
    let leader = Leader::of(&link.nats);
    let policy_in_force = leader.stats().await?.policy;
    let snapshot = Snapshot::new(leader.nodes().await?, leader.active_jobs().await?);
    if snapshot.nodes.is_empty() {
        return Err(Failure::Failed(anyhow!("no node is registered: start a worker")));
    }
    let policies = if flags.policies.is_empty() { &PolicyName::ALL[..] } else { &flags.policies };
    let mut outcomes = vec![snapshot.as_it_is()?];
    for policy in policies {
        outcomes.extend(snapshot.under(*policy, flags.seed)?);
    }
    link.out.rows(&outcomes, |outcomes| outcomes_table(outcomes, &policy_in_force))
}

impl Snapshot {
    fn new(nodes: Vec<NodeView>, jobs: Vec<JobView>) -> Self {
        let config = SchedulerConfig::default();
        let (mut running, mut waiting) = (Vec::new(), Vec::new());
        for job in jobs {
            let Some(demand) = &job.demand else { continue };
            let turn = turn_of(job.id, job.priority, job.submitted_at_ms, config.aging_ms);
            let class = task_class_of(demand, &job.kind);
            let runs = job.attempts.last().filter(|row| job.state == JobState::Running && row.outcome == AttemptOutcome::Running);
            match runs {
                Some(row) => {
                    let (node, gpus) = (row.node.clone(), row.gpus.clone());
                    running.push(Running { placed_at_ms: row.placed_at_ms, turn, class, node, gpus });
                }
                // One that comes back for its retry waits for its time, not for room.
                None if job.waiting.is_some() && !job.waits_for_retry() => waiting.push((turn, class)),
                None => {}
            }
        }
        running.sort_unstable_by_key(|job| (job.placed_at_ms, job.turn));
        waiting.sort_unstable_by_key(|(turn, _)| *turn);
        Self { nodes, running, waiting }
    }

    /// The nodes, with what is closed or broken there.
    fn planner(&self, policy: PolicyName, seed: u64) -> Result<(Planner, BTreeMap<&str, NodeId>), Failure> {
        let settings = Settings { policy, tie: TieRule::ByName, seed, target: self.target(), ..Settings::default() };
        let mut planner = Planner::new(&settings).map_err(|invalid| Failure::Failed(anyhow!(invalid)))?;
        let mut ids = BTreeMap::new();
        for node in &self.nodes {
            let id = planner.join(&machine_of(&node.spec)).map_err(|invalid| Failure::Failed(anyhow!(invalid)))?;
            planner.close(id, closed(node));
            for (gpu, telemetry) in node.telemetry.iter().enumerate() {
                planner.set_in_service(id, gpu, !telemetry.out_of_service);
            }
            ids.insert(node.spec.node.as_str(), id);
        }
        Ok((planner, ids))
    }

    /// For `fgd`: the jobs that are there.
    fn target(&self) -> Vec<(TaskClass, u64)> {
        let classes = self.running.iter().map(|job| &job.class).chain(self.waiting.iter().map(|(_, class)| class));
        let mut counts: Vec<(TaskClass, u64)> = Vec::new();
        for class in classes {
            match counts.iter_mut().find(|(known, _)| known == class) {
                Some((_, jobs)) => *jobs += 1,
                None => counts.push((class.clone(), 1)),
            }
        }
        counts
    }

    fn as_it_is(&self) -> Result<Outcome, Failure> {
        let (mut planner, ids) = self.planner(PolicyName::FirstFit, 0)?;
        let mut used = Used::default();
        self.running.iter().for_each(|job| used.adopt(&mut planner, &ids, job));
        Ok(used.outcome(None, 0, self.waiting.len(), &self.nodes, &planner, &ids))
    }

    /// None for `fgd` while it knows of no job to keep room for.
    fn under(&self, policy: PolicyName, seed: u64) -> Result<Option<Outcome>, Failure> {
        if policy == PolicyName::Fgd && self.target().is_empty() {
            return Ok(None);
        }
        let (mut planner, ids) = self.planner(policy, seed)?;
        self.running.iter().for_each(|job| Used::default().adopt(&mut planner, &ids, job));
        self.waiting.iter().for_each(|(turn, class)| wait(&mut planner, *turn, class));
        let starts_now = pass(&mut planner).len();

        let (mut planner, ids) = self.planner(policy, seed)?;
        let mut used = Used::default();
        let mut order: u64 = 0;
        for job in &self.running {
            // What runs on a node that takes nothing new stays there.
            if ids.get(job.node.as_str()).is_some_and(|id| planner.closed(*id).is_some()) {
                used.adopt(&mut planner, &ids, job);
                continue;
            }
            wait(&mut planner, Turn { order, ..job.turn }, &job.class);
            order += 1;
        }
        for (turn, class) in &self.waiting {
            wait(&mut planner, Turn { order, ..*turn }, class);
            order += 1;
        }
        for node in pass(&mut planner) {
            *used.jobs.entry(node).or_default() += 1;
        }
        let waiting = planner.waiting();
        Ok(Some(used.outcome(Some(policy.as_str()), starts_now, waiting, &self.nodes, &planner, &ids)))
    }
}

fn closed(node: &NodeView) -> Option<Closed> {
    let is_silent = node.heartbeat_age_ms.is_none_or(|age_ms| age_ms >= SchedulerConfig::default().silent_after_ms);
    match () {
        () if node.health != Health::Alive || is_silent => Some(Closed::NotAlive),
        () if node.draining => Some(Closed::Draining),
        () => None,
    }
}

fn wait(planner: &mut Planner, turn: Turn, class: &TaskClass) {
    let class = planner.class(class);
    planner.wait(class, turn);
}

/// The nodes of all jobs that find room.
fn pass(planner: &mut Planner) -> Vec<NodeId> {
    let mut nodes = Vec::new();
    loop {
        let pass = planner.pass(Limits { decisions: usize::MAX, scores: usize::MAX });
        nodes.extend(pass.decisions.iter().map(|Decision::Place { placed, .. }| placed.node()));
        if !pass.unfinished {
            return nodes;
        }
    }
}

/// How many jobs run where.
#[derive(Debug, Default)]
struct Used {
    jobs: BTreeMap<NodeId, usize>,
}

impl Used {
    /// The job stays where it runs.
    fn adopt(&mut self, planner: &mut Planner, ids: &BTreeMap<&str, NodeId>, job: &Running) {
        if let Some(id) = ids.get(job.node.as_str()) {
            planner.adopt(*id, &job.class, job.gpus.iter().map(|gpu| usize::from(*gpu)));
            *self.jobs.entry(*id).or_default() += 1;
        }
    }

    fn outcome(
        &self,
        policy: Option<&'static str>,
        starts_now: usize,
        waiting: usize,
        nodes: &[NodeView],
        planner: &Planner,
        ids: &BTreeMap<&str, NodeId>,
    ) -> Outcome {
        let (mut gpu_used_milli, mut whole_gpus_free) = (0, 0);
        for node in nodes {
            let Some(id) = ids.get(node.spec.node.as_str()) else { continue };
            for gpu in 0..node.spec.gpus.len() {
                let (milli, _) = planner.gpu_used(*id, gpu);
                gpu_used_milli += u64::from(milli);
                let works = node.telemetry.get(gpu).is_none_or(|telemetry| !telemetry.out_of_service);
                whole_gpus_free += usize::from(milli == 0 && works && planner.closed(*id).is_none());
            }
        }
        let running = self.jobs.values().sum();
        Outcome { policy, starts_now, running, waiting, gpu_used_milli, whole_gpus_free, nodes_in_use: self.jobs.len() }
    }
}

fn outcomes_table(outcomes: &[Outcome], policy_in_force: &str) -> Table {
    let mut rows = table(&["POLICY", "START NOW", "RUN", "WAIT", "GPUS IN USE", "WHOLE GPUS FREE", "NODES IN USE"]);
    for outcome in outcomes {
        let name = outcome.policy.map_or_else(|| format!("as it is ({policy_in_force})"), str::to_owned);
        let starts_now = outcome.policy.map_or_else(|| "-".to_owned(), |_| count(outcome.starts_now as u64));
        rows.add_row([
            name.into(),
            figure(starts_now),
            figure(count(outcome.running as u64)),
            figure(count(outcome.waiting as u64)),
            figure(format!("{:.1}", outcome.gpu_used_milli as f64 / f64::from(WHOLE_GPU_MILLI))),
            figure(count(outcome.whole_gpus_free as u64)),
            figure(count(outcome.nodes_in_use as u64)),
        ]);
    }
    rows
}

#[cfg(test)]
#[path = "what_if_tests.rs"]
mod tests;
