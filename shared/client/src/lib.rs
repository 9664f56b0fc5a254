//! What an operator asks of a running cluster, orders and reads, written once: the command, the dashboard, `faultline up` and the tests stand
//! on it. It says what went wrong in its own errors; exit codes, HTTP statuses and tables are its users' business. It keeps no state of the
//! cluster and runs no process.

pub mod absence;
pub mod audit;
mod error;
pub mod experiments;
pub mod faults;
pub mod incidents;
pub mod leader;
pub mod observe;
pub mod settings;

pub use error::ClientError;
pub use experiments::Up;
pub use leader::Leader;
