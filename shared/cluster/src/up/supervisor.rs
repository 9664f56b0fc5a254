//! Child processes: starts them, starts them again with growing pauses when they end, and stops them for good.
//! It knows nothing of what they do.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use faultline_engine::words::span;
use faultline_runtime::clock::{self, unix_ms};
pub use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lines::Lines;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A child that ran this long was fine: its next pause is the first one again.
const GOOD_RUN: Duration = Duration::from_secs(30);

/// A program to be kept running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub name: String,
    pub program: PathBuf,
    pub args: Vec<String>,
    /// Where it answers about itself, if it does.
    pub admin: Option<SocketAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Running,
    /// Ended, and will be started again after a pause.
    Waiting,
    Stopping,
}

/// One child as others may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildStatus {
    pub name: String,
    pub state: State,
    pub pid: Option<u32>,
    pub uptime_s: u64,
    pub restarts: u32,
    /// How it ended the last time.
    pub last_exit: Option<String>,
    /// Where `/healthz`, `/readyz` and `/metrics` are.
    pub admin: Option<SocketAddr>,
}

/// How a child shall stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM: finish what runs, within this time.
    Drain(Duration),
    /// SIGINT: hand back what runs, within this time.
    Hurry(Duration),
}

impl Stop {
    fn signal(self) -> Signal {
        match self {
            Stop::Drain(_) => Signal::TERM,
            Stop::Hurry(_) => Signal::INT,
        }
    }

    /// After this long comes SIGKILL.
    fn limit(self) -> Duration {
        match self {
            Stop::Drain(limit) | Stop::Hurry(limit) => limit,
        }
    }
}

/// What a child's own task tells the others.
#[derive(Debug, Clone)]
struct Live {
    state: State,
    pid: Option<u32>,
    since: Instant,
    restarts: u32,
    last_exit: Option<String>,
}

#[derive(Debug)]
struct Handle {
    live: watch::Receiver<Live>,
    /// Set once it shall stop; a second, more urgent request may follow.
    stop: watch::Sender<Option<Stop>>,
    /// While it is set the child is not started again.
    held: watch::Sender<bool>,
    ended: CancellationToken,
    admin: Option<SocketAddr>,
}

/// A process that a signal was delivered to.
#[derive(Debug, Clone)]
pub struct Reached {
    pub pid: u32,
    /// Just before the signal.
    pub sent_at_ms: u64,
    pub sent: Instant,
    restarts: u32,
    live: watch::Receiver<Live>,
}

impl Reached {
    /// Waits until that process has ended.
    pub async fn ended(&mut self) {
        let (pid, restarts) = (self.pid, self.restarts);
        // A child that is not kept any more tells nothing, and its process is gone.
        let _ = self.live.wait_for(|live| live.pid != Some(pid) || live.restarts != restarts).await;
    }

    /// Waits until another process runs in its place; none when there will be none.
    pub async fn back(&mut self) -> Option<u32> {
        let restarts = self.restarts;
        self.live.wait_for(|live| live.restarts != restarts && live.pid.is_some()).await.ok()?.pid
    }
}

/// All children, by name.
#[derive(Debug)]
pub struct Supervisor {
    children: Mutex<BTreeMap<String, Handle>>,
    lines: Lines,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends a signal to one process. It may have ended already: that is what was wanted.
pub fn send_signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Whether there is a process of that number; that of another user counts too.
pub fn is_running(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// Whether a signal has stopped a process, as the kernel says; false where it does not say.
pub fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state is the first letter after the program's name, <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

/// Sends a signal to a child and whatever it started: each child leads a process group of its own. False when there is none any more.
fn signal_group(pid: u32, signal: Signal) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::kill_process_group(pid, signal).is_ok())
}

impl Supervisor {
    pub(crate) fn new(lines: Lines) -> Self {
        Self { children: Mutex::default(), lines }
    }

    /// Starts a child and keeps it running. Does nothing when one of that name is there.
    pub fn start(&self, service: Service) {
        let mut children = locked(&self.children);
        if children.contains_key(&service.name) {
            return;
        }
        let first = Live { state: State::Waiting, pid: None, since: Instant::now(), restarts: 0, last_exit: None };
        let (live, is_live) = watch::channel(first);
        let (stop, stopped) = watch::channel(None);
        let (held, is_held) = watch::channel(false);
        let ended = CancellationToken::new();
        children.insert(service.name.clone(), Handle { live: is_live, stop, held, ended: ended.clone(), admin: service.admin });
        let keeper = Keeper { service, lines: self.lines.clone(), live, stop: stopped, held: is_held };
        tokio::spawn(async move {
            keeper.keep_running().await;
            ended.cancel();
        });
    }

    /// Stops these children at the same time and waits until they are gone.
    pub async fn stop(&self, names: &[String], how: Stop) {
        let waits: Vec<CancellationToken> = {
            let children = locked(&self.children);
            names
                .iter()
                .filter_map(|name| children.get(name))
                .map(|handle| {
                    handle.stop.send_replace(Some(how));
                    handle.ended.clone()
                })
                .collect()
        };
        for ended in waits {
            ended.cancelled().await;
        }
        locked(&self.children).retain(|name, handle| !(names.contains(name) && handle.ended.is_cancelled()));
    }

