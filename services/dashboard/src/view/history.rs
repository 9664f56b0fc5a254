//! What the GPUs of each node reported in the last ten minutes. Five bytes a GPU and point, so that it is kept for
//! large clusters too; of very large ones only for nodes that a client looks at.

use std::collections::{BTreeMap, VecDeque};

use faultline_engine::node::GpuTelemetry;
use serde::Serialize;
use utoipa::ToSchema;

use super::nodes::half_percents;

/// Between two points.
pub(crate) const HISTORY_EVERY_MS: u64 = 2_000;
/// Ten minutes.
const MAX_POINTS: usize = 300;
/// 1,500 bytes each, so 37 MB.
const MAX_GPUS: usize = 24_576;
/// Nodes that are kept beyond that, because they were asked for last.
const MAX_ASKED: usize = 64;
/// In the place of a reading that was not given, or of a node that was not heard.
const NONE: u8 = u8::MAX;
const NO_POWER: u16 = u16::MAX;

/// One GPU at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, packed)]
struct Sample {
    half_percents_busy: u8,
    half_percents_used: u8,
    temperature_c: u8,
    power_w: u16,
}

impl Sample {
    const SILENT: Self = Self { half_percents_busy: NONE, half_percents_used: NONE, temperature_c: NONE, power_w: NO_POWER };

    fn of(gpu: &GpuTelemetry) -> Self {
        Self {
            half_percents_busy: gpu.utilisation_percent.map_or(NONE, half_percents),
            half_percents_used: gpu.memory_percent().map_or(NONE, half_percents),
            // Casts saturate.
            temperature_c: gpu.temperature_c.map_or(NONE, |celsius| celsius.round().min(254.0) as u8),
            power_w: gpu.power_w.map_or(NO_POWER, |watts| watts.round().min(65_534.0) as u16),
        }
    }
}

/// The newest points of one node, all its GPUs at each.
#[derive(Debug)]
struct NodeHistory {
    gpus: usize,
    samples: VecDeque<Sample>,
}

/// One GPU's past: a value for each of `t_ms`, null where the node was not heard or the GPU did not report it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct GpuColumns {
    /// Percent, in halves.
    pub(crate) utilisation: Vec<Option<f32>>,
    pub(crate) memory_percent: Vec<Option<f32>>,
    pub(crate) temperature_c: Vec<Option<u8>>,
    pub(crate) power_w: Vec<Option<u16>>,
}

/// What the GPUs of all nodes reported.
#[derive(Debug, Default)]
pub(crate) struct History {
    times_ms: VecDeque<u64>,
    nodes: BTreeMap<String, NodeHistory>,
    /// GPUs of all these nodes.
    gpus: usize,
    asked: VecDeque<String>,
}

impl History {
    /// Whether the next point is due.
    pub(crate) fn is_due(&self, now_ms: u64) -> bool {
        // Also after the cluster's time has been set back.
        self.times_ms.back().is_none_or(|last_ms| now_ms < *last_ms || now_ms >= last_ms + HISTORY_EVERY_MS)
    }

