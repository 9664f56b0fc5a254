//! The routes on a fake cluster, without a socket; who is let in is in `admission`.

mod admission;
mod breaking;
mod explain;
mod goodput;
mod past;
mod processes;
mod submission;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use faultline_engine::fault;
use faultline_engine::job::{JobId, Priority};
use faultline_protocol::messages::{
    CancelOutcome, ChaosReply, ClusterEvent, EventKind, Heartbeat, JobState, KillReply, KillRequest, Level, OpenMarker, ProcessBack,
    ProcessSignalled, TerminalRecord,
};
use futures::StreamExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::fake::{FakeCluster, app};
use super::router;
use crate::app::App;
use crate::cluster::Record;
use crate::guard::{Caller, Guard};
use crate::push::Taken;
use crate::settings::{Admission, Token};
use crate::view::{LeaderAnswer, event_seq};

fn local() -> (App, Arc<FakeCluster>) {
    let (app, cluster, _) = app(Guard::new("127.0.0.1:8080".parse().unwrap(), Admission { owner: true, token: None }));
    (app, cluster)
}

fn request(method: &str, path: &str) -> axum::http::request::Builder {
    let owner = Caller { is_owner: true, ..Caller::UNKNOWN };
    Request::builder().method(method).uri(path).header(header::HOST, "127.0.0.1:8080").extension(owner)
}

async fn send(app: &App, request: Request<Body>) -> (StatusCode, Value, axum::http::HeaderMap) {
    let response = router(app.clone()).oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = to_bytes(response.into_body(), 1 << 24).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null), headers)
}

async fn get(app: &App, path: &str) -> (StatusCode, Value) {
    let (status, body, _) = send(app, request("GET", path).body(Body::empty()).unwrap()).await;
    (status, body)
}

async fn send_json(app: &App, method: &str, path: &str, body: impl Into<Body>) -> (StatusCode, Value) {
    let request = request(method, path).header(header::CONTENT_TYPE, "application/json").body(body.into()).unwrap();
    let (status, body, _) = send(app, request).await;
    (status, body)
}

fn code(body: &Value) -> &str {
    assert!(!body["error"]["message"].as_str().unwrap().is_empty());
    body["error"]["code"].as_str().unwrap()
}

fn marker(n: u64) -> OpenMarker {
    OpenMarker { job: JobId::new(n, 1), name: format!("job-{n}"), kind: "sleep".into(), priority: Priority::High, submitted_at_ms: n }
}

fn record(n: u64) -> TerminalRecord {
    TerminalRecord {
        job: JobId::new(n, 1),
        name: format!("job-{n}"),
        kind: "sleep".into(),
        priority: Priority::High,
        state: JobState::Committed,
        attempt: None,
        open_seq: 1,
        submitted_at_ms: n,
        ended_at_ms: n + 1,
        result: "slept".into(),
        reason: String::new(),
        failures: 0,
        requeues: 0,
        history: vec![],
        submission: None,
    }
}

fn beat(app: &App, node: &str) {
    let heartbeat = json!({"node": node, "worker": "w", "incarnation": 1, "seq": 1, "sent_at_ms": 1, "running": [], "gpus": []});
    app.view.write().on_heartbeat(serde_json::from_value::<Heartbeat>(heartbeat).unwrap(), 1);
}

#[tokio::test]
async fn jobs_are_paged_and_filtered() {
    let (app, _) = local();
    (1..=5).for_each(|n| app.view.write().jobs.on_open(marker(n)));
    app.view.write().on_end(record(6));
    let (status, page) = get(&app, "/api/v1/jobs?per_page=4&state=queued").await;
    assert_eq!((status, page["items"].as_array().unwrap().len()), (StatusCode::OK, 4));
    assert_eq!(page["items"][0]["name"], "job-5");
    assert_eq!(page["stale_since_ms"], 1_000, "no scheduler has answered yet");
    assert_eq!((&page["total"], &page["page"], &page["per_page"]), (&json!(5), &json!(1), &json!(4)));
    let (_, last) = get(&app, "/api/v1/jobs?per_page=4&state=queued&page=2").await;
    assert_eq!((last["items"].as_array().unwrap().len(), &last["items"][0]["name"]), (1, &json!("job-1")));
    let (status, body) = get(&app, "/api/v1/jobs?per_page=0").await;
    assert_eq!((status, code(&body), &body["error"]["field"]), (StatusCode::UNPROCESSABLE_ENTITY, "invalid", &json!("per_page")));
}

