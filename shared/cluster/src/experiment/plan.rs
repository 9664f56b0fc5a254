//! Which things an experiment breaks: drawn from a seed, among what the cluster consists of at that moment. Pure.

use std::collections::BTreeSet;

use faultline_engine::words::plural;
use faultline_protocol::messages::{ChaosKind, ChaosRequest, FaultOrder};
use faultline_proxy::LinkConditions;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::fault::Fault;
use super::kinds::{self, Scope};
use super::picture::{NodeFacts, Picture};

/// The scheduler that leads at the moment of the fault.
pub(crate) const LEADER: &str = "leader";
/// A rack that is drawn.
const RACK: &str = "rack";
/// The prefix of the NATS servers' names.
const NATS: &str = "nats";

/// `count` of them, each at most once, in the order in which they were drawn.
pub(crate) fn draw<T: Clone>(from: &[T], count: usize, rng: &mut Pcg64Mcg) -> Vec<T> {
    let mut left = from.to_vec();
    let count = count.min(left.len());
    (0..count).map(|_| left.swap_remove(rng.random_range(0..left.len()))).collect()
}

/// Breaking fewer than were asked for would be another experiment, and what is broken already cannot be broken.
fn are_enough(count: usize, whole: usize, there: usize, what: &str) -> Result<(), String> {
    match (whole, there) {
        (_, 0) => Err(format!("the cluster has no {what}")),
        _ if count > there => Err(format!("--count {count}: the cluster has only {}", plural(there as u64, what))),
        _ if count > whole => {
            Err(format!("--count {count}: only {whole} of {} are available: ask for fewer, or wait", plural(there as u64, what)))
        }
        _ => Ok(()),
    }
}

/// A network that is bad, not gone.
pub(crate) fn bad_link() -> LinkConditions {
    LinkConditions { delay_ms: 150, jitter_ms: 100, loss_percent: 2.0, ..LinkConditions::default() }
}

/// What to break for a request that was checked; or why there is nothing to break.
pub(crate) fn faults(request: &ChaosRequest, picture: &Picture, seed: u64) -> Result<Vec<Fault>, String> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    match kinds::scope(request.kind) {
        Scope::Worker => {
            workers(request, picture, &mut rng).map(|names| names.into_iter().map(|service| Fault::Kill { service }).collect())
        }
        Scope::Service => {
            services(request, picture, &mut rng).map(|names| names.into_iter().map(|name| service_fault(request.kind, name)).collect())
        }
        Scope::Nats => {
            let servers: Vec<String> = names(picture).filter(|name| name.starts_with(NATS)).map(str::to_owned).collect();
            match draw(&servers, 1, &mut rng).pop() {
                Some(service) => Ok(vec![Fault::Kill { service }]),
                None => Err("`up` cannot kill this NATS server: it did not start it".into()),
            }
        }
        Scope::Node => nodes(request, picture, &mut rng)?.into_iter().map(|node| node_fault(request, node)).collect(),
    }
}

fn names(picture: &Picture) -> impl Iterator<Item = &str> {
    picture.services.iter().map(|(name, _)| name.as_str())
}

