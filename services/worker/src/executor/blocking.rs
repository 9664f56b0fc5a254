//! CPU work off the async threads, so that it never delays a heartbeat: at most one piece a core in the whole process, each
//! on a blocking thread, each stopping at its checkpoints when the attempt is cancelled or the node hangs.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{AttemptContext, Cancelled, ExecutorError, NodeConditions, Progress};

static CORES: LazyLock<Arc<Semaphore>> =
    LazyLock::new(|| Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(1, |cores| cores.get()))));

/// A slow node's delay is slept off when it has grown to this, not after every checkpoint.
const MIN_DELAY: Duration = Duration::from_millis(20);

/// In the hands of the blocking work. See [`BlockingControl::checkpoint`].
pub struct BlockingControl {
    node: Arc<NodeConditions>,
    gpus: Vec<u8>,
    progress: Progress,
    cancel: CancellationToken,
    runtime: Handle,
    /// None only while the work waits: a core is not held by what stands still.
    core: Option<OwnedSemaphorePermit>,
    worked_since: Instant,
    delay: Duration,
}

impl BlockingControl {
    /// To be called every few milliseconds: reports progress (0 to 1), waits while the node hangs, takes its time on a slow node,
    /// and fails when the attempt shall stop, which the work passes on with `?`.
    pub fn checkpoint(&mut self, progress: f64) -> Result<(), Cancelled> {
        self.progress.set(progress);
        if self.cancel.is_cancelled() {
            return Err(Cancelled);
        }
        let factor = self.node.slow_factor(&self.gpus);
        if factor > 1.0 {
            self.delay += self.worked_since.elapsed().mul_f64(factor - 1.0);
        }
        if self.node.is_hung() || self.delay >= MIN_DELAY {
            self.stand_still()?;
        }
        self.worked_since = Instant::now();
        Ok(())
    }

    /// Whether a GPU of the attempt computes wrong results: what is computed on it must be spoiled, as the GPU would.
    pub fn computes_wrong(&self) -> bool {
        self.node.computes_wrong(&self.gpus)
    }

    fn stand_still(&mut self) -> Result<(), Cancelled> {
        self.core = None;
        let delay = std::mem::take(&mut self.delay);
        let wait = async {
            tokio::time::sleep(delay).await;
            self.node.wait_while_hung().await;
            CORES.clone().acquire_owned().await
        };
        let cancel = &self.cancel;
        let core = self.runtime.block_on(async {
            tokio::select! {
                () = cancel.cancelled() => None,
                core = wait => core.ok(),
            }
        });
        self.core = core;
        if self.core.is_some() { Ok(()) } else { Err(Cancelled) }
    }
}

impl AttemptContext {
    /// Runs CPU work on a thread of its own when a core is free. Ends when the work has ended; if this future is dropped
    /// or the attempt cancelled, the work ends at its next checkpoint. A panic in the work goes on in the caller.
    pub async fn blocking<T, F>(&self, work: F) -> Result<T, ExecutorError>
    where
        T: Send + 'static,
        F: FnOnce(&mut BlockingControl) -> Result<T, ExecutorError> + Send + 'static,
    {
        self.wait_while_hung().await?;
        let core = tokio::select! {
            () = self.cancelled() => return Err(ExecutorError::Cancelled),
            core = CORES.clone().acquire_owned() => core.map_err(|_| ExecutorError::Cancelled)?,
        };
        let cancel = self.cancel.child_token();
        let _stop_when_dropped = cancel.clone().drop_guard();
        let mut control = BlockingControl {
            node: self.node.clone(),
            gpus: self.gpus.clone(),
            progress: self.progress(),
            cancel,
            runtime: Handle::current(),
            core: Some(core),
            worked_since: Instant::now(),
            delay: Duration::ZERO,
        };
        match tokio::task::spawn_blocking(move || work(&mut control)).await {
            Ok(outcome) => outcome,
            Err(error) => match error.try_into_panic() {
                Ok(payload) => std::panic::resume_unwind(payload),
                // The runtime shuts down.
                Err(_) => Err(ExecutorError::Cancelled),
            },
        }
    }
}
