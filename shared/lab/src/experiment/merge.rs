//! What is left out: a policy's own fields before the file's, and the file's before the defaults.

use faultline_engine::fault::FaultPreset;
use faultline_planner::{Blocking, OrderName, PolicyName, Scores, TieRule};

use super::file::{
    Choice, Estimate, FaultsTable, File, JobsTable, PolicyTable, Resample, Rows, RunTable, Scale, SensitivityTable, WorkloadTable,
};
use super::queues::Preempt;
use super::values::{CheckpointEvery, DetectorName, Placement, Seeds, Span, Word};
use crate::faults::Detector;
use crate::read::Processors;

/// How fast a slow node is.
const SLOW_SPEED: f64 = 0.5;

/// How a metric is chosen when the file names none.
const JUDGE: &str = "goodput";

impl JobsTable {
    pub(super) fn over(&self, base: &JobsTable) -> JobsTable {
        JobsTable {
            checkpoint: self.checkpoint.or(base.checkpoint),
            write: self.write.or(base.write),
            restore: self.restore.or(base.restore),
            start: self.start.or(base.start),
            on_preemption: self.on_preemption.or(base.on_preemption),
            grace: self.grace.or(base.grace),
            preemptible: self.preemptible.or(base.preemptible),
            elastic: self.elastic.or(base.elastic),
            estimate: self.estimate.or(base.estimate),
            estimate_error: self.estimate_error.or(base.estimate_error),
        }
    }

    fn defaults() -> JobsTable {
        JobsTable {
            checkpoint: Some(CheckpointEvery { interval: None }),
            write: Some(Span::seconds(30)),
            restore: Some(Span::minutes(3)),
            start: Some(Span::seconds(0)),
            on_preemption: Some(false),
            grace: Some(Span::seconds(0)),
            preemptible: Some(true),
            elastic: None,
            estimate: Some(Choice { value: Estimate::Trace }),
            estimate_error: Some(0.0),
        }
    }
}

impl FaultsTable {
    pub(super) fn over(&self, base: &FaultsTable) -> FaultsTable {
        // One way to say what breaks, and one how it is repaired, take the place of the other.
        let says_rate = self.preset.is_some() || self.per_node_day.is_some();
        let says_repair = self.repair.is_some() || self.pipeline.is_some();
        FaultsTable {
            preset: if says_rate { self.preset } else { base.preset },
            per_node_day: if says_rate { self.per_node_day } else { base.per_node_day },
            time_scale: self.time_scale.or(base.time_scale),
            trace: self.trace.clone().or_else(|| base.trace.clone()),
            detector: self.detector.or(base.detector),
            repair: if says_repair { self.repair } else { base.repair },
            pipeline: if says_repair { self.pipeline.clone() } else { base.pipeline.clone() },
            retirement: self.retirement.clone().or_else(|| base.retirement.clone()),
            one_gpu: self.one_gpu.or(base.one_gpu),
            slow: self.slow.or(base.slow),
            slow_speed: self.slow_speed.or(base.slow_speed),
            misdiagnosis: self.misdiagnosis.or(base.misdiagnosis),
        }
    }

    /// Whether anything can break.
    pub(super) fn is_on(&self) -> bool {
        self.per_node_day.is_some() || self.trace.is_some() || self.preset.is_some_and(|preset| preset.value != FaultPreset::Off)
    }

    fn filled(&self) -> FaultsTable {
        let base = FaultsTable {
            preset: Some(Word { value: FaultPreset::Off }),
            time_scale: Some(1.0),
            detector: Some(DetectorName { detector: if self.is_on() { Detector::PhiAccrual } else { Detector::Instant } }),
            repair: self.per_node_day.map(|_| Span::minutes(120)),
            slow_speed: self.slow.map(|_| SLOW_SPEED),
            misdiagnosis: Some(0.0),
            ..FaultsTable::default()
        };
        self.over(&base)
    }
}

impl PolicyTable {
    /// Without a placement, a policy that is called as one has that one.
    pub(super) fn filled(&self, name: &str) -> PolicyTable {
        let named = name.parse::<PolicyName>().ok();
        PolicyTable {
            placement: self.placement.clone().or(Some(Placement::Policy(named.unwrap_or_default()))),
            tie: self.tie.or(Some(Word { value: TieRule::default() })),
            scores: self.scores.or(Some(Choice { value: Scores::default() })),
            order: self.order.or(Some(Word { value: OrderName::default() })),
            blocking: self.blocking.or(Some(Word { value: Blocking::default() })),
            preempt: self.preempt.or(Some(Choice { value: Preempt::default() })),
            ..self.clone()
        }
    }
}

impl WorkloadTable {
    fn filled(&self) -> WorkloadTable {
        let from_file = self.file.is_some();
        WorkloadTable {
            node_gpus: self.node_gpus.or(from_file.then_some(8)),
            processors: self.processors.or(from_file.then_some(Choice { value: Processors::default() })),
            resample: self.resample.or(Some(Choice { value: Resample::default() })),
            scale: self.scale.or(Some(Scale { time: 1.0, jobs: 1.0, gpus: 1.0 })),
            ..self.clone()
        }
    }
}

impl RunTable {
    fn filled(&self) -> RunTable {
        RunTable {
            seeds: self.seeds.or(Some(Seeds { first: 1, last: 10 })),
            warm_up: self.warm_up.or(Some(Span::seconds(0))),
            judge: self.judge.clone().or_else(|| Some(JUDGE.to_owned())),
            rows: self.rows.or(Some(Choice { value: Rows::default() })),
            horizon: self.horizon,
        }
    }
}

impl File {
    /// Whether anything is drawn, so that runs with two seeds can differ. A program that is asked may draw as well.
    pub fn draws(&self) -> bool {
        let workload = &self.workload;
        let has_error = |jobs: &JobsTable| jobs.estimate_error.is_some_and(|error| error > 0.0);
        let of_policy = |policy: &PolicyTable| {
            let placement = policy.placement.as_ref();
            policy.tie.is_some_and(|tie| tie.value == TieRule::Random)
                || placement.is_some_and(|placement| placement.program().is_some() || placement.policy() == PolicyName::Random)
                || policy.jobs.as_ref().is_some_and(has_error)
                || policy.faults.as_ref().is_some_and(|faults| faults.over(&self.faults).is_on())
        };
        workload.generator.is_some()
            || workload.resample.is_some_and(|resample| resample.value == Resample::Days)
            || has_error(&self.jobs)
            || self.faults.is_on()
            || self.policy.iter().any(|(name, policy)| of_policy(&policy.filled(name)))
    }

    /// The same with every default written out.
    pub fn filled(&self) -> File {
        File {
            workload: self.workload.filled(),
            jobs: self.jobs.over(&JobsTable::defaults()),
            faults: self.faults.filled(),
            run: self.run.filled(),
            policy: self.policy.iter().map(|(name, policy)| (name.clone(), policy.filled(name))).collect(),
            // What is written out is in another order.
            sensitivity: self
                .sensitivity
                .clone()
                .map(|table| SensitivityTable { policy: table.policy.or(self.order.first().cloned()), ..table }),
            ..self.clone()
        }
    }
}
