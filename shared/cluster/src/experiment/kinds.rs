//! The kinds of experiments: what each does, what it takes, and whether a request makes sense. Nothing is broken here.

use faultline_client::observe::hypothesis::Hypothesis;
use faultline_engine::fault::{FaultKind, FaultWish};
use faultline_engine::words::limit;
use faultline_protocol::messages::{ChaosKind, ChaosKindInfo, ChaosRequest, FaultOrderKind};
use serde::Deserialize;

use ChaosKind::{
    Crash, Freeze, GpuError, Hang, HeartbeatLoss, KillBusyWorker, KillNats, KillPercent, KillService, Partition, Slow, SlowLink, Zombie,
};

/// No experiment breaks anything for longer.
pub const LONGEST_FAULT_MS: u64 = 600_000;
const LONGEST_WATCH_MS: u64 = 600_000;
pub const DEFAULT_BEFORE_MS: u64 = 5_000;
pub const DEFAULT_AFTER_MS: u64 = 60_000;
const DEFAULT_PERCENT: f64 = 25.0;
/// "GPU has fallen off the bus", the XID that most surely ends everything on the GPU.
const DEFAULT_XID: u32 = 79;
const MAX_COUNT: u32 = 500;

/// What kind of thing is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Worker,
    Node,
    Service,
    Nats,
}

impl Scope {
    fn as_str(self) -> &'static str {
        match self {
            Scope::Worker => "worker",
            Scope::Node => "node",
            Scope::Service => "service",
            Scope::Nats => "nothing",
        }
    }
}

/// What is broken, for how long by default, which parameter it takes, and what it does.
fn facts(kind: ChaosKind) -> (Scope, u64, &'static [&'static str], &'static str) {
    match kind {
        KillBusyWorker => (Scope::Worker, 5_000, &["count"], "SIGKILL to a worker that runs jobs; it stays down for the given time"),
        KillPercent => (Scope::Worker, 5_000, &["percent"], "SIGKILL to a share of the workers at the same moment"),
        KillService => (
            Scope::Service,
            5_000,
            &[],
            "SIGKILL to the service named; `leader` is the scheduler that leads, `rack-1` all workers of that rack",
        ),
        KillNats => (Scope::Nats, 3_000, &[], "SIGKILL to the NATS server; no message is delivered until it is back"),
        Freeze => (Scope::Service, 10_000, &["count"], "SIGSTOP to a worker or another service: it neither works nor answers"),
        Partition => (Scope::Service, 15_000, &["count"], "a worker's or another service's network passes nothing; connections stay open"),
        SlowLink => (Scope::Service, 10_000, &["count"], "a service's network gets 150 ms of delay, 100 ms of jitter and 2 % loss"),
        Slow => (Scope::Node, 15_000, &["count", "factor"], "everything on a node takes several times as long; its heartbeats are fine"),
        Crash => (Scope::Node, 8_000, &["count"], "a simulated node vanishes with all it runs and comes back as a new incarnation"),
        Hang => (Scope::Node, 10_000, &["count"], "a simulated node's heartbeats go on, its work does not"),
        HeartbeatLoss => (Scope::Node, 12_000, &["count"], "a simulated node works on, and its heartbeats are lost"),
        Zombie => (Scope::Node, 15_000, &["count"], "a simulated node is taken for dead and works on: its late results must be refused"),
        GpuError => (Scope::Node, 10_000, &["count", "xid"], "a simulated GPU reports an XID error"),
    }
}

pub fn scope(kind: ChaosKind) -> Scope {
    facts(kind).0
}

/// A request with nothing chosen.
pub fn of_kind(kind: ChaosKind, by: &str) -> ChaosRequest {
    ChaosRequest {
        kind,
        target: String::new(),
        for_ms: 0,
        count: 0,
        percent: 0.0,
        factor: 0.0,
        xid: 0,
        hypothesis: String::new(),
        before_ms: None,
        after_ms: None,
        seed: None,
        wait_whole: false,
        by: by.to_owned(),
    }
}

/// What a node's worker is ordered to do; or that it knows no such fault.
pub fn order_kind(request: &ChaosRequest) -> Result<FaultOrderKind, String> {
    let name = match request.kind {
        GpuError => format!("xid_{}", request.xid),
        kind => kind.as_str().replace('-', "_"),
    };
    let text = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(&name);
    FaultOrderKind::deserialize(text).map_err(|error| match request.kind {
        GpuError => {
            let known: Vec<String> = FaultKind::ALL.iter().filter_map(|kind| kind.xid()).map(|xid| xid.to_string()).collect();
            format!("xid: nodes know {}, not {}", known.join(", "), request.xid)
        }
        kind => format!("invalid fault {}: {error}", kind.as_str()),
    })
}

/// All kinds, for those who choose.
pub fn catalogue() -> Vec<ChaosKindInfo> {
    let info = |kind| {
        let (scope, default_for_ms, takes, does) = facts(kind);
        let takes = takes.iter().map(|&name| name.to_owned()).collect();
        ChaosKindInfo { kind, does: does.to_owned(), target: scope.as_str().to_owned(), default_for_ms, takes }
    };
    // What nodes do not know cannot be chosen.
    let is_known =
        |kind: &ChaosKind| scope(*kind) != Scope::Node || order_kind(&ChaosRequest { xid: DEFAULT_XID, ..of_kind(*kind, "") }).is_ok();
    ChaosKind::ALL.into_iter().filter(is_known).map(info).collect()
}