    /// The next point: what every known node reports, nothing for those that are not heard. All others are forgotten.
    pub(crate) fn push<'a>(&mut self, now_ms: u64, nodes: impl Iterator<Item = (&'a str, Option<&'a [GpuTelemetry]>)>) {
        if self.times_ms.len() >= MAX_POINTS {
            self.times_ms.pop_front();
        }
        self.times_ms.push_back(now_ms);
        let mut before = std::mem::take(&mut self.nodes);
        self.gpus = 0;
        for (node, reported) in nodes {
            let known = before.remove_entry(node).filter(|(_, known)| reported.is_none_or(|gpus| gpus.len() == known.gpus));
            let (name, mut history) = match (known, reported) {
                (Some(known), _) => known,
                (None, Some(gpus)) if self.has_room(node, gpus.len()) => {
                    // All of it at once: a service that grows for ten minutes looks like one that never stops.
                    (node.to_owned(), NodeHistory { gpus: gpus.len(), samples: VecDeque::with_capacity(MAX_POINTS * gpus.len()) })
                }
                (None, _) => continue,
            };
            let excess = (history.samples.len() + history.gpus).saturating_sub(MAX_POINTS * history.gpus);
            history.samples.drain(..excess);
            match reported {
                Some(gpus) => history.samples.extend(gpus.iter().map(Sample::of)),
                None => history.samples.extend(std::iter::repeat_n(Sample::SILENT, history.gpus)),
            }
            self.gpus += history.gpus;
            self.nodes.insert(name, history);
        }
    }

    fn has_room(&self, node: &str, gpus: usize) -> bool {
        self.gpus + gpus <= MAX_GPUS || self.asked.iter().any(|asked| asked == node)
    }

    /// A client looks at the node: its past is kept from now on, if it was not already.
    pub(crate) fn ask(&mut self, node: &str) {
        self.asked.retain(|asked| asked != node);
        if self.asked.len() >= MAX_ASKED {
            self.asked.pop_front();
        }
        self.asked.push_back(node.to_owned());
    }

    /// The past of one node: times and, for each GPU, its values. Empty when nothing was kept.
    pub(crate) fn of(&self, node: &str) -> (Vec<u64>, Vec<GpuColumns>) {
        let Some(history) = self.nodes.get(node).filter(|history| history.gpus > 0) else { return (Vec::new(), Vec::new()) };
        let points = history.samples.len() / history.gpus;
        let times = self.times_ms.iter().skip(self.times_ms.len().saturating_sub(points)).copied().collect();
        let mut columns = vec![GpuColumns::default(); history.gpus];
        for (place, sample) in history.samples.iter().enumerate() {
            let gpu = &mut columns[place % history.gpus];
            let percent = |halves: u8| Some(f32::from(halves) / 2.0).filter(|_| halves != NONE);
            gpu.utilisation.push(percent(sample.half_percents_busy));
            gpu.memory_percent.push(percent(sample.half_percents_used));
            gpu.temperature_c.push(Some(sample.temperature_c).filter(|celsius| *celsius != NONE));
            gpu.power_w.push(Some(sample.power_w).filter(|watts| *watts != NO_POWER));
        }
        (times, columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(utilisation_percent: f32) -> GpuTelemetry {
        GpuTelemetry {
            utilisation_percent: Some(utilisation_percent),
            memory_used_mib: Some(1),
            memory_total_mib: Some(4),
            temperature_c: Some(60.6),
            power_w: Some(70_000.0),
            ..GpuTelemetry::default()
        }
    }

    #[test]
    fn each_gpu_has_its_values_and_gaps() {
        let mut history = History::default();
        assert!(history.is_due(0));
        let gpus = [gpu(10.0), gpu(99.9)];
        history.push(1_000, [("a", Some(&gpus[..]))].into_iter());
        assert!(!history.is_due(2_999) && history.is_due(3_000));
        history.push(3_000, [("a", None), ("b", Some(&gpus[..1]))].into_iter());
        let (times, columns) = history.of("a");
        assert_eq!((times, columns.len()), (vec![1_000, 3_000], 2));
        assert_eq!((&columns[0].utilisation, &columns[1].utilisation), (&vec![Some(10.0), None], &vec![Some(100.0), None]));
        assert_eq!(
            (columns[0].memory_percent[0], columns[0].temperature_c[0], columns[0].power_w[0]),
            (Some(25.0), Some(61), Some(65_534))
        );
        let clocks_only = [GpuTelemetry { sm_clock_mhz: Some(1), ..GpuTelemetry::default() }];
        history.push(3_500, [("b", Some(&clocks_only[..])), ("a", None)].into_iter());
        let of_b = &history.of("b").1[0];
        assert_eq!((of_b.utilisation[1], of_b.memory_percent[1], of_b.temperature_c[1], of_b.power_w[1]), (None, None, None, None));
        assert_eq!(history.of("b").0, [3_000, 3_500], "it is younger than the others");
        assert_eq!(history.of("c"), (vec![], vec![]));
        history.push(5_000, [("b", Some(&gpus[..]))].into_iter());
        assert_eq!(history.of("a"), (vec![], vec![]), "it is gone");
        assert_eq!((history.of("b").0, history.of("b").1.len()), (vec![5_000], 2), "other GPUs are another past");
    }

    #[test]
    fn ten_minutes_are_kept() {
        let mut history = History::default();
        let gpus = [gpu(1.0)];
        for point in 0..400 {
            history.push(point * HISTORY_EVERY_MS, [("a", Some(&gpus[..]))].into_iter());
        }
        let (times, columns) = history.of("a");
        assert_eq!((times.len(), times[0], columns[0].power_w.len()), (300, 200_000, 300));
    }

    #[test]
    fn of_too_many_gpus_only_those_asked_for_are_kept() {
        let mut history = History::default();
        let gpus = vec![gpu(1.0); 16_384];
        let push = |history: &mut History, now_ms| history.push(now_ms, ["a", "b", "c"].into_iter().map(|node| (node, Some(&gpus[..]))));
        push(&mut history, 1);
        assert_eq!((history.of("a").0.len(), history.of("b").0.len()), (1, 0));
        history.ask("c");
        push(&mut history, 2);
        push(&mut history, 3);
        assert_eq!((history.of("a").0.len(), history.of("b").0.len(), history.of("c").0), (3, 0, vec![2, 3]));
        (0..1_000).for_each(|n| history.ask(&format!("node-{n}")));
        assert_eq!(history.asked.len(), MAX_ASKED);
    }
}
