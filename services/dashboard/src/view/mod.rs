//! What this process knows of the cluster, in memory. A plain struct: messages and the time go in, rows come out; no
//! IO, no clock. Never authoritative: it is rebuilt from the streams at every start, it is bounded, and whatever it
//! lacks is asked of the leader or read from RESULTS by the callers.

mod chaos;
mod demo;
mod events;
mod figures;
mod history;
mod incidents;
mod jobs;
mod losses;
mod nodes;
mod per_second;
mod series;
mod shared;
mod stats;
mod timeline;
mod trace;

use std::collections::BTreeSet;

use faultline_client::incidents::Incidents;
use faultline_engine::job::{AttemptOutcome, AttemptSummary, JobId};
use faultline_engine::node::Health;
use faultline_protocol::messages::{
    ClusterEvent, ClusterStats, DemoScene, EventKind, Goodbye, GoodputHistory, Heartbeat, IN_FORCE_LIMIT, InForce, JobView, LedgerSnapshot,
    NodeView, RateSetting, TerminalRecord, Verdict,
};
use faultline_protocol::views::{AttemptCause, RateView};
use serde::Serialize;
use utoipa::ToSchema;

use chaos::Chaos;
pub(crate) use chaos::ChaosState;
pub(crate) use demo::DemoState;
#[cfg(test)]
pub(crate) use events::event_seq;
pub(crate) use events::{EventFilter, EventRing, NumberedEvent};
use figures::{Detection, Recovery, Unaccounted};
use history::History;
pub(crate) use history::{GpuColumns, HISTORY_EVERY_MS};
pub(crate) use jobs::{JobFilter, JobOrder, JobTable, ended_view};
pub(crate) use losses::Loss;
use losses::Losses;
pub(crate) use nodes::{NodeFilter, NodeIndex, NodeItem, NodeOrder, NodeRow, NodeTable};
pub(crate) use series::{Columns, SERIES_SECONDS, Series, SeriesPoint};
pub(crate) use shared::SharedView;
pub(crate) use stats::StatsReply;
use timeline::Timeline;
pub(crate) use timeline::{Window, WindowFilter};
pub(crate) use trace::{Trace, trace};

/// How many jobs are kept.
pub(crate) const MAX_JOBS: usize = 20_000;
/// How many events are kept.
pub(crate) const MAX_EVENTS: usize = 20_000;

/// What one round of questions to the leader brought.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeaderAnswer {
    pub(crate) stats: ClusterStats,
    /// The nodes after this one, in the order of names; from the first with none.
    pub(crate) nodes_after: Option<String>,
    pub(crate) nodes: Vec<NodeView>,
    /// Whether those are all up to the last node.
    pub(crate) nodes_to_the_end: bool,
    pub(crate) jobs: Vec<JobView>,
}

/// Figures that are derived from what many messages said.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Derived {
    /// Jobs submitted in the last 60 s: the rate that was achieved.
    pub(crate) submitted_last_minute: u64,
    /// Jobs whose commit was seen here in the last 60 s.
    pub(crate) committed_last_minute: u64,
    /// How long the oldest job that waits has waited; none when none waits.
    pub(crate) oldest_queued_age_ms: Option<u64>,
    /// Mean over the GPUs of all nodes that are heard, 0 to 100.
    pub(crate) gpu_utilisation_percent: Option<f32>,
    /// Booked GPUs by all GPUs, 0 to 100; none while no scheduler answers.
    pub(crate) gpu_allocated_percent: Option<f32>,
    /// From the beginning of a fault to the first verdict on its node, over the last 1,000 that were noticed; none
    /// before the first. Measured against the truth of the faults, so only for those that were put there on purpose.
    pub(crate) detection_p50_ms: Option<u64>,
    pub(crate) detection_p95_ms: Option<u64>,
    /// Jobs that have not ended by the ledger and are not in the queue either, and were so for 150 s; none until the
    /// same scheduler was asked for that long, or, when no job is missing, for 10 s. `faultline audit` names them.
    pub(crate) jobs_lost: Option<u64>,
    /// Ends of a job that had ended already, by the ledger.
    pub(crate) jobs_ended_twice: u64,
    /// Attempts that were interrupted and attempts that failed, since the scheduler leads.
    pub(crate) attempts_repeated: u64,
    /// Attempts that their node took with it, since the scheduler leads; as `requeued_total`.
    pub(crate) attempts_interrupted: u64,
    /// Nodes that have been silent for more than 20 s and are alive by their last verdict: the fault detector may not run.
    pub(crate) nodes_unjudged: u32,
    /// Jobs that failed too often, or that no node can run; as `ledger.dead`.
    pub(crate) jobs_given_up: u64,
    /// From the verdict on a node to the next placement of a job that it ran, over the last 1,000; as `recovery_p50_ms`. None before the first.
    pub(crate) reaction_p50_ms: Option<u64>,
    pub(crate) reaction_p95_ms: Option<u64>,
    /// From the beginning of a fault to the next placement of a job that it interrupted, over the last 1,000; none before the first. Measured
    /// against the truth of the faults, so only for those that were put there on purpose.
    pub(crate) recovery_from_fault_p50_ms: Option<u64>,
    pub(crate) recovery_from_fault_p95_ms: Option<u64>,
}

