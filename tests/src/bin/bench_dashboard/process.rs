//! The dashboard as a process of its own, and what the system says of it.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use faultline_tests::nats::TestNats;
use faultline_tests::proc;
use faultline_tests::programs::program;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

const START_LIMIT: Duration = Duration::from_secs(30);
const NEEDS: &str = "this bench needs Linux and a dashboard that runs";

/// Ends with the value.
pub(crate) struct Dashboard {
    child: Child,
    pub(crate) port: u16,
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        // It may have ended already; then no process is left to signal.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Dashboard {
    /// Starts it and waits until it answers.
    pub(crate) async fn start(nats: &TestNats) -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new(program("faultline-dashboard"))
            .args(["--nats-url", &nats.url(), "--port", &port.to_string(), "--log-level", "warn", "--stop-with-parent"])
            .args(nats.key_args("faultline-dashboard"))
            .stdin(Stdio::piped())
            .spawn()
            .context("starting faultline-dashboard")?;
        let dashboard = Self { child, port };
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            ensure!(Instant::now() < deadline, "the dashboard does not listen on port {port}");
            sleep(Duration::from_millis(50)).await;
        }
        Ok(dashboard)
    }

    fn proc_dir(&self) -> PathBuf {
        format!("/proc/{}", self.child.id()).into()
    }

    /// Processor time that its threads have used so far. Of threads that have ended it is forgotten; the dashboard's stay.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let mut used_ns = 0;
        for thread in std::fs::read_dir(self.proc_dir().join("task")).context(NEEDS)? {
            // "time on the CPU, time waiting, timeslices", the first two in nanoseconds (kernel, sched-stats.rst).
            let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            used_ns += text.split_whitespace().next().and_then(|field| field.parse::<u64>().ok()).context("reading schedstat")?;
        }
        ensure!(used_ns > 0, "the kernel keeps no schedstat");
        Ok(Duration::from_nanos(used_ns))
    }

    /// Memory that is resident, in KiB.
    pub(crate) fn rss_kib(&self) -> anyhow::Result<i64> {
        proc::kib(self.child.id(), "VmRSS").and_then(|kib| i64::try_from(kib).ok()).context(NEEDS)
    }
}
