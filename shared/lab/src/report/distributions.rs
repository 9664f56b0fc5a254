//! How long jobs waited and took, as distributions, in the first seed.

use maud::{Markup, html};

use super::Tables;
use super::chart::{Axis, Chart, Line, Ticks, lines, series};
use crate::statistics::{KaplanMeier, Observation};
use crate::tables::JobLine;

/// Left end of the axis: what is shorter is drawn there.
const SHORTEST_S: f64 = 1.0;

pub(crate) fn charts(tables: &Tables) -> Markup {
    html! {
        div.charts {
            (chart(tables, "Wait until the first start", &|line| line.first_start_ms))
            (chart(tables, "Completion time", &|line| line.end_ms))
        }
    }
}

fn chart(tables: &Tables, title: &str, event: &dyn Fn(&JobLine) -> Option<u64>) -> Markup {
    let Some(seed) = tables.jobs.iter().map(|line| line.seed).min() else { return html! {} };
    let counted: Vec<&JobLine> = tables.jobs.iter().filter(|line| line.seed == seed && line.counts && line.end != "impossible").collect();
    let run_ended_ms = tables.usage.iter().filter(|line| line.seed == seed).map(|line| line.to_ms).max().unwrap_or(0);
    let mut longest: f64 = 0.0;
    let mut all = Vec::new();
    for (at, policy) in tables.policies().iter().enumerate() {
        let observed = counted.iter().filter(|line| line.policy == *policy).map(|line| {
            let until = event(line);
            let open_ms = line.end_ms.unwrap_or_else(|| run_ended_ms.max(line.submit_ms));
            Observation { time: until.unwrap_or(open_ms).saturating_sub(line.submit_ms) as f64 / 1_000.0, ended: until.is_some() }
        });
        let estimate = KaplanMeier::new(observed.collect());
        let mut points = vec![(SHORTEST_S, 0.0)];
        points.extend(estimate.steps().iter().map(|step| (step.time, 1.0 - step.longer)));
        longest = points.last().map_or(longest, |(time, _)| longest.max(*time));
        all.push((policy.clone(), Line { color: series(at), points, is_stepped: true }));
    }
    let (names, mut drawn): (Vec<String>, Vec<Line>) = all.into_iter().unzip();
    for line in &mut drawn {
        // All lines end at the right, so that the share which is known to have ended can be read there.
        let last = line.points.last().map_or(0.0, |(_, share)| *share);
        line.points.push((longest, last));
    }
    let legend = drawn.iter().zip(names).map(|(line, name)| (line.color.clone(), name)).collect();
    let across = Axis::logarithmic(SHORTEST_S, longest);
    let (drawing, height) = lines(&drawn, across, Axis::linear(0.0, 1.0, Ticks::Percent), "time, logarithmic");
    let description =
        "Share of the jobs that took no longer; open jobs count (Kaplan-Meier). Times below a second are drawn at one second.";
    Chart { title, description, height, drawing, legend }.show()
}
