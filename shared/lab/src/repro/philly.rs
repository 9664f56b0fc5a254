//! Two virtual clusters of Microsoft's Philly, first come first served, shortest job first, and shortest remaining time first, in the setup of Helios (Hu et al., "Characterization
//! and Prediction of Deep Learning Workloads in Large-Scale GPU Datacenters", SC'21; its artifact is S-Lab-System-Group/HeliosArtifact).
//!
//! Helios published figures for the whole log, which is large. Here are the jobs that the Sia artifact (SOSP'23) has of two of the clusters, on
//! fewer nodes, so that there is a queue; the figures beside ours are from a small program of its own with the same rules.
//!
//! Jobs from October 1 to November 30, 2017, with at least one GPU. Nodes have 8 GPUs. The first job of the order that does not fit blocks the others.
//! Up to 8 GPUs lie on one node, the one with the fewest free that suffice; more are whole nodes. Run times are known.
//!
//! Shortest remaining time first: whenever a job comes or ends, all jobs, running and waiting, are taken in the order of what is left of them; of equal ones
//! the one submitted first. Those go whose GPUs together are no more than the cluster has, one that would be too many is passed over. Others that run are
//! stopped: they lose nothing, and what is left of them grows by 7 s (one GPU), 30 s (up to 8), or 60 s. Of those that are to go and wait, the ones that do not
//! fit anywhere are passed over.

use faultline_planner::{Blocking, DispatchSettings, OrderName, PolicyName, Scores, Settings, TieRule};

use super::Row;
use crate::cluster::{Cluster, NodeModel};
use crate::read::Reading;
use crate::run;
use crate::setup::{InvalidSetup, Setup};
use crate::workload::{Checkpoint, Interval, Job, Workload};

/// October 1 and December 1, 2017, 00:00, in seconds since 1970.
const WINDOW_S: (u64, u64) = (1_506_816_000, 1_512_086_400);

struct Case {
    cluster: &'static str,
    nodes: usize,
    fifo_s: f64,
    sjf_s: f64,
    srtf_s: f64,
}

const CASES: [Case; 2] = [
    Case { cluster: "11cb48", nodes: 4, fifo_s: 245_410.65, sjf_s: 6_548.04, srtf_s: 4_317.51 },
    Case { cluster: "0e4a51", nodes: 12, fifo_s: 179_856.94, sjf_s: 135_424.45, srtf_s: 118_178.96 },
];

/// Mean times from submission to end of both clusters. `reading` is what [`crate::read::jobs`] makes of the file, of all clusters or of these two.
pub fn rows(reading: &Reading) -> Result<Vec<Row>, InvalidSetup> {
    let mut rows = Vec::new();
    for case in &CASES {
        for (order, published) in [(OrderName::Fifo, case.fifo_s), (OrderName::Sjf, case.sjf_s), (OrderName::Srtf, case.srtf_s)] {
            let here = time_to_end_s(reading, case.cluster, case.nodes, order)?;
            let name = format!("{} on {} nodes, {order}: mean time from submission to end", case.cluster, case.nodes);
            rows.push(Row { name, unit: "s", published, here, tolerance: 1.0 });
        }
    }
    Ok(rows)
}

/// One figure in the same setup, for any cluster of the file and number of nodes: `fifo`, `sjf`, or `srtf`.
pub fn time_to_end_s(reading: &Reading, cluster: &str, nodes: usize, order: OrderName) -> Result<f64, InvalidSetup> {
    let jobs = run(&setup(of_cluster(reading, cluster), nodes, order))?.jobs;
    let took_ms = jobs.iter().filter_map(|job| Some(job.end_ms? - job.submit_ms));
    Ok(took_ms.sum::<u64>() as f64 / 1e3 / jobs.len() as f64)
}

fn of_cluster(reading: &Reading, cluster: &str) -> Workload {
    let Reading { workload, report } = reading;
    let begins_s = report.begins_s.unwrap_or(0);
    let is_inside = |job: &&Job| {
        let submit_s = begins_s + job.submit_ms / 1_000;
        (WINDOW_S.0..WINDOW_S.1).contains(&submit_s) && workload.queues[job.queue as usize] == cluster
    };
    let jobs = workload.jobs.iter().filter(is_inside).map(|job| Job { estimate_ms: Some(job.work_ms), ..job.clone() });
    workload.with_jobs(jobs.collect())
}

