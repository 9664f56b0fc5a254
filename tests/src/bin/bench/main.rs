//! `just bench`: how many no-op jobs a second go through all services, from the first submit to the last commit, and how
//! many the server alone takes of the same durable writes and acks. Prints one JSON line; `ratio` is the first by the second.
//! Each round runs both, one after the other, on a server of its own; the medians of the rounds are reported.

mod bound;
mod through;

use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use faultline_runtime::config::Common;
use faultline_runtime::connect::{Nats, connect_once};
use faultline_tests::nats::TestNats;
use hdrhistogram::Histogram;
use serde_json::json;

/// Measures the cluster against the bound of the bare durable writes.
#[derive(Debug, Parser)]
struct Args {
    /// Jobs of one throughput measurement
    #[arg(long, default_value_t = 20_000)]
    jobs: usize,
    /// Jobs of one latency measurement, one at a time
    #[arg(long, default_value_t = 300)]
    latency_jobs: usize,
    /// How often everything is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Submissions under way at once
    #[arg(long, default_value_t = 1_000)]
    in_flight: usize,
    /// Worker processes, of four nodes each
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Leave the dashboard out
    #[arg(long)]
    no_dashboard: bool,
    /// Put every service behind a proxy of its own, as `faultline up` does
    #[arg(long)]
    proxies: bool,
    /// Run the services only, without the bound
    #[arg(long)]
    services_only: bool,
}

/// What one measurement gave.
struct Measured {
    jobs_per_s: f64,
    latency: Histogram<u64>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    anyhow::ensure!(args.jobs > 0 && args.rounds > 0 && args.in_flight > 0, "--jobs, --rounds and --in-flight must be at least 1");
    let (mut services, mut bounds) = (Vec::new(), Vec::new());
    let mut server = String::new();
    for round in 1..=args.rounds {
        if !args.services_only {
            let nats = TestNats::start().await;
            let measured = bound::measure(&connect(&nats).await?, &args).await.context("measuring the bound")?;
            eprintln!("round {round}: bound {:.0} jobs/s", measured.jobs_per_s);
            bounds.push(measured);
        }
        let nats = TestNats::start().await;
        nats.description().clone_into(&mut server);
        let measured = through::measure(nats, &args).await.context("measuring the services")?;
        eprintln!("round {round}: services {:.0} jobs/s", measured.jobs_per_s);
        services.push(measured);
    }
    let through = median(&services);
    let bound = median(&bounds);
    let line = json!({
        "jobs": args.jobs,
        "rounds": args.rounds,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "nats": server,
        "workers": args.workers,
        "dashboard": !args.no_dashboard,
        "proxies": args.proxies,
        "jobs_per_s": through.round(),
        "bound_jobs_per_s": bound.round(),
        "ratio": if bound > 0.0 { json!((through / bound * 1000.0).round() / 1000.0) } else { json!(null) },
        "latency_ms": percentiles(&services),
        "bound_latency_ms": percentiles(&bounds),
    });
    println!("{line}");
    Ok(())
}

async fn connect(nats: &TestNats) -> anyhow::Result<Nats> {
    Ok(connect_once(&Common { nats_url: nats.url(), ..Common::default() }, "bench", "bench").await?)
}

fn new_histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

fn record(histogram: &mut Histogram<u64>, took: Duration) {
    histogram.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
}

fn median(measured: &[Measured]) -> f64 {
    let mut rates: Vec<f64> = measured.iter().map(|one| one.jobs_per_s).collect();
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(0.0)
}

fn percentiles(measured: &[Measured]) -> serde_json::Value {
    let Ok(mut all) = new_histogram() else { return serde_json::Value::Null };
    for one in measured {
        let _ = all.add(&one.latency);
    }
    let ms = |quantile: f64| all.value_at_quantile(quantile) as f64 / 1000.0;
    json!({ "p50": ms(0.5), "p99": ms(0.99), "samples": all.len() })
}
