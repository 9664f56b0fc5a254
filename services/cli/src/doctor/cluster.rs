//! What runs on this NATS: a leading scheduler, and the services that answer to the services API.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_nats::service::Info;
use faultline_client::Leader;
use faultline_engine::scheduler::{ProgramStanding, ProgramState};
use faultline_engine::words::{about, agree};
use faultline_protocol::messages::ClusterStats;
use faultline_protocol::subjects;
use faultline_runtime::clock::{self, WRONG_FROM_MS};
use faultline_runtime::connect::Nats;
use faultline_runtime::micro::CLOCK_AHEAD_MS;
use futures::StreamExt;

use super::finding::Status;
use super::{Finding, gpus};
use crate::output::{count, plural, span};

/// Running services answer within milliseconds; a busy machine gets more.
const LISTEN: Duration = Duration::from_millis(700);
const PREFIX: &str = "faultline-";

/// `can_write`: whether NATS can write its streams. Without that no scheduler can lead, however many are started.
pub(super) async fn look(nats: &Nats, can_write: bool) -> Vec<Finding> {
    let leads = Leader::of(nats);
    let (stats, nodes, services, gpus) = tokio::join!(leads.stats(), leads.nodes(), services(nats), gpus::look(nats));
    let leader = match &stats {
        Ok(stats) => leader_finding(stats, clock::unix_ms()),
        Err(error) if !can_write => Finding::fail("leader", error.to_string(), "a leader needs a NATS that can write: see `writes`"),
        Err(error) => Finding::fail("leader", error.to_string(), "start a scheduler: `faultline up`, or `faultline-scheduler` by itself"),
    };
    let jobs = stats.as_ref().map_or_else(|_| Finding::skip("jobs", "needs a leader"), jobs_finding);
    let mut findings = match services {
        Ok(found) => {
            let services = match (services_finding(&found), nodes) {
                (fine, Ok(nodes)) if fine.status == Status::Ok => {
                    hosting_finding(&found, &nodes.iter().map(|node| node.spec.worker.as_str()).collect()).unwrap_or(fine)
                }
                (other, _) => other,
            };
            vec![leader, jobs, services, clocks_finding(&found)]
        }
        Err(reason) => {
            let found = format!("the services did not answer: {reason}");
            let services = Finding::fail("services", found, "use the key of `cli` or `admin` of this server");
            vec![leader, jobs, services, Finding::skip("service clocks", "needs the services' answers")]
        }
    };
    findings.extend(stats.as_ref().ok().and_then(|stats| stats.policy_program.as_ref()).map(policy_finding));
    findings.extend(gpus);
    findings
}

/// How it stands with a program that chooses nodes.
fn policy_finding(program: &ProgramStanding) -> Finding {
    let ProgramStanding { name, requests, placed, placed_by_fallback, wrong, .. } = program;
    let placed = format!("it placed {}, {} placed {}", plural(*placed, "job"), program.fallback, count(*placed_by_fallback));
    if program.state == ProgramState::Silent {
        let found = format!("service:{name} does not decide: {}; {} decides instead", program.why, program.fallback);
        return Finding::warn(
            "policy",
            found,
            "start the program, or see what it wrote: docs/policies.md says what it is asked; it is tried again by itself",
        );
    }
    let found = format!("service:{name} decides: {}, {placed}", plural(*requests, "request"));
    if *wrong > 0 {
        let found = format!("{found}; {}, the last one: {}", plural(*wrong, "wrong answer"), program.last_wrong);
        return Finding::warn("policy", found, "mend the program: docs/policies.md says what it may answer");
    }
    Finding::ok("policy", found)
}

