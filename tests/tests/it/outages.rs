//! Outages of what nodes share: worker processes that know nothing of each other break their nodes of one rack, power supply or switch at
//! the same moment, because both compute it from the same seed. The history says so.

use faultline_engine::fault::{FailureDomain, FaultPreset, Outage, SharedPart};
use faultline_protocol::messages::{EventKind, FaultCause, FaultTruth};
use faultline_runtime::clock::unix_ms;
use faultline_tests::cluster::Cluster;
use faultline_tests::nats::TestNats;

/// From the choice of the seeds to the first outage: the workers are up by then. One that is not joins it later, with the same truth.
const LEAD_MS: u64 = 4_000;
const WITHIN_MS: u64 = 4_000;

/// A seed with which this part, and none other of node `index`, fails within these seconds; and that outage.
fn seed_that_breaks(part: SharedPart, index: usize, now_ms: u64) -> (u64, Outage) {
    let rates = FaultPreset::Correlated.profile(index, 1.0).outages.expect("that preset has outages");
    let domains = FailureDomain::of_node(index);
    let until_ms = now_ms + LEAD_MS + WITHIN_MS;
    let fits = |seed: u64| match rates.beginning(seed, &domains, now_ms, until_ms + WITHIN_MS)[..] {
        [outage] if outage.domain.part == part && (now_ms + LEAD_MS..until_ms).contains(&outage.from_ms) => Some((seed, outage)),
        _ => None,
    };
    let under_way = |seed: u64| !rates.under_way(seed, &domains, now_ms).is_empty();
    (0..1_000_000).filter(|seed| !under_way(*seed)).find_map(fits).expect("one seed in a thousand fits")
}

#[tokio::test]
async fn two_processes_break_their_nodes_of_one_domain_at_the_same_moment() {
    let mut cluster = Cluster::bare(TestNats::start().await).await;
    let now_ms = unix_ms();
    let mut expected = Vec::new();
    for (part, first_node) in [(SharedPart::Rack, 1), (SharedPart::PowerSupply, 17), (SharedPart::Switch, 33)] {
        let (seed, outage) = seed_that_breaks(part, first_node, now_ms);
        // Neighbours in a rack, in two processes.
        for node in [first_node, first_node + 1] {
            let (name, node_text, seed_text) = (format!("worker-{node:02}"), node.to_string(), seed.to_string());
            let args = ["--name", &name, "--first-node", &node_text, "--faults", "correlated", "--seed", &seed_text];
            cluster.spawn(&name, "faultline-worker", &args);
        }
        expected.push((format!("gpu-node-{first_node:02}"), format!("gpu-node-{:02}", first_node + 1), outage));
    }

    let mut truths: Vec<FaultTruth> = Vec::new();
    cluster
        .wait_until("all six nodes have failed", async || {
            let began = cluster.events_of(&[EventKind::FaultBegan]).await.into_iter().filter_map(|event| event.fault);
            truths = began.filter(|truth| truth.cause == FaultCause::Correlated).collect();
            truths.len() >= 6
        })
        .await;
    assert_eq!(truths.len(), 6, "{truths:?}");
    for (one, other, outage) in expected {
        let of = |node: &str| truths.iter().find(|truth| truth.target == node).unwrap_or_else(|| panic!("{node}: {truths:?}"));
        let (one, other) = (of(&one), of(&other));
        assert_ne!(one.id, other.id);
        for truth in [one, other] {
            let told = (truth.domain.clone(), truth.kind.as_str(), truth.from_ms, truth.until_ms);
            let kind = outage.domain.part.fault().as_str();
            assert_eq!(told, (Some(outage.domain.to_string()), kind, outage.from_ms, Some(outage.until_ms)), "{truth:?}");
        }
    }
}
