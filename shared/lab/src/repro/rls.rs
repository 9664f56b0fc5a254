//! Queue orders with and without backfilling on a synthetic workload: the table of RLScheduler's heuristics (Zhang et al., "RLScheduler", SC'20;
//! its artifact is DIR-LAB/deep-batch-scheduler), and textbook EASY on the whole workload.
//!
//! 256 processors, one pool. Ten sequences of 1,024 jobs each begin on an empty machine. The figure is the mean over the sequences of the mean
//! bounded slowdown over the jobs. The positions of the sequences are those that the artifact draws with its seed 1.
//!
//! The artifact's scheduler takes the first job of the order and keeps it until it starts, whatever arrives ([`Blocking::Sticky`]). With
//! backfilling it computes that start once, and lets others ahead that end before it ([`Blocking::ByTime`]). Its WFP3 and UNICEF read the time a job
//! waited before the job has a start, so that the latest submission goes first: the figures `as published` have this mistake on purpose.

use faultline_engine::goodput::bounded_slowdown;
use faultline_planner::{Blocking, DispatchSettings, OrderName};

use super::Row;
use crate::cluster::Cluster;
use crate::outcome::{JobRow, Outcome};
use crate::setup::{InvalidSetup, Passes, Setup};
use crate::statistics::mean;
use crate::workload::{Job, Workload};
use crate::{in_parallel, run};

const PROCESSORS: usize = 256;
const STARTS: [usize; 10] = [1981, 2756, 4299, 8850, 3316, 2714, 5228, 7762, 4022, 7085];
const SEQUENCE: usize = 1_024;
/// The published figures have two decimals.
const TOLERANCE: f64 = 0.01;

/// Where the figure beside ours is from.
const PUBLISHED: &str = "published";
/// Computed by a small program of its own from the same definitions, because it was not published.
const INDEPENDENT: &str = "independent program";

/// One figure of the table.
struct Cell {
    order: OrderName,
    blocking: Blocking,
    source: &'static str,
    slowdown: f64,
}

const fn cell(order: OrderName, blocking: Blocking, source: &'static str, slowdown: f64) -> Cell {
    Cell { order, blocking, source, slowdown }
}

const TABLE: [Cell; 14] = [
    cell(OrderName::Fifo, Blocking::Sticky, PUBLISHED, 7273.77),
    cell(OrderName::Sjf, Blocking::Sticky, PUBLISHED, 277.35),
    cell(OrderName::F1, Blocking::Sticky, PUBLISHED, 258.37),
    cell(OrderName::Wfp3AsPublished, Blocking::Sticky, PUBLISHED, 19_753.53),
    cell(OrderName::Wfp3, Blocking::Sticky, INDEPENDENT, 337.34),
    cell(OrderName::UniAsPublished, Blocking::Sticky, PUBLISHED, 22_274.74),
    cell(OrderName::Uni, Blocking::Sticky, INDEPENDENT, 381.71),
    cell(OrderName::Fifo, Blocking::ByTime, PUBLISHED, 235.82),
    cell(OrderName::Sjf, Blocking::ByTime, PUBLISHED, 73.31),
    cell(OrderName::F1, Blocking::ByTime, PUBLISHED, 75.07),
    cell(OrderName::Wfp3AsPublished, Blocking::ByTime, PUBLISHED, 133.87),
    cell(OrderName::Wfp3, Blocking::ByTime, INDEPENDENT, 126.50),
    cell(OrderName::UniAsPublished, Blocking::ByTime, PUBLISHED, 307.23),
    cell(OrderName::Uni, Blocking::ByTime, INDEPENDENT, 103.10),
];

/// The table, then EASY. `workload` is lublin_256 as [`crate::read::jobs`] reads it.
pub fn rows(workload: &Workload) -> Result<Vec<Row>, InvalidSetup> {
    // EASY is the last one.
    let cells: Vec<Option<&Cell>> = TABLE.iter().map(Some).chain([None]).collect();
    let rows = in_parallel(&cells, |cell| match cell {
        Some(cell) => row(cell, workload).map(|row| vec![row]),
        None => easy(workload),
    })?;
    Ok(rows.concat())
}

/// Consecutive jobs. Without an estimate, the run time stands for it, as in the artifact.
fn part(workload: &Workload, start: usize, count: usize) -> Workload {
    let jobs = workload.jobs.iter().skip(start).take(count);
    let jobs = jobs.map(|job| Job { estimate_ms: Some(job.estimate_ms.unwrap_or(job.work_ms)), ..job.clone() });
    workload.with_jobs(jobs.collect())
}

fn setup(workload: Workload, order: OrderName, blocking: Blocking, passes: Passes) -> Setup {
    let dispatch = DispatchSettings { order, blocking, ..DispatchSettings::default() };
    Setup { passes, keep_attempts: false, ..Setup::new(Cluster::processors(PROCESSORS), workload, dispatch) }
}

