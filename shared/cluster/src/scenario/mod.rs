//! Scenarios: a file says what cluster, what work, what breaks when, and what must hold (`file`, `shipped`); its seed decides the
//! rest before anything runs (`plan`); it runs on a cluster of its own (`cluster`, `run`) and is judged as experiments are.

pub mod cluster;
pub mod file;
pub mod plan;
pub mod run;
pub mod shipped;
