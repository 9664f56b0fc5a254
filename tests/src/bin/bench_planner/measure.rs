//! One measurement: a planner with nodes and waiting jobs, kept empty or nearly full while jobs are placed and end.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Context;
use faultline_planner::{ClassId, Decision, Limits, Pass, Placement, Planner, PolicyName, Settings, TaskClass, Turn};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::args::Args;
use crate::cluster;
use crate::cpu::CpuClock;

/// Questions about what would fit.
const QUESTIONS: usize = 16;
/// Tasks of one question.
const ASKED_TASKS: usize = 1_000;
/// Jobs of each class that wait at the beginning, at least.
const BACKLOG: usize = 2_048;

/// How full the cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// All that wait find room; what runs ends before a tenth of the GPUs is in use.
    Empty,
    /// Nothing that waits finds room until something ends.
    Full,
}

impl Load {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Load::Empty => "empty",
            Load::Full => "full",
        }
    }
}

/// What came out.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    pub(crate) policy: PolicyName,
    pub(crate) nodes: u32,
    pub(crate) classes: u32,
    pub(crate) load: Load,
    /// For each second of processor time, with the jobs' arrivals and ends.
    pub(crate) placements_per_s: f64,
    pub(crate) longest_pass: Duration,
    /// A job's end and the pass after it; where nothing else has changed.
    pub(crate) freed_place: Option<Duration>,
    pub(crate) index_bytes_per_node: f64,
    /// The longest of some questions about what would fit.
    pub(crate) longest_question: Duration,
}

struct Bench {
    clock: CpuClock,
    planner: Planner,
    tasks: Vec<TaskClass>,
    classes: Vec<ClassId>,
    running: VecDeque<Placement>,
    /// Turns of jobs, by class.
    next: u64,
    rng: Pcg64Mcg,
    /// The longest pass so far. `None` when passes are not timed, because asking for the time takes longer than a short pass.
    timed_pass: Option<Duration>,
}

/// Measures one cell of the table.
pub(crate) fn measure(args: &Args, policy: PolicyName, nodes: u32, classes: u32, load: Load) -> anyhow::Result<Measured> {
    let mut bench = Bench::new(args, policy, nodes, classes)?;
    let time = Duration::from_millis(args.time_ms);
    let mut longest_pass = None;
    let (placements, took, freed_place) = match load {
        Load::Empty => {
            let (placements, took) = bench.run_empty(time);
            (placements, took, None)
        }
        Load::Full => {
            bench.fill_up()?;
            bench.run_full(time / 4);
            longest_pass = bench.timed_pass.take();
            let (placements, ends, took) = bench.run_full(time);
            (placements, took, Some(took.div_f64(ends as f64)))
        }
    };
    Ok(Measured {
        policy,
        nodes,
        classes,
        load,
        placements_per_s: placements as f64 / took.as_secs_f64(),
        longest_pass: longest_pass.or(bench.timed_pass).unwrap_or_default(),
        freed_place,
        index_bytes_per_node: bench.planner.index_bytes() as f64 / f64::from(nodes),
        longest_question: bench.longest_question(),
    })
}

/// The class of a job, which [`Bench::wait`] wrote into its name.
fn class_of(turn: Turn) -> usize {
    let [.., high, low] = turn.job;
    u16::from_be_bytes([high, low]).into()
}

impl Bench {
    fn new(args: &Args, policy: PolicyName, nodes: u32, classes: u32) -> anyhow::Result<Self> {
        let mut rng = Pcg64Mcg::seed_from_u64(args.seed);
        let tasks = cluster::classes(classes, &mut rng);
        let target = tasks.iter().map(|task| (task.clone(), rng.random_range(1..100))).collect();
        let settings = Settings { policy, tie: args.tie, seed: args.seed, target, ..Settings::default() };
        let mut planner = Planner::new(&settings)?;
        for number in 0..nodes {
            planner.join(&cluster::machine(number))?;
        }
        let classes = tasks.iter().map(|task| planner.class(task)).collect();
        Ok(Self {
            clock: CpuClock::new()?,
            planner,
            tasks,
            classes,
            running: VecDeque::new(),
            next: 0,
            rng,
            timed_pass: Some(Duration::ZERO),
        })
    }

