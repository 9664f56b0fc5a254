//! What operators see of a whole cluster that `faultline up` runs: health, readiness and metrics of all five services.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use async_nats::jetstream;
use faultline_protocol::streams;
use faultline_tests::cluster::program;
use faultline_tests::up::{Up, text};
use faultline_tests::{http, prometheus};
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

/// Deleted by hand while all runs: jobs of low priority would wait for ever, and the history would end.
#[tokio::test(flavor = "multi_thread")]
async fn streams_and_consumers_that_are_gone_are_told_until_setup_makes_them_anew() {
    let up = Up::start_all(1, &["--no-generator"]).await;
    let addresses = up.admin_addresses();
    up.wait_until("all services are ready", async || all_ready(&addresses).await).await;
    let jetstream = jetstream::new(up.admin().await);
    jetstream.get_stream(streams::JOBS).await.unwrap().delete_consumer("sched-low").await.unwrap();
    jetstream.delete_stream(streams::EVENTS).await.unwrap();
    let reasons = async || {
        let mut all = Vec::new();
        for (_, address) in &addresses {
            all.push(ready_report(*address).await.1["reasons"].to_string());
        }
        all
    };
    up.wait_until("every service misses EVENTS", async || reasons().await.iter().all(|said| said.contains("missing stream EVENTS"))).await;
    // The consumer is another matter: `up` makes it anew within seconds, unlike a stream, whose messages are gone.
    up.wait_until("`up` makes the consumer anew", async || up.log().contains("consumer JOBS/sched-low had been deleted: recreated")).await;
    assert!(up.faultline(&["setup"]).status.success());
    up.wait_until("all services are ready again", async || all_ready(&addresses).await).await;
    let job = up.faultline(&["submit", "--kind", "sleep", "--duration", "10ms", "--priority", "low", "--wait"]);
    assert!(job.status.success(), "{}", text(&job));
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
    assert_eq!(states["worker-01"], "hosts 1 node");

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
    assert!(refused.status.code() == Some(1) && text(&refused).contains("NATS has not answered for"), "{}", text(&refused));
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

/// Where the files for Prometheus and Grafana are.
fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker/observability")
}

/// Every expression of the alerts and of the dashboard, with where it stands.
fn shipped_queries() -> Vec<(String, String)> {
    let rules = std::fs::read_to_string(shipped().join("alerts.yml")).unwrap();
    let mut queries: Vec<(String, String)> = Vec::new();
    let mut alert = "";
    for line in rules.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("- alert: ") {
            alert = name;
        } else if let Some(query) = line.strip_prefix("expr: ") {
            queries.push((format!("alert {alert}"), query.to_owned()));
        }
    }
    assert_eq!(queries.len(), rules.matches("- alert:").count(), "each rule has its expression in one line");
    let dashboard: Value = serde_json::from_slice(&std::fs::read(shipped().join("grafana/dashboards/faultline.json")).unwrap()).unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            queries.push((format!("panel {}", panel["title"]), target["expr"].as_str().unwrap().to_owned()));
        }
    }
    queries
}

async fn scrapes(addresses: &[(String, SocketAddr)]) -> BTreeMap<String, String> {
    let mut scrapes = BTreeMap::new();
    for (name, address) in addresses {
        let (status, text) = http::get(*address, "/metrics").await.unwrap();
        assert_eq!(status, 200, "{name}");
        scrapes.insert(name.clone(), text);
    }
    scrapes
}

const DCGM: [&str; 13] = [
    "DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_MEM_COPY_UTIL",
    "DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_MEMORY_TEMP",
    "DCGM_FI_DEV_POWER_USAGE",
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
    "DCGM_FI_DEV_SM_CLOCK",
    "DCGM_FI_DEV_MEM_CLOCK",
    "DCGM_FI_DEV_FB_USED",
    "DCGM_FI_DEV_FB_FREE",
    "DCGM_FI_DEV_XID_ERRORS",
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE",
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE",
];

