//! Reading a job's parameters with bounds and with errors that say what to do. What a parameter means is each executor's own; those of the
//! built-in kinds are in `engine::job::builtin`, which the command and the REST API judge by, too.

pub use faultline_engine::job::builtin::{number, whole};
