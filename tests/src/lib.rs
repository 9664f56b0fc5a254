//! What the integration tests share: a real NATS server of their own ([`nats`]) that they may kill and bring back.
//! Not here: the tests themselves (`tests/`), and anything that a service needs to run.

pub mod nats;
