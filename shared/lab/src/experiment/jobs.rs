//! The jobs of a run: from a trace, cut, scaled, and drawn from; or generated; with what a trace does not say filled in.

use std::collections::BTreeMap;

use faultline_planner::{TaskClass, WHOLE_GPU_MILLI};
use rand::RngExt;
use rand_distr::{Distribution, Exp1, Normal};

use super::file::{Estimate, Generator, JobTable, JobsTable, Resample, Scale, WorkloadTable};
use crate::streams::{Purpose, stream};
use crate::workload::{Checkpoint, Job, Workload};

const DAY_MS: u64 = 86_400_000;
/// What a job of a trace is copied by does not depend on the seed: every seed has the same trace.
const OF_TRACE: u64 = 0;

/// Cuts the window out and scales what is in it.
pub(super) fn cut_and_scaled(mut workload: Workload, table: &WorkloadTable) -> Workload {
    let from_ms = table.from.map_or(0, |from| from.ms);
    let until_ms = table.until.map_or(u64::MAX, |until| until.ms);
    let keep: Vec<usize> = (0..workload.jobs.len()).filter(|at| (from_ms..until_ms).contains(&workload.jobs[*at].submit_ms)).collect();
    let scale = table.scale.unwrap_or(Scale { time: 1.0, jobs: 1.0, gpus: 1.0 });
    let (mut jobs, mut names) = (Vec::with_capacity(keep.len()), Vec::new());
    for at in keep {
        let job = &workload.jobs[at];
        let tasks = |tasks: u32| ((f64::from(tasks) * scale.gpus).round() as u32).max(1);
        let scaled = Job {
            submit_ms: ((job.submit_ms - from_ms) as f64 * scale.time).round() as u64,
            tasks: tasks(job.tasks),
            min_tasks: tasks(job.min_tasks),
            ..job.clone()
        };
        let part = scale.jobs.fract();
        let is_once_more = part > 0.0 && stream(OF_TRACE, Purpose::Arrival, at as u64, 0).random::<f64>() < part;
        for copy in 0..scale.jobs as u32 + u32::from(is_once_more) {
            jobs.push(scaled.clone());
            if let Some(name) = workload.names.get(at) {
                names.push(if copy == 0 { name.clone() } else { format!("{name}+{copy}") });
            }
        }
    }
    (workload.jobs, workload.names) = (jobs, names);
    workload
}

/// Each day becomes one of the trace's days, as this seed draws them.
pub(super) fn resampled(workload: &Workload, resample: Resample, seed: u64) -> Workload {
    let Some(last) = workload.jobs.last().filter(|_| resample == Resample::Days) else { return workload.clone() };
    let days = last.submit_ms / DAY_MS + 1;
    let mut drawn = workload.with_jobs(Vec::new());
    for day in 0..days {
        let source = stream(seed, Purpose::Arrival, day, 0).random_range(0..days);
        let from = workload.jobs.partition_point(|job| job.submit_ms < source * DAY_MS);
        let until = workload.jobs.partition_point(|job| job.submit_ms < (source + 1) * DAY_MS);
        for at in from..until {
            let job = &workload.jobs[at];
            drawn.jobs.push(Job { submit_ms: job.submit_ms - source * DAY_MS + day * DAY_MS, ..job.clone() });
            if let Some(name) = workload.names.get(at) {
                drawn.names.push(format!("{name}@{day}"));
            }
        }
    }
    drawn
}

/// A number of GPUs as a gang of tasks that fit a node, or as a share of one.
struct Sizes {
    node_gpus: u32,
    classes: Vec<TaskClass>,
}

impl Sizes {
    fn new(node_gpus: u32) -> Self {
        Self { node_gpus: node_gpus.max(1), classes: Vec::new() }
    }

    /// Tasks and class. What is above a node becomes whole nodes.
    fn of(&mut self, gpu_milli: u32) -> (u32, u32) {
        let (share, gpus) = (gpu_milli % u32::from(WHOLE_GPU_MILLI), gpu_milli / u32::from(WHOLE_GPU_MILLI));
        let (tasks, each, milli) = match gpus {
            0 => (1, 1, share as u16),
            _ if gpus <= self.node_gpus => (1, gpus, WHOLE_GPU_MILLI),
            _ => (gpus.div_ceil(self.node_gpus), self.node_gpus, WHOLE_GPU_MILLI),
        };
        let class = TaskClass { gpus: each as u16, gpu_milli: milli, ..TaskClass::default() };
        let at = self.classes.iter().position(|known| *known == class).unwrap_or_else(|| {
            self.classes.push(class);
            self.classes.len() - 1
        });
        (tasks, at as u32)
    }
}

/// Thousandths of GPUs: a share below one, or a whole number.
pub(crate) fn gpu_milli(text: &str) -> Option<u32> {
    let milli = text.parse::<f64>().ok().filter(|gpus| (0.001..=1_000_000.0).contains(gpus)).map(|gpus| (gpus * 1_000.0).round() as u32)?;
    (milli < 1_000 || milli % 1_000 == 0).then_some(milli)
}

