//! `explain` and `would-fit`: why a job waits or runs where it does, and what would become of jobs that are not submitted.

use faultline_client::Leader;
use faultline_engine::job::{Demand, JobRef};
use faultline_engine::scheduler::{MAX_WOULD_FIT, WouldFit};
use faultline_protocol::explanation::{Explanation, ExplanationLine, would_fit_lines};
use faultline_protocol::messages::WouldFitQuery;
use faultline_runtime::clock;

use super::link::Link;
use super::{ids, job, parse};
use crate::exit::Failure;
use crate::output::{facts, plural};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct WouldFitFlags {
    /// A share of one GPU, or a whole number up to 8
    #[arg(long, default_value = "0.1", value_parser = parse::gpus, allow_negative_numbers = true)]
    gpus: u32,
    /// Memory on each GPU that the job gets
    #[arg(long, value_name = "MIB", default_value = "0", value_parser = parse::gpu_memory_mib, allow_negative_numbers = true)]
    gpu_memory: u32,
    /// Acceptable GPU model; may be repeated; any when left out
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// Executor, as for `submit`; when left out, one that every node has
    #[arg(long, default_value = "", hide_default_value = true)]
    kind: String,
    /// How many such jobs
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_WOULD_FIT)))]
    count: u32,
}

impl WouldFitFlags {
    /// Refuses what could never be accepted, before anything is asked.
    pub(crate) fn query(&self) -> Result<WouldFitQuery, Failure> {
        let demand = Demand { gpu_milli: self.gpus, gpu_memory_mib: self.gpu_memory, models: self.models.clone() };
        let query = WouldFitQuery { demand, kind: self.kind.clone(), count: self.count };
        match query.validate() {
            Ok(()) => Ok(query),
            Err(invalid) => {
                let flag = if invalid.field == "models" { "model" } else { invalid.field };
                Err(Failure::Usage(format!("--{flag}: {}", invalid.problem)))
            }
        }
    }
}

pub(crate) async fn explain(link: &Link, id: &JobRef) -> Result<(), Failure> {
    let id = ids::resolve(&link.nats, id).await?;
    let view = job::find(&link.nats, id).await?;
    link.out.one(&Explanation::of(&view, clock::unix_ms()), |explanation| {
        let head = [("job", format!("{}, {}", explanation.job, explanation.name))];
        link.out.render(facts(&head.into_iter().chain(rows(&explanation.lines)).collect::<Vec<_>>()))
    })
}

pub(crate) async fn would_fit(link: &Link, query: WouldFitQuery) -> Result<(), Failure> {
    let answer = Leader::of(&link.nats).would_fit(query).await?;
    link.out.one(&answer, |answer| link.out.render(facts(&rows(&would_fit_lines(answer)).collect::<Vec<_>>())))?;
    verdict(&answer)
}

fn rows(lines: &[ExplanationLine]) -> impl Iterator<Item = (&'static str, String)> + '_ {
    lines.iter().map(|line| (line.about, line.words.clone()))
}

/// Exit code 5 unless all would start at once.
fn verdict(answer: &WouldFit) -> Result<(), Failure> {
    match answer.starts {
        starts if starts == answer.count => Ok(()),
        0 => Err(Failure::CheckFailed(format!("{} would not start now", plural(answer.count.into(), "job")))),
        starts => Err(Failure::CheckFailed(format!("{starts} of {} would start now", plural(answer.count.into(), "job")))),
    }
}
