//! Faults, experiments, and kills are ordered, judged, and answered with what happened.

use super::*;

#[tokio::test]
async fn faults_go_to_the_worker_of_the_node() {
    let (app, cluster) = local();
    beat(&app, "a");
    for (body, field) in [
        (r#"{"kind":"explode"}"#, "kind"),
        (r#"{"kind":"crash","for_ms":0}"#, "for_ms"),
        (r#"{"kind":"crash","for_ms":86400001}"#, "for_ms"),
        (r#"{"kind":"slow","factor":11}"#, "factor"),
        (r#"{"kind":"crash","gpu":0}"#, "gpu"),
        (r#"{"kind":"slow","hard":true}"#, "hard"),
    ] {
        let (status, answer) = send_json(&app, "POST", "/api/v1/nodes/a/fault", body).await;
        assert_eq!((status, &answer["error"]["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(field)), "{body}");
    }
    let (status, answer) = send_json(&app, "POST", "/api/v1/nodes/a/fault", r#"{"kind":"slow","for_ms":5000,"factor":3}"#).await;
    assert_eq!((status, &answer["worker"], &answer["for_ms"]), (StatusCode::ACCEPTED, &json!("w"), &json!(5_000)));
    assert_eq!(send_json(&app, "POST", "/api/v1/nodes/a/restore", "").await.0, StatusCode::ACCEPTED);
    assert_eq!(send_json(&app, "POST", "/api/v1/nodes/zzz/fault", r#"{"kind":"crash"}"#).await.0, StatusCode::NOT_FOUND);
    {
        let faults = cluster.faults.lock().unwrap();
        assert_eq!((faults.len(), faults[0].0.as_str(), faults[0].1.factor), (2, "w", 3.0));
    }
    cluster.workers_are_dead.store(true, Ordering::Relaxed);
    for (path, body) in [("fault", r#"{"kind":"crash"}"#), ("restore", "")] {
        let (status, answer) = send_json(&app, "POST", &format!("/api/v1/nodes/a/{path}"), body).await;
        assert_eq!((status, code(&answer)), (StatusCode::CONFLICT, "worker_silent"), "{answer}");
    }
    assert_eq!(cluster.faults.lock().unwrap().len(), 2, "nothing was ordered of a worker that is not there");
}

#[tokio::test]
async fn faults_are_judged_as_the_command_and_experiments_judge_them() {
    let (app, cluster) = local();
    beat(&app, "a");
    for (body, field, words) in [
        (r#"{"kind":"xid_31","for_ms":5000}"#, "for_ms", "does not apply to xid_31: it is over as soon as it has hit an attempt"),
        (r#"{"kind":"restore","for_ms":5000}"#, "for_ms", "does not apply to restore: what is mended stays so"),
        (r#"{"kind":"crash","gpu":0}"#, "gpu", "does not apply to crash: it breaks the whole node"),
        (r#"{"kind":"hang","factor":3}"#, "factor", "does not apply to hang: only slow has a factor"),
    ] {
        let (status, answer) = send_json(&app, "POST", "/api/v1/nodes/a/fault", body).await;
        assert_eq!((status, &answer["error"]["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(field)), "{body}");
        assert!(answer["error"]["message"].as_str().unwrap().ends_with(words), "{answer}");
    }
    assert_eq!(send_json(&app, "POST", "/api/v1/nodes/a/fault", r#"{"kind":"slow"}"#).await.0, StatusCode::ACCEPTED);
    let factor = cluster.faults.lock().unwrap()[0].1.factor;
    assert_eq!(factor, fault::USUAL_SLOW_FACTOR);
    let (_, document) = get(&app, "/api/v1/openapi.json").await;
    let fields = &document["components"]["schemas"]["FaultRequest"]["properties"];
    let told = |field: &str, what: &str| fields[field][what].as_f64();
    assert_eq!(told("factor", "default"), Some(fault::USUAL_SLOW_FACTOR), "{fields}");
    assert_eq!((told("factor", "minimum"), told("factor", "maximum")), (Some(fault::MIN_SLOW_FACTOR), Some(fault::MAX_SLOW_FACTOR)));
    assert_eq!((told("for_ms", "minimum"), told("for_ms", "maximum")), (Some(1.0), Some(fault::MAX_ORDERED_MS as f64)));
    assert_eq!(told("for_ms", "default"), Some(fault::USUAL_FAULT_MS as f64));
}

#[tokio::test]
async fn experiments_are_handed_on_and_their_absence_is_said() {
    let (app, cluster) = local();
    beat(&app, "a");
    let (status, chaos) = get(&app, "/api/v1/chaos").await;
    assert_eq!((status, &chaos["available"]), (StatusCode::OK, &json!(false)));
    assert!(chaos["reason"].as_str().unwrap().contains("faultline up"));
    let (status, answer) = send_json(&app, "POST", "/api/v1/nodes/a/kill", "").await;
    assert_eq!((status, code(&answer)), (StatusCode::NOT_IMPLEMENTED, "no_experiments"));
    assert!(answer["error"]["remedy"].as_str().unwrap().contains("faultline up"));

    *cluster.up.lock().unwrap() = Some(ChaosReply::Started { run: "r1".into(), seed: 7 });
    assert_eq!(get(&app, "/api/v1/chaos").await.1["available"], true);
    let request = r#"{"kind":"kill-percent","percent":30,"for_ms":10000,"hypothesis":"lost=0"}"#;
    assert_eq!(send_json(&app, "POST", "/api/v1/chaos/run", request).await.0, StatusCode::ACCEPTED);
    {
        let orders = cluster.chaos_orders.lock().unwrap();
        assert_eq!((orders.len(), orders[0].percent, orders[0].by.as_str()), (1, 30.0, "the dashboard"));
        assert!(!orders[0].wait_whole);
    }
    for (body, field) in [
        (r#"{"kind":"explode"}"#, "kind"),
        (r#"{"kind":"freeze","target":"a.b"}"#, "target"),
        (r#"{"kind":"freeze","for_ms":86400001}"#, "for_ms"),
        (r#"{"kind":"freeze","for_ms":0}"#, "for_ms"),
        (r#"{"kind":7}"#, "kind"),
        (r#"{"kind":"kill-percent","percent":101}"#, "percent"),
        (r#"{"kind":"freeze","hypothesis":"a\u0007"}"#, "hypothesis"),
        (r#"{"kind":"freeze","hypothesis":"luck>7"}"#, "hypothesis"),
        (r#"{"kind":"freeze","by":"me"}"#, "by"),
    ] {
        let (status, answer) = send_json(&app, "POST", "/api/v1/chaos/run", body).await;
        assert_eq!((status, &answer["error"]["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(field)), "{body}");
    }
    *cluster.up.lock().unwrap() = Some(ChaosReply::Refused { reason: "an experiment runs already".into() });
    let (status, answer) = send_json(&app, "POST", "/api/v1/chaos/run", request).await;
    assert_eq!((status, &answer["error"]["message"]), (StatusCode::CONFLICT, &json!("an experiment runs already")));
    *cluster.up.lock().unwrap() = Some(ChaosReply::Aborting { run: "r1".into() });
    assert_eq!(send_json(&app, "POST", "/api/v1/chaos/abort", "").await.0, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_kill_is_answered_with_what_happened_and_is_no_experiment() {
    let (app, cluster) = local();
    beat(&app, "a");
    beat(&app, "b");
    let kill = || send_json(&app, "POST", "/api/v1/nodes/a/kill", "");
    let process = ProcessSignalled {
        service: "w".into(),
        signal: "SIGKILL".into(),
        pid: 12,
        ended_after_ms: Some(2),
        back: Some(ProcessBack { pid: 34, after_ms: 260 }),
    };
    *cluster.kill_reply.lock().unwrap() = Some(KillReply::Killed(process));
    let (status, answer) = kill().await;
    assert_eq!((status, &answer["pid"], &answer["ended_after_ms"], &answer["nodes"]), (StatusCode::OK, &json!(12), &json!(2), &json!(2)));
    assert_eq!(answer["back"], json!({"pid": 34, "after_ms": 260}));
    assert_eq!(cluster.kills.lock().unwrap()[0], KillRequest { service: "w".into(), by: "the dashboard".into() });
    assert!(cluster.chaos_orders.lock().unwrap().is_empty());
    let node = get(&app, "/api/v1/nodes/a").await.1;
    assert_eq!((&node["worker_nodes"], &node["worker_attempts"]), (&json!(2), &json!(0)));

    *cluster.kill_reply.lock().unwrap() = Some(KillReply::Refused { reason: "w does not run now".into() });
    let (status, answer) = kill().await;
    assert_eq!((status, &answer["error"]["message"]), (StatusCode::CONFLICT, &json!("w does not run now")));
    assert_eq!(send_json(&app, "POST", "/api/v1/nodes/zzz/kill", "").await.0, StatusCode::NOT_FOUND);
}
