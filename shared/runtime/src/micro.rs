//! Registers a process with the NATS services API, so that `nats micro ls|info|stats` shows it.

use std::collections::HashMap;

use async_nats::service::{Service, ServiceExt};

use crate::connect::Nats;

/// Registers `name` (such as `scheduler`) under its process name. The registration ends when the value is dropped.
pub async fn register(nats: &Nats, name: &str, instance: &str) -> Option<Service> {
    let started = nats
        .client
        .service_builder()
        .description(format!("Faultline {name}, process {instance}"))
        .metadata(HashMap::from([("instance".to_owned(), instance.to_owned()), ("pid".to_owned(), std::process::id().to_string())]))
        .start(format!("faultline-{name}"), env!("CARGO_PKG_VERSION"))
        .await;
    match started {
        Ok(service) => Some(service),
        Err(error) => {
            tracing::warn!(%error, "not registered with the NATS services API");
            None
        }
    }
}
