//! What was submitted is shown in every state, can be submitted again, and a job is found by a part of its id.

use faultline_engine::job::{Demand, JobSpec, Origin, Param, Params, Submission};

use super::*;

fn spec(n: u64) -> JobSpec {
    JobSpec {
        id: JobId::new(n, 1),
        name: format!("job-{n}"),
        kind: "sleep".into(),
        params: Params::from([("tag".to_owned(), Param::Text("007".into()))]),
        priority: Priority::High,
        demand: Demand { gpu_milli: 500, ..Demand::default() },
        expected_ms: 10,
        timeout_ms: 30_000,
        max_retries: 3,
        submitted_at_ms: n,
        origin: Origin::by("command, user ann@login-1"),
    }
}

fn ended(spec: &JobSpec, n: u64) -> TerminalRecord {
    TerminalRecord { submission: Some(Submission::for_record(spec)), ..record(n) }
}

#[tokio::test]
async fn what_was_submitted_is_shown_waiting_running_and_after_the_end() {
    let (app, cluster) = local();
    // Waiting in the queue, held by the leader, ended and heard of, ended and only in RESULTS.
    app.view.write().jobs.on_open(marker(1));
    cluster.queue.lock().unwrap().insert(JobId::new(1, 1), spec(1));
    let held = crate::view::ended_view(&TerminalRecord { state: JobState::Running, ..ended(&spec(2), 2) });
    cluster.held.lock().unwrap().insert(JobId::new(2, 1), held);
    app.view.write().on_end(ended(&spec(3), 3));
    cluster.records.lock().unwrap().insert(JobId::new(4, 1), Record::Ended(Box::new(ended(&spec(4), 4))));
    for n in 1..=4 {
        let (status, body) = get(&app, &format!("/api/v1/jobs/{}", JobId::new(n, 1))).await;
        let shown = &body["submission"];
        assert_eq!((status, &shown["params"]["tag"], &shown["max_retries"]), (StatusCode::OK, &json!("007"), &json!(3)), "{n}: {body}");
        assert_eq!((&shown["origin"]["by"], &body["demand"]["gpu_milli"]), (&json!("command, user ann@login-1"), &json!(500)), "{n}");
    }
    let (_, page) = get(&app, "/api/v1/jobs").await;
    assert!(page["items"].as_array().unwrap().iter().all(|job| job.get("submission").is_none()), "a list stays small: {page}");
}

#[tokio::test]
async fn large_parameters_of_an_ended_job_are_read_from_its_record() {
    let (app, cluster) = local();
    let large = JobSpec { params: Params::from([("text".to_owned(), Param::Text("x".repeat(4_000)))]), ..spec(1) };
    app.view.write().on_end(ended(&large, 1));
    let path = format!("/api/v1/jobs/{}", JobId::new(1, 1));
    assert!(get(&app, &path).await.1.get("submission").is_none(), "not kept for thousands of jobs");
    cluster.records.lock().unwrap().insert(JobId::new(1, 1), Record::Ended(Box::new(ended(&large, 1))));
    assert_eq!(get(&app, &path).await.1["submission"]["params"]["text"].as_str().unwrap().len(), 4_000);
}