fn allocated_percent(stats: &ClusterStats) -> Option<f32> {
    (stats.gpus_total > 0).then(|| stats.gpu_used_milli as f32 / (stats.gpus_total as f32 * 10.0))
}

/// The whole view.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) jobs: JobTable,
    pub(crate) nodes: NodeTable,
    pub(crate) events: EventRing,
    pub(crate) series: Series,
    pub(crate) history: History,
    pub(crate) chaos: Chaos,
    pub(crate) incidents: Incidents,
    /// What `faultline demo` shows.
    demo: Option<DemoScene>,
    /// When interrupted jobs were last looked for, and those that were not known then.
    settled_at_ms: u64,
    missing_jobs: BTreeSet<JobId>,
    timeline: Timeline,
    detection: Detection,
    recovery: Recovery,
    unaccounted: Unaccounted,
    losses: Losses,
    rate: Option<RateSetting>,
    /// What the generator said last, and when that was heard.
    in_force: Option<(InForce, u64)>,
    ledger: LedgerSnapshot,
    /// Where GPU time went in the last hour, as the leader stored it last.
    goodput: GoodputHistory,
    leader_stats: Option<ClusterStats>,
    /// When the leader last answered; the start of the process before it ever did.
    leader_heard_at_ms: u64,
    leader_answers: bool,
    undecodable: u64,
    nodes_unjudged: u32,
}

