//! What operators set for all of the cluster: the rate and the mix of generated jobs, and which nodes are drained. A setting is asked for here
//! and stored in KV CONTROL; it is in force once the service that obeys it says so.

use std::time::Duration;

use async_nats::jetstream::kv;
use faultline_protocol::codec::Message;
use faultline_protocol::messages::{DrainSetting, InForce, KindMix, RateSetting};
use faultline_protocol::streams::{KEY_IN_FORCE, KEY_MIX, KEY_RATE, KV_CONTROL};
use faultline_protocol::subjects;
use faultline_runtime::connect::{Nats, kv_get, kv_put};
use tokio::time::Instant;

use crate::{ClientError, Leader};

/// How long the generator, or the leading scheduler, may take to answer a setting.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
const ASK_EVERY: Duration = Duration::from_millis(50);

/// A setting as it is stored, and what the generator made of the settings; none where nothing is set, or no generator has said anything.
pub type Stored<M> = (Option<M>, Option<InForce>);

pub async fn rate(nats: &Nats) -> Result<Stored<RateSetting>, ClientError> {
    stored(nats, KEY_RATE).await
}

pub async fn mix(nats: &Nats) -> Result<Stored<KindMix>, ClientError> {
    stored(nats, KEY_MIX).await
}

async fn stored<M: Message>(nats: &Nats, key: &str) -> Result<Stored<M>, ClientError> {
    let store = nats.bucket(KV_CONTROL).await?;
    Ok((kv_get(&store, key).await?, kv_get(&store, KEY_IN_FORCE).await?))
}

/// Stores the rate and returns its revision, without waiting for the generator.
pub async fn store_rate(nats: &Nats, rate: &RateSetting) -> Result<u64, ClientError> {
    Ok(kv_put(&nats.bucket(KV_CONTROL).await?, KEY_RATE, rate).await?)
}

/// Stores the rate and waits until the generator has taken it; that it refuses, or does not answer, is an error.
pub async fn set_rate(nats: &Nats, rate: &RateSetting) -> Result<InForce, ClientError> {
    let revision = store_rate(nats, rate).await?;
    await_answer(nats, &RATE, revision).await
}

/// The same of the mix.
pub async fn set_mix(nats: &Nats, mix: &KindMix) -> Result<InForce, ClientError> {
    let revision = kv_put(&nats.bucket(KV_CONTROL).await?, KEY_MIX, mix).await?;
    await_answer(nats, &MIX, revision).await
}

/// What the generator says of one of its settings.
struct Kind {
    key: &'static str,
    /// In an error's words.
    what: &'static str,
    revision: fn(&InForce) -> u64,
    refused: fn(&InForce) -> Option<&String>,
}

const RATE: Kind = Kind { key: KEY_RATE, what: "rate", revision: |said| said.rate_revision, refused: |said| said.rate_refused.as_ref() };
const MIX: Kind = Kind { key: KEY_MIX, what: "mix", revision: |said| said.mix_revision, refused: |said| said.mix_refused.as_ref() };

async fn await_answer(nats: &Nats, kind: &Kind, revision: u64) -> Result<InForce, ClientError> {
    let store = nats.bucket(KV_CONTROL).await?;
    let give_up = Instant::now() + ANSWER_LIMIT;
    loop {
        match kv_get::<InForce>(&store, KEY_IN_FORCE).await? {
            Some(said) if (kind.revision)(&said) == revision => return taken(kind, said),
            _ if Instant::now() >= give_up => return Err(unanswered(&store, kind, revision).await),
            _ => tokio::time::sleep(ASK_EVERY).await,
        }
    }
}

fn taken(kind: &Kind, said: InForce) -> Result<InForce, ClientError> {
    match (kind.refused)(&said) {
        None => Ok(said),
        Some(reason) => Err(ClientError::Failed(format!("the generator refused the {}: {reason}; the old one stays in force", kind.what))),
    }
}

async fn unanswered(store: &kv::Store, kind: &Kind, revision: u64) -> ClientError {
    let is_replaced = matches!(store.entry(kind.key).await, Ok(Some(entry)) if entry.revision != revision);
    let what = kind.what;
    if is_replaced {
        return ClientError::Failed(format!("another {what} was set at the same moment and replaces this one"));
    }
    let limit = ANSWER_LIMIT.as_secs();
    ClientError::Failed(format!(
        "no generator answered within {limit} s: the {what} is stored and applies as soon as a generator runs; `faultline status` shows what runs"
    ))
}

/// From now on nothing new is placed on the node.
pub async fn drain(nats: &Nats, node: &str, setting: &DrainSetting) -> Result<(), ClientError> {
    kv_put(&nats.bucket(KV_CONTROL).await?, &subjects::drain_key(node), setting).await?;
    Ok(())
}

/// The node takes jobs again; whether it was drained.
pub async fn undrain(nats: &Nats, node: &str) -> Result<bool, ClientError> {
    let store = nats.bucket(KV_CONTROL).await?;
    let key = subjects::drain_key(node);
    let was_drained = kv_get::<DrainSetting>(&store, &key).await?.is_some();
    if was_drained {
        store.delete(&key).await.map_err(|error| ClientError::Failed(format!("deleting {key} failed: {error}")))?;
    }
    Ok(was_drained)
}

/// Waits until the leading scheduler says of the node what was set.
pub async fn is_drain_in_force(leader: Leader<'_>, node: &str, draining: bool) -> bool {
    let give_up = Instant::now() + ANSWER_LIMIT;
    loop {
        match leader.node(node).await {
            Ok(Some(view)) if view.draining == draining => return true,
            Ok(Some(_)) if Instant::now() < give_up => tokio::time::sleep(ASK_EVERY).await,
            Ok(_) | Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_failure_with_the_generators_reason() {
        let said = InForce {
            jobs_per_minute: 2.0,
            load_percent: None,
            gpus: 0,
            capped: false,
            rate_revision: 7,
            rate_refused: None,
            weights: Default::default(),
            mix_revision: 0,
            mix_refused: None,
            at_ms: 0,
        };
        assert_eq!(taken(&RATE, said.clone()).unwrap(), said);
        let refused = taken(&RATE, InForce { rate_refused: Some("2000 is too many".into()), ..said }).unwrap_err();
        assert!(matches!(&refused, ClientError::Failed(text) if text.contains("refused the rate: 2000 is too many")), "{refused}");
    }
}
