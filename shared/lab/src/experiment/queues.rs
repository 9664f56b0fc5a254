//! Queues in the file of an experiment, and whether their jobs are stopped for others.

use std::collections::BTreeMap;

use faultline_planner::{Bounds, QueueSettings};
use serde::{Deserialize, Serialize};

/// `[queue.NAME]`, as a queue of the workload is called.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueTable {
    /// The queue that it is part of.
    pub parent: Option<String>,
    pub weight: Option<f64>,
    pub over_quota_priority: Option<u8>,
    pub quota: Option<AmountsTable>,
    pub limit: Option<AmountsTable>,
}

/// So much of each resource that is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmountsTable {
    pub gpus: Option<u32>,
    pub cpus: Option<u32>,
    pub memory_gib: Option<u32>,
}

impl AmountsTable {
    fn bounds(self) -> Bounds {
        let times = |amount: Option<u32>, unit: u64| amount.map(|amount| u64::from(amount) * unit);
        Bounds { gpu_milli: times(self.gpus, 1000), cpu_milli: times(self.cpus, 1000), memory_mib: times(self.memory_gib, 1024) }
    }
}

/// For whom jobs are stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preempt {
    #[default]
    Off,
    /// For jobs of the same queue with a higher priority.
    ByPriority,
    /// For queues that hold less than their quota or fair share.
    Reclaim,
    Both,
}

/// The queues of a workload that have tables, and those above them. Numbers are those of the workload; queues that it does not have follow.
pub(super) fn settings(tables: &BTreeMap<String, QueueTable>, workload: &[String]) -> Vec<QueueSettings> {
    let others = tables.keys().filter(|name| !workload.contains(name));
    let numbers: BTreeMap<&String, u32> = workload.iter().chain(others).zip(0..).collect();
    let of = |(name, table): (&String, &QueueTable)| {
        let number = numbers[name];
        QueueSettings {
            // A parent without a table is refused by its number, which no queue has.
            parent: table.parent.as_ref().map(|parent| if tables.contains_key(parent) { numbers[parent] } else { u32::MAX }),
            quota: table.quota.unwrap_or_default().bounds(),
            limit: table.limit.unwrap_or_default().bounds(),
            weight: table.weight.unwrap_or(1.0),
            over_quota_priority: table.over_quota_priority.unwrap_or_default(),
            ..QueueSettings::new(number, name.clone())
        }
    };
    tables.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use faultline_planner::PreemptionSettings;

    use super::super::{Experiment, parse};
    use super::*;

    const FILE: &str = r#"
title = "Queues"
[cluster]
[[cluster.nodes]]
count = 4
gpus = 8
[workload.job]
gpus = 8
work = "1 h"

[queue.research]
quota = { gpus = 16, cpus = 64 }
limit = { gpus = 24, memory_gib = 100 }
weight = 2.5

[queue.vision]
parent = "research"
over_quota_priority = 3

[policy.mine]
placement = "exec:python3 mine.py --fast"
preempt = "both"
min_run = "10 min"
usage_half_life = "7 d"

[policy.fifo]
"#;

    fn load(text: &str) -> Result<Experiment, String> {
        let told = |problems: Vec<super::super::Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        let file = parse(text).map_err(told)?;
        let written = toml::to_string(&file).map_err(|error| error.to_string())?;
        assert_eq!(super::super::File { order: file.order.clone(), ..parse(&written).map_err(told)? }, file, "{written}");
        Experiment::load(&file, text, &|_| Err("no file".to_owned())).map_err(told)
    }

    #[test]
    fn a_file_sets_queues_and_preemption_for_its_runs() {
        let experiment = load(FILE).unwrap();
        let setup = experiment.setup(&experiment.variants[0], 1);
        let program = setup.program.unwrap();
        assert_eq!(program.words, ["python3", "mine.py", "--fast"]);
        assert_eq!(setup.dispatch.preemption, PreemptionSettings { by_priority: true, reclaim: true, min_run_ms: 600_000 });
        assert_eq!(setup.dispatch.history.map(|history| history.half_life_ms), Some(604_800_000));
        // The workload has one queue, without a name; these two come behind it.
        let queues = setup.dispatch.queues;
        let of = |queue: &QueueSettings| (queue.number, queue.name.clone(), queue.parent, queue.weight, queue.over_quota_priority);
        assert_eq!(of(&queues[0]), (1, "research".to_owned(), None, 2.5, 0));
        assert_eq!(of(&queues[1]), (2, "vision".to_owned(), Some(1), 1.0, 3));
        assert_eq!(queues[0].quota, Bounds { gpu_milli: Some(16_000), cpu_milli: Some(64_000), memory_mib: None });
        assert_eq!(queues[0].limit, Bounds { gpu_milli: Some(24_000), cpu_milli: None, memory_mib: Some(102_400) });
        let fifo = experiment.setup(&experiment.variants[1], 1);
        assert_eq!((fifo.program, fifo.dispatch.preemption), (None, PreemptionSettings::default()));
        assert_eq!(fifo.dispatch.queues, queues, "queues are those of the experiment");
    }

    #[test]
    fn queues_that_make_no_sense_are_told_with_their_line() {
        let told = |from: &str, to: &str| load(&FILE.replacen(from, to, 1)).unwrap_err();
        let unknown = told("\"research\"", "\"sales\"");
        assert_eq!(unknown, "line 17: queue.vision.parent: unknown queue `sales`: add `[queue.sales]`, or take the parent out");
        assert_eq!(
            told("gpus = 24", "gpus = 8").lines().next(),
            Some(
                "line 20: policy.mine: queue `research` has a quota of 16000 GPU milli above its limit of 8000: lower the quota or raise the limit"
            )
        );
        let circle = told("weight = 2.5", "parent = \"vision\"");
        assert!(circle.contains("queue `research` is its own ancestor"), "{circle}");
        let blocking = told("min_run = \"10 min\"", "blocking = \"by-time\"");
        assert!(blocking.starts_with("line 20: policy.mine: blocking `by-time` knows one queue only"), "{blocking}");
        assert!(told("exec:python3 mine.py --fast", "exec:").contains("names no program: write `exec:` and the command"));
        assert!(told("exec:python3 mine.py --fast", "worst").contains("or a program as `exec:COMMAND`"));
        assert!(told("\"both\"", "\"yes\"").contains("unknown variant `yes`, expected one of `off`, `by-priority`, `reclaim`, `both`"));
    }
}
