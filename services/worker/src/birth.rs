//! How a hosted node comes into being: its devices, its faults, and which of its lives this one is.

use std::time::Duration;

use anyhow::Context;
use async_nats::jetstream::kv::Operation;
use faultline_engine::fault::{FaultInjector, FaultyNode};
use faultline_engine::node::NodeSpec;
use faultline_protocol::codec;
use faultline_protocol::messages::NodeRegistration;
use faultline_runtime::connection::Connection;
use faultline_runtime::wire::Bucket;

use crate::executor::Registry;
use crate::node::HostedNode;
use crate::settings::{Identity, Settings};
use crate::telemetry::{DeviceSource, TelemetryError};

/// Opens the GPUs of the node with this index.
pub type OpenDevices = dyn Fn(usize) -> Result<Box<dyn DeviceSource>, TelemetryError> + Send + Sync;

/// Between two tries to read or write a registration.
pub(crate) const REGISTER_PAUSE: Duration = Duration::from_millis(500);

pub(crate) async fn hosted_node(
    identity: &Identity,
    settings: &Settings,
    registry: &Registry,
    (nats, registrations): (&Connection, &dyn Bucket),
    index: usize,
    seed: u64,
    open_devices: &OpenDevices,
) -> anyhow::Result<(NodeSpec, HostedNode, u64)> {
    let name = format!("gpu-node-{index:02}");
    let Birth { incarnation, number } = next_life(nats, registrations, &name, &identity.name).await;
    let devices = open_devices(index).with_context(|| format!("the GPUs of {name}"))?;
    let gpus = u8::try_from(devices.descriptors().len()).unwrap_or(u8::MAX);
    let injector = FaultInjector::new(
        settings.faults.profile(index, settings.fault_time_scale),
        seed,
        FaultyNode { index, incarnation: number, gpus },
    );
    let spec = NodeSpec {
        worker: identity.name.clone(),
        incarnation,
        gpus: devices.descriptors(),
        rack: faultline_engine::device::default_node(index).rack,
        slots: settings.slots,
        kinds: registry.kinds().map(str::to_owned).collect(),
        fault_percent_per_min: injector.percent_per_min(),
        telemetry_source: devices.kind().to_owned(),
        gpu_problem: devices.problem().map(str::to_owned),
        node: name,
    };
    let node = HostedNode::new(spec.gpus.len(), devices, injector);
    Ok((spec, node, number))
}

/// Which life of a node begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Birth {
    /// Fences this life off from all former ones.
    incarnation: u64,
    /// A small number, the same whenever the same cluster is started in the same way: what a seed's faults depend on.
    number: u64,
}

/// What the bucket NODES says of the former life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Former {
    /// Nothing: it is the first, or the bucket was made anew.
    Unknown,
    /// It said goodbye, or what it wrote cannot be read.
    Gone {
        revision: u64,
    },
    Registered {
        incarnation: u64,
        number: u64,
    },
}

impl Birth {
    /// Higher than the former one, and also higher than those that the bucket has forgotten or, as an older copy, does not know yet:
    /// they began earlier.
    fn after(former: Former, now_ms: u64) -> Self {
        let (incarnation, number) = match former {
            Former::Unknown => (1, 1),
            Former::Gone { revision } => (revision + 1, revision + 1),
            Former::Registered { incarnation, number: 0 } => (incarnation + 1, incarnation + 1),
            Former::Registered { incarnation, number } => (incarnation + 1, number + 1),
        };
        Self { incarnation: incarnation.max(now_ms), number }
    }
}

/// Waits until the former life can be read: one that starts too low would not be believed.
async fn next_life(nats: &Connection, registrations: &dyn Bucket, node: &str, worker: &str) -> Birth {
    loop {
        let former = match registrations.entry(node).await {
            Ok(None) => Former::Unknown,
            Ok(Some(entry)) if entry.operation != Operation::Put => Former::Gone { revision: entry.revision },
            Ok(Some(entry)) => match codec::decode_body::<NodeRegistration>(&entry.value) {
                Ok(known) => {
                    if known.spec.worker != worker {
                        tracing::warn!(
                            node,
                            before = known.spec.worker,
                            "this node was registered by another worker and is taken over: if that one still runs, it hosts the node no \
                             more; give one of the two another --first-node"
                        );
                    }
                    Former::Registered { incarnation: known.spec.incarnation, number: known.life }
                }
                Err(error) => {
                    tracing::warn!(node, %error, "its former registration cannot be read: going on from the bucket's revision");
                    Former::Gone { revision: entry.revision }
                }
            },
            Err(error) => {
                tracing::warn!(node, %error, "its former registration cannot be read yet");
                tokio::time::sleep(REGISTER_PAUSE).await;
                continue;
            }
        };
        return Birth::after(former, nats.unix_ms());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_800_000_000_000;

    #[test]
    fn a_life_is_higher_than_all_former_ones_also_where_the_bucket_has_forgotten_them() {
        let first = Birth::after(Former::Unknown, NOW_MS);
        assert_eq!(first, Birth { incarnation: NOW_MS, number: 1 });
        let second = Birth::after(Former::Registered { incarnation: first.incarnation, number: first.number }, NOW_MS + 10_000);
        assert_eq!(second, Birth { incarnation: NOW_MS + 10_000, number: 2 });
        // The bucket was made anew, or knows the first life only.
        assert!(Birth::after(Former::Unknown, NOW_MS + 20_000).incarnation > second.incarnation);
        let older_copy = Former::Registered { incarnation: first.incarnation, number: first.number };
        assert!(Birth::after(older_copy, NOW_MS + 20_000).incarnation > second.incarnation);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_lower_it() {
        let former = Former::Registered { incarnation: NOW_MS, number: 4 };
        assert_eq!(Birth::after(former, 5), Birth { incarnation: NOW_MS + 1, number: 5 });
        assert_eq!(Birth::after(Former::Gone { revision: NOW_MS }, 5).incarnation, NOW_MS + 1);
    }

    #[test]
    fn a_registration_of_an_older_version_goes_on_from_its_incarnation() {
        let former = Former::Registered { incarnation: 7, number: 0 };
        assert_eq!(Birth::after(former, NOW_MS), Birth { incarnation: NOW_MS, number: 8 });
    }
}
