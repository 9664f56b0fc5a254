//! `just bench-dashboard`: what the dashboard costs while a large cluster beats and one page watches it. A real NATS server and
//! the real dashboard process; the nodes are simulated here, by their registrations and heartbeats. Prints a table to standard
//! error and one JSON line to standard output; exit code 1 when a limit is broken: a message over 64 KiB, a quarter of a core,
//! memory that grows by more than 32 MiB an hour, clients that do not read and are kept.

mod clients;
mod fleet;
mod growth;
mod process;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use faultline_runtime::config::Common;
use faultline_runtime::connect::connect_once;
use faultline_tests::cluster::Cluster;
use faultline_tests::nats::TestNats;
use serde_json::json;
use tokio::time::{Instant, sleep};

use clients::Watched;
use process::Dashboard;

/// The largest message of a WebSocket.
const MAX_FRAME_BYTES: usize = 64 * 1024;
const MAX_CPU_PERCENT: f64 = 25.0;
/// What the memory may grow by in an hour, taken from the line that fits the measured seconds best.
const MAX_GROWTH_MIB_PER_HOUR: f64 = 32.0;
/// A short measurement cannot tell a slow leak from an allocator that takes its next pages: so much is never held against it.
const ALLOCATOR_NOISE_MIB: f64 = 3.0;
/// The kernel's buffers are full long before; the dashboard gives a client up after 10 s.
const DEAF_FOR: Duration = Duration::from_secs(20);
/// What clients that do not read may cost each while they are there: what is being written to one, and its task.
const MAX_DEAF_KIB_EACH: i64 = 512;

/// Measures the dashboard with a large simulated cluster.
#[derive(Debug, Parser)]
struct Args {
    /// Nodes, each with a heartbeat a second
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    nodes: u32,
    /// GPUs of a node
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    gpus: u32,
    /// Attempts that run on a node
    #[arg(long, default_value_t = 2)]
    running: usize,
    /// How long it is measured, in seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=86_400))]
    seconds: u64,
    /// Seconds before that in which nothing is measured
    #[arg(long, default_value_t = 10)]
    warm_up: u64,
    /// Clients that read nothing, after the measurement
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(0..=60))]
    deaf: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<std::process::ExitCode> {
    let args = Args::parse();
    let cluster = Cluster::bare(TestNats::start().await).await;
    let url = cluster.server.url();
    let nats = connect_once(&Common { nats_url: url, ..Common::default() }, "bench", "bench").await?;
    let shape = fleet::Shape { nodes: args.nodes as usize, gpus: args.gpus as usize, running: args.running };
    eprintln!("registering {} nodes", args.nodes);
    fleet::register(&nats, &shape).await?;
    let beats = Arc::new(fleet::Beats::default());
    let beating = tokio::spawn(fleet::beat(nats.clone(), shape, Arc::clone(&beats)));

    let dashboard = Dashboard::start(&cluster.server).await?;
    let watching = tokio::spawn(clients::watch(dashboard.port, args.nodes as usize));
    sleep(Duration::from_secs(args.warm_up)).await;
    let measured = measure(&dashboard, &args, &beats).await?;
    let query_ms = clients::time_query(dashboard.port, "/api/v1/nodes?sort=-temperature&per_page=50", 20).await?;
    let deaf = if args.deaf > 0 { Some(deaf_clients(&dashboard, args.deaf).await?) } else { None };
    let watched = watching_so_far(watching).await?;
    beating.abort();
    Ok(report(&args, &measured, &watched, query_ms, deaf.as_ref()))
}

/// The watcher's task ends by itself when it is told to; it is told by a dropped channel inside.
async fn watching_so_far(watching: tokio::task::JoinHandle<anyhow::Result<Watched>>) -> anyhow::Result<Watched> {
    clients::STOP.notify_one();
    watching.await.context("the watching client panicked")?
}

struct Measured {
    cpu_percent: f64,
    /// Resident memory in KiB, a value a second.
    rss_kib: Vec<i64>,
    /// Of that what the dashboard keeps of the past, which grows for an hour and has a bound of its own.
    kept_kib: Vec<i64>,
    beats_per_s: f64,
}

async fn measure(dashboard: &Dashboard, args: &Args, beats: &fleet::Beats) -> anyhow::Result<Measured> {
    let (begin, cpu_before, beats_before) = (Instant::now(), dashboard.cpu()?, beats.sent());
    let (mut rss_kib, mut kept_kib) = (Vec::new(), Vec::new());
    for second in 1..=args.seconds {
        tokio::time::sleep_until(begin + Duration::from_secs(second)).await;
        rss_kib.push(dashboard.rss_kib()?);
        kept_kib.push(clients::kept_kib(dashboard.port).await?);
    }
    let took = begin.elapsed().as_secs_f64();
    Ok(Measured {
        cpu_percent: (dashboard.cpu()? - cpu_before).as_secs_f64() * 100.0 / took,
        rss_kib,
        kept_kib,
        beats_per_s: (beats.sent() - beats_before) as f64 / took,
    })
}

struct Deaf {
    clients: u32,
    /// The most that the memory grew by while they were there.
    grew_kib: i64,
    /// WebSockets that are still open afterwards, the watching one among them.
    open_after: u64,
}

