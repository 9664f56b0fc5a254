//! The command line of experiments.

use std::time::Duration;

use clap::Subcommand;
use faultline_cluster::experiment::kinds::of_kind;
use faultline_cluster::up::who;
use faultline_engine::fault::slow_factor_words;
use faultline_protocol::messages::{ChaosKind, ChaosRequest};
use faultline_runtime::clock::ms;

use crate::commands::parse;

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ChaosCommand {
    /// Run an experiment: inject a fault, watch, repair, check; Ctrl-C repairs everything at once
    Run(RunFlags),
    /// Repair everything and end the running experiment
    Abort,
    /// List the kinds of experiments with what they do, and the runs since `up` was started
    Ls,
    /// List the metrics that a hypothesis can use
    Metrics,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RunFlags {
    /// What to do: `faultline chaos ls` explains each
    #[arg(value_parser = kind)]
    kind: ChaosKind,
    /// For kill-service: its name, the same as --target; for gpu-error: the XID
    #[arg(value_name = "NAME|XID")]
    what: Option<String>,
    /// A node, worker or service by name, or `random`: drawn from the seed
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// How long the fault lasts, up to 10m (default: depends on the kind)
    #[arg(long = "for", value_name = "DURATION", value_parser = parse::positive_duration, allow_hyphen_values = true)]
    length: Option<Duration>,
    /// How many targets are drawn (default 1)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
    /// For kill-percent: the share of the workers (default 25)
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true)]
    percent: Option<f64>,
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true, help = format!("For slow: {}", slow_factor_words()))]
    factor: Option<f64>,
    /// Clauses joined by commas, such as lost=0,recovery_p99<5s; exit code 5 when one does not hold
    #[arg(long, value_name = "CLAUSES", default_value = "")]
    hypothesis: String,
    /// How long to watch before the fault (default 5s)
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, allow_hyphen_values = true)]
    before: Option<Duration>,
    /// The longest that recovery may take after the fault (default 60s)
    #[arg(long, value_name = "DURATION", value_parser = parse::duration, allow_hyphen_values = true)]
    after: Option<Duration>,
    /// The same seed draws the same targets from the same cluster
    #[arg(long, value_name = "N", value_parser = faultline_runtime::config::seed)]
    seed: Option<u64>,
    /// Wait until all of the cluster is whole, before the fault and after it; without it only the targets need be
    #[arg(long)]
    wait_whole: bool,
}

fn kind(text: &str) -> Result<ChaosKind, String> {
    ChaosKind::of_name(text).ok_or_else(|| {
        let known = ChaosKind::ALL.map(ChaosKind::as_str).join(", ");
        format!("unknown experiment: use one of {known}")
    })
}

impl RunFlags {
    /// The request; or what to change on the command line.
    pub(crate) fn request(&self) -> Result<ChaosRequest, String> {
        let mut request = ChaosRequest {
            target: self.target.clone().unwrap_or_default(),
            for_ms: self.length.map_or(0, ms),
            count: self.count.unwrap_or(0),
            percent: self.percent.unwrap_or(0.0),
            factor: self.factor.unwrap_or(0.0),
            hypothesis: self.hypothesis.clone(),
            before_ms: self.before.map(ms),
            after_ms: self.after.map(ms),
            seed: self.seed,
            wait_whole: self.wait_whole,
            ..of_kind(self.kind, &who::me("faultline chaos run"))
        };
        if self.percent == Some(0.0) {
            return Err("--percent must be above 0".into());
        }
        match (&self.what, self.kind) {
            (None, _) => {}
            (Some(_), ChaosKind::KillService) if self.target.is_some() => {
                return Err("the service is named twice: leave out --target".into());
            }
            (Some(name), ChaosKind::KillService) => request.target.clone_from(name),
            (Some(xid), ChaosKind::GpuError) => {
                request.xid =
                    xid.parse().ok().filter(|xid| *xid > 0).ok_or_else(|| format!("invalid XID `{xid}`: use a number such as 79"))?;
            }
            (Some(what), kind) => {
                return Err(format!("unexpected argument `{what}`: {} takes no value; name a target with --target", kind.as_str()));
            }
        }
        Ok(request)
    }
}
