//! The name of a worker is a key that expires: claimed, renewed, and given back in the end. So two processes never have one name for longer
//! than a moment. A worker that was given no name takes the lowest number that no other worker has, since replicas of one service are all
//! started alike.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use faultline_protocol::streams;
use faultline_runtime::connection::Connection;
use faultline_runtime::lease::{self, Lease, NotAcquired};
use faultline_runtime::process::{ProcessIdentity, Standing};
use faultline_runtime::wire::Bucket;
use tokio::time::MissedTickBehavior;

use crate::settings::Identity;

/// A fifth of the time that a claim lives.
const RENEW_EVERY: Duration = Duration::from_secs(3);
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// A name that was given back a moment ago is free as soon as each server knows it.
const FREE_AGAIN: Duration = Duration::from_millis(50);
/// As many workers as this look for a number; the thousandth asks for a thousand.
const MAX_NUMBER: usize = 10_000;

/// The connection's name before it has one of its own. The fault detector knows no worker of this name, so its end has no effect.
pub(crate) const NAMELESS: &str = "worker-without-a-name";

/// A name that is held.
#[derive(Debug)]
pub(crate) struct Claim {
    lease: Lease,
    nats: Connection,
    store: Arc<dyn Bucket>,
    pub(crate) identity: Identity,
}

/// What one says of oneself in a claim.
fn own_holder() -> String {
    ProcessIdentity::own().to_string()
}

/// A holder as an error names it.
fn shown(holder: &str) -> String {
    match holder.parse::<ProcessIdentity>() {
        Ok(process) => format!("process {} on {}", process.pid, process.host),
        Err(()) => "another process".to_owned(),
    }
}

/// Takes the lowest free number among workers of so many nodes each.
pub(crate) async fn take(nats: &Connection, nodes: usize) -> anyhow::Result<Claim> {
    let store = nats.open_bucket(streams::KV_CLAIMS).await?;
    for number in 1..=MAX_NUMBER {
        let identity = Identity::numbered(number, nodes);
        if let Some(lease) = acquire(nats, &store, &identity.name).await {
            tracing::info!(name = identity.name, first_node = identity.first_node, "took the lowest free number");
            return Ok(Claim { lease, nats: nats.clone(), store, identity });
        }
    }
    bail!("all numbers up to {MAX_NUMBER} are taken: give this worker a name with --name")
}

/// Takes the name that the settings give. A former holder that is known to be dead is succeeded at once, so that a worker that was killed
/// is back as fast as ever. One that cannot be seen from here is watched until its claim expires, or is renewed, which shows that it runs.
pub(crate) async fn take_named(nats: &Connection, identity: Identity) -> anyhow::Result<Claim> {
    let store = nats.open_bucket(streams::KV_CLAIMS).await?;
    let mut first_seen = None;
    loop {
        if let Some(lease) = acquire(nats, &store, &identity.name).await {
            return Ok(Claim { lease, nats: nats.clone(), store, identity });
        }
        let (holder, revision) = match lease::holder_of(&*store, &identity.name).await {
            Ok(Some(held)) => held,
            Ok(None) => {
                tokio::time::sleep(FREE_AGAIN).await;
                continue;
            }
            Err(error) => {
                tracing::warn!(name = identity.name, %error, "the holder of the name is not known yet");
                tokio::time::sleep(ASK_AGAIN).await;
                continue;
            }
        };
        let standing = holder.parse::<ProcessIdentity>().map_or(Standing::Unknown, |process| process.standing());
        let is_renewed = first_seen.is_some_and(|first| revision > first);
        match standing {
            Standing::Dead => lease::take_from_dead(&*store, &identity.name, revision).await,
            Standing::Unknown if !is_renewed => {
                if first_seen.is_none() {
                    tracing::info!(
                        name = identity.name,
                        holder = shown(&holder),
                        "waiting to see whether the holder of the name still runs"
                    );
                }
                first_seen.get_or_insert(revision);
                tokio::time::sleep(ASK_AGAIN).await;
            }
            Standing::Runs | Standing::Unknown => bail!(
                "worker.name: {} is taken: {} runs as that worker; stop it, or give this worker another name with --name",
                identity.name,
                shown(&holder)
            ),
        }
    }
}

/// `None` when another worker has it. A server that does not answer is asked again: to go on would leave a hole.
async fn acquire(nats: &Connection, store: &Arc<dyn Bucket>, key: &str) -> Option<Lease> {
    loop {
        match lease::try_acquire(nats, store, key, &own_holder()).await {
            Ok(lease) => return Some(lease),
            Err(NotAcquired::Held) => return None,
            Err(error) => tracing::warn!(name = key, %error, "the name could not be claimed yet"),
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

impl Claim {
    /// Goes on over another connection.
    pub(crate) async fn moved_to(self, nats: &Connection) -> anyhow::Result<Self> {
        let store = nats.open_bucket(streams::KV_CLAIMS).await?;
        Ok(Self { lease: self.lease.moved_to(nats, Arc::clone(&store)), nats: nats.clone(), store, ..self })
    }

    /// Keeps the claim while `work` goes on, and gives it back afterwards. A claim that has expired, because this process was frozen or
    /// without NATS, is taken again as soon as NATS answers. When another process has the name by then, `work` is dropped where it
    /// stands: there is nothing that this one may still say under it. What it ran comes back to the queue, as if it had died.
    pub(crate) async fn hold_while(mut self, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
        let heir = tokio::select! {
            outcome = work => {
                self.lease.release().await;
                return outcome;
            }
            heir = self.until_taken() => heir,
        };
        bail!(
            "the name {} expired (this process was frozen, or without NATS), and {heir} has it now: this worker stops",
            self.identity.name
        )
    }

    /// Who has the name instead.
    async fn until_taken(&mut self) -> String {
        let mut renewal = tokio::time::interval(RENEW_EVERY);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            renewal.tick().await;
            if self.lease.renew().await {
                continue;
            }
            match lease::try_acquire(&self.nats, &self.store, &self.identity.name, &own_holder()).await {
                Ok(lease) => {
                    tracing::warn!(name = self.identity.name, "the claim of the name expired: claiming it again");
                    self.lease = lease;
                }
                Err(NotAcquired::Unanswered(reason)) => tracing::debug!(reason, "the name is not renewed yet"),
                Err(NotAcquired::Held) => match lease::holder_of(&*self.store, &self.identity.name).await {
                    Ok(Some((holder, _))) if holder != own_holder() => return shown(&holder),
                    Ok(_) => {}
                    Err(error) => tracing::debug!(%error, "the holder of the name is not known yet"),
                },
            }
        }
    }
}
