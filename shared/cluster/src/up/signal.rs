//! The signals that an operator may send to a process of the cluster.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KillSignal {
    /// Gone without a word.
    Kill,
    /// May say goodbye.
    Term,
    /// Frozen.
    Stop,
    /// Goes on.
    Cont,
}

impl KillSignal {
    /// As the kernel calls it.
    pub fn name(self) -> &'static str {
        match self {
            KillSignal::Kill => "SIGKILL",
            KillSignal::Term => "SIGTERM",
            KillSignal::Stop => "SIGSTOP",
            KillSignal::Cont => "SIGCONT",
        }
    }
}
