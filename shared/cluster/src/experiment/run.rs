//! The life of one experiment, inside `faultline up`: are its targets whole, watch the cluster, break it, put it right, watch it recover,
//! judge. Whatever happens in between, everything is put right before it ends.

use std::sync::Arc;
use std::time::Duration;

use faultline_client::observe::hypothesis::Hypothesis;
use faultline_client::observe::{Focus, Watch, nodes_and_leader, stats};
use faultline_engine::fault::experiment_signature;
use faultline_engine::words::{agree, plural};
use faultline_protocol::messages::{
    ChaosBaseline, ChaosOutcome, ChaosPhase, ChaosProgress, ChaosReport, ChaosRequest, ChaosSample, Measurements, PhaseFigures,
};
use faultline_protocol::subjects;
use faultline_runtime::clock::{ms, unix_ms};
use faultline_runtime::connect::Nats;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::injector::Injector;
use crate::experiment::fault::Fault;
use crate::experiment::kinds::{self, DEFAULT_AFTER_MS, DEFAULT_BEFORE_MS, Scope};
use crate::experiment::picture::{self, Picture};
use crate::experiment::plan;
use crate::up::cluster::Cluster;

/// What is not whole may become so.
const FIT_WITHIN: Duration = Duration::from_secs(20);
const TICK: Duration = Duration::from_secs(1);
/// Jobs that were opened so long before the run are still seen as submitted before it.
const LOOK_BACK_MS: u64 = 60_000;
/// The last events are written by then.
const SETTLE: Duration = Duration::from_millis(300);

/// What one run works with.
pub(crate) struct Run {
    pub(crate) id: String,
    pub(crate) request: ChaosRequest,
    pub(crate) hypothesis: Hypothesis,
    pub(crate) seed: u64,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) injector: Arc<Injector>,
    pub(crate) nats: Nats,
    pub(crate) abort: CancellationToken,
    pub(crate) newest: watch::Sender<ChaosProgress>,
}

/// Why a run ended before it could be judged.
#[derive(Debug)]
enum Stopped {
    Aborted,
    Refused(String),
    Broken(String),
}

/// What was found out on the way.
#[derive(Default)]
struct Log {
    samples: Vec<ChaosSample>,
    /// When each phase began.
    began: Vec<(ChaosPhase, u64)>,
    targets: Vec<String>,
    /// What was done to them, in words.
    broken: Vec<String>,
    fault_ids: Vec<String>,
    /// What is ours, and what was broken before.
    focus: Focus,
    baseline: Option<ChaosBaseline>,
    whole_after_ms: Option<u64>,
}

impl Run {
    /// Runs to the end and reports.
    pub(crate) async fn carry_out(self) -> ChaosReport {
        let started_at_ms = unix_ms();
        let mut log = Log { focus: Focus { by: self.signature(), ..Focus::default() }, ..Log::default() };
        let mut seen = Watch::new(&self.nats, started_at_ms.saturating_sub(LOOK_BACK_MS));
        let went = self.phases(&mut log, &mut seen).await;
        for id in &log.fault_ids {
            self.injector.restore(id).await;
        }
        let (mut outcome, mut reason) = match went {
            Ok(()) => (ChaosOutcome::Passed, String::new()),
            Err(Stopped::Aborted) => {
                let who = if self.cluster.is_stopping() { "`faultline up` was stopped" } else { "it was aborted" };
                (ChaosOutcome::Aborted, format!("{who}; everything was repaired"))
            }
            Err(Stopped::Refused(reason)) => (ChaosOutcome::Refused, reason),
            Err(Stopped::Broken(reason)) => (ChaosOutcome::Broken, reason),
        };
        let ended_at_ms = unix_ms();
        log.began.push((ChaosPhase::Done, ended_at_ms));
        let mut clauses = Vec::new();
        let mut measured = None;
        if outcome == ChaosOutcome::Passed {
            let (figures, unread) = self.measure(&log, &mut seen).await;
            clauses = self.hypothesis.judge(&figures);
            (outcome, reason) = verdict(log.whole_after_ms, unread, clauses.iter().filter(|clause| !clause.passed).count(), clauses.len());
            measured = Some(figures);
        }
        let phases = log.figures(&seen);
        let Log { targets, whole_after_ms, baseline, .. } = log;
        ChaosReport {
            run: self.id,
            request: self.request,
            seed: self.seed,
            outcome,
            reason,
            started_at_ms,
            ended_at_ms,
            targets,
            whole_after_ms,
            phases,
            measured,
            clauses,
            baseline,
        }
    }

