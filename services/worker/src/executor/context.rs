//! What one attempt has in its hands while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;

use faultline_engine::job::{AttemptId, JobSpec};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Cancelled, ExecutorError, NodeConditions};

/// What a job that demands no GPU memory may use: more than any GPU has.
const UNDECLARED_MEMORY_MIB: u32 = 1 << 20;
/// Progress of a long sleep is reported in steps of 1 %, kept within these bounds.
const MIN_STEP: Duration = Duration::from_millis(100);
const MAX_STEP: Duration = Duration::from_secs(1);

/// How far an attempt is, in thousandths. Written by the attempt, read by the heartbeat.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<ProgressState>);

#[derive(Debug)]
struct ProgressState {
    permille: AtomicU16,
    /// The current phase in thousandths of the whole: start in the upper half, end in the lower one.
    phase: AtomicU32,
}

impl Default for ProgressState {
    fn default() -> Self {
        Self { permille: AtomicU16::new(0), phase: AtomicU32::new(1000) }
    }
}

impl Progress {
    pub fn permille(&self) -> u16 {
        self.0.permille.load(Ordering::Relaxed)
    }

    /// `share` of the current phase, 0 to 1; anything else is brought into these bounds.
    pub fn set(&self, share: f64) {
        let phase = self.0.phase.load(Ordering::Relaxed);
        let (start, end) = (f64::from(phase >> 16), f64::from(phase & 0xffff));
        self.0.permille.store((start + (end - start) * share.clamp(0.0, 1.0)) as u16, Ordering::Relaxed);
    }

    /// From now on `set` moves between these shares of the whole; at first there is one phase, 0 to 1.
    pub fn phase(&self, start: f64, end: f64) {
        let permille = |share: f64| (share.clamp(0.0, 1.0) * 1000.0) as u32;
        self.0.phase.store(permille(start) << 16 | permille(end), Ordering::Relaxed);
        self.set(0.0);
    }
}

/// Which attempt it is, for those who tell others about it.
#[derive(Debug, Clone)]
pub struct AttemptIdentity {
    pub id: AttemptId,
    /// Which try of the job, counted from 1.
    pub number: u32,
    /// Where it runs.
    pub node: String,
}

impl AttemptIdentity {
    /// The first try of a job, outside a cluster.
    pub fn first(id: AttemptId) -> Self {
        Self { id, number: 1, node: "gpu-node-01".into() }
    }
}

/// One attempt, as its executor sees it.
#[derive(Debug)]
pub struct AttemptContext {
    pub spec: Arc<JobSpec>,
    pub identity: AttemptIdentity,
    /// Different for every attempt, so that what chance decides may go otherwise in a retry.
    pub attempt_seed: u64,
    /// The GPUs on the node that the attempt was given.
    pub gpus: Vec<u8>,
    progress: Progress,
    pub(super) node: Arc<NodeConditions>,
    pub(super) cancel: CancellationToken,
    gpu_memory_mib: AtomicU32,
}

impl AttemptContext {
    pub fn new(spec: Arc<JobSpec>, identity: AttemptIdentity, gpus: Vec<u8>, node: Arc<NodeConditions>, cancel: CancellationToken) -> Self {
        let attempt_seed = identity.id.to_u128() as u64;
        Self { spec, identity, attempt_seed, gpus, progress: Progress::default(), node, cancel, gpu_memory_mib: AtomicU32::new(0) }
    }

    /// The same for every attempt of the job (FNV-1a of its id).
    pub fn job_seed(&self) -> u64 {
        self.spec.id.to_string().bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    /// Kept by the task that reports the attempt's progress.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Ends when the attempt shall stop.
    pub async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    /// How many times longer everything takes now; 1 on a healthy node.
    pub fn slow_factor(&self) -> f64 {
        self.node.slow_factor(&self.gpus)
    }

    /// Whether nothing that the attempt says gets out.
    pub fn is_cut_off(&self) -> bool {
        self.node.is_cut_off()
    }

    /// Returns at once unless the node is cut off.
    pub async fn wait_while_cut_off(&self) {
        self.node.wait_while_cut_off().await;
    }

    /// Returns at once unless the node hangs.
    pub async fn wait_while_hung(&self) -> Result<(), Cancelled> {
        if self.cancel.is_cancelled() {
            return Err(Cancelled);
        }
        if !self.node.is_hung() {
            return Ok(());
        }
        tokio::select! {
            () = self.cancel.cancelled() => Err(Cancelled),
            () = self.node.wait_while_hung() => Ok(()),
        }
    }

    /// Stands for `duration_ms` of simulated work: takes longer on a slow node or a throttled GPU, stands still on a hung node,
    /// ends early when cancelled, and reports progress up to 100 %. 0 returns at once.
    pub async fn sleep_scaled(&self, duration_ms: u64) -> Result<(), Cancelled> {
        let total = Duration::from_millis(duration_ms);
        let mut done = Duration::ZERO;
        loop {
            self.wait_while_hung().await?;
            if done >= total {
                self.progress.set(1.0);
                return Ok(());
            }
            // Subscribed before the factor is read, so that no change falls in between.
            let changed = self.node.changed();
            let factor = self.slow_factor();
            let step = (total / 100).clamp(MIN_STEP, MAX_STEP).min((total - done).mul_f64(factor));
            let started = Instant::now();
            tokio::select! {
                () = self.cancel.cancelled() => return Err(Cancelled),
                () = changed => {}
                () = tokio::time::sleep(step) => {}
            }
            done += started.elapsed().div_f64(factor);
            self.progress.set(done.as_secs_f64() / total.as_secs_f64());
        }
    }

    /// Takes GPU memory, on each GPU of the attempt, until the attempt ends. Fails when the sum exceeds what the job demanded;
    /// a job that demanded none is not held to it.
    pub fn allocate_gpu_memory(&self, mib: u32) -> Result<(), ExecutorError> {
        let limit_mib = match self.spec.demand.gpu_memory_mib {
            0 => UNDECLARED_MEMORY_MIB,
            declared => declared,
        };
        let within = |used: u32| used.checked_add(mib).filter(|sum| *sum <= limit_mib);
        match self.gpu_memory_mib.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within) {
            Ok(_) => Ok(()),
            Err(used_mib) => Err(ExecutorError::OutOfMemory { wanted_mib: mib, used_mib, limit_mib }),
        }
    }

    /// What the attempt has taken so far, on each of its GPUs.
    pub fn gpu_memory_used_mib(&self) -> u32 {
        self.gpu_memory_mib.load(Ordering::Relaxed)
    }
}
