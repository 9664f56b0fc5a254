//! `faultline scenario ...`: finds the file, checks it, runs it, shows the verdict.

use std::io::Read;
use std::path::Path;

use anyhow::anyhow;
use clap::Subcommand;
use faultline_cluster::scenario::cluster::OwnCluster;
use faultline_cluster::scenario::file::{self, Scenario};
use faultline_cluster::scenario::plan::{self, Plan};
use faultline_cluster::scenario::run::{self, ScenarioReport};
use faultline_cluster::scenario::shipped::{self, Shipped};
use faultline_engine::words::limit;
use faultline_runtime::clock::random_seed;
use serde::Serialize;

use crate::chaos::report::{clauses, figures};
use crate::exit::Failure;
use crate::interrupt::Interrupts;
use crate::output::{Output, facts, figure, plural, span, table};
use crate::session::Session;

const LARGEST_FILE: u64 = 256 * 1024;

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ScenarioCommand {
    /// Run a scenario on a throwaway cluster; exit code 5 when an assertion does not hold
    Run {
        /// A file, or the name of a scenario that comes with the program
        scenario: String,
        /// The same seed draws the same jobs and targets
        #[arg(long, value_name = "N", value_parser = faultline_runtime::config::seed)]
        seed: Option<u64>,
        /// Leave the cluster's folder with its logs, and say where it is
        #[arg(long)]
        keep: bool,
    },
    /// Check a file without starting anything
    Check {
        /// A file, or the name of a scenario that comes with the program
        scenario: String,
    },
    /// List the scenarios that come with the program
    Ls,
    /// Print the file of a scenario, to read it or to start your own
    Show {
        /// Its name in `faultline scenario ls`
        name: String,
    },
}

pub(crate) async fn run(session: &Session, command: &ScenarioCommand) -> Result<(), Failure> {
    let out = Output::new(session.format, session.common.color);
    match command {
        ScenarioCommand::Run { scenario, seed, keep } => {
            let seed = seed.unwrap_or_else(random_seed);
            let (scenario, plan) = load(scenario, seed)?;
            carry_out(&out, &scenario, &plan, seed, *keep).await
        }
        ScenarioCommand::Check { scenario } => {
            let (scenario, plan) = load(scenario, 0)?;
            let clauses = scenario.asserts.len();
            let limit_ms = scenario.limit.as_secs() * 1000;
            let checked = Checked { name: &scenario.name, jobs: plan.jobs.len(), faults: plan.faults.len(), assertions: clauses, limit_ms };
            out.one(&checked, |checked| {
                let Checked { name, jobs, faults, assertions, limit_ms } = checked;
                let [jobs, faults, assertions] =
                    [(jobs, "job"), (faults, "fault"), (assertions, "assertion")].map(|(n, noun)| plural(*n as u64, noun));
                format!("{name} is fine: {jobs}, {faults}, {assertions}, at most {}", limit(*limit_ms))
            })
        }
        ScenarioCommand::Ls => list(&out),
        ScenarioCommand::Show { name } => out.text(named(name)?.text),
    }
}

/// What `scenario check` says of a file that is fine.
#[derive(Debug, Serialize)]
struct Checked<'a> {
    name: &'a str,
    jobs: usize,
    faults: usize,
    assertions: usize,
    limit_ms: u64,
}

fn named(name: &str) -> Result<Shipped, Failure> {
    shipped::find(name).ok_or_else(|| {
        let known = shipped::ALL.map(|shipped| shipped.name).join(", ");
        Failure::NotFound(format!("unknown scenario {name}: use one of {known}"))
    })
}

/// A device or a log is not a scenario, and must not fill the memory before that is found.
fn read_limited(path: &str) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(LARGEST_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(std::io::Error::other(format!("it is larger than the {} KiB that a scenario may have", LARGEST_FILE / 1024)));
    }
    Ok(text)
}

/// By name, or from a file.
fn load(scenario: &str, seed: u64) -> Result<(Scenario, Plan), Failure> {
    let text = match shipped::find(scenario) {
        Some(shipped) => shipped.text.to_owned(),
        None if Path::new(scenario).exists() => {
            read_limited(scenario).map_err(|error| Failure::Usage(format!("{scenario} cannot be read: {error}")))?
        }
        None => {
            let known = shipped::ALL.map(|shipped| shipped.name).join(", ");
            return Err(Failure::NotFound(format!("unknown scenario {scenario}: use a file, or one of {known}")));
        }
    };
    let bad = |problem: String| Failure::Usage(format!("{scenario}: {problem}"));
    let parsed = file::parse(&text).map_err(|problem| bad(problem.to_string()))?;
    let plan = plan::draw(&parsed, seed).map_err(bad)?;
    Ok((parsed, plan))
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    shows: String,
    look_for: String,
}

fn list(out: &Output) -> Result<(), Failure> {
    let rows = shipped::ALL.into_iter().map(|shipped| {
        let scenario = file::parse(shipped.text).map_err(|problem| Failure::Failed(anyhow!("{}: {problem}", shipped.name)))?;
        Ok(Row { name: shipped.name, shows: scenario.shows, look_for: scenario.look_for })
    });
    let rows: Vec<Row> = rows.collect::<Result<_, Failure>>()?;
    out.rows(&rows, |rows| {
        let mut shown = table(&["SCENARIO", "SHOWS"]);
        for row in rows {
            shown.add_row([row.name, &row.shows]);
        }
        shown
    })
}

async fn carry_out(out: &Output, scenario: &Scenario, plan: &Plan, seed: u64, keep: bool) -> Result<(), Failure> {
    let mut interrupts = Interrupts::listen()?;
    note!("{}: {}", scenario.name, scenario.shows);
    note!("look for: {}", scenario.look_for);
    note!("seed {seed}; starting {}", plural(scenario.cluster.workers.into(), "worker"));
    let cluster = tokio::select! {
        started = OwnCluster::start(&scenario.cluster, seed, keep) => started?,
        () = interrupts.next() => return Err(stopped()),
    };
    let went = tokio::select! {
        report = run::run(scenario, plan, seed, &cluster, &|line| note!("{line}")) => report.map_err(Failure::from),
        () = interrupts.next() => Err(stopped()),
    };
    if let Some(folder) = cluster.stop().await {
        note!("kept: {}", folder.display());
    }
    let report = went?;
    out.one(&report, |report| words(out, scenario, report))?;
    if report.passed { Ok(()) } else { Err(Failure::CheckFailed(format!("{} failed: {}", report.scenario, report.reason))) }
}

fn stopped() -> Failure {
    Failure::Failed(anyhow!("interrupted; everything was stopped"))
}

fn words(out: &Output, scenario: &Scenario, report: &ScenarioReport) -> String {
    let mut broken = table(&["AT", "LASTS", "WHAT"]);
    for fault in &report.faults {
        broken.add_row([figure(span(fault.at_ms)), figure(span(fault.for_ms)), fault.what.as_str().into()]);
    }
    let because: Vec<&str> = scenario.asserts.iter().map(|assert| assert.because.as_str()).filter(|why| !why.is_empty()).collect();
    let mut parts = Vec::new();
    if !report.faults.is_empty() {
        parts.push(out.render(broken));
    }
    parts.push(out.render(facts(&figures(&report.measured))));
    parts.push(out.render(clauses(&report.clauses)));
    if !report.passed && !because.is_empty() {
        parts.push(because.join("\n"));
    }
    let verdict = if report.passed { "passed" } else { "FAILED" };
    parts.push(format!("{} {verdict} in {}; seed {}", report.scenario, span(report.took_ms), report.seed));
    parts.join("\n\n")
}
