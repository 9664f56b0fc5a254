//! How much of what is asked for is allocated, over how much is asked for: after Fig. 9a of FGD (Weng et al., USENIX ATC'23), for jobs that also end.

use faultline_engine::goodput::{Class, Group};
use maud::Markup;

use super::Tables;
use super::chart::{Axis, Chart, Line, Ticks, lines, series};
use crate::tables::{JobLine, UsageLine};

/// Stretches of a run are put together by their demand, this much at a time.
const STEP: f64 = 0.1;
/// A step with less of the time is chance.
const RARE: f64 = 0.005;
/// More demand than this is drawn at the right end.
const MOST: f64 = 2.0;
/// Nothing when there is too little to draw.
pub(crate) fn chart(tables: &Tables, seed: u64) -> Option<Markup> {
    let mut drawn = Vec::new();
    for (number, policy) in tables.policies().iter().enumerate() {
        let jobs: Vec<&JobLine> =
            tables.jobs.iter().filter(|line| line.policy == *policy && line.seed == seed && line.end != "impossible").collect();
        let usage: Vec<&UsageLine> = tables.usage.iter().filter(|line| line.policy == *policy && line.seed == seed).collect();
        let points = curve(&tables.classes, &jobs, &usage);
        if points.len() > 1 {
            drawn.push((policy.clone(), Line { color: series(number), points, is_stepped: false }));
        }
    }
    let most = drawn.iter().flat_map(|(_, line)| &line.points).map(|(demand, _)| *demand).fold(0.0, f64::max);
    if most < STEP {
        return None;
    }
    let most = most.max(1.0);
    let (names, mut all): (Vec<String>, Vec<Line>) = drawn.into_iter().unzip();
    let mut legend: Vec<(String, String)> = all.iter().zip(names).map(|(line, name)| (line.color.clone(), name)).collect();
    all.insert(0, Line { color: "ideal".to_owned(), points: vec![(0.0, 0.0), (1.0, 1.0), (most, 1.0)], is_stepped: false });
    legend.push(("ideal".to_owned(), "all that is asked for, or all there is".to_owned()));
    let (across, up) = (Axis::linear(0.0, most, Ticks::Percent), Axis::linear(0.0, 1.0, Ticks::Percent));
    let (drawing, height) = lines(&all, across, up, "GPUs asked for / GPUs of the cluster");
    let description = "Mean share of the GPUs that were allocated while jobs that waited or ran asked for so many; what is below the thin line is unused or down.";
    Some(Chart { title: "Allocation against demand", description, height, drawing, legend }.show())
}

/// Mean allocation at each step of demand.
fn curve(classes: &[String], jobs: &[&JobLine], usage: &[&UsageLine]) -> Vec<(f64, f64)> {
    let is_booked = |name: &String| Class::ALL.into_iter().any(|class| class.group() == Group::Booked && class.as_str() == name);
    let booked: Vec<usize> = classes.iter().enumerate().filter(|(_, name)| is_booked(name)).map(|(at, _)| at).collect();
    let asked = asked_milli_ms(jobs, usage);
    let mut steps: Vec<(f64, f64, f64)> = vec![(0.0, 0.0, 0.0); (MOST / STEP) as usize + 1];
    for (line, asked) in usage.iter().zip(asked) {
        let capacity: f64 = line.gpu_ms.iter().sum();
        if capacity <= 0.0 {
            continue;
        }
        let (demand, held) = ((asked / 1_000.0 / capacity).min(MOST), booked.iter().map(|at| line.gpu_ms[*at]).sum::<f64>());
        let step = &mut steps[(demand / STEP) as usize];
        *step = (step.0 + demand * capacity, step.1 + held, step.2 + capacity);
    }
    let all: f64 = steps.iter().map(|(.., capacity)| capacity).sum();
    steps
        .into_iter()
        .filter(|(.., capacity)| *capacity > all * RARE)
        .map(|(demand, held, capacity)| (demand / capacity, held / capacity))
        .collect()
}

/// GPU-milli-milliseconds that jobs in the system ask for, in each row.
fn asked_milli_ms(jobs: &[&JobLine], usage: &[&UsageLine]) -> Vec<f64> {
    let mut changes: Vec<(u64, i64)> = Vec::with_capacity(2 * jobs.len());
    for job in jobs {
        changes.push((job.submit_ms, job.gpu_milli as i64));
        changes.extend(job.end_ms.map(|end_ms| (end_ms, -(job.gpu_milli as i64))));
    }
    changes.sort_unstable();
    let (mut at, mut asked) = (0, 0i64);
    let mut sums = Vec::with_capacity(usage.len());
    for line in usage {
        let (mut now_ms, mut sum) = (line.from_ms, 0.0);
        while let Some((change_ms, milli)) = changes.get(at).filter(|(change_ms, _)| *change_ms < line.to_ms) {
            let change_ms = (*change_ms).max(now_ms);
            sum += asked as f64 * (change_ms - now_ms) as f64;
            (now_ms, asked, at) = (change_ms, asked + milli, at + 1);
        }
        sums.push(sum + asked as f64 * (line.to_ms - now_ms) as f64);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::super::tests::job;
    use super::*;

    fn usage(from_ms: u64, to_ms: u64, productive: f64, idle: f64) -> UsageLine {
        UsageLine { policy: "a".to_owned(), seed: 1, from_ms, to_ms, waiting: 0.0, running: 0.0, gpu_ms: vec![productive, idle] }
    }

    /// Two GPUs. One job of one GPU from 0 to 15, one of two GPUs from 5 on: 0.5 of the cluster's 2 until 5, 1.5 until 15, 1 after it.
    #[test]
    fn demand_is_that_of_jobs_that_wait_or_run() {
        let jobs = [
            JobLine { gpu_milli: 1_000, submit_ms: 0, end_ms: Some(15), ..job() },
            JobLine { gpu_milli: 2_000, submit_ms: 5, end_ms: None, ..job() },
        ];
        let rows = [usage(0, 5, 5.0, 5.0), usage(5, 15, 15.0, 5.0), usage(15, 20, 10.0, 0.0)];
        let (jobs, rows): (Vec<&JobLine>, Vec<&UsageLine>) = (jobs.iter().collect(), rows.iter().collect());
        assert_eq!(asked_milli_ms(&jobs, &rows), [5_000.0, 30_000.0, 10_000.0]);
        let classes = ["productive", "no_demand"].map(str::to_owned);
        assert_eq!(curve(&classes, &jobs, &rows), [(0.5, 0.5), (1.0, 1.0), (1.5, 0.75)]);
    }
}
