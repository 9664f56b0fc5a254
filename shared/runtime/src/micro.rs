//! Registers a process with the NATS services API, so that `nats micro ls|info|stats` shows it, and `faultline doctor` its clock.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::service::{Service, ServiceExt};
use tokio::task::AbortHandle;

use crate::clock;
use crate::connect::Nats;
use crate::process::ProcessIdentity;

/// What a process says of itself, for those who look for two of one name.
fn metadata(instance: &str) -> HashMap<String, String> {
    let own = ProcessIdentity::own();
    let said = [("instance", instance.to_owned()), ("pid", own.pid.to_string()), ("host", own.host.clone())];
    said.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The key in the metadata of a service that says how far its machine's wall clock is ahead of the NATS server's, in milliseconds.
pub const CLOCK_AHEAD_MS: &str = "clock_ahead_ms";
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The registration is renewed when the clock has moved by more than this.
const NEWS_FROM_MS: u64 = 1_000;

/// A registration, kept up to date until this is dropped.
#[derive(Debug)]
pub struct Registration(AbortHandle);

impl Drop for Registration {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Registers `name` (such as `scheduler`) under its process name.
pub async fn register(nats: &Nats, name: &str, instance: &str) -> Registration {
    let (nats, name, instance) = (nats.clone(), name.to_owned(), instance.to_owned());
    let mut told_ms = clock::wall_ahead_ms();
    let mut service = start(&nats, &name, &instance, told_ms).await;
    let task = tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let ahead_ms = clock::wall_ahead_ms();
            if !is_news(told_ms, ahead_ms) {
                continue;
            }
            // The metadata of a registration cannot be changed. The new one begins before the old one ends: there is always an answer.
            let renewed = start(&nats, &name, &instance, ahead_ms).await;
            if renewed.is_some() {
                told_ms = ahead_ms;
                if let Some(older) = std::mem::replace(&mut service, renewed) {
                    let _ = older.stop().await;
                }
            }
        }
    });
    Registration(task.abort_handle())
}

fn is_news(told_ms: Option<i64>, ahead_ms: Option<i64>) -> bool {
    match (told_ms, ahead_ms) {
        (Some(told_ms), Some(ahead_ms)) => told_ms.abs_diff(ahead_ms) > NEWS_FROM_MS,
        (None, ahead_ms) => ahead_ms.is_some(),
        (Some(_), None) => false,
    }
}

async fn start(nats: &Nats, name: &str, instance: &str, clock_ahead_ms: Option<i64>) -> Option<Service> {
    let mut metadata = metadata(instance);
    metadata.extend(clock_ahead_ms.map(|ahead_ms| (CLOCK_AHEAD_MS.to_owned(), ahead_ms.to_string())));
    let started = nats
        .client
        .service_builder()
        .description(format!("Faultline {name}, process {instance}"))
        .metadata(metadata)
        .start(format!("faultline-{name}"), env!("CARGO_PKG_VERSION"))
        .await;
    started.inspect_err(|error| tracing::warn!(%error, "not registered with the NATS services API")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_is_renewed_when_the_clock_moves() {
        assert!(is_news(None, Some(0)) && is_news(Some(0), Some(-1_001)));
        assert!(!is_news(None, None) && !is_news(Some(5), Some(900)) && !is_news(Some(5), None));
    }
}
