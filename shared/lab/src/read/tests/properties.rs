//! Whatever a file contains, its reader answers; and what it answers adds up.

use proptest::prelude::*;

use super::*;

/// Headers that show each format, with an idea of what rows look like.
const HEADS: [&str; 8] = [
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time",
    "; MaxProcs: 8",
    "timestamp,duration,num_gpus,gpu_time,cluster",
    "[",
    "job_id,user,vc,gpu_num,cpu_num,node_num,state,submit_time,start_time,end_time,duration,queue",
    "JobID|User|Submit|Start|End|Elapsed|Timelimit|State|NNodes|NCPUS|AllocTRES|ReqTRES",
    "submit_s,duration_s,tasks,gpu_milli,cpu_milli,memory_mib,models,user,queue,priority,estimate_s,status",
    "1 2 -1 4 5 -1 -1 -1 -1 -1 1 -1 -1 -1 -1 -1 -1 -1",
];

/// Fields that some column of some format reads, and extremes.
fn field() -> impl Strategy<Value = String> {
    let known = [
        "",
        "-1",
        "0",
        "1",
        "2.5",
        "8",
        "16",
        "1000",
        "4294967295",
        "18446744073709551616",
        "1e308",
        "NaN",
        "inf",
        "-0",
        "None",
        "Unknown",
        "1-00:00:00",
        "4294967295-23:59:59",
        "::",
        "-",
        "1_2",
        "1+0",
        "1.batch",
        "COMPLETED",
        "CANCELLED by 0",
        "REQUEUED",
        "2017-10-09 07:01:55",
        "2026-12-01T13:44:50",
        "9999-12-31T23:59:59Z",
        "-009999-01-01T00:00:00",
        "gres/gpu=4,mem=62.50G",
        "gres/gpu:a=4000000000,gres/gpu:b=4000000000",
        "mem=1e308P",
        "cpu=",
        "=",
        "passed",
        "UNLIMITED",
        "\"",
        "V100|T4",
        "é",
        "\u{0}",
    ];
    prop_oneof![9 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

fn table() -> impl Strategy<Value = String> {
    let row = prop::collection::vec(field(), 0..20);
    (prop::sample::select(HEADS.to_vec()), prop::collection::vec(row, 0..8)).prop_map(|(head, rows)| {
        let delimiter = if head.contains('|') {
            "|"
        } else if head.contains(',') {
            ","
        } else {
            " "
        };
        std::iter::once(head.to_owned()).chain(rows.iter().map(|row| row.join(delimiter))).collect::<Vec<_>>().join("\n")
    })
}

fn adds_up(reading: &Reading) {
    let Reading { workload, report } = reading;
    assert_eq!(report.used, workload.jobs.len() as u64);
    assert_eq!(report.rows, report.used + report.dropped.iter().map(|dropped| dropped.rows).sum::<u64>());
    assert!(report.used > 0 && workload.jobs.is_sorted_by_key(|job| job.submit_ms));
    assert!(workload.names.is_empty() || workload.names.len() == workload.jobs.len());
    for job in &workload.jobs {
        let class = &workload.classes[job.class as usize];
        assert!(job.tasks >= 1 && job.min_tasks == job.tasks && class.gpus <= 16 && class.gpu_milli <= 1000);
        assert!(class.gpus > 0 || class.cpu_milli > 0);
        assert!((job.queue as usize) < workload.queues.len() && (job.user as usize) < workload.users.len());
    }
}

proptest! {
    #[test]
    fn any_table_is_read_or_refused(text in table()) {
        if let Ok(reading) = read(&text) {
            adds_up(&reading);
        }
    }

    #[test]
    fn any_text_is_read_or_refused_in_any_format(text in any::<String>(), head in prop::sample::select(HEADS.to_vec())) {
        for format in Format::ALL {
            for text in [text.clone(), format!("{head}\n{text}")] {
                let source = Source::new("FILE", text);
                if let Ok(reading) = jobs(&source, Some(format), &ReadSettings::default()) {
                    adds_up(&reading);
                }
                let _ = (nodes(&source), openb_tasks(&source));
            }
        }
    }

    #[test]
    fn any_bytes_are_text_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let is_text = std::str::from_utf8(&bytes).is_ok();
        prop_assert_eq!(Source::from_bytes("FILE", bytes).is_ok(), is_text);
    }

    #[test]
    fn any_job_list_is_read_or_refused(
        times in prop::collection::vec(prop::option::of(field()), 2..5),
        gpus in prop::collection::vec(0usize..20, 0..4),
    ) {
        let machines: Vec<_> = gpus.iter().map(|gpus| serde_json::json!({"gpus": vec!["gpu"; *gpus]})).collect();
        let attempt = serde_json::json!({"start_time": times[0], "end_time": times[1], "detail": machines});
        let job = serde_json::json!({"status": "Pass", "vc": "v", "jobid": "j", "submitted_time": times.last(), "attempts": [attempt]});
        if let Ok(reading) = read(&format!("[{job},\n{job}]")) {
            adds_up(&reading);
        }
    }

    /// The division keeps what a job asks for in all, whatever a node has.
    #[test]
    fn a_division_into_tasks_keeps_the_gpus(gpus in 0u32..5_000, nodes in 0u32..600, node_gpus in 0u16..20) {
        let (tasks, class) = builder::Whole { gpus, nodes, ..Default::default() }.divided(node_gpus);
        prop_assert_eq!(tasks * u32::from(class.gpus), gpus);
        prop_assert!(class.gpus <= 16);
    }
}
