//! Where a job can go and where it goes: a filter with typed reasons, then a policy that scores what is left.
//! One policy a file. Nothing here changes a node: the scheduler books what was chosen.

mod best_fit;
mod least_loaded;
mod policy;
mod random;
mod round_robin;

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::job::{Demand, InvalidJob};
use crate::node::GpuDescriptor;

pub use best_fit::BestFit;
pub use least_loaded::LeastLoaded;
pub use policy::{Candidate, Policy};
pub use random::Random;
pub use round_robin::RoundRobin;

/// Why one node cannot take one job now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// Suspect, gone or dead.
    NotAlive,
    /// An operator drains it.
    Draining,
    /// It has no executor for the job's kind.
    KindNotOffered,
    /// None of its GPUs is of a wanted model.
    WrongModel,
    /// It has fewer GPUs than wanted, even when empty.
    TooFewGpus,
    /// Its GPUs have less memory than wanted, even when empty.
    GpuMemoryTooSmall,
    /// As many attempts run there as it has slots.
    SlotsTaken,
    /// Not enough of its GPUs is free now.
    GpuShareTaken,
    /// Enough GPU share is free, but not with enough memory.
    GpuMemoryTaken,
    /// Enough of its GPUs would do, but some must not be used until they have been reset.
    GpuOutOfService,
    /// It refused what was placed there, or did not know it, a moment ago.
    RefusedLately,
}

impl RejectReason {
    /// Whether the node could take the job if it were empty, alive and not drained.
    pub fn is_temporary(self) -> bool {
        !matches!(self, Self::KindNotOffered | Self::WrongModel | Self::TooFewGpus | Self::GpuMemoryTooSmall)
    }
}

/// How many nodes said no for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reject {
    pub reason: RejectReason,
    pub nodes: u32,
}

/// Why a job still waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhyWaiting {
    pub since_ms: u64,
    /// Why each node said no when the job was last tried; empty when it has not been tried yet.
    pub rejects: Vec<Reject>,
    /// For people.
    pub summary: String,
}

/// One GPU and what is booked on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuSlot {
    pub gpu: GpuDescriptor,
    pub used_milli: u32,
    pub reserved_mib: u32,
    /// The node says that nothing can run on it now.
    pub out_of_service: bool,
}

impl GpuSlot {
    pub fn new(gpu: GpuDescriptor) -> Self {
        Self { gpu, used_milli: 0, reserved_mib: 0, out_of_service: false }
    }

    fn free_milli(&self) -> u32 {
        crate::job::GPU_MILLI.saturating_sub(self.used_milli)
    }

    fn free_mib(&self) -> u32 {
        self.gpu.memory_mib.saturating_sub(self.reserved_mib)
    }
}

/// Finds GPUs for a demand on one node: the fullest ones that still fit, so that whole GPUs stay whole.
pub fn fit_gpus(slots: &[GpuSlot], demand: &Demand) -> Result<Vec<u8>, RejectReason> {
    let wanted = demand.gpu_count() as usize;
    if wanted == 0 {
        return Ok(Vec::new());
    }
    let indexed = || slots.iter().enumerate().filter_map(|(index, slot)| Some((u8::try_from(index).ok()?, slot)));
    let of_model = || indexed().filter(|(_, slot)| demand.models.is_empty() || demand.models.contains(&slot.gpu.model));
    if of_model().next().is_none() && !slots.is_empty() {
        return Err(RejectReason::WrongModel);
    }
    if of_model().count() < wanted {
        return Err(RejectReason::TooFewGpus);
    }
    if of_model().filter(|(_, slot)| slot.gpu.memory_mib >= demand.gpu_memory_mib).count() < wanted {
        return Err(RejectReason::GpuMemoryTooSmall);
    }
    let in_service = || of_model().filter(|(_, slot)| !slot.out_of_service);
    if in_service().filter(|(_, slot)| slot.gpu.memory_mib >= demand.gpu_memory_mib).count() < wanted {
        return Err(RejectReason::GpuOutOfService);
    }
    let with_share = || in_service().filter(|(_, slot)| slot.free_milli() >= demand.milli_per_gpu());
    if with_share().count() < wanted {
        return Err(RejectReason::GpuShareTaken);
    }
    let mut fitting: Vec<(u32, u8)> =
        with_share().filter(|(_, slot)| slot.free_mib() >= demand.gpu_memory_mib).map(|(index, slot)| (slot.free_milli(), index)).collect();
    if fitting.len() < wanted {
        return Err(RejectReason::GpuMemoryTaken);
    }
    fitting.sort_unstable();
    Ok(fitting.into_iter().take(wanted).map(|(_, index)| index).collect())
}

/// The policies that can be named in settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyName {
    #[default]
    LeastLoaded,
    BestFit,
    RoundRobin,
    Random,
}

