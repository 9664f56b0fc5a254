//! JSON lines and the table.

use faultline_planner::TieRule;
use serde_json::{Value, json};

use crate::measure::{Load, Measured};
use crate::memory::Memory;

pub(crate) fn line(measured: &Measured, tie: TieRule) -> Value {
    json!({
        "policy": measured.policy.as_str(),
        "tie": tie.as_str(),
        "nodes": measured.nodes,
        "waiting_classes": measured.classes,
        "load": measured.load.as_str(),
        "placements_per_s": measured.placements_per_s.round(),
        "longest_pass_us": measured.longest_pass.as_micros(),
        "freed_place_us": measured.freed_place.map(|took| (took.as_secs_f64() * 1e8).round() / 100.0),
        "longest_question_us": measured.longest_question.as_micros(),
        "index_bytes_per_node": measured.index_bytes_per_node.round(),
    })
}

pub(crate) fn memory_line(memory: &Memory) -> Value {
    json!({ "bytes_per_waiting_job": memory.waiting_job.round(), "bytes_per_node": memory.node.round() })
}

/// Placements a second, a row for each policy, load, and number of classes; a column for each number of nodes.
pub(crate) fn table(all: &[Measured], memory: &Memory) -> String {
    let mut nodes: Vec<u32> = all.iter().map(|measured| measured.nodes).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let mut rows: Vec<(&str, Load, u32)> = Vec::new();
    for measured in all {
        let row = (measured.policy.as_str(), measured.load, measured.classes);
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    let heads: String = nodes.iter().map(|nodes| format!(" {nodes} nodes |")).collect();
    let rule = "--- |".repeat(nodes.len() + 3);
    let mut text = format!("| policy | load | classes |{heads}\n|{rule}\n");
    for (policy, load, classes) in rows {
        text.push_str(&format!("| {policy} | {} | {classes} |", load.as_str()));
        for count in &nodes {
            let cell = all.iter().find(|one| (one.policy.as_str(), one.load, one.classes, one.nodes) == (policy, load, classes, *count));
            text.push_str(&cell.map_or(" |".to_owned(), |one| format!(" {} |", thousands(one.placements_per_s))));
        }
        text.push('\n');
    }
    let longest = all.iter().max_by_key(|one| one.longest_pass);
    let freed = all.iter().filter(|one| one.freed_place.is_some()).max_by_key(|one| one.freed_place);
    text.push_str(&format!("\nA waiting job takes {:.0} bytes, a node {:.0}.\n", memory.waiting_job, memory.node));
    if let Some(one) = longest {
        let what = format!("{}, {} nodes, {} classes, {}", one.policy.as_str(), one.nodes, one.classes, one.load.as_str());
        text.push_str(&format!("The longest pass took {:.2} ms ({what}).\n", one.longest_pass.as_secs_f64() * 1e3));
    }
    if let Some((one, took)) = freed.and_then(|one| Some((one, one.freed_place?))) {
        let what = format!("{}, {} nodes, {} classes", one.policy.as_str(), one.nodes, one.classes);
        text.push_str(&format!("A freed place cost {:.1} us at most ({what}).\n", took.as_secs_f64() * 1e6));
    }
    if let Some(one) = all.iter().max_by_key(|one| one.longest_question) {
        let what = format!("{}, {} nodes, {}", one.policy.as_str(), one.nodes, one.load.as_str());
        text.push_str(&format!(
            "The longest question about what would fit took {:.2} ms ({what}).\n",
            one.longest_question.as_secs_f64() * 1e3
        ));
    }
    text
}

/// `12 k`, or `3.4 k` below ten.
fn thousands(rate: f64) -> String {
    if rate < 10_000.0 { format!("{:.1} k", rate / 1e3) } else { format!("{:.0} k", rate / 1e3) }
}
