//! Replays a trace to a detector, answers its pings, and keeps account of what it says against what is true.

use faultline_engine::detector::{Detector, DetectorAction, DetectorConfig, PingOutcome};
use faultline_engine::node::Health;
use rand_pcg::Pcg64Mcg;

use crate::model::{Life, Network, Trace};

/// How often the detector is told that time passes.
pub(crate) const TICK_MS: u64 = 100;
/// Each node's one GPU works on jobs of this length, one after the other.
pub(crate) const JOB_MS: u64 = 600_000;

const NODE: &str = "node";
const WORKER: &str = "worker";

/// What came out. Times in milliseconds from a death, one for each death, in order of size.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) deaths: u64,
    /// Deaths that were not found at all.
    pub(crate) missed: u64,
    pub(crate) suspect_ms: Vec<u64>,
    /// Until the work is requeued: the node is gone, or dead.
    pub(crate) requeue_ms: Vec<u64>,
    pub(crate) dead_ms: Vec<u64>,
    /// How long nodes lived in all.
    pub(crate) lived_ms: u64,
    /// Verdicts on nodes that lived.
    pub(crate) false_suspect: u64,
    pub(crate) false_gone: u64,
    pub(crate) false_dead: u64,
    /// GPU time between deaths and the requeue of what ran.
    pub(crate) late_gpu_ms: u64,
    /// GPU time spent on work that was requeued in error, and idle until the node was trusted again.
    pub(crate) repeated_gpu_ms: u64,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.deaths += other.deaths;
        self.missed += other.missed;
        self.suspect_ms.extend(other.suspect_ms);
        self.requeue_ms.extend(other.requeue_ms);
        self.dead_ms.extend(other.dead_ms);
        self.lived_ms += other.lived_ms;
        self.false_suspect += other.false_suspect;
        self.false_gone += other.false_gone;
        self.false_dead += other.false_dead;
        self.late_gpu_ms += other.late_gpu_ms;
        self.repeated_gpu_ms += other.repeated_gpu_ms;
    }
}

/// Nearest rank, of values in order; 0 when there are none.
pub(crate) fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

/// Each node has a detector of its own: what many silences at once mean is another question.
pub(crate) fn replay(trace: &Trace, config: DetectorConfig) -> Tally {
    let mut total = Tally::default();
    for (index, lives) in trace.nodes.iter().enumerate() {
        let mut host = Host::new(config, trace.network, trace.ping_rng(index));
        for (number, life) in lives.iter().enumerate() {
            host.live(life, number as u64 + 1);
        }
        total.add(host.tally);
    }
    for durations in [&mut total.suspect_ms, &mut total.requeue_ms, &mut total.dead_ms] {
        durations.sort_unstable();
    }
    total
}

/// Since when which verdict stands; cleared when the node is trusted again.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    suspect: Option<u64>,
    requeued: Option<u64>,
    dead: Option<u64>,
}

struct Host {
    detector: Detector,
    network: Network,
    rng: Pcg64Mcg,
    ping_limit_ms: u64,
    /// A ping under way: when its outcome is known, and the outcome.
    ping: Option<(u64, PingOutcome)>,
    standing: Standing,
    job_began_at_ms: u64,
    tally: Tally,
}

impl Host {
    fn new(config: DetectorConfig, network: Network, rng: Pcg64Mcg) -> Self {
        Self {
            detector: Detector::new(config, 0),
            network,
            rng,
            ping_limit_ms: config.ping_limit_ms,
            ping: None,
            standing: Standing::default(),
            job_began_at_ms: 0,
            tally: Tally::default(),
        }
    }

