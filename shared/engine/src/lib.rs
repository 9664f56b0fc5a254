//! The pure heart of Faultline: what a job, a node and a GPU are, and every decision that is made about them.
//!
//! Nothing here does IO, reads a clock or draws from a thread's random generator: time and randomness are
//! arguments. The same code therefore runs live behind NATS and in virtual time inside one test process.

pub mod agent;
pub mod detector;
pub mod device;
pub mod ends;
pub mod fault;
pub mod goodput;
pub mod job;
pub mod ledger;
pub mod node;
pub mod program;
pub mod scheduler;
pub mod unset;
pub mod words;
pub mod workload;