async fn deaf_clients(dashboard: &Dashboard, count: u32) -> anyhow::Result<Deaf> {
    let before = dashboard.rss_kib()?;
    let mut sockets = Vec::new();
    for _ in 0..count {
        sockets.push(clients::deaf(dashboard.port).await?);
    }
    let (until, mut most) = (Instant::now() + DEAF_FOR, before);
    while Instant::now() < until {
        sleep(Duration::from_millis(250)).await;
        most = most.max(dashboard.rss_kib()?);
    }
    let open_after = clients::streams_open(dashboard.port).await?;
    drop(sockets);
    Ok(Deaf { clients: count, grew_kib: most - before, open_after })
}

fn report(args: &Args, measured: &Measured, watched: &Watched, query_ms: f64, deaf: Option<&Deaf>) -> std::process::ExitCode {
    let rss = &measured.rss_kib;
    let kept = &measured.kept_kib;
    let growth = growth::of(&rss.iter().zip(kept).map(|(rss, kept)| rss - kept).collect::<Vec<_>>());
    let largest = watched.largest_text.max(watched.largest_binary);
    let mut broken = Vec::new();
    let mut limit = |holds: bool, what: String| {
        if !holds {
            broken.push(what)
        }
    };
    limit(largest <= MAX_FRAME_BYTES, format!("a message has {largest} bytes, more than {MAX_FRAME_BYTES}"));
    limit(measured.cpu_percent < MAX_CPU_PERCENT, format!("{:.1} % of a core, not below {MAX_CPU_PERCENT}", measured.cpu_percent));
    limit(measured.beats_per_s > 0.95 * f64::from(args.nodes), format!("only {:.0} heartbeats a second were sent", measured.beats_per_s));
    limit(
        growth.over_time_mib <= MAX_GROWTH_MIB_PER_HOUR * args.seconds as f64 / 3_600.0 + ALLOCATOR_NOISE_MIB,
        format!(
            "memory beside the past grew by {:.1} MiB in {} s: {:.0} MiB an hour, more than {MAX_GROWTH_MIB_PER_HOUR} and {ALLOCATOR_NOISE_MIB} of noise",
            growth.over_time_mib, args.seconds, growth.an_hour_mib
        ),
    );
    limit(watched.heard_last >= 0.95, format!("only {:.1} % of the nodes were shown as fresh", watched.heard_last * 100.0));
    limit(watched.rounds > 0 && watched.bad.is_empty(), format!("bad messages: {:?}", watched.bad));
    if let Some(deaf) = deaf {
        limit(deaf.open_after <= 1, format!("{} WebSockets are open after {} s without reading", deaf.open_after, DEAF_FOR.as_secs()));
        limit(deaf.grew_kib <= MAX_DEAF_KIB_EACH * i64::from(deaf.clients), format!("deaf clients cost {} KiB", deaf.grew_kib));
    }
    let line = json!({
        "nodes": args.nodes, "gpus_per_node": args.gpus, "running_per_node": args.running, "seconds": args.seconds,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "heartbeats_per_s": measured.beats_per_s.round(),
        "cpu_percent_of_a_core": (measured.cpu_percent * 10.0).round() / 10.0,
        "rss_mib": {"begin": growth.begin_mib.round(), "max": rss.iter().max().map_or(0, |kib| kib / 1024)},
        "growth_mib": {"measured": (growth.over_time_mib * 10.0).round() / 10.0, "an_hour": growth.an_hour_mib.round()},
        "rss_kib_each_second": rss, "past_kib": {"begin": kept.first(), "end": kept.last()},
        "hello_bytes": watched.hello_bytes, "largest_text_bytes": watched.largest_text, "telemetry_bytes": watched.largest_binary,
        "rounds": watched.rounds, "hellos": watched.hellos, "round_interval_ms": {"p50": watched.interval_ms(50), "p99": watched.interval_ms(99)},
        "fresh_nodes_percent": (watched.heard_last * 1000.0).round() / 10.0,
        "nodes_query_ms": query_ms,
        "deaf": deaf.map(|deaf| json!({"clients": deaf.clients, "grew_kib": deaf.grew_kib, "open_after": deaf.open_after})),
        "broken": broken,
    });
    println!("{line}");
    eprintln!("{:<44}{:>14}", "nodes, heartbeats a second", format!("{}, {:.0}", args.nodes, measured.beats_per_s));
    eprintln!("{:<44}{:>12.1} %", "dashboard, of one core", measured.cpu_percent);
    eprintln!(
        "{:<44}{:>14}",
        "memory beside the past in MiB: begin, growth, that an hour",
        format!("{:.0}, {:.1}, {:.0}", growth.begin_mib, growth.over_time_mib, growth.an_hour_mib)
    );
    let kept_mib = kept.last().map_or(0.0, |kib| *kib as f64 / 1024.0);
    eprintln!("{:<44}{:>10.1} MiB", format!("the past after {} s", args.warm_up + args.seconds), kept_mib);
    eprintln!(
        "{:<44}{:>14}",
        "bytes: hello, largest text, telemetry",
        format!("{}, {}, {}", watched.hello_bytes, watched.largest_text, watched.largest_binary)
    );
    eprintln!(
        "{:<44}{:>14}",
        "rounds, ms between them p50 and p99",
        format!("{}, {}, {}", watched.rounds, watched.interval_ms(50), watched.interval_ms(99))
    );
    eprintln!("{:<44}{:>11.1} ms", "50 nodes by temperature over REST, median", query_ms);
    if let Some(deaf) = deaf {
        eprintln!("{:<44}{:>10} KiB", format!("{} clients that do not read, together", deaf.clients), deaf.grew_kib);
    }
    for what in &broken {
        eprintln!("BROKEN: {what}");
    }
    if broken.is_empty() { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}
