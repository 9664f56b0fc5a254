//! What the scheduler tells Prometheus. What a leader knows of the cluster is told by the leader alone: its series are copied out of
//! the engine once a second and end with the term.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use faultline_engine::goodput::Class;
use faultline_engine::goodput::history::Row;
use faultline_engine::job::Priority;
use faultline_engine::ledger::LedgerSnapshot;
use faultline_engine::node::Health;
use faultline_engine::scheduler::{Counters, Durations, HeldState, ProgramStanding, Scheduler, Totals};
use faultline_runtime::metrics::{Family, Kind, Metrics, Readings};
use prometheus::{IntCounter, IntCounterVec, IntGauge};

use crate::pending::InStream;
use crate::program;

/// Messages that were given up, by what they were.
#[derive(Debug, Clone)]
pub(crate) struct DeadLetters {
    pub(crate) jobs: IntCounter,
    pub(crate) poison: IntCounter,
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct SchedulerMetrics {
    pub(crate) dead_letters: DeadLetters,
    leading: IntGauge,
    lease_changes: IntCounterVec,
    term: Arc<Mutex<Option<Term>>>,
}

/// What the leader knew at the last second.
#[derive(Debug)]
struct Term {
    epoch: u64,
    in_stream: u64,
    /// By priority: how many wait, and for how long the oldest has.
    queued: [(u64, Option<u64>); Priority::ALL.len()],
    totals: Totals,
    counters: Counters,
    program: Option<(ProgramStanding, Durations)>,
    ledger: LedgerSnapshot,
    goodput: Row,
}

const fn family(name: &'static str, kind: Kind, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, help, kind, labels }
}

const FAMILIES: [Family; 27] = [
    family("faultline_scheduler_epoch", Kind::Gauge, &[], "The epoch under which this scheduler leads."),
    family("faultline_jobs_queued", Kind::Gauge, &["priority"], "Jobs that wait, in the stream or with the leader."),
    family(
        "faultline_jobs_oldest_queued_age_seconds",
        Kind::Gauge,
        &["priority"],
        "Time since the submission of the oldest job that waits with the leader.",
    ),
    family("faultline_jobs_running", Kind::Gauge, &[], "Attempts that run, as the leader knows."),
    family("faultline_jobs_in_stream", Kind::Gauge, &[], "Messages in JOBS: jobs that wait or run."),
    family(
        "faultline_jobs_unaccounted",
        Kind::Gauge,
        &[],
        "Open records beyond the messages in JOBS. Above 0 for a moment under load; for minutes it means lost jobs: run `faultline audit`.",
    ),
    family("faultline_nodes", Kind::Gauge, &["health"], "Registered nodes, by the detector's verdict."),
    family("faultline_nodes_draining", Kind::Gauge, &[], "Nodes that take no new jobs because they are drained or stopping."),
    family("faultline_gpus", Kind::Gauge, &[], "GPUs of all registered nodes."),
    family("faultline_gpus_allocated", Kind::Gauge, &[], "GPUs that are booked by attempts, shares added up."),
    family("faultline_attempts_placed_total", Kind::Counter, &[], "Attempts that this leader handed to workers."),
    family("faultline_attempts_interrupted_total", Kind::Counter, &[], "Attempts that their node or worker took with it."),
    family("faultline_attempts_retried_total", Kind::Counter, &[], "Attempts in which the job itself failed or ran out of time."),
    family("faultline_redeliveries_total", Kind::Counter, &[], "Deliveries of jobs that JetStream had delivered before."),
    family("faultline_reclaimed_messages_total", Kind::Counter, &[], "Messages without an owner that this leader had delivered again."),
    family("faultline_invariant_violations_total", Kind::Counter, &[], "Broken invariants that this leader found. Each is a bug."),
    family(
        "faultline_gpu_seconds_total",
        Kind::Counter,
        &["outcome"],
        "GPU time that attempts held from placement to end, by how they ended; committed is the goodput.",
    ),
    family(
        "faultline_gpu_class_seconds",
        Kind::Gauge,
        &["class"],
        "GPU time of this leader's term by what it went into; the classes sum to all there was. Work that is not judged yet is open.",
    ),
    family("faultline_queue_wait_seconds", Kind::Histogram, &[], "From a job's submission to its first placement."),
    family("faultline_placement_seconds", Kind::Histogram, &[], "From the moment at which the leader could place a job to its placement."),
    family("faultline_requeue_seconds", Kind::Histogram, &[], "From a node's last sign of life to the requeue of an attempt on it."),
    family(
        "faultline_reaction_seconds",
        Kind::Histogram,
        &[],
        "From the verdict that interrupted an attempt to the next placement of its job.",
    ),
    family("faultline_jobs_submitted_total", Kind::Counter, &[], "Jobs that were ever opened in RESULTS, by the ledger."),
    family("faultline_jobs_ended_total", Kind::Counter, &["end"], "Jobs that have ended, by the ledger."),
    family("faultline_ledger_duplicates_total", Kind::Counter, &[], "Ends of jobs that had already ended. Each is a broken promise."),
    family(
        "faultline_ledger_missed_total",
        Kind::Counter,
        &[],
        "Jobs that ended and whose records expired before the ledger counted them.",
    ),
    family(
        "faultline_jobs_lost",
        Kind::Gauge,
        &[],
        "Jobs that were queued and whose message left JOBS before they had ended. Each is a broken promise.",
    ),
];

impl SchedulerMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let letters = metrics.counters(
            "faultline_dead_letters_total",
            "Dead letters that were written: jobs that were given up, and messages that are not jobs.",
            &["cause"],
        );
        let lease_changes =
            metrics.counters("faultline_scheduler_lease_changes_total", "Times that this process took the lease, or lost it.", &["change"]);
        for change in ["acquired", "lost"] {
            lease_changes.with_label_values(&[change]);
        }
        let term: Arc<Mutex<Option<Term>>> = Arc::default();
        let told = Arc::clone(&term);
        metrics.live(&FAMILIES, move |readings| {
            if let Some(term) = told.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
                term.tell(readings);
            }
        });
        let told = Arc::clone(&term);
        metrics.live(&program::FAMILIES, move |readings| {
            let term = told.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((program, durations)) = term.as_ref().and_then(|term| term.program.as_ref()) {
                program::tell_metrics(program, durations, readings);
            }
        });
        Self {
            dead_letters: DeadLetters { jobs: letters.with_label_values(&["job"]), poison: letters.with_label_values(&["poison"]) },
            leading: metrics.gauge("faultline_scheduler_leader", "1 while this scheduler leads, else 0."),
            lease_changes,
            term,
        }
    }

    fn term(&self) -> MutexGuard<'_, Option<Term>> {
        self.term.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lease was taken, or is gone.
    pub(crate) fn on_lease(&self, leading: bool) {
        self.leading.set(leading.into());
        self.lease_changes.with_label_values(&[if leading { "acquired" } else { "lost" }]).inc();
        *self.term() = None;
    }

    /// Copies out what the leader knows.
    pub(crate) fn on_second(&self, scheduler: &Scheduler, epoch: u64, in_stream: InStream, ledger: LedgerSnapshot, now_ms: u64) {
        let mut queued = in_stream.not_pulled.map(|not_pulled| (not_pulled, None));
        for held in scheduler.jobs_after(None) {
            if matches!(held.state, HeldState::Waiting { .. } | HeldState::ReadingBack) {
                let (count, oldest) = &mut queued[held.spec.priority as usize];
                *count += 1;
                *oldest = Some(scheduler.cluster_time(now_ms).saturating_sub(held.stored_at_ms).max(oldest.unwrap_or(0)));
            }
        }
        let totals = scheduler.totals();
        let program = scheduler.program().zip(scheduler.program_durations().cloned());
        let counters = scheduler.counters().clone();
        let mut term = self.term();
        let goodput = term.take().map(|before| before.goodput).unwrap_or_default();
        *term = Some(Term { program, epoch, in_stream: in_stream.messages, queued, totals, counters, ledger, goodput });
    }

    /// The same of GPU time.
    pub(crate) fn on_goodput(&self, goodput: &Row) {
        if let Some(term) = self.term().as_mut() {
            term.goodput.clone_from(goodput);
        }
    }
}

