//! Experiments: break something on purpose, watch, put it right, judge. `up` carries them out (`service`, `run`, `injector`), since it has
//! the processes and their links. What to break (`kinds`, `picture`, `plan`) is decided without touching anything.

pub mod fault;
mod injector;
pub mod kinds;
pub(crate) mod picture;
pub(crate) mod plan;
mod run;
pub(crate) mod service;
