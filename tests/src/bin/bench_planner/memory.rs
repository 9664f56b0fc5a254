//! How many bytes a waiting job and a node take, as the kernel counts the process's memory.

use anyhow::Context;
use faultline_planner::{Planner, Settings, Turn};
use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;

use crate::cluster;

const JOBS: u64 = 1_000_000;
const NODES: u32 = 100_000;
const CLASSES: u32 = 256;

/// Bytes of each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) waiting_job: f64,
    pub(crate) node: f64,
}

/// To be called before anything else has taken and given back memory.
pub(crate) fn measure(seed: u64) -> anyhow::Result<Memory> {
    let mut planner = Planner::new(&Settings::default())?;
    let before = resident()?;
    for number in 0..NODES {
        planner.join(&cluster::machine(number))?;
    }
    let node = (resident()? - before) as f64 / f64::from(NODES);
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let classes: Vec<_> = cluster::classes(CLASSES, &mut rng).iter().map(|task| planner.class(task)).collect();
    let before = resident()?;
    for job in 0..JOBS {
        planner.wait(classes[(job % u64::from(CLASSES)) as usize], Turn { order: job, job: [0; 18] });
    }
    let waiting_job = (resident()? - before) as f64 / JOBS as f64;
    anyhow::ensure!(planner.waiting() == JOBS as usize && planner.nodes() == NODES as usize, "not all that came are there");
    Ok(Memory { waiting_job, node })
}

fn resident() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status").context("reading /proc/self/status, which only Linux has")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("/proc/self/status has no line VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS in /proc/self/status")?;
    Ok(kib * 1024)
}
