//! What happened when, in the first seed.

use maud::{Markup, html};

use super::chart::{Axis, Chart, Layer, Line, Ticks, areas, lines, series};
use super::{Tables, classes, demand};
use crate::tables::UsageLine;

/// A class that never has more is left out.
const VISIBLE: f64 = 0.002;

pub(crate) fn charts(tables: &Tables) -> Markup {
    let Some(seed) = tables.seeds().first().copied() else { return html! {} };
    let of = |policy: &str| -> Vec<&UsageLine> { tables.usage.iter().filter(|line| line.policy == policy && line.seed == seed).collect() };
    html! {
        div.charts {
            (queue(tables, &of))
            (unusable(tables, &of))
            @if let Some(chart) = demand::chart(tables, seed) { (chart) }
            @for policy in tables.policies() {
                @let usage = of(policy);
                @if !usage.is_empty() { (stack(tables, policy, &usage)) }
            }
        }
        p.note { "Over time: the run of seed " (seed) "." }
    }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

fn stack(tables: &Tables, policy: &str, usage: &[&UsageLine]) -> Markup {
    let instants: Vec<f64> =
        usage.iter().take(1).map(|line| seconds(line.from_ms)).chain(usage.iter().map(|line| seconds(line.to_ms))).collect();
    let share = |line: &UsageLine, column: usize| line.gpu_ms[column] / line.gpu_ms.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let layer = |class: &classes::Drawn| {
        let column = tables.classes.iter().position(|name| name == class.name)?;
        let shares: Vec<f64> = usage.iter().map(|line| share(line, column)).collect();
        shares.iter().any(|share| *share > VISIBLE).then_some(Layer { color: class.color, name: class.title, shares })
    };
    let layers: Vec<Layer> = classes::ALL.iter().filter_map(layer).collect();
    let (drawing, height) = areas(&instants, &layers);
    Chart {
        title: &format!("GPU time of {policy}"),
        description: "Shares of the cluster's GPU time; the legend has the classes from the bottom up.",
        height,
        drawing,
        legend: layers.iter().map(|layer| (layer.color.to_owned(), layer.name.to_owned())).collect(),
    }
    .show()
}

fn queue<'a>(tables: &'a Tables, of: &dyn Fn(&str) -> Vec<&'a UsageLine>) -> Markup {
    over_time(tables, of, &|line| line.waiting, Ticks::Number, ("Jobs that wait", "Mean number over each stretch."))
}

/// Free GPUs that no job that waits can use where they are.
const UNUSABLE: [&str; 3] = ["fragmented", "stranded", "constrained"];

fn unusable<'a>(tables: &'a Tables, of: &dyn Fn(&str) -> Vec<&'a UsageLine>) -> Markup {
    let columns: Vec<usize> = UNUSABLE.iter().filter_map(|class| tables.classes.iter().position(|name| name == class)).collect();
    let share = |line: &UsageLine| {
        columns.iter().map(|column| line.gpu_ms[*column]).sum::<f64>() / line.gpu_ms.iter().sum::<f64>().max(f64::MIN_POSITIVE)
    };
    let words = (
        "Fragmentation",
        "GPU time that was free while jobs waited that could not use it where it was (fragmented, stranded, or constrained), as a share of the cluster's.",
    );
    over_time(tables, of, &share, Ticks::Percent, words)
}

/// One line for each policy.
fn over_time<'a>(
    tables: &'a Tables,
    of: &dyn Fn(&str) -> Vec<&'a UsageLine>,
    value: &dyn Fn(&UsageLine) -> f64,
    ticks: Ticks,
    (title, description): (&str, &str),
) -> Markup {
    let drawn: Vec<(String, Line)> = tables
        .policies()
        .iter()
        .enumerate()
        .map(|(at, policy)| {
            let points = of(policy).iter().map(|line| (seconds(line.from_ms), value(line))).collect();
            (policy.clone(), Line { color: series(at), points, is_stepped: true })
        })
        .collect();
    let ends = drawn.iter().flat_map(|(_, line)| &line.points);
    let (last, most) = ends.fold((0.0f64, 0.0f64), |(last, most), (at, value)| (last.max(*at), most.max(*value)));
    let (names, all): (Vec<String>, Vec<Line>) = drawn.into_iter().unzip();
    let legend = all.iter().zip(names).map(|(line, name)| (line.color.clone(), name)).collect();
    let across = Axis::linear(0.0, last, Ticks::Duration);
    let (drawing, height) = lines(&all, across, Axis::linear(0.0, most, ticks), "time since the beginning");
    Chart { title, description, height, drawing, legend }.show()
}
