//! The loop, and the state around it: what is drawn, when the next job is due, what became of those under way.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv;
use faultline_engine::job::{JobId, JobSpec, Origin};
use faultline_engine::workload::{Workload, WorkloadConfig, shorten};
use faultline_protocol::codec;
use faultline_protocol::messages::{Asked, EventKind, InForce, KindMix, Level, RateSetting};
use faultline_protocol::streams::{KEY_MIX, KEY_RATE, KV_CONTROL};
use faultline_runtime::clock::{random_seed, random_u128, unix_ms};
use faultline_runtime::connect::{Nats, kv_put};
use faultline_runtime::events::EventSink;
use faultline_runtime::service::Process;
use faultline_runtime::shutdown::Shutdown;
use faultline_runtime::submit::Submitter;
use faultline_runtime::watch::{self, Watched};
use tokio::sync::watch as told;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::arrivals::Arrivals;
use crate::control::{self, Setting};
use crate::hand_over::{self, News};
use crate::load::{self, Gpus, Target};
use crate::metrics::GeneratorMetrics;
use crate::settings::Settings;

/// The longest that one of the first jobs works.
const FIRST_JOB_MS: u64 = 1_000;
/// What generated jobs state about their submitter.
const SUBMITTER: &str = "generator";
/// How long submissions that are under way are waited for at the end.
const STOP_LIMIT: Duration = Duration::from_secs(2);
const BUFFERED_NEWS: usize = 4096;
const BUFFERED_SETTINGS: usize = 64;
const CONTROL_PAUSE: Duration = Duration::from_millis(500);
/// How long nothing new is submitted after the queue was found full: doubles up to the second figure while it stays so.
const FULL_PAUSE_MS: (u64, u64) = (1_000, 16_000);
/// The same complaint at most this often.
const COMPLAIN_EVERY_MS: u64 = 5_000;

/// Submits jobs until the stop signal.
pub(crate) async fn run(settings: Settings, nats: &Nats, process: &Process) {
    let shutdown = process.shutdown.clone();
    let stop = shutdown.token();
    let Some(start) = read_start(&settings, nats, &stop).await else { return };
    process.readiness.met("settings");
    process.readiness.describe("submits jobs");
    let (changed, mut changes) = mpsc::channel(BUFFERED_SETTINGS);
    shutdown.spawn("control-watch", watch::run(nats.connection(), KV_CONTROL, changed, stop.clone()));
    let (counted, mut gpus) = told::channel(Gpus::default());
    shutdown.spawn("gpu-count", load::follow_gpus(nats.clone(), counted, stop.clone()));
    let (told, mut news) = mpsc::channel(BUFFERED_NEWS);
    let metrics = GeneratorMetrics::new(&process.metrics);
    let mut source = Source::new(settings, start, nats, shutdown.clone(), told, metrics);
    source.submit_first().await;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(watched) = changes.recv() => source.on_watched(&watched).await,
            Some(one) = news.recv() => source.on_news(one),
            Ok(()) = gpus.changed() => {
                let now = *gpus.borrow_and_update();
                source.on_gpus(now).await;
            }
            permit = source.next_permit() => source.submit_due(permit),
        }
    }
    source.finish(&mut news, STOP_LIMIT).await;
}

/// The rate and the mix to begin with.
#[derive(Debug, Clone, PartialEq)]
struct Start {
    asked: Asked,
    mix: WorkloadConfig,
    said: InForce,
}

struct Source {
    settings: Settings,
    workload: Workload,
    target: Target,
    arrivals: Arrivals,
    /// The cluster is as full as it was when the load began, or a rate was asked for at first.
    is_filled: bool,
    /// Arrivals are counted in milliseconds from here; the wall clock may jump.
    started: Instant,
    nats: Nats,
    submitter: Submitter,
    events: EventSink,
    shutdown: Shutdown,
    permits: Arc<Semaphore>,
    news: mpsc::Sender<News>,
    metrics: GeneratorMetrics,
    /// What is said of the settings.
    in_force: told::Sender<InForce>,
    queue: QueueState,
    handed_over: u64,
    given_up: u64,
    complained_ms: Option<u64>,
}

/// Whether the cluster takes jobs, as far as the last submissions tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum QueueState {
    Open,
    /// Found full; `pause_ms` was the last pause.
    Full {
        until_ms: u64,
        pause_ms: u64,
    },
}

