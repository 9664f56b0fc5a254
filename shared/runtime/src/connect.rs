//! One way to reach NATS, with the client settings that notice a dead link in seconds, and typed publish and request.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::context::RequestErrorKind as JetStreamRequestErrorKind;
use async_nats::jetstream::{self, kv};
use async_nats::{ConnectOptions, Event, ServerAddr, Subject};
use faultline_protocol::codec::{self, Message};
use faultline_protocol::subjects;
use prometheus::PullingGauge;

use crate::config::Common;
use crate::connection::Connection;
use crate::count::Counter;
use crate::credentials::{self, CredentialError};
pub use crate::failure::{BucketError, PublishError, RequestError};
use crate::link_health::LinkHealth;
use crate::metrics::Metrics;
use crate::nats_wire::NatsWire;
use crate::trace::{BadEndpoint, Tracer};

/// With the default of 60 s a half-open link is noticed after 3 minutes; with 2 s after about 5 s.
const PING_INTERVAL: Duration = Duration::from_secs(2);
const ACK_TIMEOUT: Duration = Duration::from_secs(3);
/// Publishes that may await their acknowledgement at once; more wait in `publish`.
const MAX_ACKS_IN_FLIGHT: usize = 8192;
const RECONNECT_DELAY: Duration = Duration::from_millis(250);
const FIRST_ATTEMPT_LIMIT: Duration = Duration::from_secs(3);
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// Messages that a subscription buffers before it drops; the default of 65,536 is kept explicit because drops are silent.
const SUBSCRIPTION_CAPACITY: usize = 65_536;

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("invalid NATS URL `{url}`: {reason}. Use nats://HOST:PORT, or several separated by commas for a cluster")]
    BadUrl { url: String, reason: String },
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    #[error(
        "NATS at {url} and this program do not agree on TLS: {reason}. --tls-ca-file names the CA that signed the server's certificate, which \
         must be made for the host of the URL; a server that verifies its clients wants --tls-cert-file and --tls-key-file, signed by its CA"
    )]
    Tls { url: String, reason: String },
    #[error("NATS at {url} cannot be reached: {reason}. Start one with `faultline up`, or name another with --nats-url")]
    Unreachable { url: String, reason: String },
    #[error(transparent)]
    Otlp(#[from] BadEndpoint),
    #[error("NATS at {url} refused this user: {reason}. Name its nkey with --nkey-file, or --data-dir of the running `faultline up`")]
    Refused { url: String, reason: String },
}

/// A connection and what is kept about it. Cheap to clone.
#[derive(Clone)]
pub struct Nats {
    pub client: async_nats::Client,
    pub jetstream: jetstream::Context,
    connection: Connection,
}

/// A connection to a server does all that a connection does.
impl Deref for Nats {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// Part of the event callback, which the client drops when its task ends.
struct Lifeline(Arc<LinkHealth>);

impl Drop for Lifeline {
    fn drop(&mut self) {
        self.0.lost.cancel();
    }
}

impl std::fmt::Debug for Nats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nats").field("connection", &self.connection).finish_non_exhaustive()
    }
}

/// For services: keeps trying, and says so, until the server is there.
pub async fn connect(common: &Common, user: &str, client_name: &str) -> Result<Nats, ConnectError> {
    let mut told = false;
    loop {
        match connect_once(common, user, client_name).await {
            Ok(nats) => {
                tokio::spawn(end_with_client(Arc::clone(&nats.health)));
                return Ok(nats);
            }
            Err(ConnectError::Unreachable { url, reason }) => {
                if !told {
                    tracing::warn!(url, reason, "NATS cannot be reached yet: trying again");
                    told = true;
                }
                tokio::time::sleep(RECONNECT_DELAY).await;
            }
            Err(other) => return Err(other),
        }
    }
}

/// async-nats 0.51 panics on a carriage return inside of a header's value, in a task of its own: <https://github.com/nats-io/nats.rs/pull/1612>.
/// Nothing would be heard from then on, and nothing said about it. A process that ends is started again by its supervisor.
async fn end_with_client(health: Arc<LinkHealth>) {
    health.lost.cancelled().await;
    if !health.closed.load(Ordering::Relaxed) {
        tracing::error!("the NATS client broke down, most likely on a message whose headers it cannot read: this process ends");
        std::process::exit(1);
    }
}

