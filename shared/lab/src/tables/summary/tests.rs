use faultline_planner::TaskClass;

use super::*;

const MINUTE_MS: u64 = 60_000;

fn job(submit_ms: u64, class: u32, work_ms: u64, user: u32) -> Job {
    Job { user, ..Job::new(submit_ms, class, work_ms) }
}

fn row(job: u64, submit_ms: u64, first_start_ms: Option<u64>, end_ms: Option<u64>, end: End) -> JobRow {
    let [wait_ms, run_ms] =
        [first_start_ms.unwrap_or(20 * MINUTE_MS) - submit_ms, end_ms.zip(first_start_ms).map_or(0, |(end, start)| end - start)];
    JobRow {
        first_start_ms,
        end_ms,
        end,
        attempts: u32::from(first_start_ms.is_some()),
        wait_ms,
        run_ms,
        productive_ms: run_ms,
        ..JobRow::new(job, submit_ms)
    }
}

/// Two GPUs for twenty minutes. Job 0 came during the warm-up; 1 has half a GPU for ten minutes at once; 2 has one after a minute for nine;
/// 3 waits at the end; 4 is impossible.
fn lines() -> Vec<SummaryLine> {
    let gpu = |gpu_milli| TaskClass { gpus: 1, gpu_milli, ..TaskClass::default() };
    let workload = Workload {
        jobs: vec![
            job(0, 0, MINUTE_MS, 0),
            job(MINUTE_MS, 0, 10 * MINUTE_MS, 0),
            job(2 * MINUTE_MS, 1, 9 * MINUTE_MS, 1),
            job(3 * MINUTE_MS, 1, MINUTE_MS, 1),
            job(4 * MINUTE_MS, 1, MINUTE_MS, 1),
        ],
        classes: vec![gpu(500), gpu(1_000)],
        queues: vec!["q".to_owned()],
        users: vec!["alice".to_owned(), "bob".to_owned()],
        names: Vec::new(),
    };
    let jobs = [
        row(0, 0, Some(0), Some(MINUTE_MS), End::Committed),
        row(1, MINUTE_MS, Some(MINUTE_MS), Some(11 * MINUTE_MS), End::Committed),
        row(2, 2 * MINUTE_MS, Some(3 * MINUTE_MS), Some(12 * MINUTE_MS), End::Committed),
        row(3, 3 * MINUTE_MS, None, None, End::Open),
        row(4, 4 * MINUTE_MS, None, Some(4 * MINUTE_MS), End::Impossible),
    ];
    let classes = [("down", 500), ("productive", 1_000), ("lost", 100), ("restore", 100), ("no_demand", 300)];
    summarize(&Run {
        policy: "fgd",
        tie: "first",
        seed: 1,
        workload: &workload,
        jobs: &jobs,
        attempts: &[],
        classes: classes.to_vec(),
        waiting: Waiting { queue_ms: 17 * MINUTE_MS, rows: Vec::new() },
        warm_up_ms: MINUTE_MS,
        end_ms: 20 * MINUTE_MS,
    })
}

fn value(lines: &[SummaryLine], group: Group, of: &str, metric: &str) -> Option<f64> {
    let mut found = lines.iter().filter(|line| line.group == group && line.of == of && line.metric == metric);
    let line = found.next().unwrap_or_else(|| panic!("no {metric} of {of:?}"));
    assert!(found.next().is_none(), "{metric} of {of:?} is there twice");
    line.value
}

#[test]
fn shares_are_those_of_the_classes() {
    let lines = lines();
    let all = |metric| value(&lines, Group::All, "", metric).unwrap();
    assert_eq!([all("goodput"), all("availability"), all("lost_share")], [0.5, 0.75, 0.05]);
    assert_eq!([all("occupancy"), all("runtime_goodput")], [0.8, 1_000.0 / 1_200.0]);
    assert_eq!(value(&lines, Group::Class, "restore", "share"), Some(0.05));
    assert_eq!(all("queue_share"), 17.0 / 19.0);
}

#[test]
fn times_count_open_jobs_and_leave_out_warm_up_and_impossible_ones() {
    let lines = lines();
    let all = |metric| value(&lines, Group::All, "", metric);
    assert_eq!((all("jobs"), all("jobs_open"), all("jobs_impossible")), (Some(4.0), Some(1.0), Some(1.0)));
    // Waits 0, 1, and so far 17 minutes; times 10, 10, and so far 17.
    assert_eq!(all("wait_mean_s"), Some(360.0));
    assert_eq!((all("wait_p50_s"), all("wait_p90_s")), (Some(60.0), None), "a third never started: no 90 % is known");
    assert_eq!(all("jct_mean_s"), Some(740.0));
    assert_eq!((all("jct_p50_s"), all("jct_p99_s")), (Some(600.0), None));
    // (0 + 10) / 10 and (1 + 9) / 9.
    assert!((all("slowdown_mean").unwrap() - (1.0 + 10.0 / 9.0) / 2.0).abs() < 1e-12);
    assert_eq!(all("makespan_s"), Some(19.0 * 60.0));
    // Productive 10 x 0.5 + 9 of (10 x 0.5 + 10 + 17).
    assert!((all("ettr").unwrap() - 14.0 / 32.0).abs() < 1e-12);
}

#[test]
fn groups_have_their_own_figures() {
    let lines = lines();
    assert_eq!(value(&lines, Group::Size, "below 1", "jct_mean_s"), Some(600.0));
    assert_eq!(value(&lines, Group::Size, "1", "jobs"), Some(3.0));
    assert_eq!(value(&lines, Group::User, "bob", "wait_mean_s"), Some(9.0 * 60.0));
    assert!(!lines.iter().any(|line| line.group == Group::Queue), "one queue is all jobs");
    assert!(lines.iter().all(|line| line.group != Group::Size || line.of != "8"));
}