fn of_size((tasks, class): (u32, u32), work_ms: u64) -> Job {
    Job { tasks, min_tasks: tasks, ..Job::new(0, class, work_ms) }
}

/// One job at the beginning.
pub(super) fn single(job: &JobTable, node_gpus: u32) -> Workload {
    let mut sizes = Sizes::new(node_gpus);
    let jobs = vec![of_size(sizes.of(job.gpus * 1_000), job.work.ms)];
    Workload { jobs, classes: sizes.classes, queues: vec![String::new()], users: vec![String::new()], names: Vec::new() }
}

/// Jobs whose arrivals are a Poisson process, stretched so that the work asks for the load that is wanted. Work follows the law of Gavel's generator
/// (Narayanan et al., OSDI'20): 10^U(1.5, 3) minutes for four jobs of five, 10^U(3, 4) for the others.
pub(super) fn generated(generator: &Generator, node_gpus: u32, cluster_gpus: u64, seed: u64) -> Workload {
    let mut sizes = Sizes::new(node_gpus);
    let by_gpus: BTreeMap<u32, f64> = generator.gpus.iter().filter_map(|(gpus, share)| Some((gpu_milli(gpus)?, *share))).collect();
    let (mut jobs, mut gpu_ms, mut gaps) = (Vec::new(), 0.0, 0.0);
    let mut at = Vec::new();
    for number in 0..u64::from(generator.jobs) {
        let mut rng = stream(seed, Purpose::Work, number, 0);
        let power = if rng.random::<f64>() < 0.8 { rng.random_range(1.5..3.0) } else { rng.random_range(3.0..4.0) };
        let work_ms = (60_000.0 * 10f64.powf(power)).round() as u64;
        let gpus = drawn(&by_gpus, rng.random());
        let owner = stream(seed, Purpose::Work, number, 1).random::<u32>();
        jobs.push(Job {
            user: owner % generator.users,
            queue: owner % generator.users % generator.queues,
            ..of_size(sizes.of(gpus), work_ms)
        });
        gpu_ms += work_ms as f64 * f64::from(gpus) / 1_000.0;
        at.push(gaps);
        let gap: f64 = Exp1.sample(&mut stream(seed, Purpose::Arrival, number, 0));
        gaps += gap;
    }
    let span_ms = gpu_ms / (generator.load * cluster_gpus.max(1) as f64);
    for (job, at) in jobs.iter_mut().zip(at) {
        job.submit_ms = (at / gaps * span_ms).round() as u64;
    }
    let names = |what: &str, count: u32| (0..count).map(|number| format!("{what}{number}")).collect();
    Workload {
        jobs,
        classes: sizes.classes,
        queues: names("queue", generator.queues),
        users: names("user", generator.users),
        names: Vec::new(),
    }
}

/// The size at which the shares, added up, pass a part of their sum.
fn drawn(by_gpus: &BTreeMap<u32, f64>, part: f64) -> u32 {
    let mut left = part * by_gpus.values().sum::<f64>();
    for (gpus, share) in by_gpus {
        left -= share;
        if left < 0.0 {
            return *gpus;
        }
    }
    by_gpus.keys().next_back().copied().unwrap_or(1)
}

