//! What operators see of a whole cluster that `faultline up` runs: health, readiness and metrics of all five services.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;

use faultline_tests::cluster::program;
use faultline_tests::http;
use faultline_tests::up::{Up, text};
use serde_json::Value;

const SERVICES: [&str; 7] = ["dashboard", "fault-detector", "generator", "scheduler-1", "scheduler-2", "worker-01", "worker-02"];

async fn all_ready(addresses: &[(String, SocketAddr)]) -> bool {
    for (_, address) in addresses {
        if http::get(*address, "/readyz").await.is_none_or(|(status, _)| status != 200) {
            return false;
        }
    }
    true
}

async fn ready_report(address: SocketAddr) -> (u16, Value) {
    let (status, body) = http::get(address, "/readyz").await.expect("/readyz answers");
    (status, serde_json::from_str(&body).expect("/readyz is JSON"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_service_tells_whether_it_lives_and_is_ready() {
    let up = Up::start_all(2, &[]).await;
    let addresses = up.admin_addresses();
    assert_eq!(addresses.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), SERVICES, "NATS itself has none");
    up.wait_until("all services are ready", async || all_ready(&addresses).await).await;
    let mut states = BTreeMap::new();
    for (name, address) in &addresses {
        assert_eq!(http::get(*address, "/healthz").await.unwrap().0, 200, "{name}");
        assert!(http::get(*address, "/metrics").await.unwrap().1.contains("\nfaultline_nats_connected 1\n"), "{name}");
        let (_, report) = ready_report(*address).await;
        assert_eq!((&report["process"], &report["ready"]), (&name.as_str().into(), &true.into()));
        states.insert(name.as_str(), report["state"].as_str().unwrap().to_owned());
    }
    let roles = [&states["scheduler-1"], &states["scheduler-2"]];
    assert!(roles.iter().any(|role| role.starts_with("leads, epoch ")) && roles.iter().any(|role| *role == "stands by"), "{roles:?}");
    assert_eq!(states["worker-01"], "hosts 1 nodes");

    let targets: Value = serde_json::from_slice(&std::fs::read(up.data_dir().join("prometheus-targets.json")).unwrap()).unwrap();
    let told: Vec<(String, SocketAddr)> = targets
        .as_array()
        .unwrap()
        .iter()
        .map(|target| (target["labels"]["instance"].as_str().unwrap().to_owned(), target["targets"][0].as_str().unwrap().parse().unwrap()))
        .collect();
    assert_eq!(told, addresses, "Prometheus finds what `faultline status` shows");

    let worker = addresses.iter().find(|(name, _)| name == "worker-01").unwrap().1;
    let probe = || Command::new(program("faultline-worker")).args(["--probe", "--admin-bind", &worker.to_string()]).output().unwrap();
    let ready = probe();
    assert!(ready.status.success() && text(&ready).contains("worker-01 is ready"), "{}", text(&ready));

    // A network that stalls is noticed by the worker itself, after two pings without an answer; then the process still lives.
    assert!(up.faultline(&["link", "worker-01", "stall"]).status.success());
    up.wait_until("the worker is not ready", async || ready_report(worker).await.0 == 503).await;
    let refused = probe();
    assert!(refused.status.code() == Some(1) && text(&refused).contains("not connected to NATS"), "{}", text(&refused));
    assert_eq!(http::get(worker, "/healthz").await.unwrap().0, 200);
    assert!(up.faultline(&["link", "worker-01", "heal"]).status.success());
    up.wait_until("the worker is ready again", async || ready_report(worker).await.0 == 200).await;

    let pid = up.service("worker-01").unwrap()["pid"].clone();
    assert!(up.faultline(&["kill", "worker-01"]).status.success());
    up.wait_until("another process answers where the killed one did", async || {
        up.service("worker-01").is_some_and(|now| now["pid"].is_u64() && now["pid"] != pid) && all_ready(&addresses).await
    })
    .await;
}
