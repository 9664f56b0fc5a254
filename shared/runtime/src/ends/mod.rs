//! What the next protocol (docs/log-of-ends.md) needs of NATS: packs of jobs, the log of ends, and snapshots of its fold. No service uses it yet;
//! the tests do, with a real server.

mod jobs;
mod log;
mod publish;
mod snapshots;

pub use jobs::{JobsError, create_jobs};
pub use log::{LogError, LogPart, LogReader, LogRow};
pub use publish::{Confirmed, PackError, publish_pack};
pub use snapshots::{Snapshots, SnapshotsError, Stored};