#[tokio::test]
async fn a_model_that_no_node_has_is_taken_with_a_warning_and_a_parameter_that_no_kind_reads_is_not() {
    let (app, cluster) = local();
    let request = r#"{"kind":"sleep","models":["H200"]}"#;
    let warnings = |body: &Value| body.get("warnings").cloned();
    let (status, body) = send_json(&app, "POST", "/api/v1/jobs", request).await;
    assert_eq!((status, warnings(&body)), (StatusCode::CREATED, None), "no node is known");
    let spec = json!({"node": "gpu-node-01", "worker": "w", "incarnation": 1, "gpus": [{"model": "A100", "memory_mib": 1}], "rack": "r", "slots": 1,
        "kinds": ["sleep"], "fault_percent_per_min": 0.0, "telemetry_source": "simulated"});
    let registration = json!({"spec": spec, "registered_at_ms": 1});
    app.view.write().nodes.on_registration(serde_json::from_value(registration).unwrap());
    let (status, body) = send_json(&app, "POST", "/api/v1/jobs", request).await;
    let told = "no node has the GPU model H200; there are A100; the job is given up unless a node with one comes soon";
    assert_eq!((status, warnings(&body)), (StatusCode::CREATED, Some(json!([told]))));
    assert_eq!(cluster.submitted.lock().unwrap().len(), 2);
    let (status, body) = send_json(&app, "POST", "/api/v1/jobs", r#"{"kind":"sleep","params":{"duration":5}}"#).await;
    assert_eq!((status, &body["error"]["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("params")), "{body}");
    assert!(body["error"]["message"].as_str().unwrap().contains("use duration_ms"), "{body}");
}

#[tokio::test]
async fn a_job_is_submitted_again_and_names_the_first() {
    let (app, cluster) = local();
    app.view.write().on_end(ended(&spec(1), 1));
    let path = format!("/api/v1/jobs/{}/resubmit", JobId::new(1, 1));
    let (status, body) = send_json(&app, "POST", &path, r#"{"priority":"low"}"#).await;
    assert_eq!((status, &body["resubmitted_from"]), (StatusCode::CREATED, &json!(JobId::new(1, 1))), "{body}");
    assert_eq!(send_json(&app, "POST", &path, "").await.0, StatusCode::CREATED);
    let submitted = cluster.submitted.lock().unwrap().clone();
    assert_eq!(body["id"], json!(submitted[0].id));
    assert_eq!((submitted[0].priority, submitted[1].priority), (Priority::Low, Priority::High));
    for again in submitted {
        assert_eq!(again.origin.resubmitted_from, Some(JobId::new(1, 1)));
        let same = JobSpec { id: JobId::new(1, 1), submitted_at_ms: 1, priority: Priority::High, origin: spec(1).origin, ..again };
        assert_eq!(same, spec(1));
    }
    // Of an older build, of one that is not known, and with a field that is not.
    app.view.write().on_end(record(2));
    let of = |n: u64| format!("/api/v1/jobs/{}/resubmit", JobId::new(n, 1));
    let (status, body) = send_json(&app, "POST", &of(2), "").await;
    assert_eq!((status, code(&body)), (StatusCode::CONFLICT, "not_kept"));
    assert_eq!(send_json(&app, "POST", &of(9), "").await.0, StatusCode::NOT_FOUND);
    assert_eq!(send_json(&app, "POST", &path, r#"{"kind":"x"}"#).await.0, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_part_of_an_id_means_the_only_job_that_it_fits() {
    let (app, cluster) = local();
    let job = |n: u64, random: u128| JobId::new(1_764_000_000_000 + (n << 20), random << 20 | u128::from(n));
    for (n, random) in [(1, 5), (2, 6)] {
        app.view.write().jobs.on_open(OpenMarker { job: job(n, random), ..marker(n) });
    }
    let (first, second) = (job(1, 5).to_string(), job(2, 6).to_string());
    for part in [&first[first.len() - 9..], &first[..9], &first.to_lowercase()[first.len() - 12..]] {
        let (status, body) = get(&app, &format!("/api/v1/jobs/{part}")).await;
        assert_eq!((status, &body["id"]), (StatusCode::OK, &json!(first)), "{part}: {body}");
    }
    app.view.write().jobs.on_open(OpenMarker { job: job(3, 5), ..marker(3) });
    app.view.write().jobs.on_open(OpenMarker { job: JobId::new(job(1, 5).unix_ms() + 1, 5 << 20 | 1), ..marker(4) });
    let (status, body) = get(&app, &format!("/api/v1/jobs/{}", &first[first.len() - 9..])).await;
    assert_eq!((status, &body["error"]["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("id")));
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains("ambiguous") && message.contains(&first), "{message}");
    let (status, body) = get(&app, "/api/v1/jobs/ZZZZZZZZ").await;
    assert_eq!((status, code(&body)), (StatusCode::NOT_FOUND, "not_found"));
    assert_eq!(get(&app, "/api/v1/jobs/ZZZ").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    *cluster.cancel_outcome.lock().unwrap() = Some(CancelOutcome::Cancelled);
    let (status, body) = send_json(&app, "POST", &format!("/api/v1/jobs/{}/cancel", &second[second.len() - 8..]), "").await;
    assert_eq!((status, &body["job"]), (StatusCode::OK, &json!(second)));
    assert_eq!(get(&app, &format!("/api/v1/events?job={}", &first[first.len() - 9..])).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(get(&app, &format!("/api/v1/events?job={}", &second[second.len() - 9..])).await.0, StatusCode::OK);
}