fn setup(workload: Workload, nodes: usize, order: OrderName) -> Setup {
    let placement = Settings { policy: PolicyName::BestFit, tie: TieRule::First, scores: Scores::Exact, ..Settings::default() };
    let is_srtf = order == OrderName::Srtf;
    let blocking = if is_srtf { Blocking::ByCount } else { Blocking::Strict };
    let dispatch = DispatchSettings { placement, order, blocking, ..DispatchSettings::default() };
    let workload = if is_srtf { stopped_at_a_price(workload) } else { workload };
    Setup {
        keep_attempts: false,
        restarts_add_up: is_srtf,
        ..Setup::new(Cluster::uniform(nodes, &NodeModel::eight_gpus("any"), nodes, 1), workload, dispatch)
    }
}

/// Jobs that lose nothing when they are stopped, and restart for a while.
fn stopped_at_a_price(workload: Workload) -> Workload {
    let restart_s = |job: &Job| match job.tasks * u32::from(workload.classes[job.class as usize].gpus) {
        1 => 7,
        2..=8 => 30,
        _ => 60,
    };
    let jobs = workload.jobs.iter().map(|job| {
        let interval = Interval::Every(job.work_ms.max(1));
        let checkpoint = Checkpoint { interval, write_ms: 0, restore_ms: restart_s(job) * 1_000, on_preemption: true };
        Job { checkpoint: Some(checkpoint), ..job.clone() }
    });
    workload.with_jobs(jobs.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::{ReadSettings, Source, jobs};
    use crate::traces::find;

    #[test]
    fn both_clusters_agree_to_the_second() {
        let Some(path) = find("philly/philly_two_vcs.csv") else { return };
        let reading = jobs(&Source::open(&path).unwrap(), None, &ReadSettings::default()).unwrap();
        let rows = rows(&reading).unwrap();
        let differs: Vec<&Row> = rows.iter().filter(|row| !row.agrees()).collect();
        assert!(differs.is_empty(), "{differs:#?}");
    }

    /// Two nodes: 5 GPUs on the first, 6 on the second; then 2 go where only 2 are free, so that 3 still fit beside the 5, and two whole nodes wait for
    /// all of them.
    #[test]
    fn jobs_lie_where_the_fewest_suffice_and_whole_nodes_wait() {
        let text = "timestamp,duration,num_gpus,gpu_time,cluster
2017-10-01 00:00:00,100,5,0,11cb48
2017-10-01 00:00:01,100,6,0,11cb48
2017-10-01 00:00:02,100,2,0,11cb48
2017-10-01 00:00:03,100,3,0,11cb48
2017-10-01 00:00:04,100,16,0,11cb48
2017-10-01 00:00:05,1,1,0,11cb48
2017-10-01 00:00:05,1,1,0,0e4a51
2017-09-30 23:59:59,1,1,0,11cb48
";
        let reading = jobs(&Source::new("two", text), None, &ReadSettings::default()).unwrap();
        let workload = of_cluster(&reading, "11cb48");
        let starts = |order| {
            let outcome = run(&setup(workload.clone(), 2, order)).unwrap();
            outcome.jobs.iter().map(|job| (job.first_start_ms.unwrap() - 1_000) / 1_000).collect::<Vec<_>>()
        };
        assert_eq!(starts(OrderName::Fifo), [0, 1, 2, 3, 103, 203]);
        assert_eq!(starts(OrderName::Sjf), [0, 1, 2, 3, 103, 100]);
    }

    /// One node of 8 GPUs. A job of 1,000 s for 6 GPUs is stopped at second 100 by one of 100 s for 4, and at second 210, while it restarts for
    /// 30 s, by one of 20 s for 8. What is left of it then are 900 s, 20 s of the first restart, and 30 s of another. At second 220 a job of 5 s
    /// for one GPU leaves too few for the third one, which is stopped with 10 s left, but enough for the first one: that runs for 5 s.
    #[test]
    fn a_job_is_stopped_for_one_with_less_left_and_restarts_add_up() {
        let text = "timestamp,duration,num_gpus,gpu_time,cluster
2017-10-01 00:00:00,1000,6,0,11cb48
2017-10-01 00:01:40,100,4,0,11cb48
2017-10-01 00:03:30,20,8,0,11cb48
2017-10-01 00:03:40,5,1,0,11cb48
";
        let reading = jobs(&Source::new("four", text), None, &ReadSettings::default()).unwrap();
        let outcome = run(&setup(of_cluster(&reading, "11cb48"), 1, OrderName::Srtf)).unwrap();
        assert_eq!(outcome.violations, []);
        let ends: Vec<u64> = outcome.jobs.iter().map(|job| job.end_ms.unwrap() / 1_000).collect();
        assert_eq!(ends, [225 + 40 + 945 + 30, 200, 225 + 10 + 30, 225]);
        assert_eq!(outcome.jobs.iter().map(|job| job.preempted).collect::<Vec<_>>(), [3, 0, 1, 0]);
    }
}