impl Term {
    fn tell(&self, out: &mut Readings<'_>) {
        out.put("faultline_scheduler_epoch", &[], self.epoch as f64);
        for priority in Priority::ALL {
            let (count, oldest_ms) = self.queued[priority as usize];
            out.put("faultline_jobs_queued", &[priority.as_str()], count as f64);
            let oldest_s = oldest_ms.unwrap_or(0) as f64 / 1000.0;
            out.put("faultline_jobs_oldest_queued_age_seconds", &[priority.as_str()], oldest_s);
        }
        let totals = &self.totals;
        for health in Health::ALL {
            out.put("faultline_nodes", &[health.as_str()], totals.nodes[health as usize] as f64);
        }
        let unaccounted = self.ledger.open().saturating_sub(self.in_stream);
        for (name, value) in [
            ("faultline_jobs_running", totals.running),
            ("faultline_jobs_in_stream", self.in_stream),
            ("faultline_jobs_unaccounted", unaccounted),
            ("faultline_nodes_draining", totals.draining),
            ("faultline_gpus", totals.gpus),
        ] {
            out.put(name, &[], value as f64);
        }
        out.put("faultline_gpus_allocated", &[], totals.gpu_used_milli as f64 / 1000.0);
        self.tell_counters(out);
        self.tell_ledger(out);
    }

