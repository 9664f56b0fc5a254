//! What stands before the tasks of a simulated process: a frozen process runs none of them, a killed one has none.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use faultline_runtime::wire::Gate;
use tokio::task::AbortHandle;

#[derive(Debug, Default)]
pub(crate) struct ProcessGate {
    is_frozen: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
    tasks: Mutex<Vec<AbortHandle>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ProcessGate {
    pub(crate) fn is_frozen(&self) -> bool {
        self.is_frozen.load(Ordering::Relaxed)
    }

    pub(crate) fn freeze(&self) {
        self.is_frozen.store(true, Ordering::Relaxed);
    }

    /// True when it was frozen.
    pub(crate) fn thaw(&self) -> bool {
        let was_frozen = self.is_frozen.swap(false, Ordering::Relaxed);
        std::mem::take(&mut *lock(&self.waiting)).into_iter().for_each(Waker::wake);
        was_frozen
    }

    pub(crate) fn kill(&self) {
        self.is_frozen.store(false, Ordering::Relaxed);
        lock(&self.waiting).clear();
        std::mem::take(&mut *lock(&self.tasks)).into_iter().for_each(|task| task.abort());
    }
}

impl Gate for ProcessGate {
    fn poll_open(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_frozen() {
            return Poll::Ready(());
        }
        lock(&self.waiting).push(cx.waker().clone());
        Poll::Pending
    }

    fn began(&self, task: AbortHandle) {
        let mut tasks = lock(&self.tasks);
        if tasks.len() == tasks.capacity() {
            tasks.retain(|task| !task.is_finished());
        }
        tasks.push(task);
    }
}
