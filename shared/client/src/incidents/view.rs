//! An incident as it is shown: figures, and the story in words.

use std::collections::{BTreeMap, BTreeSet};

use faultline_engine::fault::cause::{FREEZE, KILL, PARTITION, TERM};
use faultline_engine::fault::{FaultCause, FaultKind, FaultTruth, title};
use faultline_engine::job::JobState;
use faultline_engine::node::Health;
use faultline_engine::words::{plural, span};
use serde::Serialize;
use utoipa::ToSchema;

use super::incident::{BURST_MS, Incident, IncidentKind, Move, MoveEnd, Sign};

/// The most nodes and places that are named; the counts are of all.
const MAX_NAMED: usize = 20;
/// The most ways that are told.
const MAX_WAYS: usize = 100;
/// The most places that the story names.
const MAX_TOLD: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IncidentState {
    /// A fault lasts, a node is away, an interrupted job waits, or no scheduler leads.
    Ongoing,
    Recovered,
}

/// A part of the story.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    Began,
    Noticed,
    GivenUp,
    Interrupted,
    PlacedAgain,
    Leader,
    Mended,
    /// All is well: each interrupted job was placed again or has ended, so none is lost.
    Recovered,
    /// How the interrupted jobs ended, as far as they have.
    Ended,
}

/// One step of the story, in the order in which things happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Step {
    pub kind: StepKind,
    pub at_ms: u64,
    /// Since the beginning of the incident.
    pub after_ms: u64,
    pub text: String,
}

/// Where interrupted jobs were placed next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MovedTo {
    pub node: String,
    pub jobs: u32,
}

/// Interrupted jobs that went from one node to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MovedBetween {
    pub from: String,
    pub to: String,
    pub jobs: u32,
    /// When the last of them was placed there.
    pub last_ms: u64,
}

/// An incident. Each interrupted job is in exactly one of `waiting`, `placed_again` (and not ended yet), `committed`,
/// `given_up`, `cancelled`, `unknown`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct IncidentView {
    /// The id of its first fault, or a ULID of its first sign.
    pub id: String,
    pub kind: IncidentKind,
    pub state: IncidentState,
    pub began_ms: u64,
    pub recovered_ms: Option<u64>,
    /// What happened to what, and by whom it was ordered.
    pub headline: String,
    /// What was broken: nodes or processes, the first 20 by name. Empty when no fault is known.
    pub targets: Vec<String>,
    /// The first 20 nodes by name that it is about.
    pub nodes: Vec<String>,
    pub nodes_total: u32,
    /// From the beginning of the fault to the first verdict; none when the fault detector judged no node, and when no fault is known: then the
    /// incident begins with its first sign.
    pub noticed_after_ms: Option<u64>,
    /// Jobs whose attempts it interrupted.
    pub interrupted: u32,
    pub waiting: u32,
    pub placed_again: u32,
    pub committed: u32,
    pub given_up: u32,
    pub cancelled: u32,
    /// Ended, and their records have expired, so how is not known.
    pub unknown: u32,
    /// From its beginning until the last interrupted job was placed again; none while one waits, and when none was interrupted.
    pub placed_again_after_ms: Option<u64>,
    /// Where the jobs went: the 20 places that took most.
    pub moved_to: Vec<MovedTo>,
    /// The same with where they came from: the 100 ways that were gone last.
    pub moves: Vec<MovedBetween>,
    /// Attempts that failed by themselves.
    pub failures: u32,
    /// Commands that do the same again, for the first 20 faults; empty of an experiment, which is repeated as a whole, and where no fault is
    /// known or a real device failed.
    pub repeat: Vec<String>,
    /// What was broken, as it really was, the first 20 by id: for the report, which is made of it here.
    #[serde(skip)]
    #[schema(ignore)]
    pub faults: Vec<FaultTruth>,
    /// Who leads since, when it cost the leader.
    pub leader: Option<String>,
    pub story: Vec<Step>,
}

#[derive(Debug, Default)]
struct Counts {
    waiting: u32,
    placed: u32,
    committed: u32,
    given_up: u32,
    cancelled: u32,
    unknown: u32,
}

