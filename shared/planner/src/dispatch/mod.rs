//! Which job goes next: orders, gangs, reservations, and queues on top of the placement of single tasks.

mod request;

pub use request::{JobNumber, Level, Request, Topology};