    /// As what this run signs its faults.
    fn signature(&self) -> String {
        experiment_signature(&self.id, &self.request.by)
    }

    async fn phases(&self, log: &mut Log, seen: &mut Watch<'_>) -> Result<(), Stopped> {
        self.check(log, seen).await?;
        let before = Duration::from_millis(self.request.before_ms.unwrap_or(DEFAULT_BEFORE_MS));
        self.pass_time(log, ChaosPhase::Before, before, "watching the cluster undisturbed").await?;
        self.inject(log).await?;
        let words = log.broken.join("; ");
        self.pass_time(log, ChaosPhase::During, Duration::from_millis(self.request.for_ms), &words).await?;
        for id in &log.fault_ids {
            self.injector.restore(id).await;
        }
        self.recover(log, seen).await
    }

    /// Waits a little until what is to be broken is whole; the rest of the cluster need not be, unless that was asked for.
    async fn check(&self, log: &mut Log, seen: &mut Watch<'_>) -> Result<(), Stopped> {
        self.enter(log, ChaosPhase::Checking);
        let give_up = Instant::now() + FIT_WITHIN;
        loop {
            let unfit = match self.picture(Some(seen)).await {
                Some(picture) => self.unfit(&picture)?,
                None => Some("no scheduler answers".to_owned()),
            };
            let Some(unfit) = unfit else {
                seen.look_at_ledger().await;
                return Ok(());
            };
            if Instant::now() >= give_up {
                return Err(Stopped::Refused(format!("no fault injected: {unfit}")));
            }
            self.tell(log, ChaosPhase::Checking, give_up, &format!("waiting: {unfit}")).await;
            self.pause(TICK).await?;
        }
    }

    /// Why it cannot begin yet, if there is a reason that may pass; what will not pass is an error.
    fn unfit(&self, picture: &Picture) -> Result<Option<String>, Stopped> {
        if picture.nodes.is_empty() || self.request.wait_whole {
            let unfit = picture.unfit();
            if unfit.is_some() {
                return Ok(unfit);
            }
        }
        // Who is busy is found out at the moment of the fault.
        if kinds::scope(self.request.kind) == Scope::Worker {
            return Ok(None);
        }
        self.plan(&picture.as_if_whole())?;
        match plan::faults(&self.request, picture, self.seed) {
            Ok(faults) => Ok(faults.iter().find_map(|fault| picture.wrong_with(fault))),
            Err(reason) => Ok(Some(reason)),
        }
    }

    /// `told`: whom to tell of nodes and leader.
    async fn picture(&self, told: Option<&mut Watch<'_>>) -> Option<Picture> {
        let (nodes, leader) = nodes_and_leader(&self.nats).await?;
        if let Some(seen) = told {
            seen.know(&nodes, &leader);
        }
        Some(Picture::new(&nodes, &leader, self.cluster.services()))
    }

    /// What to break now. What was broken in the same way already would be repaired by this run, and was broken before it.
    fn plan(&self, picture: &Picture) -> Result<Vec<Fault>, Stopped> {
        let faults = plan::faults(&self.request, picture, self.seed).map_err(Stopped::Refused)?;
        match faults.iter().find_map(|fault| self.cluster.is_broken_already(fault)) {
            Some(reason) => Err(Stopped::Refused(reason)),
            None => Ok(faults),
        }
    }

