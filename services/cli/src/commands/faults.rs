//! `fault` breaks a simulated node or one of its GPUs, or mends it; `faults` is the catalogue of what can be broken.

use std::time::Duration;

use anyhow::anyhow;
use comfy_table::Table;
use faultline_engine::fault::{self, FaultEntry, FaultKind, FaultScope, MAX_SLOW_FACTOR, MIN_SLOW_FACTOR};
use faultline_protocol::messages::{FaultOrder, FaultOrderKind, Ping, Pong};
use faultline_protocol::subjects::{self, ControlVerb};
use faultline_protocol::views::FaultView;
use faultline_runtime::clock;
use faultline_runtime::connect::{Nats, RequestError};

use super::ask::Link;
use super::nodes::registration;
use super::parse;
use crate::exit::Failure;
use crate::output::{Output, span, table};

const PONG_LIMIT: Duration = Duration::from_secs(2);
const LONGEST_FAULT: Duration = Duration::from_secs(3600);
pub(crate) const USUAL_LENGTH: Duration = Duration::from_secs(10);
pub(crate) const USUAL_SLOW_FACTOR: f64 = 3.0;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FaultFlags {
    #[arg(value_parser = parse::node_name)]
    node: String,
    /// What to break, see `faultline faults`; or `restore`, which ends what is broken
    kind: FaultOrderKind,
    /// For faults of one GPU, and restore: which one, from 0 (default: the one that works most; restore: everything)
    #[arg(long, value_name = "N")]
    gpu: Option<u8>,
    /// How long it lasts, up to 1h (default 10s)
    #[arg(long = "for", value_name = "DURATION", value_parser = fault_length, allow_hyphen_values = true)]
    length: Option<Duration>,
    /// For slow: how many times slower, 2 to 10 (default 3)
    #[arg(long, value_parser = slow_factor, allow_negative_numbers = true)]
    factor: Option<f64>,
}

fn fault_length(text: &str) -> Result<Duration, String> {
    match parse::positive_duration(text)? {
        length if length <= LONGEST_FAULT => Ok(length),
        _ => Err("a fault lasts at most 1h".to_owned()),
    }
}

fn slow_factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if (MIN_SLOW_FACTOR..=MAX_SLOW_FACTOR).contains(&factor) => Ok(factor),
        Ok(_) | Err(_) => Err("a node can be 2 to 10 times slower".to_owned()),
    }
}

impl FaultFlags {
    /// Refuses flags that mean nothing for this kind, before anything is sent.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let refuse = |flag: &str, why: &str| Err(Failure::Usage(format!("{flag} makes no sense with {}: {why}", self.kind)));
        let breaks = |wanted: fn(FaultKind) -> bool| matches!(self.kind, FaultOrderKind::Break(kind) if wanted(kind));
        if self.gpu.is_some() && breaks(|kind| kind.scope() == FaultScope::Node) {
            return refuse("--gpu", "it breaks the whole node");
        }
        if self.length.is_some() && breaks(FaultKind::is_momentary) {
            return refuse("--for", "it is over as soon as it has hit an attempt");
        }
        if self.length.is_some() && self.kind == FaultOrderKind::Restore {
            return refuse("--for", "what is mended stays so");
        }
        if self.factor.is_some() && !breaks(|kind| kind == FaultKind::Slow) {
            return refuse("--factor", "only slow has a factor");
        }
        Ok(())
    }

    fn order(&self) -> FaultOrder {
        FaultOrder {
            node: self.node.clone(),
            kind: self.kind,
            for_ms: u64::try_from(self.length.unwrap_or(USUAL_LENGTH).as_millis()).unwrap_or(u64::MAX),
            factor: self.factor.unwrap_or(USUAL_SLOW_FACTOR),
            gpu: self.gpu,
        }
    }
}

pub(crate) async fn order(link: &Link, flags: &FaultFlags) -> Result<(), Failure> {
    let order = flags.order();
    let worker = send(&link.nats, &order).await?;
    link.out.one(&FaultView::new(&order, &worker), |_| in_words(&order))
}

/// Hands the order to the worker that hosts the node, and names that.
pub(crate) async fn send(nats: &Nats, order: &FaultOrder) -> Result<String, Failure> {
    let spec = registration(nats, &order.node).await?.spec;
    if let Some(gpu) = order.gpu
        && usize::from(gpu) >= spec.gpus.len()
    {
        return Err(Failure::Usage(format!("--gpu {gpu}: {} has {} GPUs, counted from 0", order.node, spec.gpus.len())));
    }
    // The order itself is a plain publish: first hear whether anybody is there to obey it.
    let ping: Result<Pong, _> =
        nats.request(subjects::ctl(&spec.worker, ControlVerb::Ping), &Ping { at_ms: clock::unix_ms() }, PONG_LIMIT).await;
    match ping {
        Ok(_) => {}
        Err(RequestError::NoResponders(_) | RequestError::Timeout(_)) => {
            let text = format!("{}, which hosts {}, does not answer: `faultline status` shows what runs", spec.worker, order.node);
            return Err(Failure::Failed(anyhow!(text)));
        }
        Err(error) => return Err(Failure::Failed(error.into())),
    }
    let sent = nats.publish(subjects::ctl(&spec.worker, ControlVerb::Fault), order).await;
    sent.map_err(|error| Failure::Failed(error.into()))?;
    nats.client.flush().await.map_err(|error| Failure::Failed(anyhow!("NATS does not answer: {error}")))?;
    Ok(spec.worker)
}

fn in_words(order: &FaultOrder) -> String {
    let node = &order.node;
    let place = order.gpu.map(|gpu| format!("GPU {gpu} of ")).unwrap_or_default();
    let FaultOrderKind::Break(kind) = order.kind else {
        return format!("{place}{node} is told to recover");
    };
    let length = if kind.is_momentary() { String::new() } else { format!(" for {}", span(order.for_ms)) };
    format!("{place}{node} is told to break with {kind}{length}: follow it with `faultline events --follow --node {node}`")
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

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        flags: FaultFlags,
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
        assert!(in_words(&order).starts_with("GPU 3 of gpu-node-01 is told to break with xid_79 for 1 min"), "{}", in_words(&order));
        assert_eq!(flags("gpu-node-01 slow --factor 4").unwrap().order().factor, 4.0);
        assert_eq!(in_words(&flags("gpu-node-01 restore").unwrap().order()), "gpu-node-01 is told to recover");
    }

    #[test]
    fn nonsense_is_refused_with_its_reason() {
        for (line, part) in [
            ("gpu-node-01 flood", "use crash, hang"),
            ("gpu-node-01 crash --gpu 1", "--gpu makes no sense with crash"),
            ("gpu-node-01 xid-31 --for 5s", "--for makes no sense with xid_31"),
            ("gpu-node-01 restore --for 5s", "--for makes no sense with restore"),
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
