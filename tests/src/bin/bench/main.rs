//! `just bench`: how many no-op jobs a second go through all services, from the first submit to the last commit, and how
//! many the server alone takes of the same durable writes and acks. Prints one JSON line; `ratio` is the first by the second.
//! Each round runs both, one after the other, on a server of its own; the medians of the rounds are reported.

mod args;
mod bound;
mod measured;
mod through;

use anyhow::Context;
use clap::Parser;
use faultline_runtime::config::Common;
use faultline_runtime::connect::{Nats, connect_once};
use faultline_tests::nats::TestNats;
use serde_json::json;

use args::Args;
use measured::{Measured, new_histogram};

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
