//! What every process needs around an engine: settings, logs, a connection, a lease, a way to submit, a way to stop,
//! and a listener for those who operate it.
//! No decision about jobs or nodes is taken here.

pub mod admin;
pub mod clock;
pub mod config;
pub mod connect;
pub mod credentials;
pub mod events;
mod http;
pub mod lease;
pub mod malformed;
pub mod metrics;
pub mod micro;
pub mod observe;
mod provisioned;
pub mod pull;
pub mod record;
pub mod service;
pub mod shutdown;
pub mod submit;
pub mod telemetry;
pub mod trace;
pub mod watch;