    fn wait(&mut self, class: usize) {
        let mut job = [0; 18];
        job[..8].copy_from_slice(&self.next.to_be_bytes());
        job[16..].copy_from_slice(&(class as u16).to_be_bytes());
        let turn = Turn { order: self.next, job };
        self.next += 1;
        self.planner.wait(self.classes[class], turn);
    }

    fn pass(&mut self) -> Pass {
        let start = self.timed_pass.map(|longest| (longest, self.clock.now()));
        let pass = self.planner.pass(Limits::default());
        self.timed_pass = start.map(|(longest, start)| longest.max(self.clock.now() - start));
        pass
    }

    fn longest_question(&self) -> Duration {
        let ask = |task: &TaskClass| {
            let start = self.clock.now();
            std::hint::black_box(self.planner.would_fit(task, ASKED_TASKS));
            self.clock.now() - start
        };
        self.tasks.iter().cycle().take(QUESTIONS).map(ask).max().unwrap_or_default()
    }

    /// Jobs of random classes come, all find room, and the oldest end.
    fn run_empty(&mut self, time: Duration) -> (u64, Duration) {
        let gpu_milli = |task: &TaskClass| u64::from(task.gpus) * u64::from(task.gpu_milli);
        let all: u64 = self.planner.gpu_milli();
        let mean = 1 + self.tasks.iter().map(gpu_milli).sum::<u64>() / self.tasks.len() as u64;
        let most = (all / 10 / mean).clamp(1, 100_000) as usize;
        let batch = most.min(256);
        let (mut placed, mut spent) = (0, Duration::ZERO);
        let mut warm = false;
        while spent < time {
            let start = self.clock.now();
            let room = (self.running.len() + batch).saturating_sub(most);
            for placement in self.running.drain(..room.min(self.running.len())) {
                self.planner.release(&placement);
            }
            for _ in 0..batch {
                let class = self.rng.random_range(0..self.classes.len());
                self.wait(class);
            }
            let mut here = 0;
            loop {
                let pass = self.pass();
                here += pass.decisions.len() as u64;
                self.running.extend(pass.decisions.iter().map(|Decision::Place { placed, .. }| placed.placement));
                if !pass.unfinished {
                    break;
                }
            }
            // The first rounds build the indexes: each class once.
            if warm {
                placed += here;
                spent += self.clock.now() - start;
            }
            warm = warm || self.next > 20 * self.classes.len() as u64;
        }
        (placed, spent)
    }

    /// Until nothing that waits finds room, and some of each class wait.
    fn fill_up(&mut self) -> anyhow::Result<()> {
        // Most of a node at once: the rest is filled by what waits.
        let large = TaskClass { gpus: 6, gpu_milli: 1000, cpu_milli: 60_000, memory_mib: 200_000, ..TaskClass::default() };
        let large = self.planner.class(&large);
        while self.planner.place_now(large).is_some() {}
        for _ in 0..BACKLOG.div_ceil(self.classes.len()) {
            for class in 0..self.classes.len() {
                self.wait(class);
            }
        }
        for _ in 0..100_000_000 {
            let pass = self.pass();
            for Decision::Place { turn, placed } in &pass.decisions {
                self.running.push_back(placed.placement);
                self.wait(class_of(*turn));
            }
            if pass.decisions.is_empty() && !pass.unfinished {
                return Ok(());
            }
        }
        Err(anyhow::anyhow!("passes went on for ever")).context("filling the cluster")
    }

    /// One job ends at a time, and others take its place.
    fn run_full(&mut self, time: Duration) -> (u64, u64, Duration) {
        let (mut placed, mut ends, mut spent) = (0, 0, Duration::ZERO);
        while spent < time {
            let start = self.clock.now();
            for _ in 0..64 {
                let at = self.rng.random_range(0..self.running.len());
                if let Some(placement) = self.running.swap_remove_back(at) {
                    self.planner.release(&placement);
                    ends += 1;
                }
                loop {
                    let pass = self.pass();
                    for Decision::Place { turn, placed: here } in &pass.decisions {
                        placed += 1;
                        self.running.push_back(here.placement);
                        self.wait(class_of(*turn));
                    }
                    if !pass.unfinished {
                        break;
                    }
                }
            }
            spent += self.clock.now() - start;
        }
        (placed, ends, spent)
    }
}
