//! `just bench-planner`: how fast the planner decides, alone: no NATS, no clock in it, one thread. Prints one JSON line for each figure, and the
//! table on standard error.
//!
//! Rates are by processor time of the thread, so that what else runs on the machine shows as little as it can.

mod args;
mod cluster;
mod cpu;
mod measure;
mod memory;
mod report;

use clap::Parser;
use faultline_planner::PolicyName;

use args::Args;
use measure::{Load, measure};

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let policies = if args.policies.is_empty() { PolicyName::ALL.to_vec() } else { args.policies.clone() };
    let memory = memory::measure(args.seed)?;
    println!("{}", report::memory_line(&memory));
    let mut all = Vec::new();
    for policy in policies {
        for nodes in &args.nodes {
            for classes in &args.classes {
                for load in [Load::Empty, Load::Full] {
                    let measured = measure(&args, policy, *nodes, *classes, load)?;
                    println!("{}", report::line(&measured, args.tie));
                    all.push(measured);
                }
            }
        }
    }
    eprintln!("{}", report::table(&all, &memory));
    Ok(())
}