impl Source {
    fn new(settings: Settings, start: Start, nats: &Nats, shutdown: Shutdown, news: mpsc::Sender<News>, metrics: GeneratorMetrics) -> Self {
        let (in_force, said) = told::channel(start.said);
        shutdown.spawn("in-force", control::report(nats.clone(), said, shutdown.token()));
        let seed = settings.seed.unwrap_or_else(random_seed);
        let mut workload = Workload::new(start.mix, seed);
        let target = Target::new(start.asked, start.mix, settings.unbounded_rate);
        let arrivals = Arrivals::new(target.per_minute(), 0, &mut workload);
        metrics.show(&target);
        tracing::info!(asked = %start.asked, seed, "generating");
        Self {
            workload,
            target,
            is_filled: start.asked.load_percent().is_none(),
            arrivals,
            started: Instant::now(),
            nats: nats.clone(),
            submitter: Submitter::new(nats),
            events: EventSink::new(nats, "generator"),
            shutdown,
            permits: Arc::new(Semaphore::new(settings.in_flight)),
            settings,
            news,
            metrics,
            in_force,
            queue: QueueState::Open,
            handed_over: 0,
            given_up: 0,
            complained_ms: None,
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A few jobs at once, so that a newcomer sees something happen. None with a load, and when the rate is 0.
    async fn submit_first(&mut self) {
        for _ in 0..if self.arrivals.per_minute() > 0.0 { self.settings.first_jobs } else { 0 } {
            if let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await {
                self.submit_short(permit);
            }
        }
    }

    /// The cluster has grown or shrunk, or stopped growing at its start.
    async fn on_gpus(&mut self, gpus: Gpus) {
        self.target.on_gpus(gpus.count);
        self.keep_to_target();
        if gpus.settled && !self.is_filled {
            self.is_filled = true;
            self.fill(gpus).await;
        }
    }

    /// With a load, what would run by now had the cluster been up for long: else it takes the length of a job to fill.
    async fn fill(&mut self, told: Gpus) {
        let missing = if self.settings.first_jobs > 0 { self.target.missing_per_minute(told) } else { 0.0 };
        let now_ms = unix_ms();
        let jobs = self.workload.under_way(missing, || JobId::new(now_ms, random_u128()), now_ms);
        tracing::info!(jobs = jobs.len(), gpus = self.target.gpus(), jobs_per_minute = self.target.per_minute(), "filling the cluster");
        for spec in jobs {
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return };
            self.hand_over(JobSpec { origin: Origin::by(SUBMITTER), ..spec }, permit);
        }
    }

    /// The rate is what the target comes to, from now on.
    fn keep_to_target(&mut self) {
        let per_minute = self.target.per_minute();
        if per_minute != self.arrivals.per_minute() {
            let now_ms = self.now_ms();
            self.arrivals.set_rate(per_minute, now_ms, &mut self.workload);
            if let QueueState::Full { until_ms, .. } = self.queue {
                self.arrivals.pause_until(until_ms);
            }
        }
        self.metrics.show(&self.target);
        let target = self.target;
        self.in_force.send_if_modified(|said| target.say(said));
    }

    /// Waits until a job is due and may be submitted. Dropping it loses nothing.
    fn next_permit(&self) -> impl Future<Output = Option<OwnedSemaphorePermit>> + use<> {
        let due = self.started.checked_add(Duration::from_millis(self.arrivals.next_ms()));
        let permits = Arc::clone(&self.permits);
        async move {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
            permits.acquire_owned().await.ok()
        }
    }

    /// Submits everything that is due by now, as far as there is room.
    fn submit_due(&mut self, mut permit: Option<OwnedSemaphorePermit>) {
        let now_ms = self.now_ms();
        while let Some(room) = permit.take() {
            let Some(arrival) = self.arrivals.take(now_ms, &mut self.workload) else { return };
            if arrival.skipped_ms > 0 && self.may_complain(now_ms) {
                tracing::warn!(
                    lost_ms = arrival.skipped_ms,
                    "fewer jobs than the rate: submissions cannot keep up, or this process was suspended"
                );
            }
            self.submit(room);
            permit = Arc::clone(&self.permits).try_acquire_owned().ok();
        }
    }

    fn next_job(&mut self) -> JobSpec {
        let now_ms = unix_ms();
        let spec = self.workload.next_job(JobId::new(now_ms, random_u128()), now_ms);
        JobSpec { origin: Origin::by(SUBMITTER), ..spec }
    }

    fn submit(&mut self, permit: OwnedSemaphorePermit) {
        let spec = self.next_job();
        self.hand_over(spec, permit);
    }

    /// One of the first jobs: as any other, but over soon, so that the user who has just started the cluster sees a result at once.
    fn submit_short(&mut self, permit: OwnedSemaphorePermit) {
        let mut spec = self.next_job();
        shorten(&mut spec, FIRST_JOB_MS);
        self.hand_over(spec, permit);
    }

    fn hand_over(&self, spec: JobSpec, permit: OwnedSemaphorePermit) {
        self.metrics.in_flight.inc();
        let job = hand_over::run(self.submitter.clone(), spec, permit, self.news.clone(), self.metrics.clone(), self.shutdown.token());
        self.shutdown.spawn("hand-over", job);
    }

    fn on_news(&mut self, news: News) {
        let now_ms = self.now_ms();
        match news {
            News::HandedOver => {
                self.handed_over += 1;
                // A job that slipped in while others were refused says nothing: the pause has to be over.
                if matches!(self.queue, QueueState::Full { until_ms, .. } if now_ms > until_ms) {
                    tracing::info!("the queue takes jobs again");
                    self.queue = QueueState::Open;
                }
            }
            News::QueueFull(reason) => self.on_queue_full(&reason, now_ms),
            News::Repeated if self.may_complain(now_ms) => {
                tracing::warn!(in_flight = self.in_flight(), "jobs not submitted yet: trying again")
            }
            News::Repeated => {}
            News::GivenUp { job, reason } => {
                self.given_up += 1;
                tracing::error!(%job, reason, given_up = self.given_up, "submission given up; the scheduler ends the job if it was opened");
            }
        }
    }

    fn on_queue_full(&mut self, reason: &str, now_ms: u64) {
        let pause_ms = match self.queue {
            QueueState::Open => FULL_PAUSE_MS.0,
            QueueState::Full { until_ms, .. } if now_ms <= until_ms => return,
            QueueState::Full { pause_ms, .. } => (pause_ms * 2).min(FULL_PAUSE_MS.1),
        };
        let until_ms = now_ms.saturating_add(pause_ms);
        tracing::warn!(reason, pause_ms, in_flight = self.in_flight(), "the queue is full: no new jobs for a while");
        self.queue = QueueState::Full { until_ms, pause_ms };
        self.arrivals.pause_until(until_ms);
    }

    async fn on_watched(&mut self, watched: &Watched) {
        match watched {
            Watched::Entry(entry) => self.on_control(entry).await,
            Watched::Vanished(key) => self.keep_setting(key).await,
            Watched::BeganAgain => {}
        }
    }

    /// A setting vanished with its bucket and was not removed: it stays in force, and is written again unless it was set anew meanwhile.
    async fn keep_setting(&self, key: &str) {
        let body = match key {
            KEY_RATE => {
                let rate = RateSetting { asked: self.target.asked(), set_by: "generator".into(), at_ms: unix_ms() };
                codec::encode(&rate)
            }
            KEY_MIX => codec::encode(&KindMix { weights: self.workload.config().to_weights() }),
            _ => return,
        };
        let written = match self.nats.bucket(KV_CONTROL).await {
            Ok(store) => store.create(key, body).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match written {
            Ok(_) => tracing::warn!(key, "the bucket CONTROL had lost the setting: written again"),
            Err(reason) => tracing::warn!(key, reason, "the bucket CONTROL has lost the setting; the one in force stays"),
        }
    }

    /// An operator set something.
    async fn on_control(&mut self, entry: &kv::Entry) {
        let outcome = control::read(&entry.key, entry.operation, &entry.value, &self.settings);
        let refused = outcome.as_ref().err().cloned();
        match outcome {
            Ok(Some(Setting::Rate { asked, set_by })) => self.ask_for(asked, &set_by).await,
            Ok(Some(Setting::Mix(mix))) if mix != self.workload.config() => {
                tracing::info!(?mix, "the mix of kinds changed");
                self.workload.set_config(mix);
                self.target.on_mix(mix);
                self.keep_to_target();
            }
            Ok(Some(Setting::Mix(_)) | None) => {}
            Err(reason) => {
                if self.may_complain(self.now_ms()) {
                    tracing::warn!(key = entry.key, reason, "a setting is refused: the old one stays");
                }
            }
        }
        let (target, weights) = (self.target, self.workload.config().to_weights());
        self.in_force.send_if_modified(|said| {
            target.say(said);
            said.weights = weights;
            control::answer(said, &entry.key, entry.revision, refused)
        });
    }

    async fn ask_for(&mut self, asked: Asked, set_by: &str) {
        let before = self.target.asked();
        if asked == before {
            return;
        }
        self.target.ask_for(asked);
        self.keep_to_target();
        tracing::info!(%before, now = %asked, jobs_per_minute = self.target.per_minute(), set_by, "the rate changed");
        let words = self.in_force.borrow().rate_words();
        let detail = format!("{before} before; {words}, set by {set_by}");
        self.events.send(self.events.event(Level::Info, EventKind::RateChanged, detail)).await;
    }

    fn in_flight(&self) -> usize {
        self.settings.in_flight - self.permits.available_permits()
    }

    fn may_complain(&mut self, now_ms: u64) -> bool {
        let may = self.complained_ms.is_none_or(|last| now_ms.saturating_sub(last) >= COMPLAIN_EVERY_MS);
        if may {
            self.complained_ms = Some(now_ms);
        }
        may
    }

    /// Waits for the submissions under way, and says what was not handed over.
    async fn finish(mut self, news: &mut mpsc::Receiver<News>, limit: Duration) {
        let shutdown = self.shutdown.clone();
        let mut done = std::pin::pin!(shutdown.wait_for_tasks(limit));
        loop {
            tokio::select! {
                () = &mut done => break,
                Some(one) = news.recv() => self.on_news(one),
            }
        }
        while let Ok(one) = news.try_recv() {
            self.on_news(one);
        }
        let unknown = self.in_flight();
        if unknown > 0 {
            tracing::warn!(jobs = unknown, "stopped before these submissions were confirmed");
        }
        tracing::info!(handed_over = self.handed_over, given_up = self.given_up, "stopped");
    }
}

/// The rate and the mix: what the command line says (which becomes the setting), else the setting, else the default. None when told to
/// stop before they could be read.
async fn read_start(settings: &Settings, nats: &Nats, stop: &CancellationToken) -> Option<Start> {
    loop {
        let reason = tokio::select! {
            () = stop.cancelled() => return None,
            start = try_read_start(settings, nats) => match start {
                Ok(start) => return Some(start),
                Err(error) => format!("{error:#}"),
            },
        };
        tracing::warn!(reason, "the settings cannot be read yet: trying again");
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(CONTROL_PAUSE) => {}
        }
    }
}

async fn try_read_start(settings: &Settings, nats: &Nats) -> anyhow::Result<Start> {
    let store = nats.bucket(KV_CONTROL).await?;
    let (mut asked, mut mix, mut said) = (Asked::default(), WorkloadConfig::default(), control::nothing_read());
    for key in [KEY_RATE, KEY_MIX] {
        let Some(entry) = store.entry(key).await?.filter(|entry| entry.operation == kv::Operation::Put) else { continue };
        let outcome = control::read(key, entry.operation, &entry.value, settings);
        control::answer(&mut said, key, entry.revision, outcome.as_ref().err().cloned());
        match outcome {
            Ok(Some(Setting::Rate { asked: set, .. })) => asked = set,
            Ok(Some(Setting::Mix(set))) => mix = set,
            Ok(None) => {}
            Err(reason) => tracing::warn!(key, reason, "a setting is refused: starting with the default"),
        }
    }
    if let Some(given) = settings.asked()? {
        let setting = RateSetting { asked: given, set_by: "the generator's command line".into(), at_ms: unix_ms() };
        control::answer(&mut said, KEY_RATE, kv_put(&store, KEY_RATE, &setting).await?, None);
        asked = given;
    }
    if let Some(given) = settings.mix()? {
        let revision = kv_put(&store, KEY_MIX, &KindMix { weights: given.to_weights() }).await?;
        control::answer(&mut said, KEY_MIX, revision, None);
        mix = given;
    }
    Target::new(asked, mix, settings.unbounded_rate).say(&mut said);
    said.weights = mix.to_weights();
    Ok(Start { asked, mix, said })
}

#[cfg(test)]
mod tests {
    use faultline_engine::job::Param;

    use super::*;

    #[test]
    fn a_first_job_is_over_soon_and_still_valid() {
        let mut workload = Workload::new(WorkloadConfig::default(), 7);
        for n in 0..200 {
            let mut spec = workload.next_job(JobId::new(1, n), 1);
            shorten(&mut spec, FIRST_JOB_MS);
            assert!(spec.expected_ms <= 1_000 && spec.validate().is_ok(), "{spec:?}");
            let length = spec.params.get("duration_ms").or_else(|| spec.params.get("hold_ms")).and_then(Param::as_u64);
            assert!(length.is_some_and(|ms| ms <= 1_000), "{spec:?}");
        }
    }
}
