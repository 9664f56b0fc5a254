//! One way to stop: a signal (or the parent's end) cancels a token, then every task is waited for.

use std::future::Future;
use std::io::Read;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::spawner::Spawner;

/// The stop signal and the tasks that must hear it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    token: CancellationToken,
    hurry: CancellationToken,
    tasks: TaskTracker,
    spawner: Spawner,
}

impl Shutdown {
    /// A shutdown that only [`Shutdown::stop`] triggers.
    pub fn manual() -> Self {
        Self::default()
    }

    /// The same, with its tasks where the spawner puts them.
    pub fn manual_with(spawner: Spawner) -> Self {
        Self { spawner, ..Self::default() }
    }

    /// Stops on SIGTERM and, in a hurry, on SIGINT, on a second signal and (when asked) at the end of standard input.
    pub fn from_signals(stop_with_parent: bool) -> Self {
        if stop_with_parent {
            wake_when_parent_dies();
        }
        let shutdown = Self::default();
        let (token, hurry) = (shutdown.token.clone(), shutdown.hurry.clone());
        tokio::spawn(async move {
            let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
                tracing::error!("no signal handlers could be installed; stop this process with SIGKILL");
                return;
            };
            let mut parent = std::pin::pin!(parent_gone());
            tokio::select! {
                _ = interrupt.recv() => hurry.cancel(),
                _ = terminate.recv() => {}
                () = &mut parent, if stop_with_parent => hurry.cancel(),
            }
            tracing::debug!(hurry = hurry.is_cancelled(), "stopping");
            token.cancel();
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = &mut parent, if stop_with_parent && !hurry.is_cancelled() => {}
            }
            hurry.cancel();
        });
        shutdown
    }

    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Cancelled when there is no time left to finish work: hand it back.
    pub fn hurry(&self) -> CancellationToken {
        self.hurry.clone()
    }

    pub fn stop(&self) {
        self.token.cancel();
    }

    /// Spawns a task that [`Shutdown::wait_for_tasks`] waits for. A task that panics stops the process: the supervisor restarts it whole.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let guard = StopOnPanic { name, token: self.token.clone() };
        self.spawner.spawn_tracked(&self.tasks, async move {
            future.await;
            drop(guard);
        });
    }

    /// Waits until all tasks have ended, but not longer than `limit`.
    pub async fn wait_for_tasks(&self, limit: Duration) {
        self.tasks.close();
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "some tasks did not stop in time");
        }
    }
}

struct StopOnPanic {
    name: &'static str,
    token: CancellationToken,
}

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(task = self.name, "a task panicked: stopping the process");
            self.token.cancel();
        }
    }
}

/// A process that is frozen when its parent dies cannot see the end of its standard input: the kernel wakes it first. Only Linux does
/// so when asked; elsewhere it is left to what POSIX asks for, SIGHUP and SIGCONT to stopped process groups that become orphans.
pub fn wake_when_parent_dies() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::CONT)) {
        tracing::warn!(%error, "while frozen, this process would not notice that its parent ended");
    }
}

/// Ends when standard input does. Nothing is expected on it. A thread of its own: tokio's standard input would keep
/// the runtime from ending while a read is under way.
async fn parent_gone() {
    let (gone, heard) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut sink = [0; 64];
        while matches!(std::io::stdin().read(&mut sink), Ok(read) if read > 0) {}
        // The receiver is gone when the process is already stopping.
        let _ = gone.send(());
    });
    let _ = heard.await;
}