impl PolicyName {
    pub const ALL: [PolicyName; 4] = [Self::LeastLoaded, Self::BestFit, Self::RoundRobin, Self::Random];

    pub fn as_str(self) -> &'static str {
        match self {
            PolicyName::LeastLoaded => "least-loaded",
            PolicyName::BestFit => "best-fit",
            PolicyName::RoundRobin => "round-robin",
            PolicyName::Random => "random",
        }
    }

    /// Builds the policy; `seed` matters to those that draw.
    pub fn build(self, seed: u64) -> Box<dyn Policy> {
        match self {
            PolicyName::LeastLoaded => Box::new(LeastLoaded),
            PolicyName::BestFit => Box::new(BestFit),
            PolicyName::RoundRobin => Box::new(RoundRobin::default()),
            PolicyName::Random => Box::new(Random::new(seed)),
        }
    }
}

impl FromStr for PolicyName {
    type Err = InvalidJob;

    fn from_str(text: &str) -> Result<Self, InvalidJob> {
        let named = Self::ALL.into_iter().find(|policy| policy.as_str() == text);
        named.ok_or_else(|| InvalidJob::new("policy", "use least-loaded, best-fit, round-robin or random"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slots(used: &[(u32, u32)]) -> Vec<GpuSlot> {
        let gpu = GpuDescriptor { model: "L4".into(), memory_mib: 24_000 };
        used.iter().map(|&(used_milli, reserved_mib)| GpuSlot { used_milli, reserved_mib, ..GpuSlot::new(gpu.clone()) }).collect()
    }

    fn demand(gpu_milli: u32, gpu_memory_mib: u32) -> Demand {
        Demand { gpu_milli, gpu_memory_mib, models: vec![] }
    }

    #[test]
    fn a_share_goes_to_the_fullest_gpu_that_fits() {
        assert_eq!(fit_gpus(&slots(&[(0, 0), (600, 0), (900, 0)]), &demand(300, 100)), Ok(vec![1]));
        assert_eq!(fit_gpus(&slots(&[(0, 0), (0, 0), (10, 0)]), &demand(2000, 0)), Ok(vec![0, 1]));
        assert_eq!(fit_gpus(&slots(&[(0, 0)]), &demand(0, 0)), Ok(vec![]));
    }

    #[test]
    fn each_refusal_has_its_reason() {
        let models = |models: &[&str]| Demand { models: models.iter().map(ToString::to_string).collect(), ..demand(500, 0) };
        assert_eq!(fit_gpus(&slots(&[(0, 0)]), &models(&["H100-80GB"])), Err(RejectReason::WrongModel));
        assert_eq!(fit_gpus(&slots(&[(0, 0)]), &demand(2000, 0)), Err(RejectReason::TooFewGpus));
        assert_eq!(fit_gpus(&slots(&[(0, 0)]), &demand(100, 25_000)), Err(RejectReason::GpuMemoryTooSmall));
        assert_eq!(fit_gpus(&slots(&[(950, 0)]), &demand(100, 0)), Err(RejectReason::GpuShareTaken));
        assert_eq!(fit_gpus(&slots(&[(0, 23_000)]), &demand(100, 2000)), Err(RejectReason::GpuMemoryTaken));
    }

    #[test]
    fn a_gpu_out_of_service_gets_nothing() {
        let mut slots = slots(&[(0, 0), (500, 0), (0, 0)]);
        slots[1].out_of_service = true;
        assert_eq!(fit_gpus(&slots, &demand(100, 0)), Ok(vec![0]), "though the second one is fuller");
        assert_eq!(fit_gpus(&slots, &demand(3000, 0)), Err(RejectReason::GpuOutOfService));
        assert!(RejectReason::GpuOutOfService.is_temporary());
    }

    #[test]
    fn every_policy_has_the_name_that_builds_it() {
        for name in ["least-loaded", "best-fit", "round-robin", "random"] {
            assert_eq!(name.parse::<PolicyName>().unwrap().build(1).name(), name);
        }
        assert!("fifo".parse::<PolicyName>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_chosen_always_fits(used in proptest::collection::vec((0_u32..=1000, 0_u32..=24_000), 1..9), milli in 0_u32..4, memory in 0_u32..26_000, share in 1_u32..1000) {
            let slots = slots(&used);
            let demand = demand(if milli == 0 { share } else { milli * 1000 }, memory);
            if let Ok(chosen) = fit_gpus(&slots, &demand) {
                prop_assert_eq!(chosen.len(), demand.gpu_count() as usize);
                for gpu in chosen {
                    let slot = &slots[usize::from(gpu)];
                    prop_assert!(slot.used_milli + demand.milli_per_gpu() <= 1000);
                    prop_assert!(slot.reserved_mib + demand.gpu_memory_mib <= slot.gpu.memory_mib);
                }
            }
        }
    }
}
