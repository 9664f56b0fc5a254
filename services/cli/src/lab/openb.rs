//! Nodes and tasks in the columns of Alibaba's cluster-trace-gpu-v2023, which is called openb. Columns that are not read may be there.

use std::collections::HashMap;
use std::path::Path;

use faultline_planner::{Gpu, MAX_NODE_GPUS, Machine, TaskClass, WHOLE_GPU_MILLI};

use super::csv_file::CsvFile;
use crate::exit::Failure;

/// The most of CPU milli or MiB that one node or task can have: a thousand times the largest machine.
const LARGEST: u32 = 1_000_000_000;

pub(crate) fn nodes(path: &Path) -> Result<Vec<Machine>, Failure> {
    let file = CsvFile::read(path, &["sn", "cpu_milli", "memory_mib", "gpu", "model"])?;
    let mut lines: HashMap<String, usize> = HashMap::new();
    let mut machines = Vec::new();
    for (number, row) in file.rows().enumerate() {
        let name = row.text("sn")?;
        if let Some(first) = lines.insert(name.to_owned(), number) {
            let why = format!("`{name}` is also the node of row {}", first + 1);
            return Err(row.invalid("sn", &why, "give each node a name of its own"));
        }
        let gpus: usize = row.number("gpu", 0, MAX_NODE_GPUS)?;
        let model = if gpus == 0 { row.optional("model") } else { row.text("model")? };
        machines.push(Machine {
            name: name.to_owned(),
            cpu_milli: Some(row.number("cpu_milli", 0, LARGEST)?),
            memory_mib: Some(row.number("memory_mib", 0, LARGEST)?),
            slots: None,
            gpus: vec![Gpu { model: model.to_owned(), memory_mib: 0 }; gpus],
            kinds: Vec::new(),
            rack: String::new(),
            block: String::new(),
        });
    }
    Ok(machines)
}

pub(crate) fn tasks(path: &Path) -> Result<Vec<TaskClass>, Failure> {
    let file = CsvFile::read(path, &["cpu_milli", "memory_mib", "num_gpu", "gpu_milli"])?;
    file.rows()
        .map(|row| {
            let gpus = row.number("num_gpu", 0, MAX_NODE_GPUS as u16)?;
            let gpu_milli = row.number("gpu_milli", 0, WHOLE_GPU_MILLI)?;
            if gpus > 0 && gpu_milli == 0 {
                return Err(row.invalid("gpu_milli", "a task with a GPU takes nothing of it", "use 1 to 1000, or 0 as `num_gpu`"));
            }
            let mut models: Vec<String> = row.optional("gpu_spec").split('|').map(str::trim).map(str::to_owned).collect();
            models.retain(|model| !model.is_empty());
            Ok(TaskClass {
                cpu_milli: row.number("cpu_milli", 0, LARGEST)?,
                memory_mib: row.number("memory_mib", 0, LARGEST)?,
                gpus,
                gpu_milli: if gpus == 0 { 0 } else { gpu_milli },
                models,
                ..TaskClass::default()
            })
        })
        .collect()
}
