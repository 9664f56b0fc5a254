//! Processor time of this thread: what else runs on the machine is not in it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use anyhow::Context;

/// The kernel's count, which is read again and again.
#[derive(Debug)]
pub(crate) struct CpuClock(File);

impl CpuClock {
    /// For the thread that calls this.
    pub(crate) fn new() -> anyhow::Result<Self> {
        File::open("/proc/thread-self/schedstat").map(Self).context("reading /proc/thread-self/schedstat, which only Linux has")
    }

    /// Offers the processor to others first: the kernel brings its count up to date then, and otherwise only every few milliseconds.
    pub(crate) fn now(&self) -> Duration {
        std::thread::yield_now();
        let mut text = [0; 64];
        let length = self.0.read_at(&mut text, 0).unwrap_or(0);
        let first = std::str::from_utf8(&text[..length]).ok().and_then(|text| text.split(' ').next()?.parse().ok());
        Duration::from_nanos(first.unwrap_or(0))
    }
}
