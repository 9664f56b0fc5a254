//! apalis on NATS, measured as `just bench` measures the services: no-op jobs, two worker processes, and a nats-server that `bench` starts
//! and hands over by its URL. Prints one JSON line.
//!
//! Jobs are published with the NATS client, in the form in which apalis does, and each is confirmed by the server. Its own sink returns
//! before the server has confirmed anything, and takes jobs itself without running them.
//!
//! A job counts as ended when its worker acknowledges it, which is all that apalis stores of an end.

mod queue;
mod recovery;
mod throughput;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
struct Args {
    #[arg(long)]
    nats_url: String,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Runs jobs until it is killed; each says how many milliseconds it takes
    Work,
    /// Jobs a second, and how long one takes alone
    Throughput {
        #[arg(long)]
        jobs: usize,
        #[arg(long)]
        latency_jobs: usize,
        #[arg(long)]
        in_flight: usize,
        #[arg(long)]
        workers: usize,
    },
    /// How long a job of one second takes whose worker is killed as soon as it has begun
    Recovery {
        #[arg(long)]
        rounds: usize,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { nats_url, what } = Args::parse();
    match what {
        What::Work => queue::work(&nats_url).await,
        What::Throughput { jobs, latency_jobs, in_flight, workers } => {
            let measured = throughput::measure(&nats_url, jobs, latency_jobs, in_flight, workers).await?;
            println!("{measured}");
            Ok(())
        }
        What::Recovery { rounds } => {
            let measured = recovery::measure(&nats_url, rounds).await?;
            println!("{measured}");
            Ok(())
        }
    }
}
