//! The public files themselves, where they are.

use super::*;
use crate::traces::find;

fn real(file: &str) -> Option<Reading> {
    let source = Source::open(&find(file)?).unwrap();
    Some(jobs(&source, None, &ReadSettings::default()).unwrap())
}

#[test]
fn openb_as_published() {
    let Some(Reading { report, workload }) = real("openb/openb_pod_list_default.csv") else { return };
    assert_eq!((report.rows, report.used, dropped(&report)), (8_152, 7_255, vec![(Dropped::NeverStarted, 897)]));
    let mix: Vec<(&str, u64)> = report.statuses.iter().map(|share| (share.status.as_str(), share.jobs)).collect();
    assert_eq!(mix, [("Running", 5_193), ("Failed", 1_870), ("Succeeded", 192)]);
    assert_eq!(workload.classes.iter().map(|class| class.gpus).max(), Some(8));
    let load = report.offered_load(6_212).unwrap();
    assert!((0.0..0.05).contains(&load), "its own cluster would be almost empty: {load}");
}

#[test]
fn openb_nodes_as_published() {
    let Some(path) = find("openb/openb_node_list_gpu_node.csv") else { return };
    let nodes = nodes(&Source::open(&path).unwrap()).unwrap();
    assert_eq!((nodes.len(), nodes.iter().map(|node| node.gpus.len()).sum::<usize>()), (1_213, 6_212));
}

#[test]
fn a_task_list_without_times_fills_a_cluster_and_is_no_workload() {
    let Some(path) = find("openb/openb_pod_list_multigpu20.csv") else { return };
    let source = Source::open(&path).unwrap();
    assert_eq!(openb_tasks(&source).unwrap().len(), 8_324);
    let error = jobs(&source, None, &ReadSettings::default()).unwrap_err();
    assert!(matches!(&error, ReadError::MissingColumn { column, .. } if column == "creation_time"), "{error}");
}

#[test]
fn lublin_as_published() {
    let Some(Reading { report, workload }) = real("swf/lublin_256.swf") else { return };
    assert_eq!((report.format, report.rows, report.used, report.processors), (Format::Swf, 10_000, 10_000, Some(256)));
    assert_eq!((workload.jobs[0].submit_ms, workload.jobs[0].work_ms, workload.jobs[0].tasks), (5_094_000, 12_072_000, 16));
    assert!(report.notes.iter().any(|note| note.contains("All jobs have the status completed")), "{:?}", report.notes);
}

#[test]
fn philly_as_sia_has_it() {
    let Some(Reading { report, workload }) = real("philly/philly_two_vcs.csv") else { return };
    assert_eq!((report.rows, report.used, workload.queues.len()), (17_526, 17_526, 2));
    assert_eq!(report.begins_s, Some(1_506_261_716));
    assert_eq!(workload.jobs.iter().filter(|job| job.tasks == 2).count(), 19);
}
