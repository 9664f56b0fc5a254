//! A nats-server of our own: which binary, which configuration, which keys. Starting it is `up`'s business.

pub mod accounts;
mod config;
pub mod files;
pub mod find;
pub mod former_store;
pub mod fsync;
pub mod keys;
pub mod member;
pub mod permissions;
pub mod store;