/// For commands: fails within 3 s when there is no server.
pub async fn connect_once(common: &Common, user: &str, client_name: &str) -> Result<Nats, ConnectError> {
    let servers = servers(&common.nats_url)?;
    let health = Arc::new(LinkHealth::new());
    let connected = Counter::default();
    let connections = connected.subscribe();
    let for_events = (Lifeline(Arc::clone(&health)), connected, client_name.to_owned());
    let mut options = ConnectOptions::new()
        .name(client_name)
        .custom_inbox_prefix(subjects::inbox_prefix(user))
        .ping_interval(PING_INTERVAL)
        .connection_timeout(FIRST_ATTEMPT_LIMIT)
        .request_timeout(Some(ACK_TIMEOUT))
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .client_capacity(16_384)
        // A cluster tells its clients of all its servers. Those that were named are the ones that we can reach and are meant to use:
        // an address that a server knows itself by may be one of its own network, or lead around a proxy.
        .ignore_discovered_servers()
        .reconnect_delay_callback(|attempts| if attempts <= 1 { Duration::from_millis(20) } else { RECONNECT_DELAY })
        .event_callback(move |event| {
            on_link_event(&event, &for_events.0.0, &for_events.1, &for_events.2);
            std::future::ready(())
        });
    options = credentials::apply(options, common)?;
    let url = common.nats_url.clone();
    let client = match tokio::time::timeout(FIRST_ATTEMPT_LIMIT, options.connect(servers)).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return Err(classify_connect_error(url, &error)),
        Err(_) => return Err(ConnectError::Unreachable { url, reason: "no answer within 3 s".into() }),
    };
    let jetstream = jetstream::ContextBuilder::new()
        .timeout(ACK_TIMEOUT)
        .ack_timeout(ACK_TIMEOUT)
        .max_ack_inflight(MAX_ACKS_IN_FLIGHT)
        .backpressure_on_inflight(true)
        .build(client.clone());
    let tracer = Tracer::start(common.otlp_endpoint.as_deref(), user, client_name)?;
    let wire = Arc::new(NatsWire::new(client.clone(), jetstream.clone()));
    let connection = Connection::new(wire, connections, health, tracer);
    Ok(Nats { client, jetstream, connection })
}

/// The servers that a URL names: one, or those of a cluster with commas between.
pub fn servers(url: &str) -> Result<Vec<ServerAddr>, ConnectError> {
    url.split(',').map(str::trim).map(server).collect()
}

fn server(url: &str) -> Result<ServerAddr, ConnectError> {
    let refuse = |reason: String| ConnectError::BadUrl { url: url.to_owned(), reason };
    // The client's own parser takes any scheme, and nothing at all for a server on this machine.
    match url.split_once("://") {
        None if url.is_empty() => Err(refuse("it is empty".into())),
        Some((scheme, _)) if !["nats", "tls", "ws", "wss"].contains(&scheme) => {
            Err(refuse(format!("unsupported scheme `{scheme}`: use nats, tls, ws, or wss")))
        }
        _ => url.parse().map_err(|error: std::io::Error| refuse(error.to_string())),
    }
}

fn classify_connect_error(url: String, error: &async_nats::ConnectError) -> ConnectError {
    use async_nats::ConnectErrorKind as Kind;
    let (kind, mut reason) = (error.kind().to_string(), error.to_string());
    // The client says some of its reasons twice: as the kind, and as what the server sent.
    if reason == format!("{kind}: nats: {kind}") {
        reason = kind;
    }
    match error.kind() {
        Kind::Tls => ConnectError::Tls { url, reason },
        // A server that wants a client's certificate says so only after the handshake: as the end of the connection, with TLS's own words.
        Kind::Io if reason.contains("certificate") || reason.contains("fatal alert") => ConnectError::Tls { url, reason },
        Kind::Authentication | Kind::AuthorizationViolation => ConnectError::Refused { url, reason },
        _ => ConnectError::Unreachable { url, reason },
    }
}