fn workers(request: &ChaosRequest, picture: &Picture, rng: &mut Pcg64Mcg) -> Result<Vec<String>, String> {
    let all = picture.workers();
    if all.is_empty() {
        return Err("the cluster has no worker".into());
    }
    let whole = picture.whole_workers();
    if request.kind == ChaosKind::KillPercent {
        // At least one: a share of nothing would be an experiment that breaks nothing.
        let count = ((all.len() as f64 * request.percent / 100.0).round() as usize).clamp(1, all.len());
        are_enough(count, whole.len(), all.len(), "worker")?;
        return Ok(draw(&whole, count, rng).into_iter().map(str::to_owned).collect());
    }
    let is_busy = |worker: &&str| picture.running_on(worker) > 0;
    let busy: Vec<&str> = all.iter().copied().filter(is_busy).collect();
    let chosen = match request.target.as_str() {
        "" if !busy.is_empty() => {
            let whole: Vec<&str> = whole.into_iter().filter(is_busy).collect();
            are_enough(request.count as usize, whole.len(), busy.len(), "busy worker")?;
            draw(&whole, request.count as usize, rng)
        }
        "" => return Err("no worker runs a job now: `faultline submit --kind sleep --duration 20s --count 20` gives them some".into()),
        target if !all.contains(&target) => return Err(format!("unknown worker {target}: use one of {}", all.join(", "))),
        target if !busy.contains(&target) => return Err(format!("{target} runs no job now")),
        target => vec![target],
    };
    Ok(chosen.into_iter().map(str::to_owned).collect())
}

/// The workers with nodes in a rack; none when `target` is not a rack.
fn in_rack(target: &str, picture: &Picture, rng: &mut Pcg64Mcg) -> Vec<String> {
    let racks: BTreeSet<&str> = picture.nodes.iter().map(|node| node.rack.as_str()).collect();
    let racks: Vec<&str> = racks.into_iter().collect();
    let rack = if target == RACK { draw(&racks, 1, rng).pop() } else { racks.iter().copied().find(|rack| *rack == target) };
    let hosted = picture.nodes.iter().filter(|node| Some(node.rack.as_str()) == rack).map(|node| node.worker.clone());
    hosted.collect::<BTreeSet<_>>().into_iter().collect()
}

fn services(request: &ChaosRequest, picture: &Picture, rng: &mut Pcg64Mcg) -> Result<Vec<String>, String> {
    let rack = in_rack(&request.target, picture, rng);
    if !rack.is_empty() {
        return Ok(rack);
    }
    let target = match request.target.as_str() {
        "" => {
            let whole = picture.whole_workers();
            are_enough(request.count as usize, whole.len(), picture.workers().len(), "worker")?;
            let chosen = draw(&whole, request.count as usize, rng);
            return Ok(chosen.into_iter().map(str::to_owned).collect());
        }
        LEADER if picture.leader.is_empty() => return Err("no scheduler leads now".into()),
        LEADER => picture.leader.as_str(),
        // A node stands for the process that hosts it.
        target => picture.nodes.iter().find(|node| node.node == target).map_or(target, |node| &node.worker),
    };
    if !names(picture).any(|name| name == target) {
        return Err(format!("unknown process {target}: use one of {}", names(picture).collect::<Vec<_>>().join(", ")));
    }
    if target.starts_with(NATS) && request.kind != ChaosKind::KillService {
        return Err(format!("invalid target {target}: use the experiment kill-nats"));
    }
    Ok(vec![target.to_owned()])
}

fn service_fault(kind: ChaosKind, service: String) -> Fault {
    match kind {
        ChaosKind::Freeze => Fault::Freeze { service },
        ChaosKind::Partition => Fault::Link { service, conditions: LinkConditions::stalled() },
        ChaosKind::SlowLink => Fault::Link { service, conditions: bad_link() },
        _ => Fault::Kill { service },
    }
}

fn nodes<'a>(request: &ChaosRequest, picture: &'a Picture, rng: &mut Pcg64Mcg) -> Result<Vec<&'a NodeFacts>, String> {
    let target = request.target.as_str();
    let named: Vec<&NodeFacts> = picture.nodes.iter().filter(|node| node.node == target || node.worker == target).collect();
    if target.is_empty() {
        // Those with work first: a fault that hits nothing shows nothing.
        let whole = || picture.nodes.iter().filter(|node| node.wrong.is_none());
        let busy: Vec<&NodeFacts> = whole().filter(|node| node.running > 0).collect();
        let idle: Vec<&NodeFacts> = whole().filter(|node| node.running == 0).collect();
        are_enough(request.count as usize, busy.len() + idle.len(), picture.nodes.len(), "node")?;
        let mut chosen = draw(&busy, request.count as usize, rng);
        let missing = request.count as usize - chosen.len();
        chosen.extend(draw(&idle, missing, rng));
        return Ok(chosen);
    }
    if named.is_empty() {
        return Err(format!("unknown node or worker {target}: `faultline nodes` lists them"));
    }
    Ok(named)
}