fn row(cell: &Cell, workload: &Workload) -> Result<Row, InvalidSetup> {
    let backfilling = if cell.blocking == Blocking::ByTime { "with" } else { "without" };
    let name = format!("{}, {backfilling} backfilling: bounded slowdown ({})", cell.order, cell.source);
    Ok(Row { name, unit: "", published: cell.slowdown, here: slowdown(workload, cell.order, cell.blocking)?, tolerance: TOLERANCE })
}

/// One figure in the setup of the table, for any workload of 256 processors: the artifact has several.
pub fn slowdown(workload: &Workload, order: OrderName, blocking: Blocking) -> Result<f64, InvalidSetup> {
    let slowdowns = STARTS.iter().map(|start| {
        let sequence = part(workload, *start, SEQUENCE);
        Ok(mean_slowdown(&run(&setup(sequence, order, blocking, Passes::EachEvent))?.jobs))
    });
    Ok(mean(&slowdowns.collect::<Result<Vec<f64>, InvalidSetup>>()?))
}

fn mean_slowdown(jobs: &[JobRow]) -> f64 {
    mean(&jobs.iter().map(|job| bounded_slowdown(job.wait_ms, job.run_ms)).collect::<Vec<f64>>())
}

/// Textbook EASY on all jobs: first come first served, a reservation for the first job that does not fit, and others that end before it or need only
/// processors that it leaves over.
fn easy(workload: &Workload) -> Result<Vec<Row>, InvalidSetup> {
    let cases = [(Blocking::Easy, [590.05, 97_156.0, 0.9363]), (Blocking::EasyShortest, [219.56, 73_394.0, 0.8977])];
    let rows = cases.map(|(blocking, figures)| easy_rows(workload, blocking, figures));
    Ok(rows.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
}

fn easy_rows(workload: &Workload, blocking: Blocking, figures: [f64; 3]) -> Result<Vec<Row>, InvalidSetup> {
    let all = part(workload, 0, workload.jobs.len());
    let Outcome { jobs, end_ms, .. } = run(&setup(all, OrderName::Fifo, blocking, Passes::EachInstant))?;
    let wait_s = jobs.iter().map(|job| job.wait_ms as f64 / 1e3).sum::<f64>() / jobs.len() as f64;
    let busy_ms: u64 = workload.jobs.iter().map(|job| u64::from(job.tasks) * job.work_ms).sum();
    let span_ms = end_ms - workload.jobs.first().map_or(0, |job| job.submit_ms);
    let utilization = busy_ms as f64 / (PROCESSORS as u64 * span_ms) as f64;
    let row = |name: &str, unit, published, here, tolerance| {
        let name = format!("{blocking}, all jobs: {name} ({INDEPENDENT})");
        Row { name, unit, published, here, tolerance }
    };
    let [slowdown, wait, utilized] = figures;
    Ok(vec![
        row("bounded slowdown", "", slowdown, mean_slowdown(&jobs), TOLERANCE),
        row("mean wait", "s", wait, wait_s, 1.0),
        row("utilization", "", utilized, utilization, 0.0001),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::{ReadSettings, Source, jobs};
    use crate::traces::find;

    #[test]
    fn the_table_comes_out_as_published_with_its_mistake_and_without() {
        let Some(path) = find("swf/lublin_256.swf") else { return };
        let reading = jobs(&Source::open(&path).unwrap(), None, &ReadSettings::default()).unwrap();
        let rows = rows(&reading.workload).unwrap();
        let differs: Vec<&Row> = rows.iter().filter(|row| !row.agrees()).collect();
        assert!(differs.is_empty(), "{differs:#?}");
        // The published mistake shows without any table: an order that favors who waited long is worse than first come, first served.
        let here = |name: &str| rows.iter().find(|row| row.name.starts_with(name)).map(|row| row.here).unwrap();
        assert!(here("wfp3-as-published, without") > 2.0 * here("fifo, without"));
        assert!(here("wfp3, without") < here("fifo, without"));
    }

    /// Three jobs on the machine, by hand: the first takes all of it, the second waits for it, and the third could start at once.
    #[test]
    fn a_short_job_goes_ahead_only_with_backfilling() {
        let text = "1 0 -1 100 200 -1 -1 -1 -1 -1 1 -1 -1 -1 -1 -1 -1 -1
2 1 -1 100 256 -1 -1 -1 -1 -1 1 -1 -1 -1 -1 -1 -1 -1
3 2 -1 50 10 -1 -1 -1 -1 -1 1 -1 -1 -1 -1 -1 -1 -1
4 3 -1 98 10 -1 -1 -1 -1 -1 1 -1 -1 -1 -1 -1 -1 -1\n";
        let reading = jobs(&Source::new("three", text), None, &ReadSettings::default()).unwrap();
        let starts = |blocking| {
            let setup = setup(part(&reading.workload, 0, 4), OrderName::Fifo, blocking, Passes::EachEvent);
            run(&setup).unwrap().jobs.iter().map(|job| job.first_start_ms.unwrap() / 1_000).collect::<Vec<_>>()
        };
        assert_eq!(starts(Blocking::Sticky), [0, 100, 200, 200]);
        // The last one would end at second 101, after the second job's start at 100.
        assert_eq!(starts(Blocking::ByTime), [0, 100, 2, 200]);
    }
}