fn leader_finding(stats: &ClusterStats, now_ms: u64) -> Finding {
    let found = format!("{} has led for {}, epoch {}", stats.leader, span(now_ms.saturating_sub(stats.leader_since_ms)), stats.epoch);
    if stats.violations_total > 0 {
        let found = format!("{found}; {} broken: {}", plural(stats.violations_total, "invariant"), stats.last_violation);
        return Finding::fail("leader", found, "`faultline audit` and `faultline events --kind invariant_violated` say more");
    }
    if !stats.refusal.is_empty() {
        let remedy = "the leader gets a higher epoch by itself within a second; if this stays, restart the workers that refuse it";
        return Finding::fail("leader", format!("{found}; it can place nothing: {}", stats.refusal), remedy);
    }
    let not_alive = stats.nodes_suspect + stats.nodes_gone + stats.nodes_dead;
    if stats.nodes_alive == 0 {
        return Finding::warn("leader", format!("{found}; no node is alive"), "`faultline nodes` lists them; start workers");
    }
    Finding::ok("leader", format!("{found}; {} of {} alive", stats.nodes_alive, plural(u64::from(stats.nodes_alive + not_alive), "node")))
}

/// What the leader has counted of jobs that broke a promise.
fn jobs_finding(stats: &ClusterStats) -> Finding {
    let ledger = &stats.ledger;
    let found = format!("{} submitted, {} lost, {} ended twice", count(ledger.submitted), count(ledger.vanished), count(ledger.duplicates));
    if ledger.vanished + ledger.duplicates == 0 {
        return Finding::ok("jobs", found);
    }
    Finding::fail("jobs", found, "`faultline audit` names them: submit what is lost again; docs/audit.md says how a job can be lost")
}

/// A process that answers to the services API.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Answer {
    /// Its service, by its short name: `worker`.
    service: String,
    /// What it is called, such as `worker-03`; its service when it does not say.
    name: String,
    /// `process 1234 on HOST`.
    process: String,
    /// How far its machine's wall clock is ahead of the NATS server's, as it says; none when it has not compared them.
    clock_ahead_ms: Option<i64>,
}

impl Answer {
    fn read(info: &Info) -> Option<Self> {
        let service = info.name.strip_prefix(PREFIX)?.to_owned();
        let said = |key: &str| info.metadata.get(key).cloned();
        let process = match (said("pid"), said("host")) {
            (Some(pid), Some(host)) => format!("process {pid} on {host}"),
            _ => format!("connection {}", info.id),
        };
        let clock_ahead_ms = said(CLOCK_AHEAD_MS).and_then(|text| text.parse().ok());
        Some(Self { name: said("instance").unwrap_or_else(|| service.clone()), service, process, clock_ahead_ms })
    }
}

/// The processes that answer, one answer each: a registration that is being renewed answers twice.
async fn services(nats: &Nats) -> Result<Vec<Answer>, String> {
    let inbox = format!("{}.{}", subjects::inbox_prefix("cli"), clock::random_seed());
    let mut answers = nats.client.subscribe(inbox.clone()).await.map_err(|error| error.to_string())?;
    nats.client.publish_with_reply("$SRV.INFO", inbox, bytes::Bytes::new()).await.map_err(|error| error.to_string())?;
    let mut found = BTreeMap::new();
    let listen = async {
        while let Some(answer) = answers.next().await {
            let answer = serde_json::from_slice::<Info>(&answer.payload).ok().as_ref().and_then(Answer::read);
            found.extend(answer.map(|answer| ((answer.service.clone(), answer.name.clone(), answer.process.clone()), answer)));
        }
    };
    let _ = tokio::time::timeout(LISTEN, listen).await;
    Ok(found.into_values().collect())
}

/// Which services run on a machine whose clock is off, and by how much.
fn clocks_finding(found: &[Answer]) -> Finding {
    let compared = found.iter().filter(|answer| answer.clock_ahead_ms.is_some()).count() as u64;
    let wrong: Vec<String> = found.iter().filter_map(|answer| Some((answer, answer.clock_ahead_ms?))).filter_map(wrong_clock).collect();
    if wrong.is_empty() {
        return match compared {
            0 => Finding::skip("service clocks", "no service has compared its clock with the NATS server's"),
            _ => {
                Finding::ok("service clocks", format!("{} within {} of the NATS server's", plural(compared, "clock"), span(WRONG_FROM_MS)))
            }
        };
    }
    let remedy = "synchronise that machine's clock with NTP (`timedatectl` shows whether it is on). Jobs run normally meanwhile";
    Finding::warn("service clocks", format!("against the NATS server's clock, {}", wrong.join(", ")), remedy)
}

