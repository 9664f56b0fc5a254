//! What the driver of real GPUs reports, as the same transitions that simulated faults make: so a real fault takes the same way
//! through attempts, placement, history and telemetry. Pure: time and the random bits of ids are arguments.

use std::collections::BTreeMap;

use super::injector::{Fault, FaultTransition};
use super::{FaultCause, FaultKind, fault_id};

/// What changed about one real GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpuNews {
    /// The driver reported an XID.
    Xid(u32),
    /// It fell off the bus, or can only be used again after a reset.
    Lost,
    /// It answers again, or it was reset.
    Back,
}

/// The faults of a node's real GPUs that last. How long is not known: until the GPU is back, or an operator says so.
#[derive(Debug, Clone, Default)]
pub struct ObservedFaults {
    active: BTreeMap<u8, Fault>,
}

impl ObservedFaults {
    pub fn active(&self) -> impl Iterator<Item = &Fault> {
        self.active.values()
    }

    /// What began and ended with the news. An XID that stands for no kind here, and what repeats a fault that lasts, changes nothing.
    pub fn on_news(&mut self, gpu: u8, news: GpuNews, now_ms: u64, random: u128) -> Vec<FaultTransition> {
        let kind = match news {
            GpuNews::Back => return self.restore(Some(gpu), now_ms),
            GpuNews::Lost => FaultKind::Xid79,
            GpuNews::Xid(code) => match FaultKind::of_xid(code) {
                Some(kind) => kind,
                None => return Vec::new(),
            },
        };
        let lasts = !kind.is_momentary();
        // A GPU that is lost reports little more; what it still reports is a consequence.
        if lasts && self.active.get(&gpu).is_some_and(|known| known.kind == kind || known.kind == FaultKind::Xid79) {
            return Vec::new();
        }
        let fault = Fault {
            id: fault_id(now_ms, random),
            kind,
            gpu: Some(gpu),
            factor: 1.0,
            from_ms: now_ms,
            until_ms: if lasts { u64::MAX } else { now_ms },
            cause: FaultCause::Observed,
            domain: None,
            by: String::new(),
        };
        if !lasts {
            return vec![FaultTransition::Began(fault.clone()), FaultTransition::Ended { fault, at_ms: now_ms }];
        }
        let mut transitions = self.restore(Some(gpu), now_ms);
        self.active.insert(gpu, fault.clone());
        transitions.push(FaultTransition::Began(fault));
        transitions
    }

    /// Ends what lasts: on one GPU, or on all.
    pub fn restore(&mut self, gpu: Option<u8>, now_ms: u64) -> Vec<FaultTransition> {
        let over: Vec<u8> = self.active.keys().copied().filter(|known| gpu.is_none_or(|gpu| gpu == *known)).collect();
        over.into_iter().filter_map(|gpu| self.active.remove(&gpu)).map(|fault| FaultTransition::Ended { fault, at_ms: now_ms }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultDepth;

    fn brief(transitions: &[FaultTransition]) -> Vec<(bool, FaultKind)> {
        let brief = |transition: &FaultTransition| match transition {
            FaultTransition::Began(fault) => (true, fault.kind),
            FaultTransition::Ended { fault, .. } => (false, fault.kind),
        };
        transitions.iter().map(brief).collect()
    }

    #[test]
    fn a_lost_gpu_is_one_fault_until_it_is_back() {
        let mut faults = ObservedFaults::default();
        let began = faults.on_news(3, GpuNews::Lost, 1_000, 7);
        let FaultTransition::Began(fault) = &began[0] else { panic!("{began:?}") };
        assert_eq!((fault.kind, fault.gpu, fault.from_ms, fault.planned_end_ms()), (FaultKind::Xid79, Some(3), 1_000, None));
        let truth = fault.truth("gpu-node-01", fault.planned_end_ms());
        assert_eq!((truth.depth, truth.cause, truth.until_ms), (FaultDepth::Hardware, FaultCause::Observed, None));
        for consequence in [GpuNews::Lost, GpuNews::Xid(79), GpuNews::Xid(48)] {
            assert_eq!(faults.on_news(3, consequence, 2_000, 8), [], "{consequence:?}");
        }
        assert_eq!(faults.active().count(), 1);
        assert_eq!(brief(&faults.on_news(3, GpuNews::Back, 3_000, 9)), [(false, FaultKind::Xid79)]);
        assert_eq!(faults.on_news(3, GpuNews::Back, 4_000, 9), []);
        assert_eq!(faults.active().count(), 0);
    }

    #[test]
    fn an_error_of_an_application_is_over_at_once_and_takes_no_lasting_fault_away() {
        let mut faults = ObservedFaults::default();
        faults.on_news(0, GpuNews::Xid(95), 1_000, 1);
        assert_eq!(brief(&faults.on_news(0, GpuNews::Xid(31), 2_000, 2)), [(true, FaultKind::Xid31), (false, FaultKind::Xid31)]);
        assert_eq!(faults.active().map(|fault| fault.kind).collect::<Vec<_>>(), [FaultKind::Xid95]);
        assert_eq!(brief(&faults.on_news(0, GpuNews::Lost, 3_000, 3)), [(false, FaultKind::Xid95), (true, FaultKind::Xid79)]);
    }

    #[test]
    fn a_code_that_stands_for_no_kind_changes_nothing_and_an_operator_ends_all() {
        let mut faults = ObservedFaults::default();
        assert_eq!(faults.on_news(0, GpuNews::Xid(43), 1_000, 1), []);
        for gpu in 0..4 {
            faults.on_news(gpu, GpuNews::Xid(48), 1_000, u128::from(gpu));
        }
        assert_eq!(faults.restore(Some(2), 2_000).len(), 1);
        assert_eq!((faults.restore(None, 3_000).len(), faults.active().count()), (3, 0));
    }
}
