//! The kinds of jobs that every worker can run, one a file; `service` hands them to programs elsewhere. How an attempt is started and stopped is in `executor`.

mod compute;
mod fault;
mod length;
mod matrix;
mod service;
mod sleep;

pub use compute::Compute;
pub use fault::Fault;
pub use matrix::Matrix;
pub use service::Service;
pub use sleep::Sleep;

use crate::executor::Registry;

/// The kinds that come with a worker: `sleep`, `compute`, `matrix` and `fault`.
pub fn defaults() -> Registry {
    let mut registry = Registry::new();
    registry.register(Sleep);
    registry.register(Compute);
    registry.register(Matrix);
    registry.register(Fault);
    registry
}
