//! What the integration tests share: a real NATS server of their own ([`nats`]) and a cluster of real service processes on
//! it ([`cluster`]), both of which they may kill and bring back. Not here: the tests themselves (`tests/`).

pub mod attack;
pub mod chaos;
pub mod clocks;
pub mod cluster;
pub mod collector;
pub mod http;
pub mod nats;
pub mod proc;
pub mod programs;
pub mod prometheus;
pub mod python;
pub mod rest;
pub mod small_disk;
pub mod up;