/// Fills in what a trace does not say. `table` has no field left out.
pub(super) fn furnished(mut workload: Workload, table: &JobsTable, seed: u64) -> Workload {
    let ms = |span: Option<super::values::Span>| span.map_or(0, |span| span.ms);
    let checkpoint = table.checkpoint.and_then(|every| every.interval).map(|interval| Checkpoint {
        interval,
        write_ms: ms(table.write),
        restore_ms: ms(table.restore),
        on_preemption: table.on_preemption.unwrap_or(false),
    });
    let error = Normal::new(0.0, table.estimate_error.unwrap_or(0.0)).ok();
    for (number, job) in workload.jobs.iter_mut().enumerate() {
        job.checkpoint = job.checkpoint.or(checkpoint);
        job.start_ms = job.start_ms.max(ms(table.start));
        job.grace_ms = job.grace_ms.max(ms(table.grace));
        job.preemptible = table.preemptible.unwrap_or(true);
        if let Some(share) = table.elastic {
            job.min_tasks = ((f64::from(job.tasks) * share).ceil() as u32).clamp(1, job.tasks);
        }
        let exact_ms = job.work_ms + job.start_ms;
        let estimate_ms = match table.estimate.map(|choice| choice.value).unwrap_or_default() {
            Estimate::Trace => Some(job.estimate_ms.unwrap_or(exact_ms)),
            Estimate::Exact => Some(exact_ms),
            Estimate::Off => None,
        };
        let factor = error.map_or(1.0, |error| error.sample(&mut stream(seed, Purpose::Estimate, number as u64, 0)).exp());
        job.estimate_ms = estimate_ms.map(|ms| ((ms as f64 * factor).round() as u64).max(1));
    }
    workload
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generator() -> Generator {
        let gpus = [("0.25", 0.4), ("1", 0.3), ("4", 0.2), ("16", 0.1)].map(|(gpus, share)| (gpus.to_owned(), share)).into();
        Generator { jobs: 4_000, load: 0.8, gpus, users: 5, queues: 2 }
    }

    #[test]
    fn generated_jobs_ask_for_the_load_and_the_sizes_that_are_wanted() {
        let workload = generated(&generator(), 8, 512, 1);
        let gpu_milli = |job: &Job| {
            let class = &workload.classes[job.class as usize];
            u64::from(job.tasks) * u64::from(class.gpus) * u64::from(class.gpu_milli)
        };
        let asked: f64 = workload.jobs.iter().map(|job| job.work_ms as f64 * gpu_milli(job) as f64 / 1e3).sum();
        let span = workload.jobs.last().unwrap().submit_ms as f64;
        assert!((asked / (512.0 * span) - 0.8).abs() < 0.005, "{}", asked / (512.0 * span));
        let share = |milli| workload.jobs.iter().filter(|job| gpu_milli(job) == milli).count() as f64 / 4_000.0;
        assert!((share(250) - 0.4).abs() < 0.03 && (share(16_000) - 0.1).abs() < 0.02);
        assert!(workload.jobs.is_sorted_by_key(|job| job.submit_ms));
        assert!(workload.jobs.iter().all(|job| job.tasks == 1 || workload.classes[job.class as usize].gpus == 8), "gangs have whole nodes");
        assert_ne!(generated(&generator(), 8, 512, 2), workload, "another seed draws other jobs");
    }

    #[test]
    fn sizes_are_shares_or_whole_numbers() {
        assert_eq!(["0.25", "1", "16", "1.5", "0", "x"].map(gpu_milli), [Some(250), Some(1_000), Some(16_000), None, None, None]);
    }

    fn days(of: &[u64]) -> Workload {
        let jobs = of.iter().map(|day| Job::new(day * DAY_MS + 5, 0, 1_000)).collect();
        let names = (0..of.len()).map(|at| at.to_string()).collect();
        Workload { jobs, names, classes: vec![TaskClass::default()], queues: vec![String::new()], users: vec![String::new()] }
    }

    #[test]
    fn the_window_is_cut_out_and_scaled() {
        let table = WorkloadTable {
            from: Some("1 d".parse().unwrap()),
            until: Some("3 d".parse().unwrap()),
            scale: Some(Scale { time: 0.5, jobs: 2.0, gpus: 3.0 }),
            ..WorkloadTable::default()
        };
        let cut = cut_and_scaled(days(&[0, 1, 2, 3]), &table);
        assert_eq!(cut.names, ["1", "1+1", "2", "2+1"]);
        assert_eq!(cut.jobs.iter().map(|job| (job.submit_ms, job.tasks)).collect::<Vec<_>>()[2], (DAY_MS / 2 + 3, 3));
    }

    /// Each day is a whole day of the trace, and every seed has others.
    #[test]
    fn days_are_drawn_with_replacement() {
        let trace = days(&[0, 1, 1, 2, 2, 2, 3, 4, 5, 6]);
        let drawn = resampled(&trace, Resample::Days, 3);
        let counts = |workload: &Workload| {
            (0..7).map(|day| workload.jobs.iter().filter(|job| job.submit_ms / DAY_MS == day).count()).collect::<Vec<_>>()
        };
        assert_eq!(counts(&trace), [1, 2, 3, 1, 1, 1, 1]);
        assert!(counts(&drawn).iter().all(|jobs| (1..=3).contains(jobs)) && drawn.jobs.is_sorted_by_key(|job| job.submit_ms));
        assert_ne!(counts(&drawn), counts(&resampled(&trace, Resample::Days, 4)));
        assert_eq!(resampled(&trace, Resample::Off, 3), trace);
    }

    #[test]
    fn what_a_trace_does_not_say_is_filled_in_and_errors_belong_to_jobs() {
        let table = JobsTable {
            checkpoint: Some("30 min".parse().unwrap()),
            estimate: Some(super::super::file::Choice { value: Estimate::Exact }),
            estimate_error: Some(0.5),
            ..JobsTable::default()
        };
        let filled = furnished(days(&[0, 1, 2]), &table, 1);
        assert!(
            filled
                .jobs
                .iter()
                .all(|job| job.checkpoint.is_some_and(|checkpoint| checkpoint.interval == crate::workload::Interval::Every(1_800_000)))
        );
        let estimates = |workload: &Workload| workload.jobs.iter().map(|job| job.estimate_ms.unwrap()).collect::<Vec<_>>();
        assert!(estimates(&filled).iter().all(|ms| *ms != 1_000));
        assert_eq!(estimates(&filled)[..2], estimates(&furnished(days(&[0, 1]), &table, 1))[..], "another workload changes no job's error");
    }
}
