//! Everything that crosses NATS, and nothing else: subjects, streams, messages and their encoding.
//! No decision is taken here and nothing is sent: `engine` decides, `runtime` and the services send.

pub mod batch;
pub mod codec;
pub mod ends;
pub mod explanation;
pub mod goodput;
pub mod messages;
pub mod streams;
pub mod subjects;
pub mod views;