impl Counts {
    fn of<'m>(moves: impl Iterator<Item = &'m Move>) -> Self {
        let mut counts = Self::default();
        for moved in moves {
            let slot = match (moved.end, moved.placed_ms) {
                (Some(MoveEnd::As(JobState::Committed)), _) => &mut counts.committed,
                (Some(MoveEnd::As(JobState::Cancelled)), _) => &mut counts.cancelled,
                (Some(MoveEnd::As(_)), _) => &mut counts.given_up,
                (Some(MoveEnd::Unknown), _) => &mut counts.unknown,
                (None, Some(_)) => &mut counts.placed,
                (None, None) => &mut counts.waiting,
            };
            *slot += 1;
        }
        counts
    }
}

/// An experiment is repeated as a whole, and a real device does not fail on order.
fn is_repeatable(fault: &FaultTruth) -> bool {
    fault.cause != FaultCause::Observed && fault.experiment().is_none()
}

/// The command that orders such a fault.
fn command_for(fault: &FaultTruth) -> Option<String> {
    let target = &fault.target;
    let lasted = fault.until_ms.map(|until_ms| format!(" --for {}ms", until_ms.saturating_sub(fault.from_ms)));
    match fault.kind.as_str() {
        KILL => Some(format!("faultline kill {target}")),
        TERM => Some(format!("faultline kill {target} --signal term")),
        FREEZE => Some(format!("faultline kill {target} --signal stop")),
        PARTITION => Some(format!("faultline link {target} stall")),
        kind => {
            let kind: FaultKind = kind.parse().ok()?;
            let gpu = fault.gpu.map(|gpu| format!(" --gpu {gpu}"));
            Some(format!("faultline fault {target} {kind}{}{}", gpu.unwrap_or_default(), lasted.unwrap_or_default()))
        }
    }
}

fn number(many: usize) -> u32 {
    u32::try_from(many).unwrap_or(u32::MAX)
}

impl Incident {
    /// How it looks at `now_ms`.
    pub(super) fn view(&self, now_ms: u64) -> IncidentView {
        let counts = Counts::of(self.moves.values());
        let recovered_ms = self.recovered_ms().filter(|_| self.failures == 0 || self.last_sign_ms + BURST_MS < now_ms);
        let placed = self.moves.values().filter_map(|moved| moved.placed_ms).max().filter(|_| counts.waiting == 0);
        let moved_to = self.moved_to();
        IncidentView {
            id: self.id.clone(),
            kind: self.shown_kind(recovered_ms.is_some()),
            state: if recovered_ms.is_some() { IncidentState::Recovered } else { IncidentState::Ongoing },
            began_ms: self.began_ms,
            recovered_ms,
            headline: self.headline(recovered_ms.is_some()),
            targets: self.targets(),
            nodes: self.nodes().take(MAX_NAMED).cloned().collect(),
            nodes_total: number(self.nodes.len()),
            noticed_after_ms: self.noticed.as_ref().filter(|_| self.kind == IncidentKind::Fault).map(|sign| self.after(sign.at_ms)),
            interrupted: number(self.moves.len()),
            waiting: counts.waiting,
            placed_again: counts.placed,
            committed: counts.committed,
            given_up: counts.given_up,
            cancelled: counts.cancelled,
            unknown: counts.unknown,
            placed_again_after_ms: placed.map(|at_ms| self.after(at_ms)),
            failures: self.failures,
            repeat: self.repeat(),
            faults: self.faults().take(MAX_NAMED).cloned().collect(),
            leader: self.leader.as_ref().map(|change| change.to.clone()),
            story: self.story(&counts, &moved_to, placed, recovered_ms),
            moved_to: moved_to.into_iter().take(MAX_NAMED).collect(),
            moves: self.ways(),
        }
    }

    fn after(&self, at_ms: u64) -> u64 {
        at_ms.saturating_sub(self.began_ms)
    }

    fn is_false_alarm(&self) -> bool {
        self.moves.is_empty() && self.faults().next().is_none() && self.nodes.values().all(|trouble| trouble.worst == Some(Health::Suspect))
    }

    fn shown_kind(&self, is_over: bool) -> IncidentKind {
        match self.kind {
            IncidentKind::Unexplained if is_over && self.is_false_alarm() => IncidentKind::FalseAlarm,
            kind => kind,
        }
    }

    fn targets(&self) -> Vec<String> {
        let all: BTreeSet<&String> = self.faults().map(|fault| &fault.target).collect();
        all.into_iter().take(MAX_NAMED).cloned().collect()
    }

