//! One small file of each format: every column that is read, and each reason to drop a row.

use super::*;
use crate::workload::Fate;

const OPENB: &str = "\
name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time
late,4000,8192,1,1000,,LS,Succeeded,100,4600,1000
share,2000,4096,1,500,V100M16|V100M32,BE,Failed,0,7200,0
queued,2000,4096,1,500,,BE,Pending,50,900,
open,2000,4096,1,500,,BE,Running,60,,70
cpu,4000,8192,0,0,,BE,Running,10,70,10
none,0,1,0,0,,BE,Running,10,70,10
back,1000,1,1,1000,,BE,Failed,10,20,30
";

#[test]
fn openb_gives_tasks_in_the_order_of_their_submission() {
    let reading = read(OPENB).unwrap();
    assert_eq!(reading.workload.names, ["share", "cpu", "late"]);
    assert_eq!(figures(&reading, 0), (0, 7_200_000, 1, 1, 500));
    assert_eq!(figures(&reading, 1), (10_000, 60_000, 1, 0, 0));
    assert_eq!(figures(&reading, 2), (100_000, 3_600_000, 1, 1, 1000));
    assert_eq!(reading.workload.classes[reading.workload.jobs[0].class as usize].models, ["V100M16", "V100M32"]);
    let fates: Vec<Fate> = reading.workload.jobs.iter().map(|job| job.fate).collect();
    assert_eq!(fates, [Fate::Failed, Fate::Unknown, Fate::Passed]);
    let report = &reading.report;
    assert_eq!((report.format, report.rows, report.used, report.span_ms), (Format::Openb, 7, 3, 100_000));
    let each_once = [Dropped::BadField, Dropped::NeverStarted, Dropped::NotEnded, Dropped::AsksForNothing].map(|reason| (reason, 1));
    assert_eq!(dropped(report), each_once);
    assert_eq!(report.bad_rows[0].to_string(), "line 8, field `deletion_time`: it is before `scheduled_time`; correct one of them");
    // Jobs that failed have half of the GPU time: both figures are there.
    assert_eq!(statuses(report), [("Succeeded", 1, 1.0), ("Failed", 1, 1.0), ("Running", 1, 0.0)]);
    // Two GPU hours asked for in 100 seconds.
    assert_eq!(report.offered_load(72), Some(1.0));
    assert_eq!(report.begins_s, None);
}

const SWF: &str = "\
; Version: 2.2
; MaxNodes: 64
; MaxProcs: 256
; Note: MaxProcs is a word that a note may use

1 5094 -1 100 16 -1 -1 -1 200 -1 1 7 -1 -1 3 -1 -1 -1
2 5100 0 50 -1 -1 -1 4 -1 2048 0 -1 -1 -1 -1 -1 -1 -1 extra fields
3 5101 0 0 2 -1 -1 -1 -1 -1 5 -1 -1 -1 -1 -1 -1 -1
4 5102 0 -1 2 -1 -1 -1 -1 -1 1 -1 -1 -1 -1 -1 -1 -1
5 5103 0 10 2 -1 -1 -1 -1 -1 3 -1 -1 -1 -1 -1 -1 -1
6 5104 0 10 -1 -1 -1 -1 -1 -1 1 -1 -1 -1 -1 -1 -1 -1
7 5105 0 10 2 -1 -1
8 5106 0 1.5 2 -1 -1 8 -1 -1 5 -1 -1 -1 -1 -1 1 60
9 -1 0 10 2 -1 -1 -1 -1 -1 1 -1 -1 -1 -1 -1 -1 -1
";

