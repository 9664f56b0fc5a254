//! When a NATS server writes to its disk what it has acknowledged.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fsync {
    /// Once a second: when the machine dies, up to the last second of what was acknowledged is lost. A killed server loses nothing.
    #[serde(rename = "1s")]
    EverySecond,
    /// Before each acknowledgement: nothing is lost, and each write waits for the disk.
    #[serde(rename = "always")]
    Always,
}

impl Fsync {
    pub const ALL: [Fsync; 2] = [Fsync::EverySecond, Fsync::Always];

    pub fn as_str(self) -> &'static str {
        match self {
            Fsync::EverySecond => "1s",
            Fsync::Always => "always",
        }
    }

    /// What a server does that was not told. With copies on three servers, the disks work side by side, and syncing before each
    /// acknowledgement costs next to nothing; alone it would cost most of the throughput.
    pub(crate) fn default_for(is_member: bool) -> Self {
        if is_member { Fsync::Always } else { Fsync::EverySecond }
    }
}
