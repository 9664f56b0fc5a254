//! What a load comes to: so many jobs a minute, for the GPUs that the leading scheduler counts. Pure, but for asking it.

use std::time::Duration;

use faultline_client::Leader;
use faultline_engine::workload::{WorkloadConfig, jobs_per_minute, mean_gpu_ms};
use faultline_protocol::messages::{Asked, InForce, MAX_LOAD_RATE_PER_MINUTE};
use faultline_runtime::connect::Nats;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the leader is asked, and how long it may take. While nodes join at the start of a cluster, more often.
const ASK_EVERY: Duration = Duration::from_secs(2);
const ASK_FIRST_EVERY: Duration = Duration::from_millis(250);
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// A count that has been the same for so many answers is taken for all of the cluster.
const SETTLED_AFTER: u32 = 5;

/// What the leader has said of the cluster's GPUs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Gpus {
    pub(crate) count: u32,
    /// Thousandths of GPUs that were taken when that was said.
    pub(crate) used_milli: u64,
    /// Jobs waited to be placed.
    pub(crate) has_backlog: bool,
    /// It has stopped growing, as it does when a cluster starts.
    pub(crate) settled: bool,
}

/// How many jobs to generate, or which share of the GPUs' time they are to take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Target {
    asked: Asked,
    gpus: u32,
    mean_gpu_ms: f64,
    unbounded: bool,
}

impl Target {
    pub(crate) fn new(asked: Asked, mix: WorkloadConfig, unbounded: bool) -> Self {
        Self { asked, gpus: 0, mean_gpu_ms: mean_gpu_ms(mix), unbounded }
    }

    pub(crate) fn asked(&self) -> Asked {
        self.asked
    }

    /// 0 while a load is asked for and no GPU is known.
    pub(crate) fn gpus(&self) -> u32 {
        self.gpus
    }

    pub(crate) fn ask_for(&mut self, asked: Asked) {
        self.asked = asked;
    }

    pub(crate) fn on_mix(&mut self, mix: WorkloadConfig) {
        self.mean_gpu_ms = mean_gpu_ms(mix);
    }

    pub(crate) fn on_gpus(&mut self, gpus: u32) {
        self.gpus = gpus;
    }

    pub(crate) fn per_minute(&self) -> f64 {
        match self.asked {
            Asked::Rate(per_minute) => per_minute,
            Asked::Load(_) if self.capped() => MAX_LOAD_RATE_PER_MINUTE,
            Asked::Load(percent) => self.of_load(percent),
        }
    }

    /// The load comes to more than a generator makes that was not told to make any rate.
    pub(crate) fn capped(&self) -> bool {
        matches!(self.asked, Asked::Load(percent) if !self.unbounded && self.of_load(percent) > MAX_LOAD_RATE_PER_MINUTE)
    }

    /// Writes down what is in force; whether that is news.
    pub(crate) fn say(&self, said: &mut InForce) -> bool {
        let gpus = if self.asked.load_percent().is_some() { self.gpus } else { 0 };
        let before = (said.jobs_per_minute, said.load_percent, said.gpus, said.capped);
        let now = (self.per_minute(), self.asked.load_percent(), gpus, self.capped());
        (said.jobs_per_minute, said.load_percent, said.gpus, said.capped) = now;
        before != now
    }

    /// The rate at which jobs must have come to take what is not taken yet of the load; 0 with a rate, and while jobs wait: what they would
    /// take is not missing.
    pub(crate) fn missing_per_minute(&self, told: Gpus) -> f64 {
        let Some(percent) = self.asked.load_percent().filter(|_| self.gpus > 0 && !told.has_backlog) else { return 0.0 };
        let used_percent = told.used_milli as f64 / f64::from(self.gpus) / 10.0;
        self.per_minute() * (1.0 - used_percent / percent).max(0.0)
    }

    fn of_load(&self, percent: f64) -> f64 {
        jobs_per_minute(percent, self.gpus, self.mean_gpu_ms)
    }
}

