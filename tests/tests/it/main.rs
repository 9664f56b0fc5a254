//! The tests that need NATS or several crates at once, as one program: each of its own would link everything once more.
//! Apart are `chaos` and `containers`, which want the machine for themselves.

mod acts;
mod attack;
mod audit_watch;
mod bad_input;
mod clocks;
mod command;
mod consumers;
mod disk_full;
mod executors;
mod experiments;
mod former_store;
mod golden;
mod gpu_faults;
mod hardening;
mod harness;
mod json_shapes;
mod large_jobs;
mod lifecycle;
mod losses;
mod names;
mod nats_clients;
mod nats_cluster;
mod observability;
mod orphans;
mod outages;
mod partition;
mod permissions;
mod recovery;
mod scenarios;
mod settings;
mod stores;
mod takeover;
mod tls;
mod traces;
mod waiting;