/// The request with every default filled in, and its hypothesis; or what to change, in words.
pub fn check(mut request: ChaosRequest) -> Result<(ChaosRequest, Hypothesis), String> {
    let (scope, default_for_ms, takes, _) = facts(request.kind);
    let name = request.kind.as_str();
    let takes = |what: &str| takes.contains(&what);
    request.target = request.target.trim().to_owned();
    if request.target == "random" {
        request.target.clear();
    }
    let named = !request.target.is_empty();
    if request.count > 0 && !takes("count") {
        return Err(format!("{name} takes no count"));
    }
    if request.count > 1 && named {
        return Err("a target and a count exclude each other: leave one out".into());
    }
    if request.count > MAX_COUNT {
        return Err(format!("count: at most {MAX_COUNT}, not {}", request.count));
    }
    request.count = request.count.max(1);
    if request.percent != 0.0 && !takes("percent") {
        return Err(format!("{name} takes no percent"));
    }
    if takes("percent") {
        if named {
            return Err(format!("{name} takes no target: use kill-service NAME, or kill-busy-worker"));
        }
        request.percent = if request.percent == 0.0 { DEFAULT_PERCENT } else { request.percent };
        if !(request.percent > 0.0 && request.percent <= 100.0) {
            return Err(format!("percent: above 0 and up to 100, not {}", request.percent));
        }
    }
    if request.factor != 0.0 && scope != Scope::Node {
        return Err(format!("{name} takes no factor"));
    }
    if request.xid != 0 && !takes("xid") {
        return Err(format!("{name} takes no xid"));
    }
    if takes("xid") && request.xid == 0 {
        request.xid = DEFAULT_XID;
    }
    match scope {
        Scope::Nats if named => return Err(format!("{name} takes no target")),
        Scope::Service if !named && request.kind == KillService => {
            return Err("kill-service needs the service's name, such as scheduler-1, fault-detector or leader".into());
        }
        Scope::Worker | Scope::Node | Scope::Service | Scope::Nats => {}
    }
    let said_ms = Some(request.for_ms).filter(|for_ms| *for_ms != 0);
    request.for_ms = if request.for_ms == 0 { default_for_ms } else { request.for_ms };
    for (what, ms, longest) in [
        ("for", request.for_ms, LONGEST_FAULT_MS),
        ("before", request.before_ms.unwrap_or(0), LONGEST_WATCH_MS),
        ("after", request.after_ms.unwrap_or(0), LONGEST_WATCH_MS),
    ] {
        if ms > longest {
            return Err(format!("{what}: at most {}, not {}", limit(longest), limit(ms)));
        }
    }
    if scope == Scope::Node {
        let said = FaultWish {
            kind: order_kind(&request)?,
            for_ms: said_ms,
            factor: Some(request.factor).filter(|factor| *factor != 0.0),
            gpu: None,
        };
        let terms = said.check().map_err(|invalid| format!("{} {invalid}", invalid.field.as_str()))?;
        request.factor = if takes("factor") { terms.factor } else { 0.0 };
    }
    let hypothesis = Hypothesis::parse(&request.hypothesis).map_err(|error| format!("hypothesis: {error}"))?;
    Ok((request, hypothesis))
}

#[cfg(test)]
pub mod tests {
    use faultline_engine::fault::USUAL_SLOW_FACTOR;

    use super::*;

    pub fn request(kind: ChaosKind) -> ChaosRequest {
        of_kind(kind, "test")
    }

    fn refused(change: impl FnOnce(&mut ChaosRequest), kind: ChaosKind) -> String {
        let mut request = request(kind);
        change(&mut request);
        check(request).unwrap_err()
    }

    #[test]
    fn every_kind_but_kill_service_can_be_run_as_it_is() {
        for kind in catalogue().into_iter().map(|info| info.kind) {
            let checked = check(request(kind));
            assert_eq!(checked.is_ok(), kind != KillService, "{kind:?}");
            if let Ok((checked, hypothesis)) = checked {
                assert!(checked.for_ms > 0 && checked.count == 1 && hypothesis.is_empty());
            }
        }
        assert!(catalogue().len() >= 11 && catalogue().iter().all(|info| !info.does.is_empty()));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_name() {
        assert!(refused(|r| r.percent = 101.0, KillPercent).starts_with("percent"));
        assert!(refused(|r| r.percent = f64::NAN, KillPercent).starts_with("percent"));
        assert!(refused(|r| r.percent = 5.0, Freeze).contains("takes no percent"));
        assert!(refused(|r| r.factor = 50.0, Slow).starts_with("factor"));
        assert!(refused(|r| r.factor = 3.0, Freeze).contains("takes no factor"));
        assert!(refused(|r| r.count = 2, KillNats).contains("takes no count"));
        assert!(refused(|r| r.target = "nats".into(), KillNats).contains("takes no target"));
        assert!(refused(|r| (r.target, r.count) = ("worker-01".into(), 2), Freeze).contains("exclude each other"));
        assert!(refused(|r| r.for_ms = 700_000, Freeze).starts_with("for: at most 10 min"));
        assert!(refused(|r| r.hypothesis = "lots=0".into(), Freeze).starts_with("hypothesis: `lots=0`"));
        assert!(refused(|_| {}, KillService).contains("scheduler-1"));
        // As `faultline fault` and REST refuse it.
        assert_eq!(refused(|r| r.factor = 3.0, Hang), "factor does not apply to hang: only slow has a factor");
        let momentary = refused(|r| (r.xid, r.for_ms) = (31, 5_000), GpuError);
        assert_eq!(momentary, "for does not apply to xid_31: it is over as soon as it has hit an attempt");
        assert_eq!(check(request(Slow)).unwrap().0.factor, USUAL_SLOW_FACTOR);
        assert_eq!(refused(|r| r.xid = 12, GpuError), "xid: nodes know 13, 31, 48, 74, 79, 94, 95, not 12");
    }
}
