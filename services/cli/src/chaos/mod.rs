//! `faultline chaos`: `up` carries experiments out; the command asks and shows.

pub(crate) mod args;
pub(crate) mod command;
pub(crate) mod report;