    async fn inject(&self, log: &mut Log) -> Result<(), Stopped> {
        // The target is drawn now, not earlier: a busy worker must be busy at this moment.
        let picture = self.picture(None).await.ok_or_else(|| Stopped::Refused("no scheduler answers".into()))?;
        let faults = self.plan(&picture)?;
        if let Some(wrong) = faults.iter().find_map(|fault| picture.wrong_with(fault)) {
            return Err(Stopped::Refused(format!("no fault injected: {wrong}")));
        }
        (log.baseline, log.focus.baseline) = (picture.baseline(), picture.names_not_whole());
        self.enter(log, ChaosPhase::During);
        for fault in faults {
            let (target, words) = (fault.target().to_owned(), fault.words());
            let id = self.injector.inject(fault, self.request.for_ms, &log.focus.by).await;
            log.fault_ids.push(id.map_err(|reason| Stopped::Broken(format!("{target} could not be broken: {reason}")))?);
            log.targets.push(target);
            log.broken.push(words);
        }
        Ok(())
    }

    /// Until the cluster is as whole as it was before, and every job that was hit runs again or has ended.
    async fn recover(&self, log: &mut Log, seen: &mut Watch<'_>) -> Result<(), Stopped> {
        self.enter(log, ChaosPhase::After);
        let restored = Instant::now();
        let give_up = Instant::now() + Duration::from_millis(self.request.after_ms.unwrap_or(DEFAULT_AFTER_MS));
        let mut whole_ms = None;
        loop {
            let words = match (self.missing(log, seen).await, whole_ms) {
                // The news of a loss may be a moment behind the looks of it: it must be whole twice.
                (None, Some(at_ms)) => {
                    log.whole_after_ms = Some(at_ms);
                    return Ok(());
                }
                (None, None) => {
                    whole_ms = Some(ms(restored.elapsed()));
                    "whole again: one more look".to_owned()
                }
                (Some(missing), _) => {
                    whole_ms = None;
                    format!("recovering: {missing}")
                }
            };
            if Instant::now() >= give_up {
                return Ok(());
            }
            self.tell(log, ChaosPhase::After, give_up, &words).await;
            self.pause(TICK).await?;
        }
    }

    async fn missing(&self, log: &Log, seen: &mut Watch<'_>) -> Option<String> {
        let Some(picture) = self.picture(None).await else { return Some("no scheduler answers".into()) };
        if self.request.wait_whole
            && let Some(unfit) = picture.unfit()
        {
            return Some(unfit);
        }
        if let Err(error) = seen.catch_up().await {
            return Some(format!("the history cannot be read: {error:#}"));
        }
        let now_ms = unix_ms();
        if let Some(missing) = picture.missing(|name| seen.observer.is_excused(&log.focus, name, now_ms)) {
            return Some(missing);
        }
        let waiting = seen.observer.measure_of(log.fault_ms().unwrap_or(0), now_ms, Some(&log.focus)).unrecovered;
        (waiting > 0).then(|| format!("{} not placed again yet", plural(waiting, "interrupted job")))
    }

    /// The figures from the fault on; with the reason when something could not be read.
    async fn measure(&self, log: &Log, seen: &mut Watch<'_>) -> (Measurements, Option<String>) {
        tokio::time::sleep(SETTLE).await;
        let unread = seen.conclude().await.err().map(|error| error.to_string());
        (seen.observer.measure_of(log.fault_ms().unwrap_or(0), unix_ms(), Some(&log.focus)), unread)
    }

    fn enter(&self, log: &mut Log, phase: ChaosPhase) {
        log.began.push((phase, unix_ms()));
    }

    /// Stays in a phase for a time, with a word and a sample each second.
    async fn pass_time(&self, log: &mut Log, phase: ChaosPhase, length: Duration, words: &str) -> Result<(), Stopped> {
        if phase == ChaosPhase::Before {
            self.enter(log, phase);
        }
        let end = Instant::now() + length;
        while Instant::now() < end {
            let tick = Instant::now() + TICK;
            self.tell(log, phase, end, words).await;
            self.pause(tick.min(end).saturating_duration_since(Instant::now())).await?;
        }
        Ok(())
    }

    async fn pause(&self, length: Duration) -> Result<(), Stopped> {
        tokio::select! {
            () = tokio::time::sleep(length) => Ok(()),
            () = self.abort.cancelled() => Err(Stopped::Aborted),
        }
    }

