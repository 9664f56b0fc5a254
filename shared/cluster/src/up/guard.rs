//! Runs a program that is not ours and ends it when standard input ends: nats-server would outlive a kill -9 of `up`. On Linux the program
//! does not outlive a kill -9 of the guard either: the kernel kills it.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use faultline_runtime::shutdown::{Shutdown, wake_when_parent_dies};
use tokio::process::{Child, Command};

use super::supervisor::{Signal, send_signal};
use crate::error::Error;

/// The services notice the parent's end at the same moment; those without a proxy in `up` may still say goodbye.
const LAST_WORDS: Duration = Duration::from_millis(800);
/// Then the program gets this long after SIGTERM.
const TERM_LIMIT: Duration = Duration::from_secs(3);

/// `faultline guard -- COMMAND...`: ends with the command's own status.
///
/// The kernel's order to kill a child together with its parent is given by the child and stays in force when it becomes another program.
/// So the child is this program first: `faultline guard --child-of PID -- COMMAND...`, see [`become_command`]. The order is about the thread
/// that started the child: this must run on the main thread, which lives as long as the process.
pub async fn run(command: &[String]) -> Result<ExitCode, Error> {
    wake_when_parent_dies();
    let program = std::env::current_exe().context("finding this program")?;
    let mut child = Command::new(program)
        .args(["guard", "--child-of", &std::process::id().to_string(), "--"])
        .args(command)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {}", command.join(" ")))?;
    // Two of them, because only the parent's silent end leaves time for last words.
    let signals = Shutdown::from_signals(false).token();
    let parent = tokio::task::spawn_blocking(wait_for_end_of_input);
    tokio::select! {
        status = child.wait() => return exit_code(status),
        () = signals.cancelled() => {}
        _ = parent => tokio::time::sleep(LAST_WORDS).await,
    }
    end(&mut child).await
}

/// The child of the guard with this process id: becomes the command, which the kernel kills when the guard ends. Returns only if that fails.
pub fn become_command(guard: u32, command: &[String]) -> Error {
    let Some((program, args)) = command.split_first() else {
        return Error::Invalid("guard needs a command".into());
    };
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        tracing::warn!(%error, "{program} would outlive a kill -9 of its guard");
    }
    // The guard may have ended before the order was given.
    if rustix::process::getppid().is_none_or(|parent| parent.as_raw_nonzero().get().unsigned_abs() != guard) {
        return Error::Failed(anyhow::anyhow!("the guard (process {guard}) has ended"));
    }
    let error = std::process::Command::new(program).args(args).exec();
    Error::Failed(anyhow::Error::new(error).context(format!("starting {program}")))
}

async fn end(child: &mut Child) -> Result<ExitCode, Error> {
    if let Some(pid) = child.id() {
        send_signal(pid, Signal::TERM);
        // It may have been frozen together with this process.
        send_signal(pid, Signal::CONT);
    }
    match tokio::time::timeout(TERM_LIMIT, child.wait()).await {
        Ok(status) => exit_code(status),
        Err(_) => {
            let _ = child.kill().await;
            exit_code(child.wait().await)
        }
    }
}

fn wait_for_end_of_input() {
    let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
}

/// As a shell says it: 128 and the signal's number for a program that was killed. Leaves the process at once, because
/// the thread that reads standard input cannot be stopped.
fn exit_code(status: std::io::Result<ExitStatus>) -> Result<ExitCode, Error> {
    let status = status.context("waiting for the guarded program")?;
    std::process::exit(status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1))
}
