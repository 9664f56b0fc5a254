//! A killed worker as an incident: the command, its watch, REST and the audit tell the same.

use std::net::SocketAddr;

use faultline_tests::http;
use faultline_tests::up::{Up, text};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_is_told_alike_by_the_watch_the_command_and_rest_and_the_audit_agrees() {
    let up = Up::start_all(3, &["--no-generator"]).await;
    let submitted = up.faultline(&["submit", "--kind", "sleep", "--duration", "5s", "--count", "12", "--gpus", "0.5"]);
    assert!(submitted.status.success(), "{}", text(&submitted));
    let on_victim = || {
        let jobs = up.json(&["jobs"]).unwrap_or_default();
        let rows = jobs.as_array().map_or(&[][..], Vec::as_slice);
        rows.iter().filter(|job| job["state"] == "running" && job["node"] == "gpu-node-02").count()
    };
    up.wait_until("the worker is busy", async || on_victim() > 0).await;
    let interrupted = on_victim();

    let watched = up.faultline(&["kill", "worker-02", "--watch"]);
    let said = text(&watched);
    assert!(watched.status.success(), "{said}");
    assert!(said.contains("worker-02 killed (SIGKILL) by `faultline kill`, user "), "{said}");
    assert!(said.contains(&format!("of {interrupted} job")) && said.contains("0 jobs lost"), "{said}");

    let listed = up.json(&["incidents"]).unwrap_or_default();
    let incident = listed.as_array().and_then(|all| all.iter().find(|one| one["targets"][0] == "worker-02")).expect("it is listed");
    let figure = |name: &str| incident[name].as_u64();
    assert_eq!((&incident["kind"], &incident["state"]), (&"fault".into(), &"recovered".into()), "{incident}");
    assert_eq!((figure("interrupted"), figure("committed")), (Some(interrupted as u64), Some(interrupted as u64)), "{incident}");
    assert_eq!((figure("waiting"), figure("unknown"), figure("given_up")), (Some(0), Some(0), Some(0)));
    let went: u64 = incident["moved_to"].as_array().into_iter().flatten().filter_map(|place| place["jobs"].as_u64()).sum();
    assert_eq!(went, interrupted as u64, "each went somewhere: {incident}");
    assert!(figure("noticed_after_ms") < figure("placed_again_after_ms"), "{incident}");

    let address = SocketAddr::from(([127, 0, 0, 1], up.dashboard_port().await));
    let path = format!("/api/v1/incidents/{}", incident["id"].as_str().expect("an id"));
    let mut rest = Value::Null;
    up.wait_until("the dashboard has seen the jobs end", async || {
        let answer = http::get(address, &path).await.filter(|(status, _)| *status == 200);
        rest = answer.and_then(|(_, body)| serde_json::from_str(&body).ok()).unwrap_or_default();
        rest["committed"].as_u64() == Some(interrupted as u64)
    })
    .await;
    for field in
        ["headline", "began_ms", "recovered_ms", "noticed_after_ms", "interrupted", "placed_again_after_ms", "moved_to", "nodes", "state"]
    {
        assert_eq!(rest[field], incident[field], "{field}");
    }
    let unknown = http::get(address, "/api/v1/incidents/NONE").await.expect("an answer");
    assert_eq!(unknown.0, 404, "{}", unknown.1);
    let file = up.folder().join("incident.html");
    let written = up.faultline(&["report", "--format", "html", "--out", file.to_str().expect("a path")]);
    let page = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{error}: {}", text(&written)));
    assert!(page.contains("worker-02 killed (SIGKILL)") && page.contains("<td>jobs lost, in the whole cluster</td><td>0</td>"), "{page}");
    let unknown = up.faultline(&["incidents", "NONE"]);
    assert_eq!(unknown.status.code(), Some(4), "{}", text(&unknown));
    up.assert_audit_clean();
}