    fn live(&mut self, life: &Life, incarnation: u64) {
        // What stood until now was about the former life.
        (self.standing, self.job_began_at_ms) = (Standing::default(), life.begins_at_ms);
        let registered = self.detector.on_registered(NODE, WORKER, incarnation, life.begins_at_ms);
        self.note(registered, life.begins_at_ms, life);
        let mut heartbeats = life.heartbeats_ms.iter().copied().peekable();
        let mut tick_ms = life.begins_at_ms / TICK_MS * TICK_MS;
        while tick_ms < life.ends_at_ms {
            tick_ms += TICK_MS;
            loop {
                let heartbeat = heartbeats.peek().copied().filter(|at| *at <= tick_ms);
                let answer = self.ping.as_ref().map(|(at, _)| *at).filter(|at| *at <= tick_ms);
                let (at_ms, actions) = match (heartbeat, answer) {
                    (None, None) => break,
                    (Some(at), answer) if answer.is_none_or(|answer| at <= answer) => {
                        heartbeats.next();
                        (at, self.detector.on_heartbeat(NODE, WORKER, incarnation, at))
                    }
                    _ => {
                        let Some((at, outcome)) = self.ping.take() else { break };
                        (at, self.detector.on_ping_answer(WORKER, outcome, at))
                    }
                };
                self.note(actions, at_ms, life);
            }
            let actions = self.detector.tick(tick_ms);
            self.note(actions, tick_ms, life);
        }
        self.conclude(life);
    }

    fn note(&mut self, actions: Vec<DetectorAction>, at_ms: u64, life: &Life) {
        for action in actions {
            match action {
                DetectorAction::PingWorker { .. } => self.ping = Some(self.ask(at_ms, life)),
                DetectorAction::Judge(verdict) => self.judge(verdict.health, at_ms, at_ms < life.dies_at_ms),
                DetectorAction::Forget { .. } => {}
            }
        }
    }

    /// As the service does it, two questions, one in each half of the limit. Question and answer go through the same network as
    /// heartbeats, to a worker that may be dead.
    fn ask(&mut self, at_ms: u64, life: &Life) -> (u64, PingOutcome) {
        let half_ms = self.ping_limit_ms / 2;
        for asked_at_ms in [at_ms, at_ms + half_ms] {
            let heard_ms = self.network.carry(asked_at_ms, &mut self.rng).filter(|heard_ms| *heard_ms < life.dies_at_ms);
            let answered_ms = heard_ms.and_then(|heard_ms| self.network.carry(heard_ms, &mut self.rng));
            if let Some(answered_ms) = answered_ms.filter(|answered_ms| *answered_ms <= asked_at_ms + half_ms) {
                return (answered_ms, PingOutcome::Answered { nodes: vec![NODE.into()] });
            }
        }
        (at_ms + self.ping_limit_ms, PingOutcome::TimedOut)
    }

    fn judge(&mut self, health: Health, at_ms: u64, lives: bool) {
        if health == Health::Alive {
            if let Some(requeued_ms) = self.standing.requeued.filter(|_| lives) {
                self.tally.repeated_gpu_ms += at_ms - requeued_ms;
                self.job_began_at_ms = at_ms;
            }
            self.standing = Standing::default();
            return;
        }
        if lives {
            match health {
                Health::Suspect => self.tally.false_suspect += 1,
                Health::Gone => self.tally.false_gone += 1,
                Health::Dead => self.tally.false_dead += 1,
                Health::Alive => {}
            }
        }
        self.standing.suspect.get_or_insert(at_ms);
        if matches!(health, Health::Gone | Health::Dead) && self.standing.requeued.is_none() {
            self.standing.requeued = Some(at_ms);
            if lives {
                self.tally.repeated_gpu_ms += (at_ms - self.job_began_at_ms) % JOB_MS;
            }
        }
        if health == Health::Dead {
            self.standing.dead.get_or_insert(at_ms);
        }
    }

    /// The life is over and the next one is about to begin: what stands now was the finding of this death.
    fn conclude(&mut self, life: &Life) {
        let died_ms = life.dies_at_ms;
        self.tally.deaths += 1;
        self.tally.lived_ms += died_ms - life.begins_at_ms;
        let Standing { suspect: Some(suspect), requeued: Some(requeued), dead: Some(dead) } = self.standing else {
            self.tally.missed += 1;
            return;
        };
        // What was said in error just before the death was right from then on.
        self.tally.suspect_ms.push(suspect.saturating_sub(died_ms));
        self.tally.requeue_ms.push(requeued.saturating_sub(died_ms));
        self.tally.dead_ms.push(dead.saturating_sub(died_ms));
        self.tally.late_gpu_ms += requeued.saturating_sub(died_ms);
    }
}