/// Asks the leader again and again, and tells what has changed, until stopped. While none answers, the last answer stands.
pub(crate) async fn follow_gpus(nats: Nats, told: watch::Sender<Gpus>, stop: CancellationToken) {
    let leader = Leader::once(&nats, ANSWER_LIMIT);
    let mut same = 0;
    loop {
        let answer = tokio::select! {
            () = stop.cancelled() => return,
            answer = leader.stats() => answer,
        };
        match answer {
            Ok(stats) => {
                let before = *told.borrow();
                same = if stats.gpus_total == before.count && stats.gpus_total > 0 { same + 1 } else { 0 };
                let settled = before.settled || same >= SETTLED_AFTER;
                let has_backlog = stats.queued_held > 0 || stats.queued_in_stream > 0;
                let now = Gpus { count: stats.gpus_total, used_milli: stats.gpu_used_milli, has_backlog, settled };
                told.send_if_modified(|last| {
                    let is_news = (last.count, last.settled) != (now.count, now.settled);
                    *last = now;
                    is_news
                });
            }
            Err(error) => tracing::debug!(%error, "the cluster's GPUs are not known now"),
        }
        let pause = if told.borrow().settled { ASK_EVERY } else { ASK_FIRST_EVERY };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(asked: Asked, unbounded: bool) -> Target {
        Target::new(asked, "sleep=1".parse().unwrap(), unbounded)
    }

    #[test]
    fn a_rate_stays_and_a_load_follows_the_cluster() {
        let mut rate = target(Asked::Rate(2.0), false);
        rate.on_gpus(46);
        assert_eq!(rate.per_minute(), 2.0);
        let mut load = target(Asked::Load(60.0), false);
        assert_eq!(load.per_minute(), 0.0, "no GPU is known");
        load.on_gpus(46);
        let with_46 = load.per_minute();
        assert!((160.0..200.0).contains(&with_46), "{with_46}");
        load.on_gpus(92);
        assert!((load.per_minute() / with_46 - 2.0).abs() < 0.01);
        load.ask_for(Asked::Load(30.0));
        assert!((load.per_minute() / with_46 - 1.0).abs() < 0.01);
        load.ask_for(Asked::Rate(5.0));
        assert_eq!(load.per_minute(), 5.0);
    }

    #[test]
    fn what_is_taken_already_is_not_asked_for_again() {
        let used = |used_milli| Gpus { used_milli, ..Gpus::default() };
        let mut load = target(Asked::Load(60.0), false);
        assert_eq!(load.missing_per_minute(used(0)), 0.0);
        load.on_gpus(100);
        assert_eq!(load.missing_per_minute(used(0)), load.per_minute());
        assert!((load.missing_per_minute(used(30_000)) / load.per_minute() - 0.5).abs() < 1e-9);
        assert_eq!(load.missing_per_minute(used(90_000)), 0.0);
        assert_eq!(load.missing_per_minute(Gpus { has_backlog: true, ..used(0) }), 0.0, "what waits will take it");
        load.ask_for(Asked::Rate(2.0));
        assert_eq!(load.missing_per_minute(used(0)), 0.0);
    }

    #[test]
    fn jobs_that_hang_make_fewer_jobs_of_the_same_load() {
        let mut load = target(Asked::Load(60.0), false);
        load.on_gpus(46);
        let before = load.per_minute();
        load.on_mix("fault=1".parse().unwrap());
        assert!(load.per_minute() < before * 0.95, "{} after {before}", load.per_minute());
    }

    #[test]
    fn a_load_on_a_large_cluster_is_capped_unless_any_rate_is_wanted() {
        for (unbounded, most) in [(false, MAX_LOAD_RATE_PER_MINUTE), (true, f64::INFINITY)] {
            let mut load = target(Asked::Load(60.0), unbounded);
            load.on_gpus(5_750);
            assert_eq!((load.capped(), load.per_minute() <= most), (!unbounded, true));
        }
        let mut rate = target(Asked::Rate(1e6), true);
        rate.on_gpus(46);
        assert!(!rate.capped() && rate.per_minute() == 1e6);
    }
}
