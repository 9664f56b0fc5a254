//! Jobs one after the other, in whatever order a trace has them, become a workload and its report.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use faultline_planner::{MAX_NODE_GPUS, TaskClass, WHOLE_GPU_MILLI};

use super::error::{BadRow, ReadError};
use super::format::Format;
use super::report::{Dropped, DroppedRows, ReadReport, StatusShare};
use super::source::Source;
use super::table::short;
use crate::workload::{Fate, Job, Workload};

/// How many bad rows are kept to be shown.
const BAD_ROWS_SHOWN: usize = 10;

/// Different statuses that are told apart; a file with more has something else in that column.
const MAX_STATUSES: usize = 32;

/// The most of CPU milli or MiB that one node or task can have: a thousand times the largest machine.
pub(super) const LARGEST: u32 = 1_000_000_000;

/// The most tasks of one job.
pub(super) const MAX_TASKS: u32 = 100_000;

/// What a file became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub workload: Workload,
    pub report: ReadReport,
}

/// One job as a reader understood it.
pub(super) struct Parsed<'a> {
    pub(super) name: &'a str,
    /// Since 1970 in formats with dates, else since the trace's own beginning.
    pub(super) submit_ms: u64,
    pub(super) work_ms: u64,
    pub(super) estimate_ms: Option<u64>,
    pub(super) tasks: u32,
    pub(super) class: TaskClass,
    pub(super) queue: &'a str,
    pub(super) user: &'a str,
    pub(super) priority: u8,
    /// In the trace's own word; empty when it has none.
    pub(super) status: &'a str,
    pub(super) fate: Fate,
}

/// Names or classes, each kept once.
struct Interned<T>(HashMap<T, u32>);

impl<T: Eq + Hash> Interned<T> {
    fn number<Q>(&mut self, item: &Q) -> u32
    where
        T: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = T> + ?Sized,
    {
        if let Some(number) = self.0.get(item) {
            return *number;
        }
        let number = u32::try_from(self.0.len()).expect("a file of at most 1 GiB has fewer different items");
        self.0.insert(item.to_owned(), number);
        number
    }

    fn into_list(self) -> Vec<T> {
        let mut items: Vec<(T, u32)> = self.0.into_iter().collect();
        items.sort_by_key(|(_, number)| *number);
        items.into_iter().map(|(item, _)| item).collect()
    }
}

/// Collects jobs and what was dropped.
pub(super) struct Builder {
    format: Format,
    /// Whether instants are dates, so that the first submission becomes 0.
    has_dates: bool,
    rows: u64,
    jobs: Vec<(Job, String)>,
    classes: Interned<TaskClass>,
    queues: Interned<String>,
    users: Interned<String>,
    dropped: HashMap<Dropped, u64>,
    bad_rows: Vec<BadRow>,
    statuses: Vec<StatusShare>,
    gpu_milli_ms: u128,
    pub(super) processors: Option<u64>,
    pub(super) notes: Vec<String>,
}

impl Builder {
    pub(super) fn new(format: Format, has_dates: bool) -> Self {
        Self {
            format,
            has_dates,
            rows: 0,
            jobs: Vec::new(),
            classes: Interned(HashMap::new()),
            queues: Interned(HashMap::new()),
            users: Interned(HashMap::new()),
            dropped: HashMap::new(),
            bad_rows: Vec::new(),
            statuses: Vec::new(),
            gpu_milli_ms: 0,
            processors: None,
            notes: Vec::new(),
        }
    }

    /// Counts a row and what it is: nothing when it was dropped or cannot be read.
    pub(super) fn take<T>(&mut self, row: Result<Result<T, Dropped>, BadRow>) -> Option<T> {
        self.rows += 1;
        match row {
            Ok(Ok(item)) => Some(item),
            Ok(Err(reason)) => {
                self.drop_row(reason);
                None
            }
            Err(bad) => {
                self.drop_row(Dropped::BadField);
                if self.bad_rows.len() < BAD_ROWS_SHOWN {
                    self.bad_rows.push(bad);
                }
                None
            }
        }
    }

    pub(super) fn drop_row(&mut self, reason: Dropped) {
        *self.dropped.entry(reason).or_default() += 1;
    }

    /// Adds a job whose row was taken.
    pub(super) fn add(&mut self, parsed: &Parsed<'_>) {
        if parsed.class.gpus == 0 && parsed.class.cpu_milli == 0 {
            return self.drop_row(Dropped::AsksForNothing);
        }
        let gpu_milli_ms = gpu_milli(parsed) * u128::from(parsed.work_ms);
        self.gpu_milli_ms += gpu_milli_ms;
        self.count_status(parsed.status, gpu_milli_ms);
        let job = Job {
            tasks: parsed.tasks,
            min_tasks: parsed.tasks,
            estimate_ms: parsed.estimate_ms,
            queue: self.queues.number(parsed.queue),
            user: self.users.number(parsed.user),
            priority: parsed.priority,
            fate: parsed.fate,
            ..Job::new(parsed.submit_ms, self.classes.number(&parsed.class), parsed.work_ms)
        };
        self.jobs.push((job, parsed.name.to_owned()));
    }

