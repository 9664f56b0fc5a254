//! The policies: each scores the nodes that have room for a task, and chooses the GPUs. One in each file, with its source.

mod best_fit;
mod dot_product;
mod fgd;
mod first_fit;
mod gpu_clustering;
mod gpu_packing;
mod least_loaded;
mod random;
mod round_robin;
mod scoring;

use crate::settings::{InvalidSettings, PolicyName, Settings};

pub(crate) use fgd::Fgd;
pub(crate) use scoring::{Policy, Search};

pub(crate) fn build(settings: &Settings) -> Result<Box<dyn Policy>, InvalidSettings> {
    let scores = settings.scores;
    Ok(match settings.policy {
        PolicyName::LeastLoaded => Box::new(least_loaded::LeastLoaded { scores }),
        PolicyName::FirstFit => Box::new(first_fit::FirstFit),
        PolicyName::BestFit => Box::new(best_fit::BestFit { scores }),
        PolicyName::RoundRobin => Box::new(round_robin::RoundRobin),
        PolicyName::Random => Box::new(random::Random),
        PolicyName::DotProduct => Box::new(dot_product::DotProduct { scores }),
        PolicyName::GpuPacking => Box::new(gpu_packing::GpuPacking),
        PolicyName::GpuClustering => Box::new(gpu_clustering::GpuClustering),
        PolicyName::Fgd => Box::new(Fgd::new(&settings.target, scores).ok_or(InvalidSettings::NoTarget)?),
    })
}
