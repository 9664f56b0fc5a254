//! Nodes: openb's columns, or Faultline's own. A cluster with a node left out is another cluster, so the first bad row is an error.

use std::collections::HashMap;

use faultline_planner::{Gpu, MAX_NODE_GPUS, Machine};

use super::builder::LARGEST;
use super::error::{BadRow, ReadError};
use super::source::Source;
use super::table::{Row, Table};

/// The nodes of a file: with a column `sn` in openb's columns, else in Faultline's own.
pub fn nodes(source: &Source) -> Result<Vec<Machine>, ReadError> {
    let names: Vec<&str> = source.first_line().split(',').map(str::trim).collect();
    let is_own = names.contains(&"name") && !names.contains(&"sn");
    let columns: &[&str] = if is_own { &["name", "gpus"] } else { &["sn", "cpu_milli", "memory_mib", "gpu", "model"] };
    let mut table = Table::commas(source, columns)?;
    let failed = |bad| ReadError::Row { file: source.name.clone(), bad };
    let mut rows: HashMap<String, usize> = HashMap::new();
    let mut machines = Vec::new();
    for (number, row) in table.rows().enumerate() {
        let row = row?;
        let machine = if is_own { own(&row) } else { openb(&row) }.map_err(failed)?;
        if let Some(first) = rows.insert(machine.name.clone(), number) {
            let why = format!("`{}` is also the node of row {}", machine.name, first + 1);
            return Err(failed(row.invalid(columns[0], &why, "give each node a name of its own")));
        }
        machines.push(machine);
    }
    if machines.is_empty() { Err(ReadError::NoRows { file: source.name.clone() }) } else { Ok(machines) }
}

fn openb(row: &Row<'_>) -> Result<Machine, BadRow> {
    row.whole()?;
    let name = row.text("sn")?.to_owned();
    let gpus: usize = row.number("gpu", 0, MAX_NODE_GPUS)?;
    let model = if gpus == 0 { row.optional("model") } else { row.text("model")? };
    Ok(Machine {
        name,
        cpu_milli: Some(row.number("cpu_milli", 0, LARGEST)?),
        memory_mib: Some(row.number("memory_mib", 0, LARGEST)?),
        slots: None,
        gpus: vec![Gpu { model: model.to_owned(), memory_mib: 0 }; gpus],
        kinds: Vec::new(),
        rack: String::new(),
        block: String::new(),
    })
}

/// An empty field or missing column: processors, memory, and slots without bound, a GPU of any model, no rack.
fn own(row: &Row<'_>) -> Result<Machine, BadRow> {
    row.whole()?;
    let bound = |column: &str| if row.optional(column).is_empty() { Ok(None) } else { row.number(column, 0, LARGEST).map(Some) };
    let gpu = Gpu { model: row.optional("model").to_owned(), memory_mib: row.number_or("gpu_memory_mib", 0, 0, LARGEST)? };
    Ok(Machine {
        name: row.text("name")?.to_owned(),
        cpu_milli: bound("cpu_milli")?,
        memory_mib: bound("memory_mib")?,
        slots: bound("slots")?,
        gpus: vec![gpu; row.number("gpus", 0, MAX_NODE_GPUS)?],
        kinds: Vec::new(),
        rack: row.optional("rack").to_owned(),
        block: row.optional("block").to_owned(),
    })
}
