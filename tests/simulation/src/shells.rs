//! The services as they ship, each over the wire of its process.

use std::sync::Arc;
use std::time::Duration;

use faultline_engine::agent::Executed;
use faultline_engine::detector::DetectorConfig;
use faultline_engine::device::GpuLoad;
use faultline_engine::fault::FaultPreset;
use faultline_engine::job::{AttemptId, JobSpec};
use faultline_engine::node::{GpuDescriptor, GpuTelemetry, NodeSpec};
use faultline_engine::scheduler::{LivePolicy, SchedulerConfig};
use faultline_runtime::connection::Connection;
use faultline_runtime::service::Process;
use faultline_runtime::submit::Submitter;
use faultline_worker::executor::{AttemptContext, BoxFuture, Executor, ExecutorError, Output, Registry};
use faultline_worker::telemetry::{DeviceSource, TelemetryMode};
use faultline_worker::{Identity, Settings as WorkerSettings};

use super::bug::Bug;
use super::cast::{Proc, Role};
use super::program;
use super::scenario::SLOTS;
use super::shadow::Plan;
use super::world::World;

/// Between two looks at the clock, for all of them.
const TICK: Duration = Duration::from_millis(100);
const AGAIN: Duration = Duration::from_millis(500);
const RETRY_BASE_MS: u64 = 500;
const RETRY_CAP_MS: u64 = 4_000;

/// Everything that one process does until it ends.
pub(crate) async fn live(world: World, proc: Proc, role: Role, nats: Connection, process: Process) {
    let outcome = match role {
        Role::Submitter(index) => submit_all(&world, index, &nats).await,
        _ => serve(&world, proc, role, nats, &process).await,
    };
    let mut stage = world.lock();
    let ended_well = outcome.is_ok();
    stage.on_ended(proc, ended_well);
    if let Err(error) = outcome {
        stage.net.say(|| format!("process {proc} ends: {error:#}"));
    }
}

async fn serve(world: &World, proc: Proc, role: Role, nats: Connection, process: &Process) -> anyhow::Result<()> {
    let stop = process.shutdown.token();
    if !nats.wait_until_provisioned(&stop).await {
        return Ok(());
    }
    process.shutdown.spawn("provisioned", nats.clone().keep_looking(stop));
    match role {
        Role::Scheduler => {
            let (at_once, asks_program) = {
                let stage = world.lock();
                (stage.net.has(Bug::PlaceAtOnce), stage.asks_program)
            };
            let mut engine = SchedulerConfig::default();
            if at_once {
                engine.settle_ms = 0;
            }
            let policy = if asks_program { LivePolicy::Program(program::NAME.to_owned()) } else { LivePolicy::default() };
            let settings = faultline_scheduler::Settings { name: process.name.clone(), policy, engine, ..Default::default() };
            faultline_scheduler::serve(&settings, &nats, process, TICK).await
        }
        Role::Worker(index) => {
            let nodes = world.lock().nodes[index].clone();
            host(world, proc, nodes, nats, process).await
        }
        Role::Detector | Role::Submitter(_) => {
            if world.lock().asks_program {
                process.shutdown.spawn("program", program::answer_all(world.clone(), nats.clone()));
            }
            faultline_fault_detector::serve(DetectorConfig::default(), &nats, process, TICK).await
        }
    }
}

async fn host(world: &World, proc: Proc, nodes: Arc<[NodeSpec]>, nats: Connection, process: &Process) -> anyhow::Result<()> {
    let first_node = nodes[0].node.rsplit('-').next().and_then(|index| index.parse().ok()).unwrap_or(1);
    let identity = Identity { name: process.name.clone(), first_node };
    let settings = WorkerSettings {
        nodes: nodes.len(),
        faults: FaultPreset::Off,
        seed: Some(1),
        slots: SLOTS,
        telemetry: TelemetryMode::Simulated,
        retry_base_ms: RETRY_BASE_MS,
        retry_cap_ms: RETRY_CAP_MS,
        service_executors: false,
        drain_limit_ms: 5_000,
        ..WorkerSettings::default()
    };
    let mut registry = Registry::new();
    registry.register(Scripted { world: world.clone(), proc });
    world.lock().net.shadow.on_worker_started(proc);
    let open = move |index: usize| {
        let gpus = nodes.get(index - first_node).map(|node| node.gpus.clone()).unwrap_or_default();
        Ok(Box::new(Idle(gpus)) as Box<dyn DeviceSource>)
    };
    faultline_worker::serve(identity, settings, registry, &open, nats, process).await
}

/// GPUs that nothing heats.
struct Idle(Vec<GpuDescriptor>);

impl DeviceSource for Idle {
    fn descriptors(&self) -> Vec<GpuDescriptor> {
        self.0.clone()
    }

    fn kind(&self) -> &'static str {
        "simulated"
    }

    fn sample(&mut self, _now_ms: u64, _loads: &[GpuLoad]) -> Vec<GpuTelemetry> {
        vec![GpuTelemetry::default(); self.0.len()]
    }

    fn slowdown(&self, _gpu: usize) -> f64 {
        1.0
    }
}

/// Takes a drawn time, and ends in a drawn way.
struct Scripted {
    world: World,
    proc: Proc,
}

/// The work of an attempt, until it is over or dropped.
struct Work {
    world: World,
    attempt: AttemptId,
}

impl Drop for Work {
    fn drop(&mut self) {
        self.world.lock().net.shadow.on_work_stopped(self.attempt);
    }
}

impl Executor for Scripted {
    fn kind(&self) -> &'static str {
        "sleep"
    }

    fn run<'a>(&'a self, ctx: &'a AttemptContext) -> BoxFuture<'a, Result<Output, ExecutorError>> {
        Box::pin(async move {
            let attempt = ctx.identity.id;
            let Plan { after_ms, executed } = self.world.lock().start_attempt(self.proc, attempt);
            let work = Work { world: self.world.clone(), attempt };
            tokio::time::sleep(Duration::from_millis(after_ms)).await;
            {
                let mut stage = self.world.lock();
                let now = stage.net.now;
                stage.net.shadow.on_executed(attempt, &executed, now);
            }
            drop(work);
            match executed {
                Executed::Done { result } => Ok(Output::new(result)),
                Executed::Failed { detail, retry: true } => Err(ExecutorError::Failed(detail)),
                Executed::Failed { detail, .. } => Err(ExecutorError::Final(detail)),
                Executed::Stopped => Err(ExecutorError::Cancelled),
            }
        })
    }
}

/// Two durable writes a job, repeated with the same id until both are answered or no repetition helps.
async fn submit_all(world: &World, index: usize, nats: &Connection) -> anyhow::Result<()> {
    let submitter = Submitter::new(nats);
    let todo: Vec<(u64, Arc<JobSpec>)> = world.lock().todo[index].values().cloned().collect();
    let one = |(at, spec): (u64, Arc<JobSpec>)| {
        let submitter = submitter.clone();
        async move {
            tokio::time::sleep_until(world.at(at)).await;
            loop {
                match submitter.submit(&spec).await {
                    Err(error) if error.is_transient() => tokio::time::sleep(AGAIN).await,
                    Ok(_) | Err(_) => break,
                }
            }
            world.lock().on_handed_over(index, spec.id);
        }
    };
    futures::future::join_all(todo.into_iter().map(one)).await;
    Ok(())
}
