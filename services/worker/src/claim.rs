//! A name for a worker that was given none. Replicas of one service are all started alike: each takes the lowest number that no other
//! worker has, keeps it by renewing a key that expires, and gives it back in the end.

use std::time::Duration;

use anyhow::bail;
use async_nats::jetstream::kv;
use faultline_protocol::streams;
use faultline_runtime::clock::random_u128;
use faultline_runtime::connect::Nats;
use faultline_runtime::lease::{self, Lease, NotAcquired};
use tokio::time::MissedTickBehavior;

use crate::settings::Identity;

/// A fifth of the time that a claim lives.
const RENEW_EVERY: Duration = Duration::from_secs(3);
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// As many workers as this look for a number; the thousandth asks for a thousand.
const MAX_NUMBER: usize = 10_000;

/// The connection's name before it has one of its own. The fault detector knows no worker of this name, so nobody minds its end.
pub(crate) const NAMELESS: &str = "worker-without-a-name";

/// A number that is held.
#[derive(Debug)]
pub(crate) struct Claim {
    lease: Lease,
    pub(crate) identity: Identity,
}

/// Takes the lowest free number among workers of so many nodes each.
pub(crate) async fn take(nats: &Nats, nodes: usize) -> anyhow::Result<Claim> {
    let store = nats.bucket(streams::KV_CLAIMS).await?;
    let holder = format!("{:032x}", random_u128());
    for number in 1..=MAX_NUMBER {
        let identity = Identity::numbered(number, nodes);
        if let Some(lease) = acquire(&store, &identity.name, &holder).await {
            tracing::info!(name = identity.name, first_node = identity.first_node, "took the lowest free number");
            return Ok(Claim { lease, identity });
        }
    }
    bail!("all numbers up to {MAX_NUMBER} are taken: give this worker a name with --name")
}

/// `None` when another worker has it. A server that does not answer is asked again: to go on would leave a hole.
async fn acquire(store: &kv::Store, key: &str, holder: &str) -> Option<Lease> {
    loop {
        match lease::try_acquire(store, key, holder).await {
            Ok(lease) => return Some(lease),
            Err(NotAcquired::Held) => return None,
            Err(error) => tracing::warn!(name = key, %error, "the name could not be claimed yet"),
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

impl Claim {
    /// Goes on over another connection.
    pub(crate) async fn moved_to(self, nats: &Nats) -> anyhow::Result<Self> {
        let store = nats.bucket(streams::KV_CLAIMS).await?;
        Ok(Self { lease: self.lease.moved_to(store), ..self })
    }

    /// Keeps the claim while `work` goes on, and gives it back afterwards. When it is lost, `work` is dropped where it stands: another
    /// process may have the name, so there is nothing that this one may still say under it. What it ran comes back to the queue, as
    /// if it had died.
    pub(crate) async fn hold_while(mut self, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
        let outcome = tokio::select! {
            outcome = work => Some(outcome),
            () = until_lost(&mut self.lease) => None,
        };
        if let Some(outcome) = outcome {
            self.lease.release().await;
            return outcome;
        }
        bail!(
            "the name {} was not renewed for almost {} s (this process was frozen, or without NATS), so another one may have it by now: \
             this worker stops, and takes a free name when it is started again",
            self.identity.name,
            streams::CLAIM_MAX_AGE.as_secs()
        )
    }
}

async fn until_lost(lease: &mut Lease) {
    let mut renewal = tokio::time::interval(RENEW_EVERY);
    renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        renewal.tick().await;
        if !lease.renew().await {
            return;
        }
    }
}