    fn repeat(&self) -> Vec<String> {
        let mut commands: Vec<String> =
            self.faults().filter(|fault| is_repeatable(fault)).filter_map(command_for).take(MAX_NAMED).collect();
        commands.dedup();
        commands
    }

    fn moved_to(&self) -> Vec<MovedTo> {
        let mut by_node: BTreeMap<&String, u32> = BTreeMap::new();
        for node in self.moves.values().filter_map(|moved| moved.to.as_ref()) {
            *by_node.entry(node).or_default() += 1;
        }
        let mut places: Vec<MovedTo> = by_node.into_iter().map(|(node, jobs)| MovedTo { node: node.clone(), jobs }).collect();
        places.sort_by(|one, other| other.jobs.cmp(&one.jobs).then_with(|| one.node.cmp(&other.node)));
        places
    }

    fn ways(&self) -> Vec<MovedBetween> {
        let mut ways: BTreeMap<(&String, &String), (u32, u64)> = BTreeMap::new();
        for moved in self.moves.values() {
            if let (Some(to), Some(placed_ms)) = (&moved.to, moved.placed_ms) {
                let (jobs, last_ms) = ways.entry((&moved.from, to)).or_default();
                (*jobs, *last_ms) = (*jobs + 1, placed_ms.max(*last_ms));
            }
        }
        let mut ways: Vec<MovedBetween> = ways
            .into_iter()
            .map(|((from, to), (jobs, last_ms))| MovedBetween { from: from.clone(), to: to.clone(), jobs, last_ms })
            .collect();
        ways.sort_by_key(|way| std::cmp::Reverse(way.last_ms));
        ways.truncate(MAX_WAYS);
        ways
    }

    fn headline(&self, is_over: bool) -> String {
        let nodes = self.nodes_words();
        match self.shown_kind(is_over) {
            IncidentKind::Fault => self.fault_words(),
            IncidentKind::FalseAlarm => format!("{nodes} suspected, and back"),
            IncidentKind::Departure => format!("{nodes} left in order"),
            IncidentKind::Leader => "leadership moved; no fault is known".to_owned(),
            IncidentKind::Failures => {
                format!(
                    "{} of {} failed by themselves",
                    plural(u64::from(self.failures), "attempt"),
                    plural(self.failed_jobs() as u64, "job")
                )
            }
            IncidentKind::Unexplained => {
                let worst = self.nodes.values().filter_map(|trouble| trouble.worst).max();
                let how = match worst {
                    Some(Health::Suspect) => "suspected",
                    Some(Health::Gone) => "gone",
                    Some(Health::Dead) => "dead",
                    Some(Health::Alive) | None => "lost attempts",
                };
                format!("{nodes} {how}; no fault is known")
            }
        }
    }

    fn nodes_words(&self) -> String {
        match (self.nodes().next(), self.nodes.len()) {
            (None, _) => "no node".to_owned(),
            (Some(node), 1) => node.clone(),
            (Some(node), many) => format!("{node} and {}", plural(many as u64 - 1, "other node")),
        }
    }

    fn fault_words(&self) -> String {
        let faults: Vec<&FaultTruth> = self.faults().collect();
        let [first, rest @ ..] = &faults[..] else { return String::new() };
        if rest.is_empty() {
            return first.headline();
        }
        let same_kind = rest.iter().all(|fault| fault.kind == first.kind);
        let kind = title(&first.kind);
        let what = match same_kind {
            true if faults.len() <= MAX_TOLD => {
                let targets: Vec<&str> = faults.iter().map(|fault| fault.target.as_str()).collect();
                format!("{kind} on {}", targets.join(", "))
            }
            true => format!("{kind} on {} targets", faults.len()),
            false => format!("{} faults", faults.len()),
        };
        match (&first.domain, first.by.as_str()) {
            (Some(domain), _) => format!("{domain} failed: {what}"),
            (None, "") => what,
            (None, by) => format!("{what} by {by}"),
        }
    }

