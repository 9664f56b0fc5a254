//! A cluster that does as it is told, for tests of the routes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use faultline_engine::job::{JobId, JobSpec, Priority};
use faultline_engine::scheduler::WouldFit;
use faultline_protocol::messages::{
    CancelAnswer, CancelOutcome, CancelReply, ChaosAbort, ChaosList, ChaosReply, ChaosRequest, DrainSetting, FaultOrder, JobView,
    KillReply, KillRequest, ProcessesQuery, ProcessesReply, Query, QueryReply, RateSetting, WouldFitQuery,
};
use faultline_runtime::metrics::Metrics;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::cluster::{Cluster, ClusterError, Messaging, NatsState, Record, Started, StoredMessage};
use crate::guard::Guard;
use crate::past::SharedPast;
use crate::push::Newest;
use crate::view::{SharedView, View};

#[derive(Debug, Default)]
pub(crate) struct FakeCluster {
    pub(crate) silent: AtomicBool,
    pub(crate) nats_silent_for: Mutex<Option<Duration>>,
    /// Submissions after so many fail; 0: none.
    pub(crate) room: AtomicU32,
    pub(crate) held: Mutex<BTreeMap<JobId, JobView>>,
    pub(crate) records: Mutex<BTreeMap<JobId, Record>>,
    pub(crate) queue: Mutex<BTreeMap<JobId, JobSpec>>,
    pub(crate) submitted: Mutex<Vec<JobSpec>>,
    pub(crate) rate: Mutex<Option<RateSetting>>,
    pub(crate) drained: Mutex<BTreeMap<String, bool>>,
    pub(crate) cancel_outcome: Mutex<Option<CancelOutcome>>,
    /// Where jobs were asked for as waiting.
    pub(crate) asked_queue: Mutex<Vec<Option<String>>>,
    pub(crate) asked_messaging: AtomicU32,
    pub(crate) asked_to_fit: Mutex<Vec<WouldFitQuery>>,
    pub(crate) faults: Mutex<Vec<(String, FaultOrder)>>,
    /// Whether no worker answers a ping.
    pub(crate) workers_are_dead: AtomicBool,
    /// What `up` answers to an order; none: there is no `up`.
    pub(crate) up: Mutex<Option<ChaosReply>>,
    pub(crate) chaos_orders: Mutex<Vec<ChaosRequest>>,
    /// What `up` answers to a kill; none: there is no `up`.
    pub(crate) kill_reply: Mutex<Option<KillReply>>,
    pub(crate) kills: Mutex<Vec<KillRequest>>,
    /// What `up` tells of its processes; none: there is no `up`.
    pub(crate) processes: Mutex<Option<ProcessesReply>>,
    pub(crate) asked_processes: Mutex<Vec<ProcessesQuery>>,
}

impl FakeCluster {
    fn up(&self) -> Result<ChaosReply, ClusterError> {
        self.up.lock().unwrap().clone().ok_or_else(|| ClusterError::NoExperiments("no service listens on chaos.run".into()))
    }

    fn check(&self) -> Result<(), ClusterError> {
        if self.silent.load(Ordering::Relaxed) {
            Err(ClusterError::NoScheduler("no service listens on sched.query".into()))
        } else {
            Ok(())
        }
    }
}

fn all_would_fit(count: u32) -> WouldFit {
    let (spots, rejects, summary) = (Vec::new(), Vec::new(), "they would start now".into());
    WouldFit { count, starts: count, spots, choice: None, rejects, able: 1, nodes: 1, untried: 0, summary }
}

impl Cluster for FakeCluster {
    fn nats(&self) -> NatsState {
        NatsState { connected: true, silent_for: *self.nats_silent_for.lock().unwrap() }
    }

