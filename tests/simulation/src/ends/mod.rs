//! The next protocol, with packs and a log of ends, before it is built: submitters, schedulers, workers, an auditor and readers as small models
//! over a model of the server, in virtual time. The rules that decide are those that will ship (`faultline_engine::ends`); the rest is written
//! here once, to find out in which order it has to be done. One seed is one history.
//!
//! [`run_ends`] plays a seed. What it cannot show: NATS itself, clients, encodings, and how fast it is.

mod bucket;
mod bug;
mod deeds;
mod event;
mod exec;
mod jobs;
mod leader;
mod lies;
mod link;
mod log;
mod message;
mod observer;
mod proc;
mod run;
mod scenario;
mod server;
mod serving;
mod shadow;
mod state;
mod stats;
mod submitter;
mod tail;
mod truth;
mod verdict;
mod wires;
mod worker;

pub use bug::EndsBug;
pub use run::{ends_campaign, run_ends};
pub use stats::{EndsFault, EndsStats};
