//! A small cluster in which everything that is written once has been written, and what must be true of it after its store has suffered.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use faultline_engine::job::JobId;
use faultline_engine::node::Health;
use faultline_protocol::codec;
use faultline_protocol::messages::{Asked, RateSetting, Verdict};
use faultline_protocol::streams;
use faultline_runtime::clock::unix_ms;
use faultline_runtime::connect::kv_get;
use faultline_runtime::record::read_record;
use faultline_runtime::submit::Submitter;
use faultline_tests::cluster::{Cluster, sleep_job};
use faultline_tests::http;
use faultline_tests::nats::{TEST_CONFIG, TestNats, free_port};
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// Two rounds of looks at the streams, an ack wait and a change of leader, with room for a busy machine.
const WITHIN: Duration = Duration::from_secs(45);
const POLL: Duration = Duration::from_millis(100);
const RATE_PER_MINUTE: f64 = 7.0;
const DRAINED: &str = "gpu-node-02";
const DEAD: &str = "gpu-node-03";

pub(crate) struct Stand {
    pub(crate) cluster: Cluster,
    dashboard: SocketAddr,
    /// Whether [`DRAINED`] is still to be drained. Which nodes are, is known to CONTROL and to the leader; with both lost it is lost.
    is_drained: bool,
}

impl Stand {
    /// Two schedulers, two living workers and a dead one, a rate and a drained node that were set, and a dashboard.
    pub(crate) async fn raise() -> Stand {
        let mut cluster = Cluster::bare(TestNats::start_local(TEST_CONFIG).await).await;
        cluster.log_level("info");
        cluster.scheduler("scheduler-1");
        cluster.scheduler("scheduler-2");
        cluster.detector();
        for index in 1..=3 {
            cluster.worker(index);
        }
        cluster.wait_for_nodes(3).await;
        let port = free_port().to_string();
        cluster.spawn("dashboard", "faultline-dashboard", &["--port", &port]);
        cluster.spawn("generator", "faultline-generator", &["--first-jobs", "0", "--mix", "sleep=1"]);
        let dashboard = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().expect("a port")));
        cluster.set_draining(DRAINED, true).await;
        let rate = cluster.faultline(&["rate", "set", &RATE_PER_MINUTE.to_string()]);
        assert!(rate.status.success(), "{}", String::from_utf8_lossy(&rate.stderr));
        cluster.kill9("worker-03");
        let stand = Stand { cluster, dashboard, is_drained: true };
        stand.cluster.wait_until("the verdict on the dead node is kept", async || stand.verdict().await == Some(Health::Dead)).await;
        stand.works_again("raised", Instant::now()).await;
        stand
    }

    /// Everything is lost at once, CONTROL and the leader's term among it.
    pub(crate) fn forget_drained(&mut self) {
        self.is_drained = false;
    }

    pub(crate) fn set_up(&self) {
        let setup = self.cluster.faultline(&["setup"]);
        assert!(setup.status.success(), "setup: {}", String::from_utf8_lossy(&setup.stderr));
    }

    /// Enough is written that every stream is beyond where a copy of before ends.
    pub(crate) async fn outgrow_copy(&self) {
        for _ in 0..3 {
            self.commit_a_job().await.expect("a job commits on a cluster that works");
        }
    }

    /// The finding of one of doctor's checks: its status, and what was found.
    fn doctor(&self, check: &str) -> (String, String) {
        let output = self.cluster.faultline(&["doctor", "-o", "json"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let checks = report["checks"].as_array().cloned().unwrap_or_default();
        let found = checks.into_iter().find(|finding| finding["check"] == check).unwrap_or_default();
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        (text("status"), text("found"))
    }

    pub(crate) async fn doctor_names_missing(&self, stream: &str) {
        let (status, found) = self.doctor("streams");
        let name = stream.strip_prefix("KV_").unwrap_or(stream);
        assert!(status == "fail" && found.contains(name), "doctor on the missing {stream}: {status}, {found}");
    }

    async fn verdict(&self) -> Option<Health> {
        let store = self.cluster.nats.bucket(streams::KV_HEALTH).await.ok()?;
        kv_get::<Verdict>(&store, DEAD).await.ok()?.map(|verdict| verdict.health)
    }

    /// Why something that was set or written once is not there; none when all of it is.
    async fn missing(&self) -> Option<String> {
        let bucket = async |name: &str| self.cluster.nats.bucket(name).await.map_err(|error| error.to_string());
        let entry = async |name: &str, key: &str| match bucket(name).await {
            Ok(store) => store.get(key).await.map_err(|error| error.to_string()),
            Err(error) => Err(error),
        };
        for (name, key) in [
            (streams::KV_LEASE, streams::KEY_LEASE),
            (streams::KV_NODES, "gpu-node-01"),
            (streams::KV_NODES, DRAINED),
            (streams::KV_CONTROL, "drain.gpu-node-02"),
            (streams::KV_LEDGER, streams::KEY_LEDGER),
        ] {
            if key.starts_with("drain.") && !self.is_drained {
                continue;
            }
            match entry(name, key).await {
                Ok(Some(_)) => {}
                other => return Some(format!("{key} in {name}: {other:?}")),
            }
        }
        match entry(streams::KV_CONTROL, streams::KEY_RATE).await {
            Ok(Some(body)) => match codec::decode_body::<RateSetting>(&body) {
                Ok(rate) if rate.asked == Asked::Rate(RATE_PER_MINUTE) => {}
                other => return Some(format!("the rate is {other:?}")),
            },
            other => return Some(format!("the rate: {other:?}")),
        }
        let registered = matches!(entry(streams::KV_NODES, DEAD).await, Ok(Some(_)));
        if registered && self.verdict().await != Some(Health::Dead) {
            return Some(format!("the verdict on {DEAD}, which is registered: {:?}", self.verdict().await));
        }
        None
    }

    /// The living nodes are listed, and the drained one is drained.
    async fn nodes_are_listed(&self) -> bool {
        let nodes = self.cluster.nodes().await;
        let is_there = |name: &str, drained: bool| {
            nodes.iter().any(|node| {
                node.spec.node == name
                    && node.health == Health::Alive
                    && node.draining == drained
                    && node.heartbeat_age_ms.is_some_and(|age| age < 3_000)
            })
        };
        is_there("gpu-node-01", false) && is_there(DRAINED, self.is_drained)
    }

    /// Submits a job and waits a while for its end.
    async fn commit_a_job(&self) -> Result<JobId, String> {
        let spec = sleep_job(10);
        Submitter::new(&self.cluster.nats).submit(&spec).await.map_err(|error| format!("submitting: {error}"))?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Ok(Some(record)) = read_record(&self.cluster.nats, spec.id).await
                && !record.is_open
            {
                return Ok(spec.id);
            }
            sleep(POLL).await;
        }
        Err(format!("{} has not ended within 20 s", spec.id))
    }

    /// The page's feed has the job's placement.
    async fn is_in_feed(&self, job: JobId) -> bool {
        let path = format!("/api/v1/events?job={job}&limit=5");
        let Some((200, body)) = http::get(self.dashboard, &path).await else { return false };
        let text = body.find('{').map_or("", |start| &body[start..]);
        text.contains("job_placed") && text.contains(&job.to_string())
    }

    /// All is well within a bounded time after `began`.
    pub(crate) async fn works_again(&self, what: &str, began: Instant) {
        let mut committed = None;
        let mut why = String::new();
        while began.elapsed() < WITHIN {
            if committed.is_none() {
                match self.commit_a_job().await {
                    Ok(job) => committed = Some((job, began.elapsed())),
                    Err(error) => why = error,
                }
            }
            if let Some((job, first)) = committed {
                why = match self.missing().await {
                    Some(missing) => missing,
                    None if !self.nodes_are_listed().await => "the nodes are not listed as they are".to_owned(),
                    None if !self.is_in_feed(job).await => {
                        // What was read before EVENTS was lost may be of a job whose placement was lost with it.
                        committed = None;
                        "the feed does not go on".to_owned()
                    }
                    None => {
                        let (healthy, says): (Vec<_>, Vec<_>) = ["streams", "leader", "services"]
                            .map(|check| self.doctor(check))
                            .into_iter()
                            .partition(|(status, _)| status == "ok");
                        if healthy.len() == 3 {
                            println!("{what}: a job committed after {first:.1?}, all is well after {:.1?}", began.elapsed());
                            return;
                        }
                        format!("doctor: {says:?}")
                    }
                };
            }
            sleep(POLL).await;
        }
        panic!("{what}: at {} the cluster does not work after {WITHIN:?}: {why}\n{}", unix_ms(), self.cluster.log_tails());
    }
}
