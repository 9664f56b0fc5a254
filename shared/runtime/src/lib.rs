//! What every process needs around an engine: settings, logs, a connection, a lease, a way to submit, a way to stop,
//! and a listener for those who operate it.
//! No decision about jobs or nodes is taken here.

pub mod admin;
mod answering;
pub mod clock;
pub mod clock_check;
pub mod config;
pub mod connect;
pub mod connection;
pub mod count;
pub mod credentials;
pub mod ends;
pub mod events;
mod failure;
pub mod generation;
mod http;
pub mod identity;
mod last_answer;
pub mod lease;
mod link_health;
mod look;
pub mod malformed;
pub mod metrics;
pub mod micro;
mod missing;
mod nats_wire;
pub mod process;
mod provisioned;
pub mod pull;
pub mod read;
pub mod record;
pub mod room;
pub mod seldom;
mod server_time;
pub mod service;
pub mod shell;
pub mod shutdown;
pub mod sight;
mod spawner;
pub mod submit;
pub mod telemetry;
pub mod times;
pub mod trace;
pub mod values;
pub mod watch;
pub mod wire;
