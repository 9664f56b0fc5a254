//! A cluster as child processes of one: its NATS server and streams, the services and their supervision, the links between them,
//! experiments on it, and scenarios on clusters of their own. Nothing is printed here and no command line is read: the command does that.

pub mod demo;
pub mod disk;
pub mod error;
pub mod experiment;
pub mod nats_server;
pub mod provision;
pub mod scenario;
pub mod timed;
pub mod up;
