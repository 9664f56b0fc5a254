//! The listening side: accepts connections, hands each to a task of its own, and counts.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::conditions::{InvalidConditions, LinkConditions, LinkState};
use crate::connection::{Connection, reset};
use crate::pump::Counts;
pub use crate::pump::Flow;

/// Out of file descriptors, say: it may pass.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What passed through a proxy since it started, and what is in it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Traffic {
    /// From the service to NATS.
    pub up: Flow,
    /// From NATS to the service.
    pub down: Flow,
    /// Connections that are open now.
    pub connections: u64,
    /// Connections that were ever accepted; those refused by a closed link are not among them.
    pub accepted: u64,
}

/// A proxy in front of a server. All its connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    upstream: String,
    conditions: watch::Sender<LinkConditions>,
    counts: Arc<Counts>,
    _stop: DropGuard,
}

impl Proxy {
    /// Listens at once, on a free port if that of `listen` is 0, with an open and clean link. `upstream` is `host:port`, or several
    /// with commas between: then a connection goes to one that takes it. `seed` decides jitter and loss.
    ///
    /// # Errors
    /// When `listen` cannot be listened on.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(listen: SocketAddr, upstream: String, seed: u64) -> io::Result<Proxy> {
        let listener = std::net::TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let (conditions, watched) = watch::channel(LinkConditions::default());
        let counts = Arc::new(Counts::default());
        let stop = CancellationToken::new();
        let acceptor = Acceptor { upstream: upstream.clone(), seed, conditions: watched, counts: Arc::clone(&counts), stop: stop.clone() };
        tokio::spawn(acceptor.run(listener));
        Ok(Proxy { address, upstream, conditions, counts, _stop: stop.drop_guard() })
    }

    /// Where the service connects.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the connections go.
    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    /// Changes the link, for connections that there are and for later ones.
    ///
    /// # Errors
    /// When the conditions make no sense; then nothing is changed.
    pub fn set(&self, conditions: LinkConditions) -> Result<(), InvalidConditions> {
        conditions.validate()?;
        self.conditions.send_replace(conditions);
        Ok(())
    }

    pub fn conditions(&self) -> LinkConditions {
        *self.conditions.borrow()
    }

    pub fn traffic(&self) -> Traffic {
        Traffic {
            up: self.counts.up.read(),
            down: self.counts.down.read(),
            connections: self.counts.open.load(Ordering::Relaxed),
            accepted: self.counts.accepted.load(Ordering::Relaxed),
        }
    }
}

struct Acceptor {
    upstream: String,
    seed: u64,
    conditions: watch::Receiver<LinkConditions>,
    counts: Arc<Counts>,
    stop: CancellationToken,
}

impl Acceptor {
    async fn run(self, listener: TcpListener) {
        let me = Arc::new(self);
        loop {
            let accepted = tokio::select! {
                () = me.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((service, _)) => Arc::clone(&me).connect(service),
                Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
            }
        }
    }

    fn connect(self: Arc<Self>, service: TcpStream) {
        if self.conditions.borrow().state == LinkState::Closed {
            reset(&service);
            return;
        }
        let number = self.counts.accepted.fetch_add(1, Ordering::Relaxed);
        self.counts.open.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let connection = Connection {
                service,
                upstream: &self.upstream,
                conditions: self.conditions.clone(),
                counts: &self.counts,
                seed: self.seed.wrapping_add(number),
            };
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = connection.run() => {}
            }
            self.counts.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}