fn wrong_clock((answer, ahead_ms): (&Answer, i64)) -> Option<String> {
    let way = if ahead_ms > 0 { "ahead" } else { "behind" };
    (ahead_ms.unsigned_abs() >= WRONG_FROM_MS).then(|| format!("{} is {} {way}", answer.name, about(ahead_ms.unsigned_abs())))
}

/// Services whose names only one process may have.
const UNIQUE: [&str; 2] = ["scheduler", "worker"];

/// The first of those names that more than one process has, with these processes.
fn namesakes(found: &[Answer]) -> Option<(&str, Vec<&str>)> {
    let mut by_name: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for one in found.iter().filter(|one| UNIQUE.contains(&one.service.as_str())) {
        by_name.entry((&one.service, &one.name)).or_default().insert(&one.process);
    }
    by_name.into_iter().find(|(_, processes)| processes.len() > 1).map(|((_, name), processes)| (name, processes.into_iter().collect()))
}

fn services_finding(found: &[Answer]) -> Finding {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    found.iter().for_each(|one| *counts.entry(&one.service).or_default() += 1);
    let listed: Vec<String> = counts.iter().map(|(name, number)| format!("{number} {name}")).collect();
    let listed = if listed.is_empty() { "none answers".to_owned() } else { listed.join(", ") };
    if let Some((name, processes)) = namesakes(found) {
        let found = format!("{listed}; {} processes are called {name}: {}", processes.len(), processes.join(", "));
        return Finding::fail("services", found, "stop all but one of them, or give the others another --name");
    }
    let is_there = |name: &str| counts.contains_key(name);
    if !is_there("worker") {
        return Finding::fail(
            "services",
            format!("{listed}: nothing runs jobs"),
            "start workers: `faultline up`, or `faultline scale workers N`",
        );
    }
    if !is_there("fault-detector") {
        let remedy = "without it lost jobs come back only by JetStream's ack timeout of 15 s: start `faultline-fault-detector`, or `up` without --no-detector";
        return Finding::warn("services", format!("{listed}: no fault detector"), remedy);
    }
    Finding::ok("services", listed)
}