#[test]
fn swf_takes_the_larger_number_of_processors_and_skips_what_never_ran() {
    let reading = read(SWF).unwrap();
    assert_eq!(reading.workload.names, ["1", "2", "8"]);
    assert_eq!(figures(&reading, 0), (5_094_000, 100_000, 16, 1, 1000));
    assert_eq!(figures(&reading, 1), (5_100_000, 50_000, 4, 1, 1000));
    assert_eq!(figures(&reading, 2), (5_106_000, 1_500, 8, 1, 1000));
    let [first, second, third] = [0, 1, 2].map(|job| &reading.workload.jobs[job]);
    assert_eq!((first.estimate_ms, second.estimate_ms), (Some(200_000), None));
    assert_eq!((first.fate, second.fate, third.fate), (Fate::Passed, Fate::Failed, Fate::Killed));
    assert_eq!(reading.workload.users[first.user as usize], "7");
    assert_eq!(reading.workload.queues[first.queue as usize], "3");
    assert_eq!(reading.workload.classes[second.class as usize].memory_mib, 2);
    assert_eq!(reading.report.processors, Some(256));
    let each_once = [Dropped::NeverStarted, Dropped::NotEnded, Dropped::AsksForNothing, Dropped::Step].map(|reason| (reason, 1));
    assert_eq!(dropped(&reading.report), [&[(Dropped::BadField, 2)][..], &each_once].concat());
    assert_eq!(
        reading.report.bad_rows[0].to_string(),
        "line 12, field `8 (requested processors)`: missing: the line has 7 of 18 fields; use -1 for unknown"
    );
    assert!(reading.report.notes[0].starts_with("1 job came after the end of another"), "{:?}", reading.report.notes);
    let cpus = ReadSettings { processors: Processors::Cpus, ..ReadSettings::default() };
    let reading = jobs(&Source::new("FILE", SWF), Some(Format::Swf), &cpus).unwrap();
    let class = &reading.workload.classes[0];
    assert_eq!((class.gpus, class.cpu_milli, reading.workload.jobs[0].tasks), (0, 1_000, 16));
}

#[test]
fn philly_csv_is_sorted_and_large_jobs_become_gangs() {
    let text = "timestamp,duration,num_gpus,gpu_time,cluster
2017-10-09 07:01:55,66.0,1,66.0,b
2017-10-09 07:00:55,10.0,16,160.0,a
2017-10-09 07:00:55,20.0,12,240.0,a
yesterday,20.0,1,20.0,a
2017-10-09 07:00:56,20.0,0,0.0,a
";
    let reading = read(text).unwrap();
    assert_eq!(figures(&reading, 0), (0, 10_000, 2, 8, 1000));
    assert_eq!(figures(&reading, 1), (0, 20_000, 3, 4, 1000));
    assert_eq!(figures(&reading, 2), (60_000, 66_000, 1, 1, 1000));
    assert_eq!((reading.workload.queues.as_slice(), reading.report.begins_s), (&["b".to_owned(), "a".to_owned()][..], Some(1_507_532_455)));
    assert_eq!(dropped(&reading.report), [(Dropped::BadField, 1), (Dropped::AsksForNothing, 1)]);
    let notes = &reading.report.notes;
    assert!(notes[0].contains("does not give statuses") && notes[1].contains("No job has an estimate"), "{notes:?}");
    let settings = ReadSettings { node_gpus: 4, ..ReadSettings::default() };
    let reading = jobs(&Source::new("FILE", text), None, &settings).unwrap();
    assert_eq!((figures(&reading, 0).2, figures(&reading, 0).3), (4, 4));
}

