//! The nodes and the tasks that are measured with: a mix of machines like that of a production cluster, and classes drawn from the seed.

use std::collections::HashSet;

use faultline_planner::{Gpu, Machine, TaskClass};
use rand::{Rng, RngExt};

/// How many of 20 nodes, with model, GPUs, CPU milli, and MiB.
const MIX: [(u32, &str, usize, u32, u32); 6] = [
    (9, "G2", 8, 96_000, 393_216),
    (6, "T4", 2, 104_000, 524_288),
    (2, "P100", 2, 16_000, 122_880),
    (1, "V100M16", 4, 32_000, 131_072),
    (1, "G3", 8, 128_000, 786_432),
    (1, "V100M32", 8, 96_000, 786_432),
];

pub(crate) fn machine(number: u32) -> Machine {
    let mut place = number.wrapping_mul(7) % 20;
    let kind = MIX.iter().find(|(of_20, ..)| {
        let here = place < *of_20;
        place = place.saturating_sub(*of_20);
        here
    });
    let (_, model, gpus, cpu_milli, memory_mib) = *kind.unwrap_or(&MIX[0]);
    Machine {
        name: format!("node-{number:06}"),
        cpu_milli: Some(cpu_milli),
        memory_mib: Some(memory_mib),
        slots: None,
        gpus: vec![Gpu { model: model.to_owned(), memory_mib: 32_768 }; gpus],
        kinds: Vec::new(),
        rack: format!("rack-{}", number / 16),
        block: format!("block-{}", number / 256),
    }
}

/// So many distinct classes. The first is half a GPU; of the others a tenth has no GPU, half a share, and a tenth wants one model.
pub(crate) fn classes(count: u32, rng: &mut impl Rng) -> Vec<TaskClass> {
    let half = TaskClass { cpu_milli: 4_000, memory_mib: 8_192, gpus: 1, gpu_milli: 500, ..TaskClass::default() };
    let mut classes = vec![half.clone()];
    let mut known = HashSet::from([half]);
    while classes.len() < count as usize {
        let (gpus, gpu_milli) = match rng.random_range(0..20) {
            0..2 => (0, 0),
            2..12 => (1, 50 * rng.random_range(1..20)),
            12..18 => (1, 1000),
            18 => (2, 1000),
            _ => (4, 1000),
        };
        let models = if rng.random_range(0..10) == 0 { vec!["G2".to_owned()] } else { Vec::new() };
        let cpu_milli = 500 * rng.random_range(2..32);
        let task = TaskClass { cpu_milli, memory_mib: 2 * cpu_milli, gpus, gpu_milli, models, ..TaskClass::default() };
        if known.insert(task.clone()) {
            classes.push(task);
        }
    }
    classes
}