    fn query(&self, query: Query) -> BoxFuture<'_, Result<QueryReply, ClusterError>> {
        Box::pin(async move {
            self.check()?;
            Ok(match query {
                Query::Job { job } => QueryReply::Jobs(self.held.lock().unwrap().get(&job).cloned().into_iter().collect()),
                Query::Jobs { .. } => QueryReply::Jobs(self.held.lock().unwrap().values().cloned().collect()),
                Query::Stats => QueryReply::Stats(Box::default()),
                Query::Nodes { .. } | Query::Node { .. } => QueryReply::Nodes(vec![]),
                Query::Goodput => QueryReply::Goodput(Box::default()),
                Query::WouldFit(query) => {
                    let count = query.count;
                    self.asked_to_fit.lock().unwrap().push(query);
                    QueryReply::WouldFit(Box::new(all_would_fit(count)))
                }
            })
        })
    }

    fn cancel(&self, jobs: Vec<JobId>) -> BoxFuture<'_, Result<CancelReply, ClusterError>> {
        Box::pin(async move {
            self.check()?;
            let outcome = self.cancel_outcome.lock().unwrap().unwrap_or(CancelOutcome::NotFound);
            Ok(CancelReply { answers: jobs.into_iter().map(|job| CancelAnswer { job, outcome, detail: String::new() }).collect() })
        })
    }

    fn submit(&self, spec: JobSpec) -> BoxFuture<'_, Result<(), ClusterError>> {
        Box::pin(async move {
            let mut submitted = self.submitted.lock().unwrap();
            let room = self.room.load(Ordering::Relaxed);
            if room > 0 && submitted.len() >= room as usize {
                return Err(ClusterError::QueueFull("maximum bytes exceeded".into()));
            }
            submitted.push(spec);
            Ok(())
        })
    }

    fn set_rate(&self, rate: RateSetting) -> BoxFuture<'_, Result<u64, ClusterError>> {
        Box::pin(async move {
            *self.rate.lock().unwrap() = Some(rate);
            Ok(7)
        })
    }

    fn set_drain(&self, node: String, setting: Option<DrainSetting>) -> BoxFuture<'_, Result<(), ClusterError>> {
        Box::pin(async move {
            self.drained.lock().unwrap().insert(node, setting.is_some());
            Ok(())
        })
    }

    fn record(&self, job: JobId) -> BoxFuture<'_, Result<Option<Record>, ClusterError>> {
        Box::pin(async move { Ok(self.records.lock().unwrap().get(&job).cloned()) })
    }

    fn queued(&self, job: JobId, _: Priority, _: String) -> BoxFuture<'_, Result<Option<JobSpec>, ClusterError>> {
        Box::pin(async move { Ok(self.queue.lock().unwrap().get(&job).cloned()) })
    }

    fn messages(&self, _: JobId, queued_as: Option<String>) -> BoxFuture<'_, Result<Vec<StoredMessage>, ClusterError>> {
        Box::pin(async move {
            self.asked_queue.lock().unwrap().push(queued_as);
            self.check().map(|()| vec![])
        })
    }

    fn messaging(&self) -> BoxFuture<'_, Result<Messaging, ClusterError>> {
        Box::pin(async move {
            self.asked_messaging.fetch_add(1, Ordering::Relaxed);
            self.check().map(|()| Messaging::default())
        })
    }

    fn order_fault(&self, worker: String, order: FaultOrder) -> BoxFuture<'_, Result<(), ClusterError>> {
        Box::pin(async move {
            if self.workers_are_dead.load(Ordering::Relaxed) {
                return Err(ClusterError::NoWorker(format!("{worker}, which hosts {}, does not answer", order.node)));
            }
            self.faults.lock().unwrap().push((worker, order));
            Ok(())
        })
    }

    fn kill(&self, request: KillRequest) -> BoxFuture<'_, Result<KillReply, ClusterError>> {
        Box::pin(async move {
            self.kills.lock().unwrap().push(request);
            let reply = self.kill_reply.lock().unwrap().clone();
            reply.ok_or_else(|| ClusterError::NoExperiments("no service listens on chaos.kill".into()))
        })
    }

    fn processes(&self, query: ProcessesQuery) -> BoxFuture<'_, Result<ProcessesReply, ClusterError>> {
        Box::pin(async move {
            self.asked_processes.lock().unwrap().push(query);
            let reply = self.processes.lock().unwrap().clone();
            reply.ok_or_else(|| ClusterError::NoExperiments("no service listens on up.processes".into()))
        })
    }

    fn chaos_list(&self, _: u32) -> BoxFuture<'_, Result<ChaosList, ClusterError>> {
        Box::pin(async move { self.up().map(|_| ChaosList { kinds: vec![], running: None, runs: vec![] }) })
    }

    fn chaos_run(&self, request: ChaosRequest) -> BoxFuture<'_, Result<Started, ClusterError>> {
        Box::pin(async move {
            self.chaos_orders.lock().unwrap().push(request);
            match self.up()? {
                ChaosReply::Started { run, seed } => Ok(Started { run, seed }),
                ChaosReply::Refused { reason } => Err(ClusterError::RefusedByUp(reason)),
                ChaosReply::Aborting { .. } => Err(ClusterError::Failed("another answer".into())),
            }
        })
    }

    fn chaos_abort(&self, _: ChaosAbort) -> BoxFuture<'_, Result<String, ClusterError>> {
        Box::pin(async move {
            match self.up()? {
                ChaosReply::Aborting { run } => Ok(run),
                ChaosReply::Refused { reason } => Err(ClusterError::RefusedByUp(reason)),
                ChaosReply::Started { .. } => Err(ClusterError::Failed("another answer".into())),
            }
        })
    }
}

/// An app on a fake cluster.
pub(crate) fn app(guard: Guard) -> (App, Arc<FakeCluster>, watch::Sender<Newest>) {
    let cluster = Arc::new(FakeCluster::default());
    let (newest, rounds) = watch::channel(None);
    let seen: Arc<dyn Cluster> = Arc::<FakeCluster>::clone(&cluster);
    let (view, metrics) = (SharedView::new(View::new(1_000)), Metrics::new("dashboard", "dashboard"));
    let app = App::new(view, SharedPast::default(), seen, guard, rounds, CancellationToken::new(), &metrics);
    (app, cluster, newest)
}
