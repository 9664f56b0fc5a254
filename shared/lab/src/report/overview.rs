//! All policies side by side: the table, the differences, and where the GPU time went.

use faultline_engine::words::plural;
use maud::{Markup, html};

use super::chart::{Bar, Chart, Layer, Row, Ticks, bars, intervals};
use super::verdict::SIGNIFICANT;
use super::words::{chance, difference_in_words, in_words};
use super::{Tables, classes};
use crate::tables::{CompareLine, Group, Metric};

/// The columns of the table, and the metrics whose differences are drawn.
const TABLE: [&str; 11] = [
    "goodput",
    "occupancy",
    "ettr",
    "wait_mean_s",
    "wait_p90_s",
    "jct_mean_s",
    "jct_p90_s",
    "slowdown_mean",
    "lost_gpu_h",
    "preempted",
    "jobs_open",
];
const DRAWN: [&str; 5] = ["goodput", "ettr", "wait_mean_s", "jct_mean_s", "slowdown_mean"];
/// A class with less everywhere is not in the legend.
const VISIBLE: f64 = 0.000_5;

/// A row for each policy, with intervals where there are several seeds.
pub(crate) fn table(tables: &Tables) -> Markup {
    let metrics: Vec<&Metric> = TABLE.iter().filter_map(|name| Metric::named(name)).collect();
    html! {
        div.wide { table {
            thead { tr { th { "policy" } th { "ties" } @for metric in &metrics { th.number title=(metric.formula) { (metric.title) } } } }
            tbody {
                @for policy in tables.policies() {
                    tr {
                        th scope="row" { (policy) }
                        td { (tables.tie(policy)) }
                        @for metric in &metrics { td.number { (cell(tables, policy, metric)) } }
                    }
                }
            }
        } }
        details {
            summary { "What each column means" }
            dl { @for metric in &metrics { dt { (metric.title) } dd { (metric.formula) } } }
        }
    }
}

fn cell(tables: &Tables, policy: &str, metric: &Metric) -> Markup {
    let Some(figure) = tables.figure(policy, Group::All, "", metric.name) else { return html! { span.note { "open" } } };
    html! {
        (in_words(metric, figure.mean))
        @if let Some(interval) = figure.interval.filter(|interval| interval.high > interval.low) {
            br; span.note { "± " (difference_in_words(metric, (interval.high - interval.low) / 2.0)) }
        }
        @if figure.seeds < tables.seeds().len() { br; span.note { (figure.seeds) " of " (plural(tables.seeds().len() as u64, "seed")) } }
    }
}

/// One chart for each metric that policies are usually judged by.
pub(crate) fn differences(tables: &Tables) -> Markup {
    let judge = tables.manifest.contents.judge.as_str();
    let others = DRAWN.into_iter().filter(|name| *name != judge);
    let drawn = std::iter::once(judge).chain(others).filter_map(Metric::named).filter_map(|metric| {
        let lines: Vec<&CompareLine> = tables.compare.iter().filter(|line| line.metric == metric.name).collect();
        (!lines.is_empty()).then(|| pairs(metric, &lines))
    });
    html! {
        div.charts { @for chart in drawn { (chart) } }
        details { summary { "The same as a table" } (comparisons(tables)) }
    }
}

fn pairs(metric: &Metric, lines: &[&CompareLine]) -> Markup {
    let row = |line: &&CompareLine| Row {
        label: format!("{} minus {}: {}", line.a, line.b, difference_in_words(metric, line.difference)),
        mean: line.difference,
        paired: (line.paired_low, line.paired_high),
        unpaired: (line.unpaired_low, line.unpaired_high),
        is_told: line.holm_p < SIGNIFICANT,
    };
    let (drawing, height) = intervals(&lines.iter().map(row).collect::<Vec<_>>(), Ticks::of(metric), "difference");
    Chart {
        title: &format!("Differences in {}", metric.title),
        description: "Thick: 95 % interval of the paired difference, filled where it is told from zero after Holm's correction. Thin: the unpaired one.",
        height,
        drawing,
        legend: Vec::new(),
    }
    .show()
}

fn comparisons(tables: &Tables) -> Markup {
    html! {
        div.wide { table {
            thead { tr {
                th { "metric" } th { "policies" } th.number { "seeds" } th.number { "difference" } th.number { "paired 95 % interval" } th.number { "p" }
                th.number { "after Holm" } th.number { "unpaired 95 % interval" }
            } }
            tbody {
                @for line in &tables.compare {
                    @if let Some(metric) = Metric::named(&line.metric) {
                        tr {
                            td { (metric.title) }
                            td { (line.a) " minus " (line.b) }
                            td.number { (line.seeds) }
                            td.number { (difference_in_words(metric, line.difference)) }
                            td.number { (difference_in_words(metric, line.paired_low)) " to " (difference_in_words(metric, line.paired_high)) }
                            td.number { (chance(line.paired_p)) }
                            td.number { (chance(line.holm_p)) }
                            td.number { (difference_in_words(metric, line.unpaired_low)) " to " (difference_in_words(metric, line.unpaired_high)) }
                        }
                    }
                }
            }
        } }
    }
}

/// Every class of GPU time of every policy, mean over the seeds.
pub(crate) fn goodput(tables: &Tables) -> Markup {
    let share = |policy: &String, name: &str| tables.figure(policy, Group::Class, name, "share").map_or(0.0, |figure| figure.mean);
    let layers: Vec<Layer> = classes::ALL
        .iter()
        .map(|class| Layer {
            color: class.color,
            name: class.title,
            shares: tables.policies().iter().map(|policy| share(policy, class.name)).collect(),
        })
        .filter(|layer| layer.shares.iter().any(|share| *share > VISIBLE))
        .collect();
    let labels: Vec<Bar> = tables
        .policies()
        .iter()
        .map(|policy| Bar { label: format!("{policy}: {} productive", super::words::percent(share(policy, "productive"))) })
        .collect();
    let (drawing, height) = bars(&labels, &layers);
    Chart {
        title: "Where the GPU time went",
        description: "Each moment of each GPU is in exactly one class; mean over the seeds. The legend has the classes from left to right.",
        height,
        drawing,
        legend: layers.iter().map(|layer| (layer.color.to_owned(), layer.name.to_owned())).collect(),
    }
    .show()
}
