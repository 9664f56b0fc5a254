//! Jobs by size, user, and queue.

use maud::{Markup, html};

use super::chart::{Axis, Chart, Dot, Ticks, dots, series};
use super::words::{in_words, percent, rounded, seconds};
use super::{Figure, Tables};
use crate::tables::{Group, Metric, SizeClass};

/// The columns of the tables.
const COLUMNS: [&str; 8] = ["jobs", "gpu_h", "wait_mean_s", "wait_p90_s", "jct_mean_s", "slowdown_mean", "ettr", "lost_gpu_h"];

pub(crate) fn sections(tables: &Tables) -> Markup {
    html! {
        div.charts { (ettr(tables)) }
        @for (group, title) in [(Group::Size, "By size, in GPUs"), (Group::Queue, "By queue"), (Group::User, "By user")] {
            @let groups = names(tables, group);
            @if !groups.is_empty() {
                details open[group == Group::Size] { summary { (title) } (table(tables, group, &groups)) }
            }
        }
    }
}

/// In the order of the summary, which is that of size, or of how much was asked for.
fn names(tables: &Tables, group: Group) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for line in tables.summary.iter().filter(|line| line.group == group) {
        if !names.contains(&line.of) {
            names.push(line.of.clone());
        }
    }
    if group == Group::Size {
        names.sort_by_key(|name| SizeClass::ALL.iter().position(|size| size.as_str() == name));
    }
    names
}

fn table(tables: &Tables, group: Group, names: &[String]) -> Markup {
    html! {
        div.wide { table {
            thead { tr { th { "group" } th { "policy" } @for column in COLUMNS { th.number { (title(column)) } } } }
            tbody {
                @for name in names {
                    @for policy in tables.policies() {
                        tr {
                            th scope="row" { @if name.is_empty() { "(none)" } @else { (name) } }
                            td { (policy) }
                            @for column in COLUMNS { td.number { (cell(column, tables.figure(policy, group, name, column))) } }
                        }
                    }
                }
            }
        } }
    }
}

fn title(column: &str) -> &str {
    Metric::named(column).map_or("GPU hours", |metric| metric.title)
}

fn cell(column: &str, figure: Option<Figure>) -> String {
    match (figure, Metric::named(column)) {
        (None, _) => "open".to_owned(),
        (Some(figure), Some(metric)) if metric.is_share() => percent(figure.mean),
        (Some(figure), Some(metric)) if metric.is_duration() => seconds(figure.mean),
        (Some(figure), Some(metric)) if column != "jobs" => in_words(metric, figure.mean),
        (Some(figure), _) => rounded(figure.mean),
    }
}

fn ettr(tables: &Tables) -> Markup {
    let sizes: Vec<String> = names(tables, Group::Size).into_iter().filter(|name| name != SizeClass::None.as_str()).collect();
    let mut all = Vec::new();
    for (group, size) in sizes.iter().enumerate() {
        for (at, policy) in tables.policies().iter().enumerate() {
            if let Some(figure) = tables.figure(policy, Group::Size, size, "ettr") {
                let interval = figure.interval.map(|interval| (interval.low, interval.high));
                all.push(Dot { group, series: at, value: figure.mean, interval });
            }
        }
    }
    let (drawing, height) = dots(&sizes, tables.policies().len(), &all, Axis::linear(0.0, 1.0, Ticks::Percent), "GPUs of a job");
    Chart {
        title: "ETTR by size",
        description: "Productive / (queued + scheduled) time of the jobs of a size, mean over the seeds with its 95 % interval.",
        height,
        drawing,
        legend: tables.policies().iter().enumerate().map(|(at, policy)| (series(at), policy.clone())).collect(),
    }
    .show()
}