    pub fn names(&self) -> Vec<String> {
        locked(&self.children).keys().cloned().collect()
    }

    pub fn statuses(&self) -> Vec<ChildStatus> {
        let children = locked(&self.children);
        children
            .iter()
            .map(|(name, handle)| {
                let live = handle.live.borrow();
                ChildStatus {
                    name: name.clone(),
                    state: live.state,
                    pid: live.pid,
                    uptime_s: live.pid.map_or(0, |_| live.since.elapsed().as_secs()),
                    restarts: live.restarts,
                    last_exit: live.last_exit.clone(),
                    admin: handle.admin,
                }
            })
            .collect()
    }

    /// Keeps a child from being started again once it has ended, or lets it. False when there is none of that name.
    pub fn hold(&self, name: &str, held: bool) -> bool {
        let children = locked(&self.children);
        children.get(name).map(|handle| handle.held.send_replace(held)).is_some()
    }

    /// Sends a signal to one child. None when there is none of that name, or it does not run now.
    pub fn signal(&self, name: &str, signal: Signal) -> Option<Reached> {
        let live = locked(&self.children).get(name).map(|handle| handle.live.clone())?;
        let (pid, restarts) = {
            let now = live.borrow();
            (now.pid?, now.restarts)
        };
        let (sent_at_ms, sent) = (unix_ms(), Instant::now());
        signal_group(pid, signal).then_some(Reached { pid, sent_at_ms, sent, restarts, live })
    }
}

/// One child's task.
struct Keeper {
    service: Service,
    lines: Lines,
    live: watch::Sender<Live>,
    stop: watch::Receiver<Option<Stop>>,
    held: watch::Receiver<bool>,
}

