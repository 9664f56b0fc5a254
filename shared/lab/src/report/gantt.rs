//! What ran on a few nodes, with their faults, policy by policy.

use maud::{Markup, html};

use super::Tables;
use super::chart::{Axis, Chart, Span, Ticks, spans};
use super::sample::on;
use crate::tables::AttemptLine;

/// How an attempt ended, its color, and the words of the legend.
const ENDS: [(&str, &str, &str); 7] = [
    ("done", "w1", "ran to its end"),
    ("fault", "l2", "ended by a fault"),
    ("preempted", "l1", "preempted"),
    ("resized", "w4", "went on with other tasks"),
    ("failed", "d3", "failed by itself"),
    ("killed", "d4", "killed"),
    ("open", "w2", "still ran"),
];
const DOWN: &str = "d1";
/// Charts beside each other are compared; more are not.
const MOST: usize = 4;

pub(crate) fn charts(tables: &Tables) -> Markup {
    let sample = &tables.sample;
    html! {
        div.charts {
            @for policy in tables.policies().iter().take(MOST) { (chart(tables, policy)) }
        }
        p.note {
            "A sample of " (sample.nodes.len()) " nodes: those whose faults ended most attempts, then those on which most ran. The same nodes and time for every policy"
            @if tables.policies().len() > MOST { "; the first " (MOST) " policies" }
            "."
        }
    }
}

fn chart(tables: &Tables, policy: &str) -> Markup {
    let sample = &tables.sample;
    let seconds = |ms: u64| ms as f64 / 1_000.0;
    let ends: Vec<(&str, &str, &str)> = ENDS.into_iter().filter(|(end, ..)| sample.attempts.iter().any(|line| line.end == *end)).collect();
    let mut rows: Vec<(String, Vec<Span>)> = Vec::new();
    for node in &sample.nodes {
        let here: Vec<&AttemptLine> =
            sample.attempts.iter().filter(|line| line.policy == policy && on(line).any(|other| other == *node)).collect();
        let mut drawn: Vec<Span> = here
            .iter()
            .map(|line| {
                let color = ENDS.iter().find(|(end, ..)| *end == line.end).map_or(DOWN, |(_, color, _)| color);
                let words = format!("job {}, attempt {}: {}", line.job, line.attempt, line.end);
                Span { from: seconds(line.start_ms), to: seconds(line.end_ms.unwrap_or(sample.to_ms)), color, words, is_down: false }
            })
            .collect();
        drawn.extend(sample.faults.iter().filter(|fault| fault.policy == policy && fault.node == *node && fault.extent == "node").map(
            |fault| Span {
                from: seconds(fault.from_ms),
                to: seconds(fault.until_ms.unwrap_or(sample.to_ms)),
                color: DOWN,
                words: format!("{}, {}: ended {} attempts", fault.extent, fault.origin, fault.interrupted),
                is_down: true,
            },
        ));
        rows.push((node.to_string(), drawn));
    }
    let across = Axis::linear(seconds(sample.from_ms), seconds(sample.to_ms), Ticks::Duration);
    let (drawing, height) = spans(&rows, across, "time since the beginning");
    let mut legend: Vec<(String, String)> = ends.iter().map(|(_, color, words)| ((*color).to_owned(), (*words).to_owned())).collect();
    if !sample.faults.is_empty() {
        legend.push((DOWN.to_owned(), "node down; the cross is the fault".to_owned()));
    }
    Chart {
        title: &format!("What ran where with {policy}"),
        description: "One row for each node, with its number. Attempts that shared a node lie below each other.",
        height,
        drawing,
        legend,
    }
    .show()
}
