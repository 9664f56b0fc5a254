//! Experiments: break something on purpose, watch, put it right, judge. `up` carries them out (`service`, `run`, `injector`), since
//! it has the processes and their links; the command (`args`, `command`, `report`) asks and shows. What to break (`kinds`,
//! `picture`, `plan`) is decided without touching anything.

pub(crate) mod args;
pub(crate) mod command;
pub(crate) mod fault;
pub(crate) mod injector;
pub(crate) mod kinds;
pub(crate) mod picture;
pub(crate) mod plan;
pub(crate) mod report;
mod run;
pub(crate) mod service;
pub(crate) mod watch;
