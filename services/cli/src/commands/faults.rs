//! `fault` breaks a simulated node or one of its GPUs, or mends it; `faults` is the catalogue of what can be broken.

use std::time::Duration;

use comfy_table::Table;
use faultline_client::{ClientError, faults};
use faultline_cluster::up::who;
use faultline_engine::fault::{self, FaultEntry, FaultOrderKind, FaultScope, FaultWish, fault_length_words, slow_factor_words};
use faultline_protocol::views::FaultView;
use faultline_runtime::clock;

use super::link::Link;
use super::parse;
use crate::exit::Failure;
use crate::output::{Output, table};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FaultFlags {
    /// Its name in `faultline nodes`, such as gpu-node-03
    #[arg(value_parser = parse::node_name)]
    node: String,
    /// Fault to inject, see `faultline faults`; or `restore`, which ends faults
    kind: FaultOrderKind,
    /// For faults of one GPU, and restore: which one, from 0 (default: the busiest one; restore: everything)
    #[arg(long, value_name = "N")]
    gpu: Option<u8>,
    #[arg(long = "for", value_name = "DURATION", value_parser = parse::positive_duration, allow_hyphen_values = true,
        help = format!("How long it lasts, {}", fault_length_words()))]
    length: Option<Duration>,
    #[arg(long, allow_negative_numbers = true, help = format!("For slow: {}", slow_factor_words()))]
    factor: Option<f64>,
}

impl FaultFlags {
    fn wish(&self) -> FaultWish {
        FaultWish { kind: self.kind, for_ms: self.length.map(clock::ms), factor: self.factor, gpu: self.gpu }
    }

    /// Refuses what makes no sense, before anything is sent.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.wish().check().map(drop).map_err(|error| ClientError::from(error).into())
    }
}

pub(crate) async fn order(link: &Link, flags: &FaultFlags) -> Result<(), Failure> {
    let view = faults::order(&link.nats, &flags.node, &flags.wish(), &who::me("faultline fault")).await?;
    link.out.one(&view, in_words)
}

/// What came of it, for people.
pub(crate) fn in_words(view: &FaultView) -> String {
    let FaultView { node, worker, kind, .. } = view;
    match &view.outcome {
        Some(outcome) => format!("{node}: {outcome}"),
        None if view.kind == FaultOrderKind::Restore.to_string() => format!("{worker} found no fault to end on {node}"),
        None => format!(
            "{kind} ordered on {node}, and not confirmed by {worker} yet: `faultline events --follow --node {node}` shows when it does"
        ),
    }
}

pub(crate) fn catalogue(out: &Output) -> Result<(), Failure> {
    out.rows(&fault::catalogue(), catalogue_table)
}

fn catalogue_table(entries: &[FaultEntry]) -> Table {
    let mut rows = table(&["KIND", "XID", "HITS", "MEANING", "HERE", "OPERATOR"]);
    for entry in entries {
        let hits = match entry.kind.scope() {
            FaultScope::Node => "node",
            FaultScope::Gpu => "GPU",
        };
        let xid = entry.xid.map_or_else(|| "-".to_owned(), |xid| xid.to_string());
        rows.add_row([entry.kind.as_str(), &xid, hits, entry.meaning, entry.effect, entry.action]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use faultline_engine::fault::FaultKind;
    use faultline_protocol::messages::FaultOrder;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        flags: FaultFlags,
    }

    impl FaultFlags {
        fn order(&self) -> FaultOrder {
            FaultOrder::checked(&self.node, &self.wish(), "test").unwrap()
        }
    }

    fn flags(line: &str) -> Result<FaultFlags, String> {
        let words = std::iter::once("fault").chain(line.split(' '));
        let flags = Line::try_parse_from(words).map_err(|error| error.to_string())?.flags;
        match flags.check() {
            Ok(()) => Ok(flags),
            Err(Failure::Usage(text)) => Err(text),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_kind_can_be_ordered() {
        for kind in FaultKind::ALL {
            let order = flags(&format!("gpu-node-01 {}", kind.as_str().replace('_', "-"))).unwrap().order();
            assert_eq!((order.kind, order.for_ms, order.gpu), (FaultOrderKind::Break(kind), 10_000, None));
        }
        let order = flags("gpu-node-01 xid-79 --gpu 3 --for 1m").unwrap().order();
        assert_eq!((order.for_ms, order.gpu), (60_000, Some(3)));
        assert_eq!(flags("gpu-node-01 slow --factor 4").unwrap().order().factor, 4.0);
    }

    #[test]
    fn an_order_is_told_as_done_only_when_its_worker_says_so() {
        let order = flags("gpu-node-01 crash").unwrap().order();
        let words = |outcome: Option<&str>| in_words(&FaultView::new(&order, "worker-01", outcome.map(str::to_owned)));
        assert_eq!(words(Some("crash for 10.0 s, 2 attempts dropped")), "gpu-node-01: crash for 10.0 s, 2 attempts dropped");
        assert!(words(None).starts_with("crash ordered on gpu-node-01, and not confirmed by worker-01 yet"), "{}", words(None));
        let mend = flags("gpu-node-01 restore").unwrap().order();
        assert_eq!(in_words(&FaultView::new(&mend, "worker-01", None)), "worker-01 found no fault to end on gpu-node-01");
    }

    #[test]
    fn nonsense_is_refused_with_its_reason() {
        for (line, part) in [
            ("gpu-node-01 flood", "use crash, hang"),
            ("gpu-node-01 crash --gpu 1", "--gpu does not apply to crash"),
            ("gpu-node-01 xid-31 --for 5s", "--for does not apply to xid_31"),
            ("gpu-node-01 restore --for 5s", "--for does not apply to restore"),
            ("gpu-node-01 hang --factor 3", "only slow has a factor"),
            ("gpu-node-01 slow --factor 1", "2 to 10 times"),
            ("gpu-node-01 slow --factor NaN", "2 to 10 times"),
            ("gpu-node-01 crash --for 2h", "at most 1h"),
            ("gpu-node-01 crash --for 0s", "--for"),
            ("gpu-node-01 xid-79 --gpu 300", "--gpu"),
        ] {
            let refused = flags(line).unwrap_err();
            assert!(refused.contains(part), "{line}: {refused}");
        }
    }

    #[test]
    fn the_catalogue_has_a_row_a_kind() {
        assert_eq!(catalogue_table(&fault::catalogue()).row_count(), FaultKind::ALL.len());
    }
}