fn node_fault(request: &ChaosRequest, node: &NodeFacts) -> Result<Fault, String> {
    let kind = kinds::order_kind(request)?;
    let (node_name, by) = (node.node.clone(), request.by.clone());
    let order = FaultOrder { node: node_name, kind, for_ms: request.for_ms, factor: request.factor, gpu: None, by };
    Ok(Fault::Node { worker: node.worker.clone(), order })
}

#[cfg(test)]
mod tests {
    use super::super::kinds::check;
    use super::super::kinds::tests::request;
    use super::super::picture::tests::picture;
    use super::*;

    fn planned(kind: ChaosKind, change: impl FnOnce(&mut ChaosRequest), picture: &Picture, seed: u64) -> Result<Vec<Fault>, String> {
        let mut wanted = request(kind);
        change(&mut wanted);
        faults(&check(wanted).unwrap().0, picture, seed)
    }

    fn targets(faults: &[Fault]) -> Vec<&str> {
        faults.iter().map(Fault::target).collect()
    }

    #[test]
    fn the_seed_decides_and_nothing_else() {
        let cluster = picture(20, 1, 10);
        for kind in kinds::catalogue().into_iter().map(|info| info.kind).filter(|kind| !matches!(kind, ChaosKind::KillService)) {
            assert_eq!(planned(kind, |_| {}, &cluster, 7), planned(kind, |_| {}, &cluster, 7), "{kind:?}");
        }
        let drawn: std::collections::BTreeSet<String> =
            (0..60).map(|seed| planned(ChaosKind::Freeze, |_| {}, &cluster, seed).unwrap()[0].target().to_owned()).collect();
        assert!(drawn.len() > 10, "{drawn:?}");
    }

    #[test]
    fn only_a_worker_with_work_is_a_busy_one() {
        let cluster = picture(8, 1, 3);
        for seed in 0..30 {
            let faults = planned(ChaosKind::KillBusyWorker, |r| r.count = 2, &cluster, seed).unwrap();
            assert_eq!(faults.len(), 2);
            assert!(targets(&faults).iter().all(|name| ["worker-01", "worker-02", "worker-03"].contains(name)), "{faults:?}");
        }
        assert!(planned(ChaosKind::KillBusyWorker, |_| {}, &picture(8, 1, 0), 1).unwrap_err().contains("faultline submit"));
        assert!(planned(ChaosKind::KillBusyWorker, |r| r.target = "worker-08".into(), &cluster, 1).unwrap_err().contains("runs no job"));
        assert!(planned(ChaosKind::KillBusyWorker, |r| r.target = "worker-99".into(), &cluster, 1).unwrap_err().contains("worker-08"));
    }

    #[test]
    fn what_is_broken_already_is_never_drawn() {
        let mut cluster = picture(6, 1, 6);
        for node in &mut cluster.nodes[..4] {
            node.wrong = Some("is dead".into());
        }
        let whole_nodes = ["gpu-node-05", "gpu-node-06"];
        let whole_workers = ["worker-05", "worker-06"];
        for seed in 0..30 {
            let of = |kind| planned(kind, |_| {}, &cluster, seed).unwrap()[0].target().to_owned();
            assert!(whole_nodes.contains(&of(ChaosKind::Crash).as_str()));
            for kind in [ChaosKind::Freeze, ChaosKind::KillBusyWorker, ChaosKind::KillPercent] {
                assert!(whole_workers.contains(&of(kind).as_str()), "{kind:?}");
            }
        }
        let three = |kind| planned(kind, |r| r.count = 3, &cluster, 1).unwrap_err();
        assert_eq!(three(ChaosKind::Crash), "--count 3: only 2 of 6 nodes are available: ask for fewer, or wait");
        assert!(three(ChaosKind::Freeze).contains("only 2 of 6 workers are available"));
        assert!(planned(ChaosKind::KillPercent, |r| r.percent = 100.0, &cluster, 1).unwrap_err().contains("are available"));
        let named = planned(ChaosKind::Crash, |r| r.target = "gpu-node-01".into(), &cluster, 1).unwrap();
        assert_eq!(cluster.wrong_with(&named[0]).unwrap(), "gpu-node-01 is dead", "a node asked for by name is refused with the reason");
    }