fn on_link_event(event: &Event, health: &LinkHealth, connections: &Counter, name: &str) {
    match event {
        Event::Connected => {
            health.connects.inc();
            connections.increment();
            tracing::debug!(client = name, "connected to NATS");
        }
        Event::Disconnected => tracing::warn!(client = name, "disconnected from NATS: reconnecting"),
        Event::SlowConsumer(subscription) => {
            // Dropped messages are plain publishes that may be lost; still, an operator wants to know.
            health.slow_consumer_drops.inc();
            let drops = health.slow_consumer_drops.get();
            if drops.is_power_of_two() {
                tracing::warn!(client = name, subscription, drops, "messages arrive faster than they are read: some were dropped");
            }
        }
        Event::ServerError(error) => {
            if error.to_string().to_lowercase().contains("permissions violation") {
                health.permission_errors.inc();
            }
            tracing::error!(client = name, %error, "NATS reports an error");
        }
        Event::ClientError(error) => tracing::debug!(client = name, %error, "NATS client error"),
        Event::Closed => health.closed.store(true, Ordering::Relaxed),
        Event::LameDuckMode | Event::Draining => tracing::debug!(client = name, %event, "NATS link"),
    }
}

impl Nats {
    /// The connection alone, for loops that run over any wire.
    pub fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// As [`Connection::send_message`].
    pub async fn send<M: Message>(&self, subject: Subject, message: &M) -> Result<(), PublishError> {
        self.connection.send_message(subject, message).await
    }

    /// As [`Connection::ask`].
    pub async fn request<Q: Message, A: Message>(
        &self,
        subject: impl Into<String>,
        question: &Q,
        limit: Duration,
    ) -> Result<A, RequestError> {
        self.connection.ask(subject, question, limit).await
    }

    /// Shows the state of the link in the metrics of the process. Once a process.
    pub fn register_metrics(&self, metrics: &Metrics) {
        let health = &self.health;
        for counter in [&health.connects, &health.slow_consumer_drops, &health.permission_errors, &health.malformed, &health.unsent] {
            metrics.register(counter.clone());
        }
        if let Some(dropped) = self.tracer.dropped() {
            metrics.register(dropped.clone());
        }
        let connected = PullingGauge::new(
            "faultline_nats_connected",
            "1 while the process is connected to NATS, else 0.",
            Box::new({
                let client = self.client.clone();
                move || f64::from(u8::from(client.connection_state() == State::Connected))
            }),
        );
        metrics.register(connected.unwrap_or_else(|error| panic!("faultline_nats_connected: {error}")));
    }

    pub async fn bucket(&self, name: &str) -> Result<kv::Store, BucketError> {
        self.jetstream.get_key_value(name).await.map_err(|error| BucketError { bucket: name.to_owned(), reason: error.to_string() })
    }

    /// Sends what is buffered and closes. `drain` alone lost 4,912 of 5,000 messages: flush first, then await the end.
    pub async fn close(self) {
        let closing = async {
            self.tracer.flush().await;
            let _ = self.client.flush().await;
            let _ = self.client.drain().await;
            while !self.health.closed.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(DRAIN_LIMIT, closing).await.is_err() {
            tracing::warn!("NATS did not take the last messages in time");
        }
    }
}

/// Whether a JetStream request failed because JetStream is not there at all.
pub fn is_no_jetstream(error: &jetstream::context::RequestError) -> bool {
    error.kind() == JetStreamRequestErrorKind::NoResponders
}

/// Writes a message into a bucket and returns its revision.
pub async fn kv_put<M: Message>(store: &kv::Store, key: &str, message: &M) -> Result<u64, BucketError> {
    store.put(key, codec::encode(message)).await.map_err(|error| BucketError { bucket: store.name.clone(), reason: error.to_string() })
}

/// Reads a message from a bucket; an undecodable value is an error that names the key.
pub async fn kv_get<M: Message>(store: &kv::Store, key: &str) -> Result<Option<M>, BucketError> {
    let fail = |reason: String| BucketError { bucket: store.name.clone(), reason };
    match store.get(key).await.map_err(|error| fail(error.to_string()))? {
        Some(body) => codec::decode_body(&body).map(Some).map_err(|error| fail(format!("key {key}: {error}"))),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_one_server_or_those_of_a_cluster() {
        let ports = |url: &str| servers(url).map(|servers| servers.iter().map(ServerAddr::port).collect::<Vec<_>>());
        assert_eq!(ports("nats://127.0.0.1:4222").unwrap(), [4222]);
        assert_eq!(ports("nats://10.0.0.1:4301, nats://10.0.0.2:4302,10.0.0.3").unwrap(), [4301, 4302, 4222]);
        for bad in ["", "nats://127.0.0.1:4222,", "nats://127.0.0.1:notaport", "http://127.0.0.1:4222"] {
            let error = ports(bad).unwrap_err().to_string();
            assert!(error.contains("separated by commas"), "{bad}: {error}");
        }
    }
}
