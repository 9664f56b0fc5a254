//! Whether the GPUs of the nodes can be used: a machine with unreadable GPUs is a node without GPUs, which no other check sees.

use faultline_client::Leader;
use faultline_protocol::messages::NodeView;
use faultline_runtime::connect::Nats;

use super::finding::Finding;
use crate::output::plural;

/// More names than this are counted, not listed.
const LISTED: usize = 5;

/// None where no leader answers, which another finding says.
pub(super) async fn look(nats: &Nats) -> Option<Finding> {
    Leader::of(nats).nodes().await.ok().map(|nodes| finding(&nodes))
}

fn finding(nodes: &[NodeView]) -> Finding {
    let blind: Vec<(&str, &str)> =
        nodes.iter().filter_map(|node| Some((node.spec.node.as_str(), node.spec.gpu_problem.as_deref()?))).collect();
    if let Some((_, problem)) = blind.first() {
        let found =
            format!("{} unusable real GPUs ({}): {problem}", has(blind.len()), listed(blind.iter().map(|(node, _)| (*node).to_owned())));
        return Finding::fail("gpus", found, "fix the driver and restart that worker, or start it with `--telemetry simulated`");
    }
    let real = nodes.iter().filter(|node| node.spec.telemetry_source == "nvml");
    let is_out = |node: &&NodeView| node.telemetry.iter().any(|gpu| gpu.out_of_service);
    let out: Vec<String> = real.filter(is_out).map(|node| node.spec.node.clone()).collect();
    if !out.is_empty() {
        let found = format!("{} a real GPU out of service ({})", has(out.len()), listed(out.into_iter()));
        return Finding::warn("gpus", found, "`faultline node NAME` shows the XID; reset the GPU, or the machine");
    }
    let gpus: usize = nodes.iter().map(|node| node.spec.gpus.len()).sum();
    Finding::ok("gpus", format!("{} on {}", plural(gpus as u64, "GPU"), plural(nodes.len() as u64, "node")))
}

fn has(nodes: usize) -> String {
    format!("{} {}", plural(nodes as u64, "node"), if nodes == 1 { "has" } else { "have" })
}

fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(LISTED);
    let shown = names.take(LISTED).collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

#[cfg(test)]
mod tests {
    use faultline_engine::node::{GpuTelemetry, Health};

    use super::super::finding::Status;
    use super::*;
    use crate::top::samples;

    #[test]
    fn a_blind_node_fails_and_a_lost_gpu_warns() {
        let nodes = |change: fn(&mut NodeView)| {
            let mut nodes = vec![samples::node(1, Health::Alive), samples::node(2, Health::Alive)];
            change(&mut nodes[1]);
            nodes
        };
        assert_eq!(finding(&nodes(|_| {})).status, Status::Ok);
        let simulated = nodes(|node| node.telemetry[0] = GpuTelemetry { out_of_service: true, ..GpuTelemetry::default() });
        assert_eq!(finding(&simulated).status, Status::Ok, "that is what faults are simulated for");
        let real = nodes(|node| {
            node.spec.telemetry_source = "nvml".into();
            node.telemetry[0] = GpuTelemetry { out_of_service: true, ..GpuTelemetry::default() };
        });
        assert_eq!(finding(&real).status, Status::Warn);
        let blind = finding(&nodes(|node| node.spec.gpu_problem = Some("NVML failed: mismatch; reboot".into())));
        assert!(
            blind.status == Status::Fail
                && blind.found.contains("1 node has unusable real GPUs (")
                && blind.found.ends_with("mismatch; reboot")
        );
    }
}
