//! The whole protocol in one process under virtual time: scheduler, worker, fault detector and submitter as they ship, each over a
//! [`Wire`](faultline_runtime::wire::Wire) whose other end is a model of NATS that misbehaves as the real one may. One seed is one
//! history: the same cluster, jobs, faults and order of events every time.
//!
//! [`run`] plays a seed and holds what happened against a shadow model. What it cannot show: tokio's threads, NATS and its client, and
//! the kernel; the chaos suite is for those.

mod agenda;
mod bucket;
mod bug;
mod campaign;
mod cast;
mod client;
pub mod ends;
mod event;
mod gate;
mod link;
mod message;
mod misheard;
mod net;
mod outcome;
mod panics;
mod planted;
mod play;
mod program;
mod queue;
mod run;
mod scenario;
mod server;
mod shadow;
mod shells;
mod stage;
mod stats;
mod stream;
mod trace;
mod wire;
mod witness;
mod world;

/// A history is tens of thousands of small things made and dropped by one thread: that is a tenth of its time with the C library's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub use bug::Bug;
pub use campaign::Campaign;
pub use outcome::Outcome;
pub use run::{campaign, run};
pub use stats::{FaultKind, Figures, Stats};
