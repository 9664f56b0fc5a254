//! `faultline lab compare`: an experiment from flags. It becomes the text of a file first, so that what is checked, run, and written into the
//! folder is the same as for `run`.

use std::collections::BTreeSet;
use std::fmt::Write;

use faultline_lab::read::Format;
use faultline_planner::{Blocking, OrderName, PolicyName, TieRule};

use super::files::Text;
use super::run::{HowFlags, carry_out};
use crate::exit::Failure;
use crate::output::Output;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CompareFlags {
    /// Trace of jobs, in any format of `faultline lab import`
    #[arg(long, value_name = "FILE")]
    trace: String,
    #[arg(long, value_name = "FORMAT", help = format!("Its format, when its first line does not show it: {}", Format::ALL.map(Format::as_str).join(", ")))]
    format: Option<Format>,
    /// CSV file of nodes
    #[arg(long, value_name = "FILE", required_unless_present = "gpu_nodes", conflicts_with = "gpu_nodes")]
    nodes: Option<String>,
    /// So many nodes with eight GPUs each, instead of a file
    #[arg(long, value_name = "N")]
    gpu_nodes: Option<u32>,
    /// Placements, each with an order and a way to block if wanted, such as best-fit,best-fit+sjf,fgd+fifo+easy; `faultline lab policies` lists them
    #[arg(long, value_name = "POLICIES", value_delimiter = ',', required = true)]
    policies: Vec<Parts>,
    #[arg(long, value_name = "RULES", value_delimiter = ',', default_values_t = [TieRule::First, TieRule::Random], help = format!("Tie rules, each with every policy that has ties: {}", TieRule::ALL.map(TieRule::as_str).join(", ")))]
    tie: Vec<TieRule>,
    /// Factor for the times between submissions: below 1 raises the load
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    scale_time: f64,
    /// Metric by which policies are judged; docs/lab.md lists them
    #[arg(long, value_name = "METRIC", default_value = "jct_mean_s")]
    judge: String,
    #[command(flatten)]
    how: HowFlags,
}

/// As a string of TOML.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// What a policy is made of, joined by `+`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parts {
    placement: PolicyName,
    order: Option<OrderName>,
    blocking: Option<Blocking>,
}

impl std::str::FromStr for Parts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split('+');
        let placement = words.next().unwrap_or_default().parse().map_err(|error: faultline_planner::InvalidSettings| error.to_string())?;
        let mut parts = Parts { placement, order: None, blocking: None };
        for word in words {
            match (word.parse(), word.parse()) {
                (Ok(order), _) if parts.order.is_none() => parts.order = Some(order),
                (_, Ok(blocking)) if parts.blocking.is_none() => parts.blocking = Some(blocking),
                _ => {
                    return Err(format!(
                        "unexpected `{word}`: after the placement, use one order and one way to block from `faultline lab policies`"
                    ));
                }
            }
        }
        Ok(parts)
    }
}

impl Parts {
    fn name(self) -> String {
        let others = [self.order.map(OrderName::as_str), self.blocking.map(Blocking::as_str)];
        std::iter::once(self.placement.as_str()).chain(others.into_iter().flatten()).collect::<Vec<_>>().join("+")
    }

    /// These choose by themselves among equal nodes.
    fn has_ties(self) -> bool {
        !matches!(self.placement, PolicyName::Random | PolicyName::RoundRobin)
    }
}

pub(super) async fn run(out: &Output, flags: &CompareFlags) -> Result<(), Failure> {
    refuse_twice("--policies", flags.policies.iter().map(|parts| parts.name()))?;
    refuse_twice("--tie", flags.tie.iter().map(ToString::to_string))?;
    carry_out(out, &Text::new("comparison", text(flags)), &flags.how).await
}

/// What is compared with itself differs by nothing.
fn refuse_twice(flag: &str, names: impl Iterator<Item = String>) -> Result<(), Failure> {
    let mut known = BTreeSet::new();
    for name in names {
        if !known.insert(name.clone()) {
            return Err(Failure::Usage(format!("{flag} has {name} twice, and a policy differs from itself by nothing: leave one out")));
        }
    }
    Ok(())
}

/// The flags as an experiment's file.
fn text(flags: &CompareFlags) -> String {
    let mut file = format!("title = {}\n\n", quoted(&format!("Policies on {}", flags.trace)));
    let mut line = |text: std::fmt::Arguments| {
        let _ = file.write_fmt(text);
    };
    match (&flags.nodes, flags.gpu_nodes) {
        (Some(nodes), _) => line(format_args!("[cluster]\nfile = {}\n", quoted(nodes))),
        (None, count) => line(format_args!("[[cluster.nodes]]\ncount = {}\ngpus = 8\n", count.unwrap_or(0))),
    }
    line(format_args!("\n[workload]\nfile = {}\nscale = {{ time = {:?} }}\n", quoted(&flags.trace), flags.scale_time));
    if let Some(format) = flags.format {
        line(format_args!("format = \"{}\"\n", format.as_str()));
    }
    line(format_args!("\n[run]\njudge = {}\n", quoted(&flags.judge)));
    for parts in &flags.policies {
        let ties = if parts.has_ties() { flags.tie.as_slice() } else { &flags.tie[..1] };
        for tie in ties {
            let name = if ties.len() > 1 { format!("{}+{tie}", parts.name()) } else { parts.name() };
            line(format_args!("\n[policy.\"{name}\"]\nplacement = \"{}\"\ntie = \"{tie}\"\n", parts.placement.as_str()));
            if let Some(order) = parts.order {
                line(format_args!("order = \"{}\"\n", order.as_str()));
            }
            if let Some(blocking) = parts.blocking {
                line(format_args!("blocking = \"{}\"\n", blocking.as_str()));
            }
        }
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_an_experiment() {
        let flags = CompareFlags {
            trace: "a \"b\".csv".to_owned(),
            format: Some(Format::Swf),
            nodes: None,
            gpu_nodes: Some(4),
            policies: ["best-fit", "random+sjf", "fgd+fifo+easy"].map(|text| text.parse().unwrap()).to_vec(),
            tie: vec![TieRule::First, TieRule::Random],
            scale_time: 0.5,
            judge: "goodput".to_owned(),
            how: HowFlags { seeds: None, jobs: None, out: None },
        };
        let file = faultline_lab::experiment::parse(&text(&flags)).unwrap_or_else(|problems| panic!("{problems:?}\n{}", text(&flags)));
        assert_eq!(file.order, ["best-fit+first", "best-fit+random", "random+sjf", "fgd+fifo+easy+first", "fgd+fifo+easy+random"]);
        assert_eq!(file.workload.file.as_deref(), Some("a \"b\".csv"));
        assert_eq!(file.policy["fgd+fifo+easy+random"].blocking.map(|word| word.value), Some(Blocking::Easy));
    }

    #[test]
    fn parts_that_are_none_are_refused_with_what_there_is() {
        let wrong = |text: &str| text.parse::<Parts>().unwrap_err();
        assert!(wrong("worst").contains("unknown policy `worst`: use least-loaded"));
        assert!(wrong("fgd+later").contains("unexpected `later`") && wrong("fgd+sjf+fifo").contains("unexpected `fifo`"));
    }
}