/// What promtool's linter has against DCGM's own names, here as there: a counter that does not end in `_total`, and labels such as `modelName`.
const DCGM_LINT: [&str; 2] =
    [r#"counter metrics should have "_total" suffix"#, "label names should be written in 'snake_case' not 'camelCase'"];

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_takes_every_scrape_and_every_query_that_is_shipped_finds_its_metrics() {
    let up = Up::start_all(2, &[]).await;
    let addresses = up.admin_addresses();
    up.wait_until("all services are ready", async || all_ready(&addresses).await).await;
    let done = up.faultline(&["submit", "--kind", "matrix", "--gpus", "1", "--size", "64", "--count", "5", "--wait"]);
    assert!(done.status.success(), "{}", text(&done));
    let leader_counts = async || {
        let scrapes = scrapes(&addresses).await;
        scrapes.values().any(|scrape| prometheus::samples(scrape).get(r#"faultline_jobs_ended_total{end="committed"}"#) >= Some(&5.0))
    };
    up.wait_until("the ledger has counted them", leader_counts).await;
    let scrapes = scrapes(&addresses).await;

    if prometheus::promtool(&["--version"], &shipped(), "").is_none() {
        eprintln!("SKIPPED: promtool's judgement; there is none here, Debian has it in the package prometheus");
    }
    let mut all = BTreeSet::from(["up".to_owned()]);
    for (name, scrape) in &scrapes {
        all.extend(prometheus::names(scrape));
        let Some(judged) = prometheus::promtool(&["check", "metrics"], &shipped(), scrape) else { continue };
        let is_worker = name.starts_with("worker-");
        let complaints = text(&judged);
        // 3: it was parsed, and the linter has something to say.
        assert_eq!(judged.status.code(), Some(if is_worker { 3 } else { 0 }), "{name}: {complaints}");
        for complaint in complaints.lines() {
            let of_dcgm =
                complaint.split_once(' ').is_some_and(|(metric, rest)| metric.starts_with("DCGM_FI_") && DCGM_LINT.contains(&rest));
            assert!(is_worker && of_dcgm, "{name}: {complaint}");
        }
    }
    for (where_it_is, query) in shipped_queries() {
        let named = prometheus::metrics_of(&query);
        assert!(!named.is_empty(), "{where_it_is}: {query}");
        for metric in named {
            assert!(all.contains(&metric), "{where_it_is} names {metric}, which no service has: {query}");
        }
    }
    for name in DCGM {
        for worker in ["worker-01", "worker-02"] {
            assert!(prometheus::names(&scrapes[worker]).contains(name), "{worker} has no {name}");
        }
    }
    let worker = prometheus::samples(&scrapes["worker-01"]);
    let kept: f64 =
        worker.iter().filter(|(name, _)| name.starts_with("faultline_worker_executor_seconds_count")).map(|(_, value)| value).sum();
    assert!(worker.keys().any(|name| name.starts_with("DCGM_FI_DEV_GPU_TEMP{gpu=\"0\",UUID=\"GPU-")), "{:?}", worker.keys());
    let other = prometheus::samples(&scrapes["worker-02"])[r#"faultline_worker_executor_seconds_count{kind="matrix"}"#];
    assert!(kept + other >= 5.0, "{kept} and {other} attempts were timed");

    // A node that is down has no GPUs to tell of, though the process that simulates it goes on; when it is back, so are they.
    let tells = async || http::get(addresses.iter().find(|(name, _)| name == "worker-01").unwrap().1, "/metrics").await.unwrap().1;
    assert!(up.faultline(&["fault", "gpu-node-01", "crash", "--for", "3s"]).status.success());
    up.wait_until("a dead node's series end", async || !tells().await.contains("Hostname=\"gpu-node-01\"")).await;
    up.wait_until("it is back", async || tells().await.contains("Hostname=\"gpu-node-01\"")).await;
    let crashes = prometheus::samples(&tells().await).get(r#"faultline_worker_faults_total{kind="crash"}"#).copied();
    assert_eq!(crashes, Some(1.0));
}

#[test]
fn promtool_takes_the_files_that_are_shipped() {
    let rules = prometheus::promtool(&["check", "rules", "alerts.yml"], &shipped(), "");
    let Some(rules) = rules else {
        eprintln!("SKIPPED: there is no promtool here; Debian has it in the package prometheus");
        return;
    };
    assert!(rules.status.success(), "{}", text(&rules));
    for config in ["prometheus.yml", "prometheus-native.yml"] {
        let checked = prometheus::promtool(&["check", "config", config], &shipped(), "").unwrap();
        assert!(checked.status.success(), "{config}: {}", text(&checked));
    }
}
