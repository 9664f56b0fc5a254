//! Network faults done for real: a TCP proxy between one service and NATS whose link can be stalled, closed, delayed, limited
//! and made lossy while it runs. It knows nothing of NATS: it passes bytes, in order, and never loses or changes one.
//!
//! ```no_run
//! use faultline_proxy::{LinkConditions, Proxy};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let proxy = Proxy::start(([127, 0, 0, 1], 0).into(), "127.0.0.1:4222".into(), 7)?;
//! println!("the service connects to nats://{}", proxy.address());
//! proxy.set(LinkConditions::stalled())?; // a partition
//! proxy.set(LinkConditions::default())?; // healed
//! # Ok(())
//! # }
//! ```
//!
//! # Why a proxy of our own
//!
//! The maintained crates that were looked at (`noxious`, `tokio-netem`) sleep between a read and its write, so that a delay also
//! cuts the throughput to one buffer a delay, and none has a partition: bytes that wait and arrive after healing. That is the one
//! fault that matters most here.
//!
//! # What it models, and what not
//!
//! Each direction of a connection is a queue of chunks (what one read returned, at most 64 KiB), each with the time at which it
//! arrives at the other side. A direction holds at most 1 MiB, about what the kernels of two machines hold for a connection; then
//! the proxy stops reading, and the sender feels it as it feels a full socket. The end of a connection is one more entry of the
//! queue: on an open link the other side is closed at once, on a stalled one only after healing, as with a real partition.
//! Not modelled: reordering and duplication (TCP hides both), and the pause of up to minutes that a real sender makes after a
//! partition before it tries again; here bytes go on at the moment of healing.

mod conditions;
mod connection;
mod proxy;
mod pump;
mod shaper;

pub use conditions::{Direction, InvalidConditions, LinkConditions, LinkState};
pub use proxy::{Flow, Proxy, Traffic};