    #[test]
    fn a_share_is_at_least_one_and_never_the_same_twice() {
        let cluster = picture(10, 1, 0);
        let many = |percent: f64| planned(ChaosKind::KillPercent, |r| r.percent = percent, &cluster, 3).unwrap();
        assert_eq!((many(1.0).len(), many(30.0).len(), many(100.0).len()), (1, 3, 10));
        let distinct: std::collections::BTreeSet<String> = many(100.0).iter().map(|fault| fault.target().to_owned()).collect();
        assert_eq!(distinct.len(), 10);
    }

    #[test]
    fn services_are_named_led_or_hosted() {
        let cluster = picture(3, 2, 0);
        let of = |kind, target: &str| planned(kind, |r| r.target = target.into(), &cluster, 1);
        assert_eq!(of(ChaosKind::KillService, "leader").unwrap(), [Fault::Kill { service: "scheduler-2".into() }]);
        assert_eq!(of(ChaosKind::Freeze, "gpu-node-03").unwrap(), [Fault::Freeze { service: "worker-02".into() }]);
        let cut = of(ChaosKind::Partition, "fault-detector").unwrap();
        assert_eq!(cut, [Fault::Link { service: "fault-detector".into(), conditions: LinkConditions::stalled() }]);
        let two_each = picture(6, 1, 0);
        let rack = |target: &str, seed| planned(ChaosKind::KillService, |r| r.target = target.into(), &two_each, seed).unwrap();
        assert_eq!(targets(&rack("rack-2", 1)), ["worker-03", "worker-04"]);
        let drawn: BTreeSet<String> = (0..20).flat_map(|seed| rack("rack", seed)).map(|fault| fault.target().to_owned()).collect();
        assert_eq!(drawn.len(), 6, "each rack is drawn sooner or later, with both of its workers");
        assert!(of(ChaosKind::Freeze, "nobody").unwrap_err().contains("scheduler-1"));
        assert!(of(ChaosKind::Freeze, "nats").unwrap_err().contains("kill-nats"));
        assert_eq!(planned(ChaosKind::KillNats, |_| {}, &cluster, 1).unwrap(), [Fault::Kill { service: "nats".into() }]);
        let external = Picture { services: vec![("worker-01".into(), true)], ..cluster };
        assert!(planned(ChaosKind::KillNats, |_| {}, &external, 1).unwrap_err().contains("did not start it"));
    }

    #[test]
    fn node_faults_hit_nodes_with_work_first_or_all_of_a_worker() {
        let cluster = picture(3, 2, 1);
        let slow = planned(ChaosKind::Slow, |r| r.count = 2, &cluster, 5).unwrap();
        assert_eq!((slow.len(), slow[0].target()), (2, "gpu-node-01"));
        let both = planned(ChaosKind::Crash, |r| r.target = "worker-02".into(), &cluster, 5).unwrap();
        assert_eq!(targets(&both), ["gpu-node-03", "gpu-node-04"]);
        assert!(planned(ChaosKind::Crash, |r| r.target = "gpu-node-77".into(), &cluster, 5).unwrap_err().contains("faultline nodes"));
    }
}