/// Workers whose nodes another worker has taken over: two that were started for the same nodes.
fn hosting_finding(found: &[Answer], hosts: &BTreeSet<&str>) -> Option<Finding> {
    let is_idle = |one: &&Answer| one.service == "worker" && !hosts.contains(one.name.as_str());
    let idle: Vec<&str> = found.iter().filter(is_idle).map(|one| one.name.as_str()).collect();
    if idle.is_empty() {
        return None;
    }
    let words =
        format!("{} {} no node of its own: another worker has registered it", idle.join(", "), agree(idle.len() as u64, "hosts", "host"));
    Some(Finding::warn("services", words, "start each worker with another --first-node, or without --name and --first-node"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_needed_and_a_detector_is_missed() {
        let found = |names: &[&str]| names.iter().map(|&name| answering(name, "", 1)).collect::<Vec<_>>();
        assert_eq!(services_finding(&found(&[])).status, Status::Fail);
        assert_eq!(services_finding(&found(&["worker", "scheduler"])).status, Status::Warn);
        assert_eq!(services_finding(&found(&["fault-detector", "worker"])), Finding::ok("services", "1 fault-detector, 1 worker"));
    }

    fn answering(service: &str, name: &str, pid: u32) -> Answer {
        let process = format!("process {pid} on host-1");
        Answer { service: service.into(), name: name.into(), process, clock_ahead_ms: None }
    }

    #[test]
    fn a_worker_that_hosts_nothing_is_named() {
        let found = [answering("worker", "worker-01", 7), answering("worker", "worker-02", 8), answering("scheduler", "scheduler-1", 9)];
        assert_eq!(hosting_finding(&found, &BTreeSet::from(["worker-01", "worker-02"])), None);
        let finding = hosting_finding(&found, &BTreeSet::from(["worker-02"])).unwrap();
        assert_eq!((finding.status, finding.found.starts_with("worker-01 hosts no node")), (Status::Warn, true));
    }

    #[test]
    fn two_processes_of_one_name_are_both_named() {
        let mut found = vec![
            answering("worker", "worker-03", 7),
            answering("worker", "worker-04", 8),
            answering("fault-detector", "fault-detector", 9),
        ];
        assert_eq!(services_finding(&found).status, Status::Ok);
        found.push(answering("worker", "worker-03", 10));
        let finding = services_finding(&found);
        assert_eq!(finding.status, Status::Fail);
        assert!(finding.found.ends_with("2 processes are called worker-03: process 10 on host-1, process 7 on host-1"), "{finding:?}");
    }

    #[test]
    fn a_service_whose_clock_is_off_is_named_with_how_much() {
        let answer = |name: &str, clock_ahead_ms| Answer { clock_ahead_ms, ..answering("worker", name, 1) };
        assert_eq!(clocks_finding(&[answer("worker-01", None)]).status, Status::Skip);
        let right = clocks_finding(&[answer("worker-01", Some(-1_999)), answer("worker-02", Some(3))]);
        assert_eq!(right, Finding::ok("service clocks", "2 clocks within 2.0 s of the NATS server's"));
        let wrong = clocks_finding(&[answer("worker-01", Some(3)), answer("worker-02", Some(-5_000)), answer("worker-03", Some(61_000))]);
        assert_eq!(wrong.status, Status::Warn);
        let expected = "against the NATS server's clock, worker-02 is 5.0 s behind, worker-03 is 1 min 1 s ahead";
        assert_eq!(wrong.found, expected);
    }

    #[test]
    fn a_lost_job_is_no_good_health() {
        let mut stats = ClusterStats::default();
        stats.ledger.submitted = 1_378;
        assert_eq!(jobs_finding(&stats), Finding::ok("jobs", "1,378 submitted, 0 lost, 0 ended twice"));
        stats.ledger.vanished = 2;
        let finding = jobs_finding(&stats);
        assert_eq!((finding.status, finding.found.contains("2 lost")), (Status::Fail, true));
        (stats.ledger.vanished, stats.ledger.duplicates) = (0, 1);
        assert_eq!(jobs_finding(&stats).status, Status::Fail);
    }

    #[test]
    fn a_program_that_does_not_decide_is_a_warning() {
        let fine = ProgramStanding {
            name: "mine".into(),
            state: ProgramState::Decides,
            fallback: "least-loaded".into(),
            requests: 12,
            placed: 40,
            placed_by_fallback: 1,
            ..ProgramStanding::default()
        };
        let found = "service:mine decides: 12 requests, it placed 40 jobs, least-loaded placed 1";
        assert_eq!(policy_finding(&fine), Finding::ok("policy", found));
        let silent = ProgramStanding { state: ProgramState::Silent, why: "no program listens on policy.mine".into(), ..fine.clone() };
        let finding = policy_finding(&silent);
        let found = "service:mine does not decide: no program listens on policy.mine; least-loaded decides instead";
        assert_eq!((finding.status, finding.found.as_str()), (Status::Warn, found));
        let wrong = ProgramStanding { wrong: 2, last_wrong: "it answers 7 twice".into(), ..fine };
        assert!(policy_finding(&wrong).found.ends_with("; 2 wrong answers, the last one: it answers 7 twice"));
    }

    #[test]
    fn a_leader_that_broke_its_promises_is_no_good_leader() {
        let stats =
            ClusterStats { leader: "scheduler-1".into(), epoch: 3, leader_since_ms: 1_000, nodes_alive: 2, ..ClusterStats::default() };
        let fine = leader_finding(&stats, 4_200);
        assert_eq!(fine, Finding::ok("leader", "scheduler-1 has led for 3.2 s, epoch 3; 2 of 2 nodes alive"));
        let refused = ClusterStats { refusal: "worker-01 refuses epoch 3".into(), refused_total: 9, ..stats.clone() };
        assert_eq!(leader_finding(&refused, 4_200).status, Status::Fail);
        let over = ClusterStats { refused_total: 9, ..stats.clone() };
        assert_eq!(leader_finding(&over, 4_200), fine, "past refusals are not a fault");
        let broken = ClusterStats { violations_total: 1, last_violation: "too much".into(), ..stats };
        assert_eq!(leader_finding(&broken, 4_200).status, Status::Fail);
    }
}
