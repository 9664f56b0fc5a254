//! Faults of the worker's nodes: ordered, by themselves, and told as they really were.

use faultline_engine::fault::FaultDepth;
use faultline_protocol::messages::{EventKind, FaultOrder, Level};

use super::Worker;
use crate::node::FaultNews;

impl Worker {
    fn fault_time(&self) -> u64 {
        self.nats.steady_ms().saturating_add_signed(self.faults_ahead_ms)
    }

    pub(super) async fn on_fault_order(&mut self, order: &FaultOrder) {
        let now_ms = self.fault_time();
        let news = match (self.nodes.get_mut(&order.node), self.agent.node_mut(&order.node)) {
            (Some(node), Some(agent)) => node.order(agent, order, now_ms),
            _ => return tracing::warn!(node = order.node, "unexpected fault order: this worker does not host the node"),
        };
        self.tell_faults(&order.node, news).await;
    }

    pub(super) async fn on_fault_tick(&mut self) {
        let now_ms = self.fault_time();
        let mut news: Vec<(String, Vec<FaultNews>)> = Vec::new();
        for agent in self.agent.nodes_mut() {
            if let Some(node) = self.nodes.get_mut(&agent.spec().node) {
                let of_node = node.age(agent, now_ms);
                if !of_node.is_empty() {
                    news.push((agent.spec().node.clone(), of_node));
                }
            }
        }
        for (node, news) in news {
            self.tell_faults(&node, news).await;
        }
    }

    /// Writes down what really happened: the ground truth for measuring detectors.
    async fn tell_faults(&mut self, node: &str, news: Vec<FaultNews>) {
        for item in news {
            let (level, kind) = if item.began { (Level::Error, EventKind::FaultBegan) } else { (Level::Info, EventKind::FaultEnded) };
            let depth = if item.truth.depth == FaultDepth::Hardware { "hardware" } else { "simulated" };
            if item.began {
                tracing::error!(node, fault = item.detail, depth, "fault began");
            } else {
                tracing::info!(node, fault = item.detail, depth, "fault over");
            }
            let mut event = self.events.event(level, kind, item.detail);
            event.node = Some(node.to_owned());
            if item.began {
                self.metrics.on_fault(&item.truth.kind);
            }
            event.fault = Some(item.truth);
            self.events.send(event).await;
            // The scheduler should not place anything more on a GPU that is gone, nor wait for one that is back.
            if item.changes_service {
                self.on_heartbeat_tick().await;
            }
            if item.reborn {
                self.register(node);
            }
        }
    }
}