impl View {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            jobs: JobTable::new(MAX_JOBS),
            // Quarters of a second: no table changes its order so often, so a later process starts with a higher number.
            nodes: NodeTable::new((now_ms / 250) as u32),
            events: EventRing::new(MAX_EVENTS),
            series: Series::default(),
            history: History::default(),
            chaos: Chaos::default(),
            incidents: Incidents::default(),
            demo: None,
            settled_at_ms: now_ms,
            missing_jobs: BTreeSet::new(),
            timeline: Timeline::default(),
            detection: Detection::default(),
            recovery: Recovery::default(),
            unaccounted: Unaccounted::default(),
            losses: Losses::default(),
            rate: None,
            in_force: None,
            ledger: LedgerSnapshot::default(),
            goodput: GoodputHistory::default(),
            leader_stats: None,
            leader_heard_at_ms: now_ms,
            leader_answers: false,
            undecodable: 0,
            nodes_unjudged: 0,
        }
    }

    pub(crate) fn on_heartbeat(&mut self, heartbeat: Heartbeat, now_ms: u64) {
        if !self.nodes.is_outdated(&heartbeat, now_ms) {
            self.jobs.on_running(&heartbeat.node, &heartbeat.running);
            self.nodes.on_heartbeat(heartbeat, now_ms);
        }
    }

    pub(crate) fn on_goodbye(&mut self, goodbye: &Goodbye) {
        self.jobs.on_running(&goodbye.node, &[]);
        self.nodes.remove(&goodbye.node);
    }

    pub(crate) fn on_verdict(&mut self, verdict: Verdict) {
        if matches!(verdict.health, Health::Gone | Health::Dead) {
            self.remember_progress(&verdict.node);
            self.jobs.on_running(&verdict.node, &[]);
        }
        self.nodes.on_verdict(verdict);
    }

    /// What runs on the node may have broken off: how far it had come would be forgotten with the next news of it.
    fn remember_progress(&mut self, node: &str) {
        for (attempt, progress) in self.jobs.running_on(node) {
            self.losses.on_broken_off(attempt, progress);
        }
    }

    /// A job has ended.
    pub(crate) fn on_end(&mut self, record: TerminalRecord) {
        self.timeline.on_end(&record);
        self.incidents.on_ended(record.job, record.state, record.ended_at_ms, record.attempt);
        self.jobs.on_end(record);
    }

    /// An event, with its number. One that was read before changes nothing.
    pub(crate) fn on_event(&mut self, seq: u64, event: ClusterEvent) {
        if seq <= self.events.last_seq() {
            return;
        }
        if let (EventKind::AttemptLost | EventKind::AttemptFailed, Some(node)) = (event.kind, &event.node) {
            self.remember_progress(node);
        }
        self.jobs.on_event(&event);
        self.timeline.on_event(&event);
        self.series.on_event(&event);
        self.fold_event(&event);
        let broken = self.broken_nodes(&event);
        self.detection.on_event(&event, &broken);
        self.recovery.on_event(&event, &broken);
        if let Some(truth) = &event.fault {
            for node in &broken {
                match event.kind {
                    EventKind::FaultBegan => self.nodes.on_fault_began(node, truth.into()),
                    EventKind::FaultEnded => self.nodes.on_fault_ended(node, &truth.id),
                    _ => {}
                }
            }
        }
        self.events.push(seq, event);
    }

    /// The nodes that a fault in an event is about: the one that it names, or those of the process that it names.
    fn broken_nodes(&self, event: &ClusterEvent) -> Vec<String> {
        match (event.kind, &event.node, &event.fault) {
            (EventKind::FaultBegan | EventKind::FaultEnded, Some(node), _) => vec![node.clone()],
            (EventKind::FaultBegan | EventKind::FaultEnded, None, Some(truth)) => self.nodes.nodes_of(&truth.target),
            _ => Vec::new(),
        }
    }

    /// To be called once a second: takes down how things are.
    pub(crate) fn sample(&mut self, now_ms: u64) {
        let stats = self.stats(now_ms);
        let fleet = self.nodes.fleet(now_ms);
        self.nodes_unjudged = fleet.nodes_unjudged;
        // The second that is over; the one at hand still gets jobs.
        let second = (now_ms / 1000).saturating_sub(1);
        self.series.push(SeriesPoint {
            t_ms: now_ms,
            arrivals_per_s: self.jobs.submitted_in(second..=second),
            completions_per_s: self.jobs.committed_in(second),
            queue: stats.queued_in_stream + stats.queued_held,
            running: stats.running,
            gpu_utilisation_percent: fleet.utilisation_percent,
            gpu_allocated_percent: self.leader_answers.then(|| allocated_percent(&stats)).flatten(),
            temperature_max_c: fleet.temperature_max_c,
            temperature_mean_c: fleet.temperature_mean_c,
            nodes_alive: fleet.nodes_alive,
        });
        if self.leader_answers {
            self.unaccounted.look(&stats, self.jobs.submitted_in(second.saturating_sub(1)..=second + 1), now_ms / 1000);
        } else {
            self.unaccounted.clear();
        }
        self.settle_incidents(now_ms);
        if self.history.is_due(now_ms) {
            self.history.push(now_ms, self.nodes.reports(now_ms));
        }
    }

    /// A part of the timeline.
    pub(crate) fn window(&self, filter: &WindowFilter, now_ms: u64) -> Window {
        // Most faults are of nodes, and a node hosts none.
        let hosted = |target: &str| if self.nodes.contains(target) { Vec::new() } else { self.nodes.nodes_of(target) };
        self.timeline.window(filter, now_ms, |job| self.jobs.name_of(job), hosted, |node| self.nodes.worker_of(node))
    }

    /// What is known of each attempt of the job that broke off.
    pub(crate) fn losses(&self, job: &JobView) -> Vec<Loss> {
        let is_broken =
            |row: &&AttemptSummary| matches!(row.outcome, AttemptOutcome::Lost | AttemptOutcome::Failed | AttemptOutcome::TimedOut);
        job.attempts
            .iter()
            .filter(is_broken)
            .map(|row| {
                let worker = self.nodes.worker_of(&row.node);
                let cause = AttemptCause::of(row, worker.as_deref(), self.timeline.faults());
                Loss { attempt: row.attempt, progress_permille: self.losses.progress_of(row.attempt), cause }
            })
            .collect()
    }

    /// Figures that are derived here, and from [`View::stats`].
    pub(crate) fn derived(&self, stats: &ClusterStats, now_ms: u64) -> Derived {
        let last = self.series.last();
        Derived {
            submitted_last_minute: self.jobs.submitted_last_minute(now_ms),
            committed_last_minute: self.jobs.committed_last_minute(now_ms),
            oldest_queued_age_ms: self.jobs.oldest_queued_ms().map(|since_ms| now_ms.saturating_sub(since_ms)),
            gpu_utilisation_percent: last.and_then(|point| point.gpu_utilisation_percent),
            gpu_allocated_percent: self.leader_answers.then(|| allocated_percent(stats)).flatten(),
            detection_p50_ms: self.detection.percentile_ms(50),
            detection_p95_ms: self.detection.percentile_ms(95),
            // The ledger proves a loss at once; that there is none is known when every job was accounted for.
            jobs_lost: match stats.ledger.vanished {
                0 => self.unaccounted.count(),
                lost => Some(self.unaccounted.count().unwrap_or(0).max(lost)),
            },
            jobs_ended_twice: stats.ledger.duplicates,
            attempts_repeated: stats.requeued_total + stats.retried_total,
            attempts_interrupted: stats.requeued_total,
            nodes_unjudged: self.nodes_unjudged,
            jobs_given_up: stats.ledger.dead,
            reaction_p50_ms: (stats.requeued_total > 0).then_some(stats.recovery_p50_ms),
            reaction_p95_ms: (stats.requeued_total > 0).then_some(stats.recovery_p95_ms),
            recovery_from_fault_p50_ms: self.recovery.percentile_ms(50),
            recovery_from_fault_p95_ms: self.recovery.percentile_ms(95),
        }
    }

    /// Set or, with none, removed: the generator then uses its own default.
    pub(crate) fn on_rate(&mut self, rate: Option<RateSetting>) {
        self.rate = rate;
    }

    pub(crate) fn on_ledger(&mut self, ledger: LedgerSnapshot) {
        self.ledger = ledger;
    }

    pub(crate) fn on_goodput(&mut self, history: GoodputHistory) {
        self.goodput = history;
    }

    pub(crate) fn goodput(&self) -> &GoodputHistory {
        &self.goodput
    }

    pub(crate) fn on_leader_answer(&mut self, answer: LeaderAnswer, now_ms: u64) {
        self.leader_answers = true;
        self.leader_heard_at_ms = now_ms;
        self.leader_stats = Some(answer.stats);
        self.nodes.on_leader_rows(answer.nodes_after.as_deref(), answer.nodes, answer.nodes_to_the_end);
        self.jobs.on_leader_rows(answer.jobs);
    }

    pub(crate) fn on_leader_silent(&mut self) {
        self.leader_answers = false;
    }

    pub(crate) fn on_undecodable(&mut self) {
        self.undecodable += 1;
    }

    pub(crate) fn undecodable(&self) -> u64 {
        self.undecodable
    }

    /// The generator's word on the settings; none when it is gone.
    pub(crate) fn on_in_force(&mut self, said: Option<InForce>, now_ms: u64) {
        self.in_force = said.map(|said| (said, now_ms));
    }

    /// The rate as it was set and as it is in force. A generator that is silent for long is taken to be gone.
    pub(crate) fn rate(&self, now_ms: u64) -> RateView {
        let limit_ms = u64::try_from(IN_FORCE_LIMIT.as_millis()).unwrap_or(u64::MAX);
        let fresh = self.in_force.as_ref().filter(|(_, heard_at_ms)| now_ms.saturating_sub(*heard_at_ms) < limit_ms);
        RateView::new(self.rate.as_ref(), fresh.map(|(said, _)| said))
    }

    /// Whether the generator has answered the setting of this revision.
    pub(crate) fn rate_is_answered(&self, revision: u64) -> bool {
        self.in_force.as_ref().is_some_and(|(said, _)| said.rate_revision == revision)
    }

    /// Since when the leader has been silent, in Unix milliseconds; none while it answers.
    pub(crate) fn stale_since_ms(&self) -> Option<u64> {
        (!self.leader_answers).then_some(self.leader_heard_at_ms)
    }

    /// The leader's figures while it answers, else what can be counted here.
    pub(crate) fn stats(&self, now_ms: u64) -> ClusterStats {
        if let Some(stats) = &self.leader_stats
            && self.leader_answers
        {
            return stats.clone();
        }
        let known = self.leader_stats.clone().unwrap_or_default();
        let mut stats = ClusterStats {
            nodes_alive: 0,
            nodes_suspect: 0,
            nodes_gone: 0,
            nodes_dead: 0,
            nodes_draining: 0,
            gpus_total: 0,
            running: self.jobs.running() as u64,
            queued_in_stream: self.jobs.queued() as u64,
            queued_held: 0,
            ledger: self.ledger.clone(),
            at_ms: now_ms,
            ..known
        };
        self.nodes.count_into(&mut stats);
        stats
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
