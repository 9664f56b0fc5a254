//! Where a process' tasks run: on tokio, and under a simulation behind a gate, which holds them back while the process is frozen and
//! ends them with it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::task::TaskTracker;

/// Boxed, so that what tokio adds to a task is compiled once and not for each kind of task in each program.
type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What stands in front of every task of a simulated process.
pub trait Gate: Send + Sync {
    /// Pending while the process is frozen; wakes the task afterwards.
    fn poll_open(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// A task has begun.
    fn began(&self, task: AbortHandle);
}

/// Spawns the tasks of one process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Spawner(Option<Arc<dyn Gate>>);

impl std::fmt::Debug for Spawner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Spawner").field(&self.0.is_some()).finish()
    }
}

impl Spawner {
    pub fn behind(gate: Arc<dyn Gate>) -> Self {
        Self(Some(gate))
    }

    pub fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.start(Box::pin(task) as Task<T>)
    }

    /// The same for a task that its process waits for together with others.
    pub fn spawn_tracked(&self, tasks: &TaskTracker, task: impl Future<Output = ()> + Send + 'static) {
        self.start_tracked(tasks, Box::pin(task));
    }

    fn start_tracked(&self, tasks: &TaskTracker, task: Task<()>) {
        self.start(tasks.track_future(task));
    }

    fn start<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + Unpin + 'static) -> JoinHandle<T> {
        match &self.0 {
            None => tokio::spawn(task),
            Some(gate) => {
                let handle = tokio::spawn(Gated { gate: Arc::clone(gate), task });
                gate.began(handle.abort_handle());
                handle
            }
        }
    }
}

/// A task behind a gate.
struct Gated<F> {
    gate: Arc<dyn Gate>,
    task: F,
}

impl<F: Future + Unpin> Future for Gated<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        ready!(self.gate.poll_open(cx));
        Pin::new(&mut self.task).poll(cx)
    }
}