    fn count_status(&mut self, status: &str, gpu_milli_ms: u128) {
        if status.is_empty() {
            return;
        }
        let status = short(status, 32);
        let status = if self.statuses.len() < MAX_STATUSES { status.as_str() } else { "others" };
        let position = self.statuses.iter().position(|share| share.status == status).unwrap_or_else(|| {
            self.statuses.push(StatusShare { status: status.to_owned(), jobs: 0, gpu_milli_ms: 0 });
            self.statuses.len() - 1
        });
        self.statuses[position].jobs += 1;
        self.statuses[position].gpu_milli_ms += gpu_milli_ms;
    }

    pub(super) fn finish(mut self, source: &Source) -> Result<Reading, ReadError> {
        if self.rows == 0 {
            return Err(ReadError::NoRows { file: source.name.clone() });
        }
        let mut dropped: Vec<DroppedRows> =
            self.dropped.iter().map(|(reason, rows)| DroppedRows { reason: *reason, rows: *rows }).collect();
        dropped.sort_by_key(|dropped| (std::cmp::Reverse(dropped.rows), dropped.reason));
        if self.jobs.is_empty() {
            return Err(ReadError::NothingUsable { file: source.name.clone(), why: self.why_nothing(&dropped) });
        }
        // A stable sort: of jobs with the same instant, the one that the trace has first stays first.
        self.jobs.sort_by_key(|(job, _)| job.submit_ms);
        let (first_ms, last_ms) = (self.jobs[0].0.submit_ms, self.jobs[self.jobs.len() - 1].0.submit_ms);
        if self.has_dates {
            self.jobs.iter_mut().for_each(|(job, _)| job.submit_ms -= first_ms);
        }
        self.statuses.sort_by_key(|share| std::cmp::Reverse(share.jobs));
        self.note_statuses();
        if self.jobs.iter().all(|(job, _)| job.estimate_ms.is_none()) {
            self.notes.push("No job has an estimate, which reservations and some orders need.".to_owned());
        }
        let used = self.jobs.len() as u64;
        let has_names = self.jobs.iter().any(|(_, name)| !name.is_empty());
        let (jobs, names): (Vec<Job>, Vec<String>) = self.jobs.into_iter().unzip();
        Ok(Reading {
            workload: Workload {
                jobs,
                classes: self.classes.into_list(),
                queues: self.queues.into_list(),
                users: self.users.into_list(),
                names: if has_names { names } else { Vec::new() },
            },
            report: ReadReport {
                format: self.format,
                rows: self.rows,
                used,
                dropped,
                bad_rows: self.bad_rows,
                statuses: self.statuses,
                span_ms: last_ms - first_ms,
                begins_s: self.has_dates.then_some(first_ms / 1_000),
                gpu_milli_ms: self.gpu_milli_ms,
                processors: self.processors,
                notes: self.notes,
            },
        })
    }

    fn why_nothing(&self, dropped: &[DroppedRows]) -> String {
        let reasons: Vec<String> = dropped.iter().map(|dropped| format!("{} ({})", dropped.reason.as_str(), dropped.rows)).collect();
        let first = self.bad_rows.first().map_or_else(String::new, |bad| format!("; the first bad row is {bad}"));
        format!("all {} rows were dropped: {}{first}", self.rows, reasons.join(", "))
    }

    /// A trace of survivors shows no queue: jobs that failed or were killed took GPUs as well.
    fn note_statuses(&mut self) {
        match self.statuses.as_slice() {
            [] => self.notes.push("The file does not give statuses: jobs that failed or were killed may be missing from it.".to_owned()),
            [only] if self.jobs.len() > 1 => {
                self.notes.push(format!("All jobs have the status {}: others may be missing from the file.", only.status));
            }
            _ => {}
        }
    }
}

fn gpu_milli(parsed: &Parsed<'_>) -> u128 {
    u128::from(parsed.tasks) * u128::from(parsed.class.gpus) * u128::from(parsed.class.gpu_milli)
}

/// What a job asks for in all, where a trace does not say how it is divided.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Whole {
    pub(super) gpus: u32,
    /// Processors in thousandths.
    pub(super) cpu_milli: u64,
    pub(super) memory_mib: u64,
    /// How many nodes it asks for; 0 when the trace does not say.
    pub(super) nodes: u32,
}

impl Whole {
    /// Equal tasks that come to the same: one for each node that the trace names, when its GPUs divide evenly over them and fit one; otherwise one
    /// task up to `node_gpus`, and above that tasks of the greatest common divisor, so that full nodes and a rest can be made of them.
    pub(super) fn divided(self, node_gpus: u16) -> (u32, TaskClass) {
        let most = (MAX_NODE_GPUS as u16).min(node_gpus.max(1));
        let tasks = match (self.gpus, self.nodes) {
            (gpus, nodes) if nodes > 0 && gpus.is_multiple_of(nodes) && gpus / nodes <= MAX_NODE_GPUS as u32 => nodes,
            (gpus, _) if gpus <= u32::from(most) => 1,
            (gpus, _) => gpus / gcd(gpus, u32::from(most)),
        };
        let share = |whole: u64| u32::try_from(whole.div_ceil(u64::from(tasks))).unwrap_or(LARGEST).min(LARGEST);
        let gpus = u16::try_from(self.gpus / tasks).unwrap_or(MAX_NODE_GPUS as u16);
        let class = TaskClass {
            cpu_milli: share(self.cpu_milli),
            memory_mib: share(self.memory_mib),
            gpus,
            gpu_milli: if gpus == 0 { 0 } else { WHOLE_GPU_MILLI },
            ..TaskClass::default()
        };
        (tasks, class)
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