impl Keeper {
    async fn keep_running(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::select! {
                _ = self.held.wait_for(|held| !held) => {}
                _ = self.stop.wait_for(Option::is_some) => return,
            }
            let started = Instant::now();
            let Some(reason) = self.run_once().await else { return };
            if started.elapsed() >= GOOD_RUN {
                pause = FIRST_PAUSE;
            }
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            let held = *self.held.borrow();
            let next = if held { "held down for an experiment" } else { "starting it again" };
            tracing::warn!(service = self.service.name, pause_ms, "{} {reason}: {next}", self.service.name);
            self.change(|live| {
                live.last_exit = Some(reason);
                live.restarts += 1;
            });
            if held {
                // It was fine until it was killed on purpose: longer pauses are not needed.
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = self.stop.wait_for(Option::is_some) => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Runs the child until it ends, and says how; none when it was told to stop.
    async fn run_once(&mut self) -> Option<String> {
        let (mut child, input) = match self.spawn() {
            Ok(spawned) => spawned,
            Err(error) => return Some(format!("could not be started ({error})")),
        };
        let pid = child.id();
        self.change(|live| (live.state, live.pid, live.since) = (State::Running, pid, Instant::now()));
        let ended = tokio::select! {
            status = child.wait() => Some(match status {
                Ok(status) => format!("ended with {status}"),
                Err(error) => format!("was lost ({error})"),
            }),
            _ = self.stop.wait_for(Option::is_some) => None,
        };
        if ended.is_none() {
            self.change(|live| live.state = State::Stopping);
            self.end(&mut child).await;
        }
        // Whatever it had started must not hold its port or its files.
        if let Some(pid) = pid {
            signal_group(pid, Signal::KILL);
        }
        self.change(|live| (live.state, live.pid) = (State::Waiting, None));
        drop(input);
        ended
    }

    fn spawn(&self) -> std::io::Result<(Child, Option<ChildStdin>)> {
        let mut child = Command::new(&self.service.program)
            .args(&self.service.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C on the terminal must reach `up` alone, which stops the others in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        if let Some(output) = child.stdout.take() {
            self.lines.follow(&self.service.name, output);
        }
        if let Some(output) = child.stderr.take() {
            self.lines.follow(&self.service.name, output);
        }
        // Held here for as long as the child lives, because `wait` would close it: its end tells the child that `up` is gone.
        let input = child.stdin.take();
        Ok((child, input))
    }

    /// Asks, and kills at the deadline, which a second, more urgent request brings forward.
    async fn end(&mut self, child: &mut Child) {
        let Some(pid) = child.id() else { return };
        let asked = Instant::now();
        let mut deadline = None;
        loop {
            let how = *self.stop.borrow_and_update();
            if let Some(how) = how {
                send_signal(pid, how.signal());
                // One that is frozen hears it only when it goes on.
                signal_group(pid, Signal::CONT);
                let until = Instant::now() + how.limit();
                deadline = Some(deadline.map_or(until, |earlier: Instant| earlier.min(until)));
            }
            tokio::select! {
                _ = child.wait() => return,
                () = tokio::time::sleep_until(deadline.unwrap_or(asked)) => break,
                Ok(()) = self.stop.changed() => {}
            }
        }
        tracing::warn!(
            service = self.service.name,
            "{} did not stop within {}: killing it",
            self.service.name,
            span(clock::ms(asked.elapsed()))
        );
        signal_group(pid, Signal::KILL);
        let _ = child.wait().await;
    }

    fn change(&self, change: impl FnOnce(&mut Live)) {
        self.live.send_modify(change);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use faultline_runtime::config::LogFormat;

    use super::super::lines::Look;
    use super::*;

    fn supervisor() -> Supervisor {
        Supervisor::new(Lines::start(Look { color: false, format: LogFormat::Text, verbose: false, quiet: false }).0)
    }

    fn shell(name: &str, script: &str) -> Service {
        Service { name: name.into(), program: "/bin/sh".into(), args: vec!["-c".into(), script.into()], admin: None }
    }

    async fn until(supervisor: &Supervisor, what: impl Fn(&ChildStatus) -> bool) -> ChildStatus {
        loop {
            if let Some(status) = supervisor.statuses().into_iter().find(&what) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_killed_child_comes_back_as_another_process() {
        let supervisor = supervisor();
        supervisor.start(shell("one", "exec sleep 1000"));
        let first = until(&supervisor, |status| status.state == State::Running).await;
        let mut reached = supervisor.signal("one", Signal::KILL).unwrap();
        assert!(supervisor.signal("two", Signal::KILL).is_none());
        assert_eq!(Some(reached.pid), first.pid);
        reached.ended().await;
        assert!(!is_running(reached.pid), "it is told when it has happened");
        let back = reached.back().await;
        let second = until(&supervisor, |status| status.restarts == 1 && status.state == State::Running).await;
        assert_ne!(first.pid, second.pid);
        assert_eq!(back, second.pid);
        assert!(second.last_exit.unwrap().contains("signal: 9"));
        supervisor.stop(&["one".into()], Stop::Drain(Duration::from_secs(5))).await;
        assert!(supervisor.names().is_empty());
    }

    #[tokio::test]
    async fn a_child_that_will_not_stop_is_killed_with_all_it_started() {
        let supervisor = supervisor();
        supervisor.start(shell("stubborn", "trap '' TERM INT; while :; do sleep 1000; done"));
        let pid = until(&supervisor, |status| status.state == State::Running).await.pid.unwrap();
        supervisor.stop(&["stubborn".into()], Stop::Hurry(Duration::from_millis(50))).await;
        let group = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        // What the shell had started is reaped by init a moment later.
        while rustix::process::test_kill_process_group(group).is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_hurry_cuts_a_drain_short() {
        let supervisor = Arc::new(supervisor());
        // Deaf to SIGTERM, as a worker that still has work; ended by SIGINT.
        supervisor.start(shell("drains", "trap '' TERM; trap 'exit 0' INT; while :; do sleep 0.01; done"));
        until(&supervisor, |status| status.state == State::Running).await;
        let draining = Arc::clone(&supervisor);
        let names = ["drains".to_owned()];
        let drain = tokio::spawn(async move { draining.stop(&["drains".into()], Stop::Drain(Duration::from_secs(3600))).await });
        until(&supervisor, |status| status.state == State::Stopping).await;
        supervisor.stop(&names, Stop::Hurry(Duration::from_secs(3600))).await;
        drain.await.unwrap();
        assert!(supervisor.names().is_empty());
    }

    #[tokio::test]
    async fn a_child_that_is_held_stays_down_until_it_is_let_go() {
        let supervisor = supervisor();
        supervisor.start(shell("one", "exec sleep 1000"));
        until(&supervisor, |status| status.state == State::Running).await;
        assert!(supervisor.hold("one", true) && !supervisor.hold("two", true));
        let mut reached = supervisor.signal("one", Signal::KILL).unwrap();
        until(&supervisor, |status| status.state == State::Waiting && status.restarts == 1).await;
        // Longer than the pause before a restart.
        tokio::time::sleep(FIRST_PAUSE * 2).await;
        assert_eq!(supervisor.statuses()[0].pid, None);
        supervisor.hold("one", false);
        until(&supervisor, |status| status.state == State::Running).await;
        supervisor.hold("one", true);
        assert!(supervisor.signal("one", Signal::KILL).is_some());
        until(&supervisor, |status| status.restarts == 2).await;
        // One that is held can be stopped.
        supervisor.stop(&["one".into()], Stop::Drain(Duration::from_secs(5))).await;
        assert!(supervisor.names().is_empty());
        assert_eq!(reached.back().await, None, "nothing comes back once it was stopped");
    }

    #[tokio::test]
    async fn a_missing_program_is_tried_again() {
        let supervisor = supervisor();
        supervisor.start(Service { name: "none".into(), program: "/no/such/program".into(), args: vec![], admin: None });
        let status = until(&supervisor, |status| status.restarts >= 1).await;
        assert!(status.last_exit.unwrap().contains("could not be started"));
        supervisor.stop(&["none".into()], Stop::Drain(Duration::from_secs(1))).await;
        assert!(supervisor.names().is_empty());
    }
}