    fn tell_counters(&self, out: &mut Readings<'_>) {
        let counters = &self.counters;
        for (name, value) in [
            ("faultline_attempts_placed_total", counters.placed),
            ("faultline_attempts_interrupted_total", counters.requeued),
            ("faultline_attempts_retried_total", counters.retried),
            ("faultline_redeliveries_total", counters.redelivered),
            ("faultline_reclaimed_messages_total", counters.reclaimed),
            ("faultline_invariant_violations_total", counters.violations),
        ] {
            out.put(name, &[], value as f64);
        }
        let time = counters.gpu_time;
        for (outcome, milli_ms) in [
            ("committed", time.committed_milli_ms),
            ("interrupted", time.lost_milli_ms),
            ("failed", time.failed_milli_ms),
            ("cancelled", time.cancelled_milli_ms),
        ] {
            out.put("faultline_gpu_seconds_total", &[outcome], milli_ms as f64 / 1e6);
        }
        for class in Class::ALL {
            out.put("faultline_gpu_class_seconds", &[class.as_str()], self.goodput.of(class) as f64 / 1e6);
        }
        for (name, durations) in [
            ("faultline_queue_wait_seconds", &counters.wait),
            ("faultline_placement_seconds", &counters.placement),
            ("faultline_requeue_seconds", &counters.detection),
            ("faultline_reaction_seconds", &counters.replacement),
        ] {
            out.put_durations(name, &[], durations);
        }
    }

    fn tell_ledger(&self, out: &mut Readings<'_>) {
        let ledger = &self.ledger;
        out.put("faultline_jobs_submitted_total", &[], ledger.submitted as f64);
        for (end, count) in
            [("committed", ledger.committed), ("dead", ledger.dead), ("cancelled", ledger.cancelled), ("abandoned", ledger.abandoned)]
        {
            out.put("faultline_jobs_ended_total", &[end], count as f64);
        }
        out.put("faultline_ledger_duplicates_total", &[], ledger.duplicates as f64);
        out.put("faultline_ledger_missed_total", &[], ledger.missed as f64);
        out.put("faultline_jobs_lost", &[], ledger.vanished as f64);
    }
}
