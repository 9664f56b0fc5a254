//! How a hosted node comes into being: its devices, its faults, and which of its lives this one is.

use std::time::Duration;

use anyhow::Context;
use async_nats::jetstream::kv;
use faultline_engine::fault::{FaultInjector, FaultyNode};
use faultline_engine::node::NodeSpec;
use faultline_protocol::codec;
use faultline_protocol::messages::NodeRegistration;

use crate::executor::Registry;
use crate::node::HostedNode;
use crate::settings::{Identity, Settings};
use crate::telemetry::open_devices;

/// Between two tries to read or write a registration.
pub(crate) const REGISTER_PAUSE: Duration = Duration::from_millis(500);

pub(crate) async fn hosted_node(
    identity: &Identity,
    settings: &Settings,
    registry: &Registry,
    registrations: &kv::Store,
    index: usize,
    seed: u64,
) -> anyhow::Result<(NodeSpec, HostedNode)> {
    let name = format!("gpu-node-{index:02}");
    let incarnation = next_incarnation(registrations, &name).await;
    let devices = open_devices(settings.telemetry, index).with_context(|| format!("the GPUs of {name}"))?;
    let gpus = u8::try_from(devices.descriptors().len()).unwrap_or(u8::MAX);
    let injector =
        FaultInjector::new(settings.faults.profile(index, settings.fault_time_scale), seed, FaultyNode { index, incarnation, gpus });
    let spec = NodeSpec {
        worker: identity.name.clone(),
        incarnation,
        gpus: devices.descriptors(),
        rack: faultline_engine::device::default_node(index).rack,
        slots: settings.slots,
        kinds: registry.kinds().map(str::to_owned).collect(),
        fault_percent_per_min: injector.percent_per_min(),
        telemetry_source: devices.kind().to_owned(),
        node: name,
    };
    let node = HostedNode::new(spec.gpus.len(), devices, injector);
    Ok((spec, node))
}

/// One more than the node's former life, also when that one said goodbye: the bucket's revision has grown with each of them. A life that
/// starts too low would never be believed, so this waits until it can be read.
async fn next_incarnation(registrations: &kv::Store, node: &str) -> u64 {
    loop {
        match registrations.entry(node).await {
            Ok(None) => return 1,
            Ok(Some(entry)) if entry.operation != kv::Operation::Put => return entry.revision + 1,
            Ok(Some(entry)) => match codec::decode_body::<NodeRegistration>(&entry.value) {
                Ok(known) => return known.spec.incarnation + 1,
                Err(error) => {
                    tracing::warn!(node, %error, "its former registration cannot be read: going on from the bucket's revision");
                    return entry.revision + 1;
                }
            },
            Err(error) => tracing::warn!(node, %error, "its former registration cannot be read yet"),
        }
        tokio::time::sleep(REGISTER_PAUSE).await;
    }
}