    fn story(&self, counts: &Counts, moved_to: &[MovedTo], placed: Option<u64>, recovered_ms: Option<u64>) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut tell = |kind, at_ms: u64, text: String| steps.push(Step { kind, at_ms, after_ms: self.after(at_ms), text });
        tell(StepKind::Began, self.began_ms, self.headline(recovered_ms.is_some()));
        if let Some(sign) = &self.noticed {
            let verb = if sign.health == Health::Suspect { StepKind::Noticed } else { StepKind::GivenUp };
            tell(verb, sign.at_ms, self.sign_words(sign));
        }
        let later = self
            .given_up
            .as_ref()
            .filter(|sign| self.noticed.as_ref().is_some_and(|first| first.health == Health::Suspect && first.at_ms <= sign.at_ms));
        if let Some(sign) = later {
            tell(StepKind::GivenUp, sign.at_ms, self.sign_words(sign));
        }
        if let Some(change) = &self.leader {
            let instead = change.from.as_ref().filter(|from| **from != change.to).map(|from| format!(" instead of {from}"));
            tell(StepKind::Leader, change.at_ms, format!("{} leads{}", change.to, instead.unwrap_or_default()));
        }
        if let Some(at_ms) = self.first_loss_ms.filter(|_| !self.moves.is_empty()) {
            tell(StepKind::Interrupted, at_ms, format!("{} interrupted", plural(self.moves.len() as u64, "job")));
        }
        let again = self.moves.values().filter(|moved| moved.placed_ms.is_some()).count();
        if let Some(at_ms) = placed.or_else(|| self.moves.values().filter_map(|moved| moved.placed_ms).max()) {
            let text = format!("{again} of {} placed again: {}{}", self.moves.len(), places_words(moved_to), self.refused_words());
            tell(StepKind::PlacedAgain, at_ms, text);
        }
        if !self.mended.is_empty() {
            let until_ms = self.faults().filter_map(|fault| fault.until_ms).max().unwrap_or(self.last_sign_ms);
            let of = if self.faults().count() > 1 { "the last: " } else { "" };
            tell(StepKind::Mended, until_ms, format!("{of}{}", self.mended));
        }
        if let Some(at_ms) = recovered_ms {
            let jobs = if self.moves.is_empty() { "no job was interrupted" } else { "0 jobs lost" };
            // The history tells when the server's process runs again, not when it answers.
            let what = if self.is_of_nats() { "the process of NATS runs again" } else { "recovered" };
            tell(StepKind::Recovered, at_ms, format!("{what}, {jobs}"));
        }
        let ends = ends_words(counts);
        if !ends.is_empty() {
            let known_ms = self.last_end_ms.or(recovered_ms).unwrap_or(self.last_sign_ms);
            tell(StepKind::Ended, known_ms, format!("of {}, {ends}", plural(self.moves.len() as u64, "job")));
        }
        steps.sort_by_key(|step| (step.at_ms, step.kind));
        steps
    }

    fn sign_words(&self, sign: &Sign) -> String {
        let others = self.nodes.iter().filter(|(node, trouble)| **node != sign.node && trouble.worst >= Some(sign.health)).count();
        let others = if others == 0 { String::new() } else { format!(" and {}", plural(others as u64, "other node")) };
        format!("{}{others} {}: {}", sign.node, sign.health.as_str(), sign.evidence)
    }

    fn refused_words(&self) -> String {
        match self.refusals {
            0 => String::new(),
            many => format!("; {} refused at first", plural(u64::from(many), "placement")),
        }
    }
}

fn places_words(places: &[MovedTo]) -> String {
    let told: Vec<String> = places.iter().take(MAX_TOLD).map(|place| format!("{} to {}", place.jobs, place.node)).collect();
    let rest = places.get(MAX_TOLD..).unwrap_or_default();
    let others = (!rest.is_empty())
        .then(|| format!(", {} to {}", rest.iter().map(|place| place.jobs).sum::<u32>(), plural(rest.len() as u64, "other node")));
    format!("{}{}", told.join(", "), others.unwrap_or_default())
}

/// How those that have ended did.
fn ends_words(counts: &Counts) -> String {
    let parts = [
        (counts.committed, "committed"),
        (counts.given_up, "given up"),
        (counts.cancelled, "cancelled"),
        (counts.unknown, "ended, how is not known any more"),
    ];
    let told: Vec<String> = parts.into_iter().filter(|(many, _)| *many > 0).map(|(many, what)| format!("{many} {what}")).collect();
    told.join(", ")
}

impl Step {
    /// The step on one line: when it was, since the beginning, and what it was.
    pub fn line(&self) -> String {
        match self.kind {
            StepKind::Began => self.text.clone(),
            _ => format!("after {}: {}", span(self.after_ms), self.text),
        }
    }
}
