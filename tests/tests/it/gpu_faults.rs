//! Simulated faults on real processes: what each does to the jobs that it hits, what the history says, and that the books balance.

use std::collections::BTreeMap;
use std::process::Command;

use faultline_engine::job::{AttemptOutcome, JobId, JobSpec, JobState, Param, Params, TerminalRecord};
use faultline_engine::node::GpuTelemetry;
use faultline_protocol::messages::{ClusterEvent, EventKind, FaultCause, FaultDepth, FaultTruth};
use faultline_tests::cluster::{Cluster, sleep_job};
use faultline_tests::nats::TestNats;
use tempfile::TempDir;

fn order(cluster: &Cluster, args: &[&str]) {
    let output = cluster.faultline(&[&["fault"], args].concat());
    assert!(output.status.success(), "fault {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The ground truth of all faults by id: how each was announced to end, and how it ended.
fn truths(cluster: &Cluster) -> BTreeMap<String, (FaultTruth, Option<FaultTruth>)> {
    let output = cluster.faultline(&["events", "--kind", "fault_began", "--kind", "fault_ended", "--limit", "1000", "-o", "json"]);
    let events: Vec<ClusterEvent> = serde_json::from_slice(&output.stdout).expect("events are JSON");
    let mut truths = BTreeMap::new();
    for event in events {
        let truth = event.fault.expect("an event of a fault carries its truth");
        match event.kind {
            EventKind::FaultBegan => assert!(truths.insert(truth.id.clone(), (truth, None)).is_none(), "ids are unique"),
            _ => {
                let known = truths.get_mut(&truth.id).expect("what ends has begun");
                known.1 = Some(truth);
            }
        }
    }
    truths
}

#[tokio::test]
async fn gpu_faults_requeue_or_fail_as_documented_and_the_truth_is_written() {
    let cluster = Cluster::start(2).await;

    // A GPU that falls off the bus: the job goes on elsewhere and is charged nothing.
    let lost_gpu = cluster.submit(&[sleep_job(3_000)]).await[0];
    let node = cluster.wait_running(lost_gpu).await;
    order(&cluster, &[&node, "xid-79", "--for", "4s"]);
    let out = async || {
        let nodes = cluster.nodes().await;
        nodes.iter().any(|view| view.spec.node == node && view.telemetry.iter().any(|gpu| gpu.out_of_service && gpu.xid == Some(79)))
    };
    cluster.wait_until("the GPU is out of service", out).await;

    // An application error costs a retry; without any left the job is dead.
    let retried = cluster.submit(&[sleep_job(3_000)]).await[0];
    order(&cluster, &[&cluster.wait_running(retried).await, "xid-31"]);
    let mut last_try = sleep_job(3_000);
    last_try.max_retries = 0;
    let exhausted = cluster.submit(&[last_try]).await[0];
    order(&cluster, &[&cluster.wait_running(exhausted).await, "xid-13"]);

    let ids = [lost_gpu, retried, exhausted];
    let records = cluster.wait_ended(&ids).await;
    let path = |job| records[&job].history.iter().map(|row| row.outcome).collect::<Vec<_>>();
    use AttemptOutcome::{Committed, Failed, Lost};
    // The two application errors may have hit whichever of the jobs was on the GPU that was hit: the sums are certain.
    assert_eq!(records[&lost_gpu].history[0].outcome, Lost, "{:?}", records[&lost_gpu]);
    assert!(records[&lost_gpu].history[0].detail.starts_with("xid_79 on GPU"), "{:?}", records[&lost_gpu].history[0]);
    assert!(records[&lost_gpu].requeues >= 1);
    let failures: usize = ids.iter().map(|job| path(*job).iter().filter(|outcome| **outcome == Failed).count()).sum();
    assert_eq!(failures, 2, "{records:?}");
    for job in ids {
        let record = &records[&job];
        match record.state {
            JobState::Committed => assert_eq!(path(job).last(), Some(&Committed)),
            state => assert_eq!((state, job, record.failures), (JobState::Dead, exhausted, 1), "{record:?}"),
        }
    }

    let all_ended = async || truths(&cluster).values().all(|(_, ended)| ended.is_some());
    cluster.wait_until("every fault has ended", all_ended).await;
    let truths = truths(&cluster);
    let kinds: Vec<&str> = truths.values().map(|(began, _)| began.kind.as_str()).collect();
    assert_eq!(kinds.len(), 3, "{kinds:?}");
    for (began, ended) in truths.values() {
        let ended = ended.as_ref().expect("it was waited for");
        assert_eq!((began.depth, began.cause, &began.domain), (FaultDepth::Simulated, FaultCause::Ordered, &None));
        assert!(began.gpu.is_some() && began.from_ms == ended.from_ms && ended.until_ms >= Some(began.from_ms));
        if began.kind == "xid_79" {
            assert_eq!((began.target.as_str(), began.until_ms), (node.as_str(), Some(began.from_ms + 4_000)));
        }
    }
    cluster.assert_audit_clean();
}

const FAULTY: &str = "gpu-node-01";

/// A stand-in for NVIDIA's library, compiled into a folder of its own; what it answers is described in its source.
struct NvmlStub {
    folder: TempDir,
}

impl NvmlStub {
    fn new(state: &str) -> Self {
        let stub = Self { folder: TempDir::new().expect("a temporary folder") };
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../services/worker/tests/nvml/stub.c");
        let library = stub.folder.path().join("libnvidia-ml.so.1");
        let compiler = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(library).arg(source).status();
        assert!(compiler.expect("a C compiler, which linking Rust programs needs as well").success());
        stub.answer(state);
        stub
    }

    fn folder_text(&self) -> &str {
        self.folder.path().to_str().expect("temporary folders have plain names")
    }

    fn answer(&self, state: &str) {
        std::fs::write(self.folder.path().join("libnvidia-ml.so.1.state"), state).expect("the state is written");
    }
}

/// A job that keeps so many whole GPUs for so long.
fn holder(kind: &str, gpus: u32, hold_ms: i64) -> JobSpec {
    let mut job = sleep_job(hold_ms);
    job.demand.gpu_milli = gpus * 1000;
    if kind != "sleep" {
        job.kind = kind.into();
        let small = if kind == "matrix" { "size" } else { "limit" };
        job.params = Params::from([(small.into(), Param::Int(32)), ("hold_ms".into(), Param::Int(hold_ms))]);
    }
    job
}

/// The GPUs that a running job has.
async fn gpus_of(cluster: &Cluster, job: JobId) -> Vec<u8> {
    assert_eq!(cluster.wait_running(job).await, FAULTY);
    cluster.job(job).await.and_then(|view| view.attempts.last().map(|row| row.gpus.clone())).expect("it runs")
}

async fn telemetry(cluster: &Cluster, gpu: u8) -> GpuTelemetry {
    let nodes = cluster.nodes().await;
    let node = nodes.iter().find(|view| view.spec.node == FAULTY).expect("it is known");
    node.telemetry.get(usize::from(gpu)).copied().unwrap_or_default()
}

/// XID 48, 74, 94 and 95, thermal throttling and a wrong result, each on a GPU of its own of one running worker.
#[tokio::test]
async fn each_fault_of_a_gpu_has_its_documented_effect_on_a_running_worker() {
    let cluster = Cluster::start(2).await;
    cluster.set_draining("gpu-node-02", true).await;
    // Six of the eight GPUs; what is hit waits for another node or a reset.
    let specs = [
        ("xid-48", holder("sleep", 1, 6_000)),
        ("xid-94", holder("sleep", 1, 6_000)),
        ("xid-95", holder("sleep", 1, 6_000)),
        ("xid-74", holder("sleep", 2, 6_000)),
        ("thermal-throttle", holder("compute", 1, 6_000)),
    ];
    let jobs = cluster.submit(&specs.each_ref().map(|(_, spec)| spec.clone())).await;
    let mut hit: BTreeMap<&str, (JobId, u8)> = BTreeMap::new();
    let mut taken = Vec::new();
    for ((kind, _), job) in specs.iter().zip(&jobs) {
        let gpus = gpus_of(&cluster, *job).await;
        hit.insert(kind, (*job, gpus[0]));
        taken.extend(gpus);
    }
    let wrong_gpu = (0..8).find(|gpu| !taken.contains(gpu)).expect("two are free");
    cluster.set_draining("gpu-node-02", false).await;
    for (kind, gpu) in hit.iter().map(|(kind, (_, gpu))| (*kind, *gpu)).chain([("wrong-result", wrong_gpu)]) {
        let gpu = gpu.to_string();
        let args = [FAULTY, kind, "--gpu", &gpu, "--for", "5s"];
        // A contained error is over as soon as it has hit.
        order(&cluster, if kind == "xid-94" { &args[..4] } else { &args });
    }

    // More than there are GPUs, so that all that may be used are used: also the wrong one, and none that is out of service.
    let fillers = cluster.submit(&(0..24).map(|_| holder("matrix", 1, 200)).collect::<Vec<_>>()).await;
    for (kind, xid) in [("xid-48", 48), ("xid-74", 74), ("xid-95", 95)] {
        let is_out = async || {
            let gpu = telemetry(&cluster, hit[kind].1).await;
            gpu.out_of_service && gpu.xid == Some(xid)
        };
        cluster.wait_until("the GPU is out of service", is_out).await;
    }
    assert!(!telemetry(&cluster, hit["xid-94"].1).await.out_of_service, "a contained error takes nothing away");
    let is_throttled = async || telemetry(&cluster, hit["thermal-throttle"].1).await.throttled == Some(true);
    cluster.wait_until("the hot GPU lowers its clocks", is_throttled).await;

    let filler_records = cluster.wait_ended(&fillers).await;
    let records = cluster.wait_ended(&jobs).await;
    cluster.wait_until("every fault has ended", async || truths(&cluster).values().all(|(_, ended)| ended.is_some())).await;
    let truths = truths(&cluster);
    assert_eq!(truths.len(), 6, "{truths:?}");
    check_xids(&hit, &records);
    check_slow(&records[&hit["thermal-throttle"].0]);
    check_wrong(wrong_gpu, &filler_records);
    // Nothing was placed on a GPU between its fault and its reset.
    for truth in truths.values().map(|(_, ended)| ended.as_ref().expect("it was waited for")) {
        let kind = truth.kind.replace('_', "-");
        let gpu = truth.gpu.expect("a fault of a GPU");
        let wanted = hit.get(kind.as_str()).map_or(wrong_gpu, |(_, gpu)| *gpu);
        assert_eq!((truth.target.as_str(), gpu, truth.cause), (FAULTY, wanted, FaultCause::Ordered));
        if !["xid-48", "xid-74", "xid-95"].contains(&kind.as_str()) {
            continue;
        }
        // The leader knows of it a moment later.
        let out = truth.from_ms + 500..truth.until_ms.expect("it has ended");
        let rows = records.values().chain(filler_records.values()).flat_map(|record| &record.history);
        let placed_there = rows.filter(|row| row.node == FAULTY && row.gpus.contains(&gpu) && out.contains(&row.placed_at_ms));
        assert_eq!(placed_there.count(), 0, "{kind}: {records:?}");
    }

    // And after the reset every GPU is used again.
    cluster.set_draining("gpu-node-02", true).await;
    let are_back = async || cluster.nodes().await.iter().all(|view| view.telemetry.iter().all(|gpu| !gpu.out_of_service));
    cluster.wait_until("all GPUs are in service", are_back).await;
    let all_eight = cluster.submit(&(0..8).map(|_| holder("sleep", 1, 1_000)).collect::<Vec<_>>()).await;
    let mut used: Vec<u8> = cluster.wait_ended(&all_eight).await.values().flat_map(|record| record.history[0].gpus.clone()).collect();
    used.sort_unstable();
    assert_eq!(used, [0, 1, 2, 3, 4, 5, 6, 7]);
    cluster.assert_audit_clean();
}

/// The attempt is gone, at no cost to its job, which commits in the next one.
fn check_xids(hit: &BTreeMap<&str, (JobId, u8)>, records: &BTreeMap<JobId, TerminalRecord>) {
    for (kind, (job, gpu)) in hit.iter().filter(|(kind, _)| kind.starts_with("xid")) {
        let record = &records[job];
        assert_eq!((record.state, record.failures, record.requeues), (JobState::Committed, 0, 1), "{kind}: {record:?}");
        let first = &record.history[0];
        assert_eq!((first.outcome, record.history.len()), (AttemptOutcome::Lost, 2), "{kind}: {record:?}");
        let words = format!("{} on GPU {gpu}", kind.replace('-', "_"));
        assert!(first.detail.starts_with(&words), "{kind}: {first:?}");
    }
}

/// Six seconds at full clocks, and some seconds more at half of them.
fn check_slow(record: &TerminalRecord) {
    let row = &record.history[0];
    assert_eq!((record.state, record.history.len()), (JobState::Committed, 1), "{record:?}");
    let took_ms = row.ended_at_ms.zip(row.started_at_ms).map(|(ended, started)| ended - started);
    assert!(took_ms >= Some(7_000), "{took_ms:?}: {record:?}");
}

/// Only the job's own check finds it, and a retry mends it.
fn check_wrong(wrong_gpu: u8, records: &BTreeMap<JobId, TerminalRecord>) {
    let rows = || records.values().flat_map(|record| &record.history);
    let failed: Vec<_> = rows().filter(|row| row.outcome == AttemptOutcome::Failed).collect();
    assert!(!failed.is_empty(), "no job used GPU {wrong_gpu}: {records:?}");
    for row in failed {
        assert!(row.node == FAULTY && row.gpus == [wrong_gpu] && row.detail.contains("Freivalds' check"), "{row:?}");
    }
    assert!(records.values().all(|record| record.state == JobState::Committed), "{records:?}");
}

#[tokio::test]
async fn a_zombie_commits_too_late_and_rejoins() {
    let cluster = Cluster::start(2).await;
    let job = cluster.submit(&[sleep_job(3_000)]).await[0];
    let node = cluster.wait_running(job).await;
    order(&cluster, &[&node, "zombie", "--for", "20s"]);
    let records = cluster.wait_ended(&[job]).await;
    let record = &records[&job];
    assert_eq!((record.state, record.requeues, record.failures), (JobState::Committed, 1, 0), "{record:?}");
    assert_ne!(record.history.last().map(|row| row.node.as_str()), Some(node.as_str()), "the zombie's commit comes later: {record:?}");
    let superseded = async || {
        cluster
            .nodes()
            .await
            .iter()
            .any(|view| view.spec.node == node && view.running.is_empty() && view.heartbeat_age_ms.is_some_and(|age_ms| age_ms < 2_000))
    };
    cluster.wait_until("the zombie is back, with nothing on it", superseded).await;
    cluster.assert_audit_clean();
}

#[tokio::test]
async fn nonsense_orders_are_refused_before_anything_breaks() {
    let cluster = Cluster::start(1).await;
    let nodes = cluster.nodes().await;
    let (node, gpus) = (nodes[0].spec.node.as_str(), nodes[0].spec.gpus.len().to_string());
    for (args, code, part) in [
        (vec!["fault", node, "xid-79", "--gpu", &gpus], 2, "GPUs, counted from 0"),
        (vec!["fault", node, "flood"], 2, "use crash, hang"),
        (vec!["fault", "gpu-node-77", "crash"], 4, "gpu-node-77"),
    ] {
        let output = cluster.faultline(&args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && said.contains(part), "{args:?}: {:?} {said}", output.status.code());
    }
    assert!(truths(&cluster).is_empty());
    let catalogue = cluster.faultline(&["faults", "-o", "json"]);
    let entries: Vec<serde_json::Value> = serde_json::from_slice(&catalogue.stdout).expect("the catalogue is JSON");
    assert!(entries.iter().any(|entry| entry["kind"] == "xid_79" && entry["xid"] == 79), "{entries:?}");
}

/// Two real GPUs as a stand-in for NVIDIA's library gives them to a real worker process: one is lost while it runs a job.
#[tokio::test]
async fn a_real_gpu_that_falls_off_takes_its_jobs_elsewhere_and_is_shown() {
    let nvml = NvmlStub::new("count=2\n");
    let mut cluster = Cluster::bare(TestNats::start().await).await;
    cluster.scheduler("scheduler-1");
    cluster.detector();
    let args = ["--name", "worker-01", "--first-node", "1", "--faults", "off"];
    cluster.spawn_with("worker-01", "faultline-worker", &args, &[("LD_LIBRARY_PATH", nvml.folder_text())]);
    cluster.wait_for_nodes(1).await;
    let nodes = cluster.nodes().await;
    assert_eq!((nodes[0].spec.telemetry_source.as_str(), nodes[0].spec.gpus.len()), ("nvml", 2));

    let job = cluster.submit(&[holder("sleep", 1, 4_000)]).await[0];
    let gpu = gpus_of(&cluster, job).await[0];
    nvml.answer(&format!("count=2\n{gpu}.kind=lost\n{gpu}.xids=79\n"));
    let is_out = async || {
        let report = telemetry(&cluster, gpu).await;
        report.out_of_service && report.xid == Some(79) && report.power_w.is_none()
    };
    cluster.wait_until("the lost GPU is out of service, with its XID and without readings", is_out).await;
    let record = cluster.wait_ended(&[job]).await.remove(&job).expect("it ended");
    assert_eq!((record.state, record.requeues, record.failures), (JobState::Committed, 1, 0), "{record:?}");
    assert!(record.history[0].detail.starts_with("xid_79 on GPU"), "{record:?}");

    nvml.answer("count=2\n");
    cluster.wait_until("the GPU is back", async || !telemetry(&cluster, gpu).await.out_of_service).await;
    cluster.wait_until("the fault has ended", async || truths(&cluster).values().all(|(_, ended)| ended.is_some())).await;
    let truths = truths(&cluster);
    let (began, _) = truths.values().next().expect("one fault");
    assert_eq!((truths.len(), began.depth, began.cause, began.until_ms), (1, FaultDepth::Hardware, FaultCause::Observed, None));
    cluster.assert_audit_clean();
}

/// A driver that does not fit its library: the node is there, has no GPU, and every surface says why.
#[tokio::test]
async fn real_gpus_that_cannot_be_read_are_no_simulated_ones() {
    let nvml = NvmlStub::new("init=18\n");
    let mut cluster = Cluster::bare(TestNats::start().await).await;
    cluster.scheduler("scheduler-1");
    cluster.detector();
    let args = ["--name", "worker-01", "--first-node", "1", "--nodes", "2", "--faults", "off"];
    cluster.spawn_with("worker-01", "faultline-worker", &args, &[("LD_LIBRARY_PATH", nvml.folder_text())]);
    cluster.wait_for_nodes(2).await;
    let jobs = cluster.submit(&vec![holder("sleep", 1, 100); 12]).await;
    for record in cluster.wait_ended(&jobs).await.values() {
        assert_eq!(record.history.last().map(|attempt| attempt.node.as_str()), Some("gpu-node-02"), "{record:?}");
    }
    let said = |args: &[&str]| String::from_utf8_lossy(&cluster.faultline(args).stdout).into_owned();
    assert!(said(&["nodes"]).contains("unusable"), "{}", said(&["nodes"]));
    assert!(said(&["node", FAULTY]).contains("version mismatch"), "{}", said(&["node", FAULTY]));
    assert!(said(&["doctor"]).contains("1 node has unusable real GPUs (gpu-node-01)"), "{}", said(&["doctor"]));
    assert!(!cluster.lines_with("the real GPUs of this machine cannot be used").is_empty());
}
