//! `just bench`: how many no-op jobs a second go through all services, from the first submit to the last commit, how long one takes alone,
//! and what it costs each process. Beside it the same of a bare pipeline, with 1, 16, and 64 jobs a message. Prints one JSON line; `ratio` is
//! the throughput of the services with the first fleet by that of the pipeline with one job a message. Each round runs all of them, one after the
//! other, on a server of its own; the medians of the rounds are reported.

mod args;
mod bare;
mod cpu;
mod measured;
mod peer;
mod through;

use std::collections::BTreeMap;

use anyhow::Context;
use clap::Parser;
use faultline_tests::nats::TestNats;
use serde_json::{Value, json};

use args::{Args, Fleet};
use bare::Bare;
use measured::{Measured, median, new_histogram};

const JOBS_PER_MESSAGE: [u32; 3] = [1, 16, 64];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    anyhow::ensure!(args.jobs > 0 && args.rounds > 0 && args.in_flight > 0, "--jobs, --rounds and --in-flight must be at least 1");
    let mut services: Vec<Vec<Measured>> = args.fleets.iter().map(|_| Vec::new()).collect();
    let mut bounds: BTreeMap<u32, Vec<Measured>> = BTreeMap::new();
    let mut server = String::new();
    let mut peers = Vec::new();
    for round in 1..=args.rounds {
        for jobs_per_message in JOBS_PER_MESSAGE.into_iter().filter(|_| !args.services_only) {
            let nats = TestNats::start_open().await;
            let measured = Bare::start(&nats.url(), jobs_per_message).await?.measure(&args, nats.pid()).await;
            let measured = measured.context("measuring the bare pipeline")?;
            eprintln!("round {round}: bare, {jobs_per_message} a message: {:.0} jobs/s", measured.jobs_per_s);
            bounds.entry(jobs_per_message).or_default().push(measured);
        }
        for (fleet, services) in args.fleets.iter().zip(&mut services) {
            let nats = TestNats::start().await;
            nats.description().clone_into(&mut server);
            let measured = through::measure(nats, &args, *fleet).await.context("measuring the services")?;
            eprintln!("round {round}: services, {} nodes, 1 a message: {:.0} jobs/s", fleet.nodes(), measured.jobs_per_s);
            services.push(measured);
        }
        if let Some(program) = &args.peer {
            peers.push(peer::throughput(program, &args).await.context("measuring the peer")?);
        }
    }
    let peers = match &args.peer {
        Some(program) => peer::summary(program, &peers, &peer::recovery(program).await.context("measuring the peer's recovery")?),
        None => Value::Null,
    };
    let through = services.first().and_then(|first| median(first.iter().map(|one| one.jobs_per_s)));
    let bound = |jobs_per_message| median(bounds.get(&jobs_per_message).into_iter().flatten().map(|one| one.jobs_per_s));
    let line = json!({
        "jobs": args.jobs,
        "rounds": args.rounds,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "nats": server,
        "dashboard": !args.no_dashboard,
        "proxies": args.proxies,
        "services": args.fleets.iter().zip(&services).map(|(fleet, measured)| of_fleet(*fleet, measured)).collect::<Value>(),
        "bare": bounds.iter().map(|(jobs_per_message, measured)| summary(*jobs_per_message, measured)).collect::<Value>(),
        "peer": peers,
        "ratio": bound(1).map(|bound| (through.unwrap_or(0.0) / bound * 1000.0).round() / 1000.0),
    });
    println!("{line}");
    Ok(())
}

fn of_fleet(fleet: Fleet, measured: &[Measured]) -> Value {
    let mut summary = summary(1, measured);
    (summary["workers"], summary["nodes"]) = (fleet.workers.into(), fleet.nodes().into());
    summary
}

fn summary(jobs_per_message: u32, measured: &[Measured]) -> Value {
    let names = measured.iter().flat_map(|one| one.cpu_us.keys());
    let cpu_us: BTreeMap<&String, Option<f64>> =
        names.map(|name| (name, median(measured.iter().filter_map(|one| one.cpu_us.get(name).copied())).map(f64::round))).collect();
    json!({
        "jobs_per_message": jobs_per_message,
        "jobs_per_s": median(measured.iter().map(|one| one.jobs_per_s)).map(f64::round),
        "latency_ms": percentiles(measured),
        "cpu_us_per_job": cpu_us,
    })
}

fn percentiles(measured: &[Measured]) -> Value {
    let Ok(mut all) = new_histogram() else { return Value::Null };
    for one in measured {
        let _ = all.add(&one.latency);
    }
    let ms = |quantile: f64| all.value_at_quantile(quantile) as f64 / 1000.0;
    json!({ "p50": ms(0.5), "p99": ms(0.99), "samples": all.len() })
}
