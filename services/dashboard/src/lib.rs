//! The dashboard: shows the cluster on a page, over REST and over a WebSocket, and passes orders on. It holds no truth:
//! whatever it shows is rebuilt from NATS, and the cluster does not notice when it is gone.

mod api;
mod app;
mod cluster;
mod compress;
mod door;
mod error;
mod feed;
mod guard;
mod limits;
mod metrics;
mod owner;
mod page;
mod past;
mod pulse;
mod push;
mod rate_limit;
mod recording;
mod session;
mod settings;
mod socket;
mod view;

use std::sync::Arc;
use std::time::Duration;

use faultline_runtime::clock::unix_ms;
use faultline_runtime::connect::Nats;
use faultline_runtime::metrics::Metrics;
use faultline_runtime::micro;
use faultline_runtime::service::Process;
use faultline_runtime::shutdown::Shutdown;
use tokio::sync::watch;

use crate::app::App;
use crate::cluster::{Cluster, NatsCluster};
use crate::guard::Guard;
use crate::past::SharedPast;
use crate::pulse::Pulse;
use crate::view::{SharedView, View};

pub use door::{Door, open};
pub use settings::{DEFAULT_PORT, Settings, StartError, Token};

/// Requests under way may take this long once the stop signal has come.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// Serves until the stop signal.
pub async fn serve(door: Door, nats: Nats, shutdown: Shutdown, metrics: Metrics) -> Result<(), StartError> {
    let _micro = micro::register(&nats, "dashboard", "dashboard").await;
    let view = SharedView::new(View::new(unix_ms()));
    let cluster: Arc<dyn Cluster> = Arc::new(NatsCluster::new(&nats));
    let (newest, rounds) = watch::channel(None);
    let guard = Guard::new(door.address(), door.admission.clone());
    let past = SharedPast::default();
    let trace_url = door.trace_url.clone();
    let mut app = App::new(view.clone(), past.clone(), Arc::clone(&cluster), guard, rounds, shutdown.token(), &metrics);
    app.trace_url = trace_url;
    feed::start(&nats, &view, &cluster, &shutdown);
    let pulse = Pulse { view, cluster, streams: Arc::clone(&app.streams), arrivals: Arc::clone(&app.arrivals), newest, past };
    shutdown.spawn("dashboard-pulse", pulse.run(shutdown.token()));
    tracing::info!(url = format!("http://{}/", door.address()), "the dashboard is open");

    let stop = shutdown.token();
    tokio::select! {
        () = door::serve(door, api::router(app), stop.clone()) => {}
        () = async { stop.cancelled().await; tokio::time::sleep(STOP_LIMIT).await } => {}
    }
    shutdown.stop();
    shutdown.wait_for_tasks(STOP_LIMIT).await;
    Ok(())
}

/// Opens the door, connects, and serves until the stop signal.
pub async fn run(settings: Settings, process: Process) -> anyhow::Result<()> {
    // Before NATS, so that a port in use is said at once.
    let door = open(&settings).await?;
    let Some(nats) = process.connect().await? else { return Ok(()) };
    process.readiness.describe(format!("the page is at http://{}/", door.address()));
    serve(door, nats.clone(), process.shutdown, process.metrics).await?;
    nats.close().await;
    Ok(())
}
