//! Processes and logs as `up` tells of them, and where traces are looked at.

use axum::http::StatusCode;
use faultline_engine::job::JobId;
use faultline_protocol::messages::{Level, ProcessesQuery, ProcessesReply};
use serde_json::json;

use super::{get, local, record};

#[tokio::test]
async fn processes_and_their_logs_come_from_up_or_it_is_said_that_there_is_none() {
    let (app, cluster) = local();
    let (status, body) = get(&app, "/api/v1/processes").await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::NOT_IMPLEMENTED, &json!("no_experiments")), "{body}");
    let reply = ProcessesReply { processes: vec![], lines: vec![], log_dir: "/logs".into(), uptime_ms: 7 };
    *cluster.processes.lock().unwrap() = Some(reply);
    let (status, body) = get(&app, "/api/v1/processes?process=worker-01&level=warn&lines=20").await;
    assert_eq!((status, &body["log_dir"]), (StatusCode::OK, &json!("/logs")));
    let asked = ProcessesQuery { process: Some("worker-01".into()), level: Some(Level::Warn), lines: 20 };
    let plain = ProcessesQuery { process: None, level: None, lines: 100 };
    assert_eq!(*cluster.asked_processes.lock().unwrap(), [plain, asked]);
    for wrong in ["lines=201", "lines=0", "level=loud", "process=a%20b", "x=1"] {
        assert_eq!(get(&app, &format!("/api/v1/processes?{wrong}")).await.0, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
}

#[tokio::test]
async fn a_job_links_to_its_trace_where_a_viewer_is_set() {
    let (mut app, _) = local();
    app.view.write().on_end(record(2));
    let path = format!("/api/v1/jobs/{}", JobId::new(2, 1));
    assert_eq!(get(&app, &path).await.1.get("trace_url"), None);
    app.trace_url = Some("http://viewer/trace/{trace_id}?x=1".into());
    let url = get(&app, &path).await.1["trace_url"].as_str().unwrap().to_owned();
    let id = url.strip_prefix("http://viewer/trace/").and_then(|rest| rest.strip_suffix("?x=1")).unwrap();
    assert!(id.len() == 32 && id.bytes().all(|letter| letter.is_ascii_hexdigit()), "{url}");
}
