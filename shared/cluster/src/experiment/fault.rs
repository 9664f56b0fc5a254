//! What can be broken, in the terms of the one who breaks it: a process, a link, a node.

use faultline_protocol::messages::FaultOrder;
use faultline_proxy::LinkConditions;
use serde::{Deserialize, Serialize};

/// One thing to break. Putting it right is the opposite of the same thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum Fault {
    /// SIGKILL, and the process is not started again before the fault is over.
    Kill { service: String },
    /// SIGSTOP; SIGCONT puts it right.
    Freeze { service: String },
    /// The service's way to NATS.
    Link { service: String, conditions: LinkConditions },
    /// A simulated fault, played by the node's worker.
    Node { worker: String, order: FaultOrder },
}

impl Fault {
    /// The process or the node that it breaks.
    pub fn target(&self) -> &str {
        match self {
            Fault::Kill { service } | Fault::Freeze { service } | Fault::Link { service, .. } => service,
            Fault::Node { order, .. } => &order.node,
        }
    }

    /// As it is told to people: what happens to the target.
    pub fn words(&self) -> String {
        match self {
            Fault::Kill { service } => format!("{service} is killed and kept down"),
            Fault::Freeze { service } => format!("{service} is frozen"),
            Fault::Link { service, conditions } => format!("the network of {service} is {conditions}"),
            Fault::Node { order, .. } => format!("{} suffers {}", order.node, order_name(order)),
        }
    }
}

/// The name of an ordered fault, as it stands in JSON.
fn order_name(order: &FaultOrder) -> String {
    match serde_json::to_value(order.kind) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(_) | Err(_) => format!("{:?}", order.kind),
    }
}
