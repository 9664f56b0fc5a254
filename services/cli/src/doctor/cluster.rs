//! What runs on this NATS: a leading scheduler, and the services that answer to the services API.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::service::Info;
use faultline_protocol::messages::ClusterStats;
use faultline_protocol::subjects;
use faultline_runtime::clock;
use faultline_runtime::connect::Nats;
use futures::StreamExt;

use super::Finding;
use crate::commands::ask;
use crate::output::{plural, span};

/// Everybody who is there answers within milliseconds; a busy machine gets more.
const LISTEN: Duration = Duration::from_millis(700);
const PREFIX: &str = "faultline-";

pub(super) async fn look(nats: &Nats) -> Vec<Finding> {
    let (stats, services) = tokio::join!(ask::stats(nats), services(nats));
    let leader = match &stats {
        Ok(stats) => leader_finding(stats, clock::unix_ms()),
        Err(error) => Finding::fail("leader", error.to_string(), "start a scheduler: `faultline up`, or `faultline-scheduler` by itself"),
    };
    let services = match services {
        Ok(found) => services_finding(&found),
        Err(reason) => {
            Finding::fail("services", format!("they cannot be asked: {reason}"), "use the key of `cli` or `admin` of this server")
        }
    };
    vec![leader, services]
}

fn leader_finding(stats: &ClusterStats, now_ms: u64) -> Finding {
    let found = format!("{} has led for {}, epoch {}", stats.leader, span(now_ms.saturating_sub(stats.leader_since_ms)), stats.epoch);
    if stats.violations_total > 0 {
        let found = format!("{found}; {} broken: {}", plural(stats.violations_total, "invariant"), stats.last_violation);
        return Finding::fail("leader", found, "`faultline audit` and `faultline events --kind invariant_violated` say more");
    }
    let not_alive = stats.nodes_suspect + stats.nodes_gone + stats.nodes_dead;
    if stats.nodes_alive == 0 {
        return Finding::warn("leader", format!("{found}; no node is alive"), "`faultline nodes` lists them; start workers");
    }
    Finding::ok("leader", format!("{found}; {} of {} nodes alive", stats.nodes_alive, stats.nodes_alive + not_alive))
}

/// How many processes of each service answer, by its short name.
async fn services(nats: &Nats) -> Result<BTreeMap<String, u64>, String> {
    let inbox = format!("{}.{}", subjects::inbox_prefix("cli"), clock::random_seed());
    let mut answers = nats.client.subscribe(inbox.clone()).await.map_err(|error| error.to_string())?;
    nats.client.publish_with_reply("$SRV.INFO", inbox, bytes::Bytes::new()).await.map_err(|error| error.to_string())?;
    let mut found = BTreeMap::new();
    let listen = async {
        while let Some(answer) = answers.next().await {
            let service = serde_json::from_slice::<Info>(&answer.payload).ok();
            if let Some(name) = service.as_ref().and_then(|service| service.name.strip_prefix(PREFIX)) {
                *found.entry(name.to_owned()).or_default() += 1;
            }
        }
    };
    let _ = tokio::time::timeout(LISTEN, listen).await;
    Ok(found)
}

fn services_finding(found: &BTreeMap<String, u64>) -> Finding {
    let listed: Vec<String> = found.iter().map(|(name, number)| format!("{number} {name}")).collect();
    let listed = if listed.is_empty() { "none answers".to_owned() } else { listed.join(", ") };
    let is_there = |name: &str| found.contains_key(name);
    if !is_there("worker") {
        return Finding::fail(
            "services",
            format!("{listed}: nothing runs jobs"),
            "start workers: `faultline up`, or `faultline scale workers N`",
        );
    }
    if !is_there("fault-detector") {
        let remedy = "without it lost jobs come back only by JetStream's ack timeout of 15 s: start `faultline-fault-detector`, or `up` without --no-detector";
        return Finding::warn("services", format!("{listed}: no fault detector"), remedy);
    }
    Finding::ok("services", listed)
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn workers_are_needed_and_a_detector_is_missed() {
        let found = |names: &[&str]| names.iter().map(|&name| (name.to_owned(), 1)).collect();
        assert_eq!(services_finding(&found(&[])).status, Status::Fail);
        assert_eq!(services_finding(&found(&["worker", "scheduler"])).status, Status::Warn);
        assert_eq!(services_finding(&found(&["fault-detector", "worker"])), Finding::ok("services", "1 fault-detector, 1 worker"));
    }

    #[test]
    fn a_leader_that_broke_its_promises_is_no_good_leader() {
        let stats =
            ClusterStats { leader: "scheduler-1".into(), epoch: 3, leader_since_ms: 1_000, nodes_alive: 2, ..ClusterStats::default() };
        let fine = leader_finding(&stats, 4_200);
        assert_eq!(fine, Finding::ok("leader", "scheduler-1 has led for 3.2 s, epoch 3; 2 of 2 nodes alive"));
        let broken = ClusterStats { violations_total: 1, last_violation: "too much".into(), ..stats };
        assert_eq!(leader_finding(&broken, 4_200).status, Status::Fail);
    }
}
