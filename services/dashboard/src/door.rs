//! The listening socket and the connections behind it: how many there may be, and how long one may take to say what it wants.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::guard::Caller;
use crate::limits::{MAX_CONNECTIONS, MAX_CONNECTIONS_EACH, MAX_HEAD_BYTES};
use crate::owner;
use crate::settings::{Admission, Settings, StartError};

/// The head of a request must be there after so long; also how long a connection may lie idle between two requests.
const HEAD_LIMIT: Duration = Duration::from_secs(20);
/// Two rounds of 10,000 nodes.
const SEND_BUFFER_BYTES: u32 = 128 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// After an error that is not the connection's own, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// A listening socket, not served yet.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    address: SocketAddr,
    pub(crate) admission: Admission,
    pub(crate) trace_url: Option<Arc<str>>,
}

impl Door {
    /// Where it listens; with port 0 in the settings the system chose the port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Checks the settings and takes the port.
pub async fn open(settings: &Settings) -> Result<Door, StartError> {
    let admission = settings.admission()?;
    let (bind, port) = (settings.bind, settings.port);
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::AddrInUse => StartError::PortInUse { bind, port },
        ErrorKind::PermissionDenied => StartError::PortForbidden { bind, port },
        _ => StartError::Listen { bind, port, reason: error.to_string() },
    };
    let listener = listen(settings.address()).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let trace_url = settings.checked_trace_url()?.map(Arc::from);
    Ok(Door { listener, address, admission, trace_url })
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    // What accepted connections inherit. Left alone, the system queues megabytes for a client that does not read, so
    // that it later sees a minute of old news.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts and answers until the stop signal; then it returns when the requests under way are answered.
pub(crate) async fn serve(door: Door, router: Router, stop: CancellationToken) {
    let asks_for_owner = door.admission.owner;
    let (crowd, connections) = (Arc::new(Crowd::default()), TaskTracker::new());
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = door.listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match Crowd::enter(&crowd, peer.ip()) {
                Some(place) => {
                    let (router, stop) = (router.clone(), stop.clone());
                    connections.spawn(async move {
                        // Asked once a connection, before anything is read from it.
                        let is_owner = asks_for_owner && owner::is_own(&stream, peer).await;
                        talk(stream, Caller { address: peer.ip(), is_owner }, router, stop, place).await;
                    });
                }
                None => tracing::debug!(%peer, "too many connections: closed one"),
            },
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection was accepted; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(door.listener);
    connections.close();
    connections.wait().await;
}

/// One connection. A WebSocket goes on by itself when this is over.
async fn talk(stream: TcpStream, caller: Caller, router: Router, stop: CancellationToken, _place: Place) {
    // Small pushes must not wait for the acknowledgement of the ones before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY was not set");
    }
    let service = TowerToHyperService::new(router.map_request(move |mut request: hyper::Request<hyper::body::Incoming>| -> Request {
        request.extensions_mut().insert(caller);
        request.map(axum::body::Body::new)
    }));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        // The reader gives up somewhere above this; what it still lets through is measured by the guard.
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::trace!(%error, peer = %caller.address, "a connection ended badly");
    }
}

/// How many connections there are, of whom.
#[derive(Debug, Default)]
struct Crowd(Mutex<BTreeMap<IpAddr, usize>>);

/// One connection's place, given back when dropped.
#[derive(Debug)]
struct Place {
    crowd: Arc<Crowd>,
    peer: IpAddr,
}

impl Crowd {
    fn enter(crowd: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let peer = peer.to_canonical();
        let mut counts = crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, of_peer) = (counts.values().sum::<usize>(), counts.get(&peer).copied().unwrap_or(0));
        if all >= MAX_CONNECTIONS || of_peer >= MAX_CONNECTIONS_EACH {
            return None;
        }
        counts.insert(peer, of_peer + 1);
        Some(Place { crowd: Arc::clone(crowd), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(&self.peer) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(&self.peer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn places_are_limited_in_all_and_for_each_address_and_are_given_back() {
        let crowd = Arc::new(Crowd::default());
        let enter = |n: u8| Crowd::enter(&crowd, IpAddr::V4(Ipv4Addr::new(10, 0, 0, n)));
        let mut places: Vec<Place> = (0..MAX_CONNECTIONS_EACH).map(|_| enter(1).unwrap()).collect();
        assert!(enter(1).is_none() && enter(2).is_some());
        drop(places.pop());
        places.push(enter(1).unwrap());
        assert!(enter(1).is_none());
        for n in 2..=4 {
            places.extend((0..MAX_CONNECTIONS_EACH).map(|_| enter(n).unwrap()));
        }
        assert!(enter(5).is_none(), "none is left for others either");
        drop(places);
        assert!(crowd.0.lock().unwrap().is_empty());
    }
}