#[tokio::test]
async fn a_job_comes_from_the_leader_its_record_or_memory() {
    let (app, cluster) = local();
    let held = JobId::new(1, 1);
    let view = crate::view::ended_view(&TerminalRecord { state: JobState::Queued, ..record(1) });
    cluster.held.lock().unwrap().insert(held, view);
    cluster.records.lock().unwrap().insert(JobId::new(2, 1), Record::Ended(Box::new(record(2))));
    cluster.records.lock().unwrap().insert(JobId::new(4, 1), Record::Open(marker(4)));
    app.view.write().jobs.on_open(marker(3));
    app.view.write().on_end(record(5));
    let source = async |n: u64| {
        let (status, body) = get(&app, &format!("/api/v1/jobs/{}", JobId::new(n, 1))).await;
        (status.as_u16(), body["source"].as_str().unwrap_or_default().to_owned(), body["stale_since_ms"].is_number())
    };
    assert_eq!(source(1).await, (200, "scheduler".into(), false));
    assert_eq!(source(2).await, (200, "record".into(), false));
    assert_eq!(source(3).await, (200, "memory".into(), false));
    assert_eq!(source(4).await, (200, "memory".into(), false));
    assert_eq!(source(5).await, (200, "record".into(), false));
    assert_eq!(source(9).await.0, 404);
    // A job of a pack has its index in the path, whole or in a part of the id; its neighbours are other jobs.
    let of_pack = |idx| JobId::of(JobId::new(6, 1).pack(), idx, 20);
    app.view.write().on_end(TerminalRecord { job: of_pack(17), ..record(6) });
    for part in [of_pack(17).to_string(), faultline_engine::job::short_id(of_pack(17)).trim_start_matches('…').to_lowercase()] {
        let (status, body) = get(&app, &format!("/api/v1/jobs/{part}")).await;
        assert_eq!((status.as_u16(), &body["id"]), (200, &json!(of_pack(17))), "{part}: {body}");
    }
    assert_eq!(get(&app, &format!("/api/v1/jobs/{}", of_pack(1))).await.0, StatusCode::NOT_FOUND);
    let (_, page) = get(&app, &format!("/api/v1/jobs?q={}", of_pack(17))).await;
    assert_eq!(page["items"][0]["id"], json!(of_pack(17)), "{page}");
    cluster.silent.store(true, Ordering::Relaxed);
    assert_eq!(source(3).await, (200, "memory".into(), true));
    assert_eq!(get(&app, "/api/v1/jobs/nonsense").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(get(&app, "/api/v1/jobs/%ff").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn every_refusal_has_the_same_shape() {
    let (app, _) = local();
    let (status, body, _) = send(&app, request("GET", "/api/v1/nowhere").body(Body::empty()).unwrap()).await;
    assert_eq!((status, code(&body)), (StatusCode::NOT_FOUND, "not_found"));
    let (status, body, headers) = send(&app, request("DELETE", "/api/v1/rate").body(Body::empty()).unwrap()).await;
    assert_eq!((status, code(&body)), (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"));
    assert!(headers[header::ALLOW].to_str().unwrap().contains("PUT"));
    let (status, body) = send_json(&app, "PUT", "/api/v1/rate", "{\"jobs").await;
    assert_eq!((status, code(&body)), (StatusCode::BAD_REQUEST, "bad_json"));
    let (status, body) = send_json(&app, "POST", "/api/v1/jobs", vec![b' '; 65 * 1024]).await;
    assert_eq!((status, code(&body)), (StatusCode::PAYLOAD_TOO_LARGE, "too_large"));
    let form = request("PUT", "/api/v1/rate").header(header::CONTENT_TYPE, "text/plain").body(Body::from("{}")).unwrap();
    let (status, body, _) = send(&app, form).await;
    assert_eq!((status, code(&body)), (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"));
    let (status, body) = get(&app, "/api/v1/ws").await;
    assert_eq!((status, code(&body)), (StatusCode::BAD_REQUEST, "no_websocket"));
    let (status, body, _) = send(&app, Request::builder().uri("/").header(header::HOST, "evil.example").body(Body::empty()).unwrap()).await;
    assert_eq!((status, code(&body)), (StatusCode::FORBIDDEN, "wrong_host"));
    let foreign = request("POST", "/api/v1/jobs").header(header::ORIGIN, "http://evil.example").body(Body::from("{}")).unwrap();
    assert_eq!(send(&app, foreign).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test(start_paused = true)]
async fn setting_the_rate_waits_for_the_generators_answer() {
    let (app, _) = local();
    let set = || send_json(&app, "PUT", "/api/v1/rate", r#"{"jobs_per_minute":10}"#);
    let (status, body) = set().await;
    assert_eq!((status, &body["in_force_per_minute"]), (StatusCode::ACCEPTED, &Value::Null), "no generator runs");
    let mut said = json!({"jobs_per_minute": 2.0, "rate_revision": 7, "rate_refused": "no", "weights": {}, "mix_revision": 0, "at_ms": 0});
    app.view.write().on_in_force(serde_json::from_value(said.clone()).unwrap(), app.now_ms());
    let (status, body) = set().await;
    assert_eq!((status, &body["in_force_per_minute"], &body["refused"]), (StatusCode::OK, &json!(2.0), &json!("no")));
    (said["jobs_per_minute"], said["rate_refused"]) = (json!(10.0), Value::Null);
    app.view.write().on_in_force(serde_json::from_value(said).unwrap(), app.now_ms());
    let (status, body) = set().await;
    assert_eq!((status, &body["in_force_per_minute"], &body["refused"]), (StatusCode::OK, &json!(10.0), &Value::Null));
}

#[tokio::test]
async fn a_silent_nats_is_told_with_its_time() {
    let (app, cluster) = local();
    assert_eq!(get(&app, "/api/v1/stats").await.1.get("nats_silent_since_ms"), None);
    *cluster.nats_silent_for.lock().unwrap() = Some(Duration::from_secs(6));
    let (before, (_, stats)) = (app.now_ms(), get(&app, "/api/v1/stats").await);
    let since = stats["nats_silent_since_ms"].as_u64().unwrap();
    assert!((before - 6_000..=app.now_ms() - 6_000).contains(&since), "{since}");
    assert_eq!(get(&app, "/healthz").await.1["nats_connected"], false);
}

#[tokio::test(start_paused = true)]
async fn the_rate_has_bounds_and_presets() {
    let (app, cluster) = local();
    let (_, body) = get(&app, "/api/v1/rate").await;
    assert_eq!((&body["load_percent"], &body["jobs_per_minute"], &body["preset"]), (&json!(60.0), &json!(0.0), &Value::Null));
    for (request, field) in [
        (json!({"jobs_per_minute": 50.1}), "jobs_per_minute"),
        (json!({"jobs_per_minute": 0}), "jobs_per_minute"),
        (json!({"jobs_per_minute": -1e300}), "jobs_per_minute"),
        (json!({"jobs_per_minute": "fast"}), "jobs_per_minute"),
        (json!({}), "jobs_per_minute"),
        (json!({"preset": "Ludicrous"}), "preset"),
        (json!({"preset": "Normal", "jobs_per_minute": 2}), "preset"),
        (json!({"load_percent": 60, "jobs_per_minute": 2}), "load_percent"),
        (json!({"load_percent": 0}), "load_percent"),
        (json!({"load_percent": 201}), "load_percent"),
        (json!({"rate": 3}), "rate"),
    ] {
        let (status, body) = send_json(&app, "PUT", "/api/v1/rate", request.to_string()).await;
        assert_eq!((status, &body["error"]["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(field)), "{request}");
    }
    assert!(cluster.rate.lock().unwrap().is_none());
    let (status, body) = send_json(&app, "PUT", "/api/v1/rate", r#"{"preset":"high load"}"#).await;
    assert_eq!((status, &body["jobs_per_minute"], &body["preset"]), (StatusCode::ACCEPTED, &json!(10.0), &json!("High Load")));
    assert_eq!(get(&app, "/api/v1/rate").await.1["jobs_per_minute"], 10.0);
    assert_eq!(send_json(&app, "PUT", "/api/v1/rate", r#"{"jobs_per_minute":0.1}"#).await.0, StatusCode::ACCEPTED);
    assert_eq!(send_json(&app, "PUT", "/api/v1/rate", r#"{"load_percent":90}"#).await.1["load_percent"], 90.0);
}

#[tokio::test]
async fn jobs_are_submitted_in_numbers() {
    let (app, cluster) = local();
    let (status, body) = send_json(&app, "POST", "/api/v1/jobs", r#"{"kind":"matrix","size":512,"gpus":0.5,"count":10000}"#).await;
    assert_eq!((status, &body["submitted"], body["ids"].as_array().unwrap().len()), (StatusCode::CREATED, &json!(10_000), 10_000));
    assert_eq!(cluster.submitted.lock().unwrap().len(), 10_000);
    cluster.submitted.lock().unwrap().clear();
    cluster.room.store(5, Ordering::Relaxed);
    let (status, body) = send_json(&app, "POST", "/api/v1/jobs", r#"{"kind":"matrix","count":20}"#).await;
    assert_eq!((status, code(&body), &body["submitted"]), (StatusCode::SERVICE_UNAVAILABLE, "queue_full", &json!(5)));
    let (status, body) = send_json(&app, "POST", "/api/v1/jobs", r#"{"kind":"matrix","count":20}"#).await;
    assert_eq!((status, code(&body), body.get("ids")), (StatusCode::SERVICE_UNAVAILABLE, "queue_full", None));
    let (status, body) = send_json(&app, "POST", "/api/v1/jobs", r#"{"kind":"matrix","count":10001}"#).await;
    assert_eq!((status, &body["error"]["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("count")));
}

#[tokio::test]
async fn cancelling_says_what_became_of_it() {
    let (app, cluster) = local();
    let path = format!("/api/v1/jobs/{}/cancel", JobId::new(1, 1));
    let cancel = async |outcome| {
        *cluster.cancel_outcome.lock().unwrap() = Some(outcome);
        send_json(&app, "POST", &path, "").await.0.as_u16()
    };
    assert_eq!(cancel(CancelOutcome::Cancelled).await, 200);
    assert_eq!(cancel(CancelOutcome::AlreadyEnded).await, 409);
    assert_eq!(cancel(CancelOutcome::NotFound).await, 404);
    assert_eq!(cancel(CancelOutcome::Failed).await, 503);
    cluster.silent.store(true, Ordering::Relaxed);
    let (status, body) = send_json(&app, "POST", &path, "").await;
    assert_eq!((status, code(&body)), (StatusCode::SERVICE_UNAVAILABLE, "no_scheduler"));
    assert!(body["error"]["remedy"].is_string());
}

#[tokio::test]
async fn all_matching_jobs_are_cancelled_but_not_by_accident() {
    let (app, cluster) = local();
    (1..=250).for_each(|n| app.view.write().jobs.on_open(marker(n)));
    app.view.write().on_end(record(251));
    *cluster.cancel_outcome.lock().unwrap() = Some(CancelOutcome::Cancelled);
    for (body, field) in [
        ("{}", "all"),
        (r#"{"all":true,"kind":"sleep"}"#, "all"),
        (r#"{"state":"committed"}"#, "state"),
        (r#"{"node":"a.b"}"#, "node"),
        (r#"{"colour":"red"}"#, "colour"),
    ] {
        let (status, answer) = send_json(&app, "POST", "/api/v1/jobs/cancel", body).await;
        assert_eq!((status, &answer["error"]["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(field)), "{body}");
    }
    let (status, answer) = send_json(&app, "POST", "/api/v1/jobs/cancel", r#"{"kind":"sleep"}"#).await;
    assert_eq!(
        (status, &answer["matched"], &answer["cancelled"], &answer["more"]),
        (StatusCode::OK, &json!(250), &json!(250), &json!(false))
    );
    let (_, answer) = send_json(&app, "POST", "/api/v1/jobs/cancel", r#"{"q":"JOB-25"}"#).await;
    assert_eq!(answer["matched"], 2, "job-25 and job-250; job-251 has ended");
    *cluster.cancel_outcome.lock().unwrap() = Some(CancelOutcome::Failed);
    let (_, answer) = send_json(&app, "POST", "/api/v1/jobs/cancel", r#"{"all":true}"#).await;
    assert_eq!((&answer["failed"], &answer["error"]["code"]), (&json!(250), &json!("cluster_failed")));
    cluster.silent.store(true, Ordering::Relaxed);
    assert_eq!(send_json(&app, "POST", "/api/v1/jobs/cancel", r#"{"all":true}"#).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn nodes_are_listed_drained_and_freed() {
    let (app, cluster) = local();
    ["b", "a"].iter().for_each(|node| beat(&app, node));
    let (_, page) = get(&app, "/api/v1/nodes?per_page=1").await;
    assert_eq!((&page["items"][0]["node"], &page["page"], &page["total"]), (&json!("a"), &json!(1), &json!(2)));
    assert_eq!(get(&app, "/api/v1/nodes?per_page=1&page=2").await.1["items"][0]["node"], "b");
    assert_eq!(get(&app, "/api/v1/nodes?sort=-node").await.1["items"][0]["node"], "b");
    assert_eq!(get(&app, "/api/v1/nodes?health=dead").await.1["total"], 0);
    assert_eq!(get(&app, "/api/v1/nodes/a").await.0, StatusCode::OK);
    assert_eq!(get(&app, "/api/v1/nodes/zzz").await.0, StatusCode::NOT_FOUND);
    assert_eq!(get(&app, "/api/v1/nodes/a.b").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let (status, body) = send_json(&app, "POST", "/api/v1/nodes/a/drain", r#"{"reason":"new fans"}"#).await;
    assert_eq!((status, &body["draining"]), (StatusCode::OK, &json!(true)));
    assert_eq!(get(&app, "/api/v1/nodes/a").await.1["draining"], true);
    let (status, _, _) = send(&app, request("POST", "/api/v1/nodes/a/undrain").body(Body::empty()).unwrap()).await;
    assert_eq!((status, cluster.drained.lock().unwrap()["a"]), (StatusCode::OK, false));
    assert_eq!(send_json(&app, "POST", "/api/v1/nodes/zzz/drain", "").await.0, StatusCode::NOT_FOUND);
    assert_eq!(send_json(&app, "POST", "/api/v1/nodes/a/drain", r#"{"reason":"a\u0007"}"#).await.0, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn events_go_on_where_the_last_page_ended() {
    let (app, _) = local();
    for n in 1..=3 {
        let event = ClusterEvent { node: Some("a".into()), ..ClusterEvent::new(n, "detector", Level::Warn, EventKind::NodeDead, "silent") };
        app.view.write().on_event(event_seq(n, 0), event);
    }
    let (_, page) = get(&app, "/api/v1/events?after=0&limit=2").await;
    assert_eq!((page["items"].as_array().unwrap().len(), &page["next_after"]), (2, &json!(event_seq(2, 0))));
    let (_, page) = get(&app, &format!("/api/v1/events?after={}", event_seq(2, 0))).await;
    assert_eq!((page["items"][0]["kind"].as_str(), &page["next_after"]), (Some("node_dead"), &json!(event_seq(3, 0))));
    let (_, page) = get(&app, "/api/v1/events?kind=job_dead").await;
    assert_eq!((page["items"].as_array().unwrap().len(), &page["next_after"]), (0, &json!(event_seq(3, 0))));
}

#[tokio::test]
async fn a_number_of_a_history_that_has_ended_is_told_so() {
    let (app, _) = local();
    let happened =
        |n: u64| app.view.write().on_event(event_seq(n, 0), ClusterEvent::new(n, "detector", Level::Warn, EventKind::NodeDead, "silent"));
    happened(1);
    happened(2);
    let told = |page: &serde_json::Value| (page["items"].as_array().unwrap().len(), page["complete"].clone(), page["began_again"].clone());
    let (_, page) = get(&app, &format!("/api/v1/events?after={}", event_seq(1, 0))).await;
    assert_eq!(told(&page), (1, json!(true), json!(false)));
    let history = page["history"].as_str().unwrap().to_owned();
    // Beyond the end, as of a dashboard that read another EVENTS.
    let (_, page) = get(&app, &format!("/api/v1/events?after={}", event_seq(9, 0))).await;
    assert_eq!(told(&page), (2, json!(false), json!(true)));
    assert_eq!(page["next_after"], json!(event_seq(2, 0)));
    let (_, page) = get(&app, &format!("/api/v1/events?after={}&history={history}", event_seq(2, 0))).await;
    assert_eq!(told(&page), (0, json!(true), json!(false)));
    app.view.write().events.begin_again();
    let (_, page) = get(&app, &format!("/api/v1/events?after={}&history={history}", event_seq(2, 0))).await;
    assert_eq!(told(&page), (2, json!(false), json!(true)));
}

#[tokio::test]
async fn figures_say_when_they_are_counted_here() {
    let (app, _) = local();
    beat(&app, "a");
    let (_, stats) = get(&app, "/api/v1/stats").await;
    assert_eq!((&stats["nodes_alive"], &stats["stale_since_ms"]), (&json!(1), &json!(1_000)));
    assert_eq!(get(&app, "/healthz").await.1["status"], "degraded");
    app.view.write().on_leader_answer(LeaderAnswer::default(), 5);
    assert!(get(&app, "/api/v1/stats").await.1.get("stale_since_ms").is_none());
    assert_eq!(get(&app, "/healthz").await.1["status"], "ok");
}

#[tokio::test]
async fn the_page_and_its_headers() {
    let (app, _) = local();
    for (path, kind) in [
        ("/", "text/html"),
        ("/nodes", "text/html"),
        ("/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV", "text/html"),
        ("/api/v1/openapi.json", "application/json"),
    ] {
        let (status, _, headers) = send(&app, request("GET", path).body(Body::empty()).unwrap()).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(headers[header::CONTENT_TYPE].to_str().unwrap().starts_with(kind), "{path}");
        assert!(headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("default-src 'self'"));
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    }
    for path in ["/assets/app.jsx", "/favicon.ico", "/api/v1/nowhere", "/api"] {
        assert_eq!(get(&app, path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn the_index_tells_the_order_of_the_packed_frames() {
    let (app, _) = local();
    ["b", "a"].iter().for_each(|node| beat(&app, node));
    let (status, index) = get(&app, "/api/v1/nodes/index").await;
    assert_eq!((status, &index["nodes"], &index["racks"]), (StatusCode::OK, &json!(["a", "b"]), &json!([["", 0, 2]])));
    assert!(index["revision"].is_u64());
}

/// The first bytes of a body, up to and with `until`.
async fn read_until(body: Body, until: &str) -> String {
    let mut chunks = body.into_data_stream();
    let mut text = String::new();
    while !text.contains(until) {
        text.push_str(std::str::from_utf8(&chunks.next().await.unwrap().unwrap()).unwrap());
    }
    text
}

#[tokio::test]
async fn events_are_streamed_from_where_the_client_was() {
    let (app, _) = local();
    let happened = |n: u64, kind| app.view.write().on_event(event_seq(n, 0), ClusterEvent::new(n, "detector", Level::Warn, kind, "silent"));
    happened(1, EventKind::NodeDead);
    happened(2, EventKind::NodeGone);
    let open = |after: &str| {
        request("GET", "/api/v1/events?kind=node_dead")
            .header(header::ACCEPT, "text/event-stream")
            .header("last-event-id", after)
            .body(Body::empty())
            .unwrap()
    };
    let response = router(app.clone()).oneshot(open(&event_seq(1, 0).to_string())).await.unwrap();
    assert_eq!((response.status(), response.headers()[header::CONTENT_TYPE].to_str().unwrap()), (StatusCode::OK, "text/event-stream"));
    assert_eq!(get(&app, "/api/v1/stats").await.1["streams_open"], 1);
    happened(3, EventKind::NodeDead);
    let text = read_until(response.into_body(), "\n\n").await;
    assert!(
        text.contains(&format!("id: {}", event_seq(3, 0))) && text.contains("event: node_dead") && !text.contains("node_gone"),
        "{text}"
    );
    assert_eq!(get(&app, "/api/v1/stats").await.1["streams_open"], 0, "the stream was dropped");

    let (status, body, _) = send(&app, open("yesterday")).await;
    assert_eq!((status, &body["error"]["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("Last-Event-ID")));
    let _all = app.streams.acquire_many(crate::limits::MAX_STREAMS as u32).await.unwrap();
    let (status, body, _) = send(&app, open("1")).await;
    assert_eq!((status, code(&body)), (StatusCode::SERVICE_UNAVAILABLE, "busy"));
}

#[tokio::test]
async fn a_jobs_messages_are_looked_for_where_it_waits() {
    let (app, cluster) = local();
    app.view.write().jobs.on_open(marker(1));
    app.view.write().on_end(record(2));
    let (_, job) = get(&app, &format!("/api/v1/jobs/{}", JobId::new(1, 1))).await;
    assert_eq!((&job["messages"], job.get("messages_error")), (&json!([]), None));
    get(&app, &format!("/api/v1/jobs/{}", JobId::new(2, 1))).await;
    assert_eq!(*cluster.asked_queue.lock().unwrap(), [Some(format!("job.q.high.sleep.{}", JobId::new(1, 1))), None]);
    cluster.silent.store(true, Ordering::Relaxed);
    let (status, job) = get(&app, &format!("/api/v1/jobs/{}", JobId::new(2, 1))).await;
    assert!(status == StatusCode::OK && job["messages_error"].is_string(), "the job is shown all the same");
    assert_eq!(get(&app, "/api/v1/messaging").await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn older_figures_of_the_server_are_shown_while_it_does_not_answer() {
    let (app, cluster) = local();
    let ask = async || get(&app, "/api/v1/messaging").await;
    assert_eq!((ask().await, ask().await.0, cluster.asked_messaging.load(Ordering::Relaxed)), (ask().await, StatusCode::OK, 1));
    cluster.silent.store(true, Ordering::Relaxed);
    tokio::time::advance(Duration::from_secs(30)).await;
    let (status, body) = ask().await;
    assert!(status == StatusCode::OK && body["stale_reason"].as_str().unwrap().contains("sched.query"), "{body}");
    tokio::time::advance(Duration::from_secs(40)).await;
    assert_eq!(ask().await.0, StatusCode::SERVICE_UNAVAILABLE);
    cluster.silent.store(false, Ordering::Relaxed);
    assert!(ask().await.1.get("stale_reason").is_none());
}
