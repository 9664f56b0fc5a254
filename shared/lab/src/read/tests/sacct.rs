//! `samples/sacct.txt` is what `sacct -a -P --duplicates` of Slurm 22.05.8 printed on a cluster of two nodes with four GPUs each, real daemons and
//! short jobs: gangs, arrays, a heterogeneous job, one that queued itself twice, jobs over their limit, canceled, and never started.

use super::*;
use crate::workload::Fate;

const REAL: &str = include_str!("../samples/sacct.txt");

fn named<'a>(reading: &'a Reading, name: &str) -> &'a Job {
    let position = reading.workload.names.iter().position(|known| known == name).unwrap_or_else(|| panic!("no job {name}"));
    &reading.workload.jobs[position]
}

#[test]
fn real_output_gives_jobs_without_steps_and_earlier_attempts() {
    let reading = read(REAL).unwrap();
    let report = &reading.report;
    let mut names = reading.workload.names.clone();
    names.sort();
    let expected = [
        "1", "10", "11", "12", "17", "18", "19", "2", "20", "21", "22", "23", "24_1", "25", "3", "4", "5_1", "5_2", "5_3", "5_4", "8", "9",
    ];
    assert_eq!((report.format, names), (Format::Sacct, expected.map(str::to_owned).to_vec()));
    assert!(report.bad_rows.is_empty(), "{:?}", report.bad_rows);
    let counted = [(Dropped::Step, 27), (Dropped::EarlierAttempt, 2), (Dropped::Heterogeneous, 2), (Dropped::NeverStarted, 1)];
    assert_eq!((report.rows, report.used, dropped(report)), (54, 22, counted.to_vec()));
    let mix: Vec<(&str, u64)> = report.statuses.iter().map(|share| (share.status.as_str(), share.jobs)).collect();
    assert_eq!(mix, [("COMPLETED", 17), ("FAILED", 2), ("CANCELLED", 2), ("TIMEOUT", 1)]);
}

#[test]
fn real_output_keeps_demand_limits_and_fates() {
    let reading = read(REAL).unwrap();
    let class = |job: &Job| reading.workload.classes[job.class as usize].clone();
    // Asked for a100, and got it; asked for any GPU, and was given a t4.
    let (bound, free) = (named(&reading, "1"), named(&reading, "5_1"));
    assert_eq!(
        (class(bound).models, class(bound).gpus, class(bound).cpu_milli, class(bound).memory_mib),
        (vec!["a100".to_owned()], 2, 4_000, 8_192)
    );
    assert_eq!((class(free).models, class(free).memory_mib), (Vec::new(), 64_000));
    // Two nodes with two GPUs each.
    let gang = named(&reading, "4");
    assert_eq!((gang.tasks, class(gang).gpus, class(gang).cpu_milli, class(gang).memory_mib, gang.work_ms), (2, 2, 2_000, 2_048, 5_000));
    assert_eq!((bound.estimate_ms, named(&reading, "9").estimate_ms), (Some(86_400_000), None));
    let fates = ["1", "3", "10", "23"].map(|name| named(&reading, name).fate);
    assert_eq!(fates, [Fate::Passed, Fate::Failed, Fate::Killed, Fate::Killed]);
    // Queued again at 13:46:32 and 13:48:33, and submitted at 13:44:50 with the first jobs.
    let again = named(&reading, "11");
    assert_eq!((again.submit_ms, again.work_ms), (0, 2_000));
    assert_eq!((class(named(&reading, "22")).gpus, reading.workload.users[again.user as usize].as_str()), (0, "amira"));
}

#[test]
fn times_and_resources_are_read_as_the_manual_of_sacct_writes_them() {
    let rows = "\
JobID|Submit|Start|End|State|Timelimit|AllocTRES|NNodes
1|2026-01-01T00:00:00|2026-01-01T00:00:10|2026-01-01T00:01:10|NODE_FAIL|2-12|gres/gpu:h100=6,gres/gpu:a100=2,mem=1T|1
1|2026-01-01T00:02:00|2026-01-01T00:02:10|2026-01-01T00:02:30|COMPLETED|Partition_Limit|gres/gpu:h100=8,mem=1T|1
2|1767225600|1767225610|1767225620|OUT_OF_MEMORY|90:30|gres/gpu=3,mem=512K,billing=9|2
3|2026-01-01T00:00:00|2026-01-01T00:00:10|2026-01-01T00:00:05|COMPLETED|1:00|gres/gpu=1|1
4|2026-01-01T00:00:00|2026-01-01T00:00:10|Unknown|RUNNING|1:00|gres/gpu=1|1
5|2026-01-01T00:00:00|2026-01-01T00:00:10|2026-01-01T00:00:15|COMPLETED|soon|gres/gpu=1|1
6|2026-01-01T00:00:00|2026-01-01T00:00:10|2026-01-01T00:00:15|COMPLETED|1:00|gres/gpu=many|1
7_[3-9%2]|2026-01-01T00:00:00|Unknown|Unknown|PENDING|1:00||1
";
    let reading = read(rows).unwrap();
    assert_eq!(reading.workload.names, ["1", "2"]);
    // What node failures took down is one job with its first submission and its last run.
    assert_eq!(figures(&reading, 0), (0, 20_000, 1, 8, 1000));
    assert_eq!(reading.workload.jobs[0].estimate_ms, None);
    assert_eq!(reading.workload.classes[reading.workload.jobs[0].class as usize].memory_mib, 1 << 20);
    // Three GPUs on two nodes cannot be equal tasks of one node each.
    assert_eq!((figures(&reading, 1), reading.workload.jobs[1].estimate_ms), ((0, 10_000, 1, 3, 1000), Some(5_430_000)));
    let words: Vec<String> = reading.report.bad_rows.iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        [
            "line 5, field `End`: it is before `Start`; correct one of them",
            "line 7, field `Timelimit`: unexpected `soon`; use [days-]hours:minutes:seconds, or UNLIMITED",
            "line 8, field `AllocTRES`: unexpected `gres/gpu=many`; use the TRES that sacct prints",
        ]
    );
    // `sacct -p` has a bar at the end of each line.
    let with_bar = read("JobID|Submit|Start|End|State|AllocTRES|\n1|0|1|2|COMPLETED|gres/gpu=2|\n").unwrap();
    assert_eq!(figures(&with_bar, 0), (0, 1_000, 1, 2, 1000));
    let no_gpus = read("JobID|Submit|Start|End|State|NCPUS\n1|0|1|2|COMPLETED|4\n").unwrap();
    assert!(no_gpus.report.notes[0].contains("no job asks for a GPU"), "{:?}", no_gpus.report.notes);
}