    /// Says where the run stands, with a sample of the cluster.
    async fn tell(&self, log: &mut Log, phase: ChaosPhase, end: Instant, words: &str) {
        let figures = tokio::select! {
            figures = stats(&self.nats) => figures,
            () = self.abort.cancelled() => None,
        };
        let at_ms = unix_ms();
        let sample = figures.map(|figures| picture::sample(&figures, phase, at_ms));
        log.samples.extend(sample);
        let left_ms = u64::try_from(end.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(u64::MAX);
        let progress = ChaosProgress {
            run: self.id.clone(),
            kind: self.request.kind,
            phase,
            at_ms,
            left_ms,
            detail: words.to_owned(),
            sample,
            report: None,
        };
        // May be lost: `chaos.list` has it too.
        let _ = self.nats.publish(subjects::chaos_progress(&self.id), &progress).await;
        self.newest.send_replace(progress);
    }
}

fn verdict(whole_after_ms: Option<u64>, unread: Option<String>, broken: usize, clauses: usize) -> (ChaosOutcome, String) {
    if whole_after_ms.is_none() {
        return (ChaosOutcome::Failed, "the cluster was not whole again in time".into());
    }
    if let Some(unread) = unread {
        return (ChaosOutcome::Broken, format!("the figures are incomplete: {unread}"));
    }
    match broken {
        0 => (ChaosOutcome::Passed, String::new()),
        _ => (
            ChaosOutcome::Failed,
            format!("{broken} of {} {} not hold", plural(clauses as u64, "clause"), agree(broken as u64, "does", "do")),
        ),
    }
}

impl Log {
    fn fault_ms(&self) -> Option<u64> {
        self.began.iter().find(|(phase, _)| *phase == ChaosPhase::During).map(|&(_, at_ms)| at_ms)
    }

    /// The three parts of the run, as far as it came.
    fn figures(&self, seen: &Watch<'_>) -> Vec<PhaseFigures> {
        let parts = self.began.windows(2).map(|pair| (pair[0].0, pair[0].1, pair[1].1));
        parts
            .filter(|(phase, ..)| !matches!(phase, ChaosPhase::Checking | ChaosPhase::Done))
            .map(|(phase, from_ms, to_ms)| {
                let samples: Vec<&ChaosSample> = self.samples.iter().filter(|sample| sample.phase == phase).collect();
                let mean = |of: fn(&ChaosSample) -> u64| {
                    if samples.is_empty() {
                        0.0
                    } else {
                        samples.iter().map(|sample| of(sample) as f64).sum::<f64>() / samples.len() as f64
                    }
                };
                // A commit at the edge belongs to one part only.
                let measured = seen.observer.measure(from_ms, to_ms.saturating_sub(1).max(from_ms));
                PhaseFigures {
                    phase,
                    from_ms,
                    to_ms,
                    samples: u32::try_from(samples.len()).unwrap_or(u32::MAX),
                    jobs_running: mean(|sample| sample.jobs_running),
                    jobs_queued: mean(|sample| sample.jobs_queued),
                    nodes_alive_min: samples.iter().map(|sample| sample.nodes_alive).min().unwrap_or(0),
                    nodes_known: samples.iter().map(|sample| sample.nodes_known).max().unwrap_or(0),
                    committed: measured.committed,
                    throughput_per_s: measured.throughput_per_s,
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_passes_only_when_the_cluster_is_whole_and_every_clause_holds() {
        assert_eq!(verdict(Some(5), None, 0, 2).0, ChaosOutcome::Passed);
        let (outcome, reason) = verdict(Some(5), None, 1, 2);
        assert_eq!((outcome, reason.as_str()), (ChaosOutcome::Failed, "1 of 2 clauses does not hold"));
        assert_eq!(verdict(None, None, 0, 0).0, ChaosOutcome::Failed);
        let (outcome, reason) = verdict(Some(5), Some("the stream EVENTS cannot be read".into()), 0, 0);
        assert!(outcome == ChaosOutcome::Broken && reason.contains("EVENTS"));
    }

    #[test]
    fn the_fault_begins_with_the_phase_of_that_name() {
        let mut log = Log::default();
        assert_eq!(log.fault_ms(), None);
        log.began = vec![(ChaosPhase::Before, 100), (ChaosPhase::During, 200), (ChaosPhase::After, 300)];
        assert_eq!(log.fault_ms(), Some(200));
    }
}
