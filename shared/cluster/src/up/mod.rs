//! The whole cluster as child processes of one, from the first check to the last process gone (`run`), and how other processes of this
//! machine reach it (`remote`).

mod acts;
mod admin;
mod caretaker;
pub(crate) mod cluster;
mod desk;
pub mod guard;
mod history;
mod lines;
pub mod links;
mod orders;
pub mod own;
mod ports;
pub mod remote;
pub mod run;
mod scale;
mod servers;
pub mod services;
pub mod settings;
pub mod signal;
pub mod state;
pub mod supervisor;
mod tail;
mod telling;
pub mod who;
