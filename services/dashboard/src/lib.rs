//! The dashboard: shows the cluster on a page, over REST and over a WebSocket, and passes orders on. It holds no truth:
//! whatever it shows is rebuilt from NATS, and the cluster does not notice when it is gone.

mod api;
mod app;
mod cluster;
mod feed;
mod guard;
mod page;
mod push;
mod settings;
mod socket;
mod view;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use faultline_runtime::clock::unix_ms;
use faultline_runtime::connect::Nats;
use faultline_runtime::micro;
use faultline_runtime::service::Process;
use faultline_runtime::shutdown::Shutdown;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;

use crate::app::{App, SharedView};
use crate::cluster::{Cluster, NatsCluster};
use crate::guard::Guard;
use crate::view::View;

pub use settings::{DEFAULT_PORT, Settings, StartError, Token};

/// Requests under way may take this long once the stop signal has come.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// Two rounds of 10,000 nodes.
const SEND_BUFFER_BYTES: u32 = 128 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// A listening socket, not served yet.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    address: SocketAddr,
    token: Option<Token>,
}

impl Door {
    /// Where it listens; with port 0 in the settings the system chose the port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Checks the settings and takes the port.
pub async fn open(settings: &Settings) -> Result<Door, StartError> {
    let token = settings.token()?;
    let (bind, port) = (settings.bind, settings.port);
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::AddrInUse => StartError::PortInUse { bind, port },
        ErrorKind::PermissionDenied => StartError::PortForbidden { bind, port },
        _ => StartError::Listen { bind, port, reason: error.to_string() },
    };
    let listener = listen(settings.address()).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Door { listener, address, token })
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

/// Serves until the stop signal.
pub async fn serve(door: Door, nats: Nats, shutdown: Shutdown) -> Result<(), StartError> {
    let _micro = micro::register(&nats, "dashboard", "dashboard").await;
    let view = SharedView::new(View::new(unix_ms()));
    let cluster: Arc<dyn Cluster> = Arc::new(NatsCluster::new(&nats));
    let (newest, rounds) = watch::channel(None);
    let guard = Guard { loopback_only: door.address.ip().is_loopback(), token: door.token };
    let app = App::new(view.clone(), Arc::clone(&cluster), guard, rounds, shutdown.token());
    feed::start(&nats, &view, &cluster, &shutdown);
    shutdown
        .spawn("dashboard-push", push::run(view, cluster, Arc::clone(&app.streams), Arc::clone(&app.arrivals), newest, shutdown.token()));
    tracing::info!(url = format!("http://{}/", door.address), "the dashboard is open");

    let listener = door.listener.tap_io(|stream| {
        // Small pushes must not wait for the acknowledgement of the ones before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY was not set");
        }
    });
    let stop = shutdown.token();
    let server = axum::serve(listener, api::router(app)).with_graceful_shutdown(stop.clone().cancelled_owned());
    let outcome = tokio::select! {
        outcome = server.into_future() => outcome.map_err(StartError::Server),
        () = async { stop.cancelled().await; tokio::time::sleep(STOP_LIMIT).await } => Ok(()),
    };
    shutdown.stop();
    shutdown.wait_for_tasks(STOP_LIMIT).await;
    outcome
}

/// Opens the door, connects, and serves until the stop signal.
pub async fn run(settings: Settings, process: Process) -> anyhow::Result<()> {
    // Before NATS, so that a port in use is said at once.
    let door = open(&settings).await?;
    let Some(nats) = process.connect().await? else { return Ok(()) };
    process.readiness.describe(format!("the page is at http://{}/", door.address()));
    serve(door, nats.clone(), process.shutdown).await?;
    nats.close().await;
    Ok(())
}