#[test]
fn philly_json_adds_up_attempts_and_keeps_machines() {
    let text = r#"[
 {"status": "Pass", "vc": "v", "jobid": "a", "user": "u", "submitted_time": "2017-10-07 00:00:10", "attempts": [
  {"start_time": "2017-10-07 00:00:30", "end_time": "2017-10-07 00:01:00", "detail": [{"ip": "m1", "gpus": ["gpu0"]}]},
  {"start_time": "2017-10-07 00:02:00", "end_time": "2017-10-07 00:03:00", "detail": [{"ip": "m1", "gpus": ["gpu0", "gpu1"]}, {"ip": "m2", "gpus": ["gpu0", "gpu1"]}]}]},
 {"status": "Killed", "vc": "v", "jobid": "b", "user": null, "submitted_time": "2017-10-07 00:00:00", "attempts": [
  {"start_time": "2017-10-07 00:00:30", "end_time": "2017-10-07 00:00:40", "detail": [{"ip": "m1", "gpus": ["gpu0", "gpu1"]}, {"ip": "m2", "gpus": ["gpu0"]}]},
  {"start_time": null, "end_time": null, "detail": []}]},
 {"status": "Killed", "vc": "v", "jobid": "c", "user": "u", "submitted_time": "2017-10-07 00:00:00", "attempts": []},
 {"status": "Failed", "vc": "v", "jobid": "d", "user": "u", "submitted_time": "2017-10-07 00:00:00", "attempts": [{"start_time": "2017-10-07 00:00:30", "end_time": "None", "detail": []}]},
 {"status": "Pass", "vc": "v", "jobid": "e", "user": "u", "submitted_time": "soon", "attempts": []},
 {"status": "Pass", "vc": 7, "jobid": "f", "user": "u", "submitted_time": "soon", "attempts": []}
]"#;
    let reading = read(text).unwrap();
    assert_eq!(reading.workload.names, ["b", "a"]);
    // Two GPUs here and one there are three equal tasks of one; a gang of two machines with two each keeps its shape.
    assert_eq!(figures(&reading, 0), (0, 10_000, 1, 3, 1000));
    assert_eq!(figures(&reading, 1), (10_000, 90_000, 2, 2, 1000));
    assert_eq!(dropped(&reading.report), [(Dropped::BadField, 2), (Dropped::NeverStarted, 1), (Dropped::NotEnded, 1)]);
    let words: Vec<String> = reading.report.bad_rows.iter().map(ToString::to_string).collect();
    assert_eq!(words[0], "job 5, field `submitted_time`: unexpected `soon`; use a date such as 2017-10-09 07:01:55");
    assert!(words[1].starts_with("job 6, field `vc`: invalid type: integer `7`"), "{}", words[1]);
    assert_eq!(statuses(&reading.report), [("Pass", 1, 0.1), ("Killed", 1, 30.0 / 3600.0)]);
    assert!(error("[{]").starts_with("FILE is not JSON: key must be a string at line 1"), "{}", error("[{]"));
    assert!(error("[] x").starts_with("FILE is not JSON: trailing characters"), "{}", error("[] x"));
    assert_eq!(error("[]"), "FILE has no rows behind its first line: add at least one");
}

#[test]
fn helios_has_gangs_by_nodes_and_jobs_without_gpus() {
    let text = "\
job_id,user,vc,gpu_num,cpu_num,node_num,state,submit_time,start_time,end_time,duration,queue
1,u1,vc1,16,96,2,COMPLETED,2020-04-01 00:00:04,2020-04-01 00:00:05,2020-04-01 01:00:05,3600,1
2,u2,vc2,0,8,1,FAILED,2020-04-01 00:00:02,2020-04-01 00:00:02,2020-04-01 00:00:12,10,0
3,u2,vc2,8,8,1,CANCELLED,2020-04-01 00:00:02,None,2020-04-01 00:00:12,0,10
4,u2,vc2,8,8,1,TIMEOUT,2020-04-01 00:00:02,2020-04-01 00:00:02,2020-04-01 00:00:12,x,10
";
    let reading = read(text).unwrap();
    assert_eq!(figures(&reading, 0), (0, 10_000, 1, 0, 0));
    assert_eq!(figures(&reading, 1), (2_000, 3_600_000, 2, 8, 1000));
    assert_eq!(reading.workload.classes[reading.workload.jobs[1].class as usize].cpu_milli, 48_000);
    assert_eq!(reading.workload.queues, ["vc1", "vc2"]);
    assert_eq!(statuses(&reading.report), [("COMPLETED", 1, 16.0), ("FAILED", 1, 0.0)]);
    assert_eq!(dropped(&reading.report), [(Dropped::BadField, 1), (Dropped::NeverStarted, 1)]);
    assert_eq!(reading.report.bad_rows[0].to_string(), "line 5, field `duration`: unexpected `x`; use seconds from 0 to 4000000000");
}

