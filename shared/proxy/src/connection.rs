//! One connection through the proxy: made when the link lets it, pumped both ways, closed on both sides when one side is.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::conditions::{Direction, LinkConditions, LinkState};
use crate::pump::{Counts, Pump};
use crate::shaper::Shaper;

/// A server that does not take a connection by then does not answer; the service may try again.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// After one direction has ended, the other gets this long for last words.
const LAST_WORDS: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a connection is made from.
pub(crate) struct Connection<'a> {
    pub(crate) service: TcpStream,
    /// `host:port`, or several with commas between.
    pub(crate) upstream: &'a str,
    pub(crate) conditions: watch::Receiver<LinkConditions>,
    pub(crate) counts: &'a Counts,
    pub(crate) seed: u64,
}

impl Connection<'_> {
    /// Until a side has closed, or the link is.
    pub(crate) async fn run(mut self) {
        if !self.wait_for_link().await {
            reset(&self.service);
            return;
        }
        let Some(server) = connect(self.upstream, self.seed).await else {
            // As if the server itself had refused it.
            reset(&self.service);
            return;
        };
        for stream in [&self.service, &server] {
            // Both ends write whole messages; to collect small ones here would only be slow.
            let _ = stream.set_nodelay(true);
        }
        self.pass(server).await;
    }

    /// A connection is only made when a handshake could be: both ways open. False when the service gave up, or the link is closed.
    async fn wait_for_link(&mut self) -> bool {
        let Self { service, conditions, .. } = self;
        let state = conditions.wait_for(|conditions| conditions.state != LinkState::Stalled);
        tokio::select! {
            state = state => state.is_ok_and(|conditions| conditions.state == LinkState::Open),
            () = gone(service) => false,
        }
    }

    async fn pass(self, mut server: TcpStream) {
        let Self { mut service, mut conditions, counts, seed, .. } = self;
        let (up, down) = (conditions.clone(), conditions.clone());
        let closed = conditions.wait_for(|conditions| conditions.state == LinkState::Closed);
        let passed = async {
            let (service_reader, service_writer) = service.split();
            let (server_reader, server_writer) = server.split();
            let pump = Pump {
                reader: service_reader,
                writer: server_writer,
                way: Direction::Up,
                conditions: up,
                shaper: Shaper::new(seed),
                counters: &counts.up,
            };
            let (mut up, mut down) = (Box::pin(pump.run()), {
                let shaper = Shaper::new(!seed);
                let pump = Pump {
                    reader: server_reader,
                    writer: service_writer,
                    way: Direction::Down,
                    conditions: down,
                    shaper,
                    counters: &counts.down,
                };
                Box::pin(pump.run())
            });
            // Which failed, and how, makes no difference: the connection is over, for both sides.
            let _ = tokio::select! {
                _ = &mut up => timeout(LAST_WORDS, down).await,
                _ = &mut down => timeout(LAST_WORDS, up).await,
            };
        };
        let is_closed = tokio::select! {
            () = passed => false,
            _ = closed => true,
        };
        if is_closed {
            reset(&service);
            reset(&server);
        }
    }
}

/// The first server that takes a connection, starting at another one each time.
async fn connect(upstream: &str, seed: u64) -> Option<TcpStream> {
    let servers: Vec<&str> = upstream.split(',').map(str::trim).collect();
    let first = usize::try_from(seed % servers.len() as u64).unwrap_or(0);
    for offset in 0..servers.len() {
        if let Ok(Ok(stream)) = timeout(CONNECT_LIMIT, TcpStream::connect(servers[(first + offset) % servers.len()])).await {
            return Some(stream);
        }
    }
    None
}

/// Returns when the peer has closed before it sent anything, as a NATS client does that waits for the server's greeting in vain.
async fn gone(stream: &TcpStream) {
    let mut byte = [0; 1];
    loop {
        match stream.peek(&mut byte).await {
            Ok(0) | Err(_) => return,
            // Bytes wait in front of any end: it cannot be seen from here.
            Ok(_) => sleep(LOOK_EVERY).await,
        }
    }
}

/// When it is dropped the peer gets a reset.
pub(crate) fn reset(stream: &TcpStream) {
    // It may have been reset by the peer already.
    let _ = stream.set_zero_linger();
}
