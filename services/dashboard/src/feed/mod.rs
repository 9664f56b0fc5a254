//! Everything that flows from NATS into the view: plain subscriptions, RESULTS and EVENTS, four buckets, and what the
//! leader answers. Nothing here decides anything, and no message can stop it: what cannot be read is counted.

mod live;
mod poll;
mod sink;
mod tail;

use std::sync::Arc;
use std::time::Duration;

use faultline_runtime::clock::unix_ms;
use faultline_runtime::connect::Nats;
use faultline_runtime::seldom::Seldom;
use faultline_runtime::shutdown::Shutdown;
use faultline_runtime::watch;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::view::SharedView;
use sink::Sink;
use tail::ResultsGap;

/// Between two log lines about messages that cannot be read.
const QUIET: Duration = Duration::from_secs(10);

const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Values of a bucket on their way.
const WATCH_BUFFER: usize = 256;

/// Starts all feeds. They wait until the streams are there.
pub(crate) fn start(nats: &Nats, view: &SharedView, cluster: &Arc<dyn Cluster>, shutdown: &Shutdown) {
    let (nats, cancel) = (nats.clone(), shutdown.token());
    let sink = Sink { view: view.clone(), noise: Arc::new(Seldom::new(QUIET)), nats: nats.clone() };
    shutdown.spawn("dashboard-poll", until(cancel.clone(), poll::run(Arc::clone(cluster), view.clone())));
    shutdown.spawn("dashboard-chaos", until(cancel.clone(), poll::run_chaos(Arc::clone(cluster), view.clone())));
    shutdown.spawn("dashboard-sample", until(cancel.clone(), sample(view.clone())));
    let tasks = shutdown.clone();
    shutdown.spawn("dashboard-feeds", async move {
        // It looks at the stop signal between its questions only, and each of those may take seconds.
        let provisioned = tokio::select! {
            () = cancel.cancelled() => false,
            there = nats.wait_until_provisioned(&cancel) => there,
        };
        if !provisioned {
            return;
        }
        tasks.spawn("dashboard-provisioned", nats.connection().keep_looking(cancel.clone()));
        let gap = Arc::new(ResultsGap::default());
        tasks.spawn("dashboard-live", until(cancel.clone(), live::run(nats.clone(), sink.clone(), Arc::clone(&gap))));
        tasks.spawn("dashboard-results", until(cancel.clone(), tail::run_results(nats.clone(), sink.clone(), gap)));
        tasks.spawn("dashboard-events", until(cancel.clone(), tail::run_events(nats.clone(), sink.clone())));
        for bucket in live::Bucket::ALL {
            let (out, entries) = mpsc::channel(WATCH_BUFFER);
            tasks.spawn("dashboard-watch", watch::run(nats.connection(), bucket.name(), out, cancel.clone()));
            tasks.spawn("dashboard-bucket", until(cancel.clone(), live::run_bucket(sink.clone(), bucket, entries)));
        }
    });
}

/// Takes down how things are, once a second.
async fn sample(view: SharedView) {
    let mut ticks = tokio::time::interval(SAMPLE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        view.write().sample(unix_ms());
    }
}

async fn until(cancel: CancellationToken, work: impl Future<Output = ()> + Send) {
    tokio::select! {
        () = cancel.cancelled() => {}
        () = work => {}
    }
}