#[test]
fn own_columns_have_defaults_and_limits() {
    let text = "\
submit_s,duration_s,tasks,gpu_milli,cpu_milli,memory_mib,models,user,queue,priority,estimate_s,status,name
1.5,60,4,2000,1000,512,H100|A100,ada,vision,7,90,passed,a
0,3600,,250,,,,,,,,,b
2,1,1,1500,,,,,,,,,c
2,1,1,1000,,,,,,,,done,d
2,1,0,1000,,,,,,,,,e
2,1,1,1000,,,,,,256,,,f
";
    let reading = read(text).unwrap();
    assert_eq!(figures(&reading, 0), (0, 3_600_000, 1, 1, 250));
    assert_eq!(figures(&reading, 1), (1_500, 60_000, 4, 2, 1000));
    let job = &reading.workload.jobs[1];
    assert_eq!((job.priority, job.estimate_ms, job.fate, job.min_tasks), (7, Some(90_000), Fate::Passed, 4));
    let words: Vec<String> = reading.report.bad_rows.iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        [
            "line 4, field `gpu_milli`: more than one GPU, and not whole ones; use at most 1000, or a multiple of 1000",
            "line 5, field `status`: unexpected `done`; use passed, failed, killed, or unknown",
            "line 6, field `tasks`: unexpected `0`; use a whole number from 1 to 100000",
            "line 7, field `priority`: unexpected `256`; use a whole number from 0 to 255",
        ]
    );
    // The shortest table, with all jobs at once: no load can be told.
    let reading = read("gpu_milli,duration_s,submit_s\n1000,5,0\n").unwrap();
    assert_eq!((reading.report.used, reading.report.offered_load(8), reading.workload.names.len()), (1, None, 0));
}

#[test]
fn nodes_come_in_two_tables() {
    let own = nodes(&Source::new("FILE", "name,gpus,model,gpu_memory_mib,rack,slots\na,8,H100,81920,r1,\nb,0,,,r2,4\n")).unwrap();
    assert_eq!((own[0].gpus.len(), own[0].gpus[0].memory_mib, own[0].cpu_milli, own[0].rack.as_str()), (8, 81_920, None, "r1"));
    assert_eq!((own[1].gpus.len(), own[1].slots), (0, Some(4)));
    let openb = nodes(&Source::new("FILE", "sn,cpu_milli,memory_mib,gpu,model\na,64000,262144,2,P100\n")).unwrap();
    assert_eq!((openb[0].name.as_str(), openb[0].cpu_milli, openb[0].gpus.len()), ("a", Some(64_000), 2));
    let error = |text: &str| nodes(&Source::new("FILE", text)).unwrap_err().to_string();
    let columns = "sn,cpu_milli,memory_mib,gpu,model";
    let all = columns.replace(',', ", ");
    assert_eq!(error(""), format!("FILE, line 1: missing column `sn`: the first line has no columns; name the columns {all} there"));
    assert_eq!(error(&format!("{columns}\n")), "FILE has no rows behind its first line: add at least one");
    assert_eq!(error(&format!("{columns}\na,1,1,1,\n")), "FILE, line 2, field `model`: it is empty; fill it in");
    assert_eq!(
        error("name,gpus\na,1\na,2\n"),
        "FILE, line 3, field `name`: `a` is also the node of row 1; give each node a name of its own"
    );
    assert_eq!(error("name,gpus\na,17\n"), "FILE, line 2, field `gpus`: unexpected `17`; use a whole number from 0 to 16");
    assert_eq!(
        error("name,count\na,1\n"),
        "FILE, line 1: missing column `gpus`: the first line has `name,count`; name the columns name, gpus there"
    );
}
