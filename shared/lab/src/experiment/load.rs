//! An experiment with the files that it names: everything that its runs are made from.

use faultline_planner::{DispatchSettings, Dispatcher, HistorySettings, PolicyName, PreemptionSettings, Settings, TaskClass};

use super::file::{ClusterTable, FaultsTable, File, JobsTable, PolicyTable, Rows};
use super::jobs;
use super::problem::{Lines, Problem};
use super::queues::{self, Preempt};
use super::sensitivity::{Variation, variations};
use super::values::Placement;
use crate::Setup;
use crate::cluster::{Cluster, NodeModel};
use crate::external::Command;
use crate::faults::{Faults, Pipeline, RecordedFault, Repair, Retirement, Slow, read_recorded};
use crate::read::{self, ReadError, ReadReport, ReadSettings, Source};
use crate::tables::{Input, Varied, sha256};
use crate::workload::Workload;

/// Reads a file that an experiment names, or says why not.
pub type ReadFile<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>, String>;

/// How many rows the usage over time has at least, when a run lasts as long as its submissions.
const USAGE_ROWS: u64 = 120;
/// Lengths of rows that people can read off an axis, in minutes.
const ROW_MINUTES: [u64; 9] = [1, 5, 15, 60, 180, 360, 720, 1_440, 10_080];

/// All that a set of runs is made from.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// With every default written out.
    pub file: File,
    pub variants: Vec<Variant>,
    pub inputs: Vec<Input>,
    /// What readers of the results must know.
    pub notes: Vec<String>,
    pub warm_up_ms: u64,
    pub rows: Rows,
    cluster: Cluster,
    /// Of traces; generators draw theirs for each seed.
    trace: Option<Workload>,
}

/// One policy, with what is particular to it.
#[derive(Debug, Clone)]
pub struct Variant {
    pub name: String,
    /// Of `[sensitivity]`: what differs from a policy of the file.
    pub varied: Option<Varied>,
    pub tie: String,
    dispatch: DispatchSettings,
    program: Option<Command>,
    nodes: usize,
    spares: usize,
    jobs: JobsTable,
    faults: Faults,
}

/// Files that were read, and what was found in them.
struct Loading<'a> {
    lines: Lines<'a>,
    read: ReadFile<'a>,
    inputs: Vec<Input>,
    notes: Vec<String>,
}

impl Experiment {
    /// Reads what the file names. `text` is the file's own, for the lines of complaints.
    pub fn load(file: &File, text: &str, read: ReadFile) -> Result<Self, Vec<Problem>> {
        let filled = file.filled();
        let mut loading = Loading { lines: Lines::of(text), read, inputs: Vec::new(), notes: Vec::new() };
        let (cluster, trace) = (loading.cluster(&filled.cluster), loading.trace(&filled));
        let (cluster, trace) = match (cluster, trace) {
            (Ok(cluster), Ok(trace)) => (cluster, trace),
            (cluster, trace) => return Err([cluster.err(), trace.err()].into_iter().flatten().collect()),
        };
        let trace = loading.told(trace, &filled, &cluster);
        let (mut variants, mut problems) = (Vec::new(), Vec::new());
        let policies = filled.order.iter().map(|name| (name.clone(), format!("policy.{name}"), filled.policy[name].clone(), None));
        let varied = variations(file).unwrap_or_default().into_iter().map(|Variation { varied, table }| {
            let table = table.filled(&varied.policy);
            (varied.name.clone(), format!("sensitivity.vary.{}", varied.field), table, Some(varied))
        });
        for (name, at, table, varied) in policies.chain(varied) {
            match loading.variant(&filled, &table, &at, &cluster, trace.as_ref()) {
                Ok(variant) => variants.push(Variant { name, varied, ..variant }),
                Err(problem) if problems.contains(&problem) => {}
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        loading.notes.extend(notes(&filled));
        let warm_up_ms = filled.run.warm_up.map_or(0, |span| span.ms);
        let rows = filled.run.rows.map(|choice| choice.value).unwrap_or_default();
        let experiment = Self { file: filled, variants, inputs: loading.inputs, notes: loading.notes, warm_up_ms, rows, cluster, trace };
        if experiment.counts_no_job() {
            let why = "no job is submitted between the warm-up and the end of the run, so nothing would count: write a shorter warm-up or a longer horizon";
            let field = if warm_up_ms > 0 { "run.warm_up" } else { "run.horizon" };
            return Err(vec![loading.lines.problem(field, why)]);
        }
        Ok(experiment)
    }

    /// In TOML, with every default.
    pub fn written(&self) -> String {
        toml::to_string(&self.file).unwrap_or_default()
    }

    pub fn seeds(&self) -> Vec<u64> {
        self.file.run.seeds.into_iter().flat_map(|seeds| seeds.all()).collect()
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The jobs of the file that it names.
    pub fn trace(&self) -> Option<&Workload> {
        self.trace.as_ref()
    }

    /// The jobs of a seed, before what is particular to a policy.
    pub fn workload(&self, seed: u64) -> Workload {
        let table = &self.file.workload;
        match (&self.trace, &table.generator, &table.job) {
            (Some(trace), ..) => jobs::resampled(trace, table.resample.map(|choice| choice.value).unwrap_or_default(), seed),
            (None, Some(generator), _) => jobs::generated(generator, node_gpus(&self.cluster), self.cluster.all_gpu_milli() / 1_000, seed),
            (None, None, Some(job)) => jobs::single(job, node_gpus(&self.cluster)),
            (None, None, None) => Workload::default(),
        }
    }

    /// Whether every job of the first seed comes too early or too late to count.
    fn counts_no_job(&self) -> bool {
        let horizon_ms = self.file.run.horizon.map(|span| span.ms);
        if self.warm_up_ms == 0 && horizon_ms.is_none() {
            return false;
        }
        let counts = |job: &crate::workload::Job| (self.warm_up_ms..horizon_ms.unwrap_or(u64::MAX)).contains(&job.submit_ms);
        let seed = self.seeds().first().copied().unwrap_or_default();
        !self.workload(seed).jobs.iter().any(counts)
    }

    /// One run.
    pub fn setup(&self, variant: &Variant, seed: u64) -> Setup {
        let workload = jobs::furnished(self.workload(seed), &variant.jobs, seed);
        let horizon_ms = self.file.run.horizon.map(|span| span.ms);
        let span_ms = workload.jobs.iter().map(|job| job.submit_ms + job.work_ms).max().unwrap_or(0);
        let placement =
            Settings { seed, target: target(variant.dispatch.placement.policy, &workload), ..variant.dispatch.placement.clone() };
        let mut cluster = self.cluster.clone();
        cluster.machines.truncate(variant.nodes);
        let cluster = cluster.with_spares(variant.spares);
        let queues = queues::settings(&self.file.queue, &workload.queues);
        let mut setup = Setup::new(cluster, workload, DispatchSettings { placement, queues, ..variant.dispatch.clone() });
        setup.program = variant.program.clone();
        setup.faults = variant.faults.clone();
        setup.seed = seed;
        setup.horizon_ms = horizon_ms;
        setup.usage_row_ms = Some(row_ms(horizon_ms.unwrap_or(span_ms)));
        setup
    }
}

/// The longest usual row with which there are enough of them.
fn row_ms(span_ms: u64) -> u64 {
    let fine = |minutes: &&u64| span_ms / (**minutes * 60_000) >= USAGE_ROWS;
    ROW_MINUTES.iter().rev().find(fine).map_or_else(|| (span_ms / USAGE_ROWS).max(1_000), |minutes| minutes * 60_000)
}

fn node_gpus(cluster: &Cluster) -> u32 {
    cluster.machines.iter().map(|machine| machine.gpus.len() as u32).max().unwrap_or(1)
}

/// What FGD keeps room for: the tasks of the workload itself.
fn target(policy: PolicyName, workload: &Workload) -> Vec<(TaskClass, u64)> {
    if policy != PolicyName::Fgd {
        return Vec::new();
    }
    let mut counts = vec![0u64; workload.classes.len()];
    for job in &workload.jobs {
        counts[job.class as usize] += u64::from(job.tasks);
    }
    workload.classes.iter().cloned().zip(counts).filter(|(_, count)| *count > 0).collect()
}

fn notes(file: &File) -> Vec<String> {
    let mut notes = Vec::new();
    let places = |policy: PolicyName| file.policy.values().any(|table| table.placement.as_ref() == Some(&Placement::Policy(policy)));
    if places(PolicyName::Fgd) {
        notes.push("FGD keeps room for the tasks of the workload that it is judged by: it knows the test in advance.".to_owned());
    }
    for (name, table) in &file.policy {
        if let Some(command) = table.placement.as_ref().and_then(Placement::program) {
            notes.push(format!("{name}: the nodes are chosen by `{command}`, which is repeatable as far as that program is."));
        }
    }
    if file.jobs.estimate.is_some_and(|choice| choice.value != super::file::Estimate::Off) && file.jobs.estimate_error == Some(0.0) {
        notes.push("Estimates have no error of their own: what a trace does not estimate is known exactly.".to_owned());
    }
    if file.run.warm_up.is_some_and(|span| span.ms > 0) {
        notes.push(
            "Jobs submitted during the warm-up, and GPU time up to the end of the usage row in which it ends, count in no figure."
                .to_owned(),
        );
    }
    if file.workload.scale.is_some_and(|scale| scale.time != 1.0 || scale.jobs != 1.0 || scale.gpus != 1.0) {
        notes.push("The workload is scaled, so it differs from what happened.".to_owned());
    }
    notes
}

impl Loading<'_> {
    fn bytes(&mut self, field: &str, path: &str) -> Result<Vec<u8>, Problem> {
        let bytes = (self.read)(path).map_err(|why| self.lines.problem(field, format!("{path} cannot be read: {why}")))?;
        if !self.inputs.iter().any(|input| input.path == path) {
            self.inputs.push(Input { path: path.to_owned(), bytes: bytes.len() as u64, sha256: sha256(&bytes) });
        }
        Ok(bytes)
    }

    /// The files that the command of a program names, as far as they are there: another program is another experiment.
    fn of_program(&mut self, field: &str, command: &Command) -> Result<(), Problem> {
        let inputs = command.files().map_err(|why| self.lines.problem(field, why))?;
        for input in inputs {
            if !self.inputs.contains(&input) {
                self.inputs.push(input);
            }
        }
        Ok(())
    }

    fn source(&mut self, field: &str, path: &str) -> Result<Source, Problem> {
        let bytes = self.bytes(field, path)?;
        Source::from_bytes(path, bytes).map_err(|error| self.unreadable(field, &error))
    }

    fn unreadable(&self, field: &str, error: &ReadError) -> Problem {
        self.lines.problem(field, error.to_string())
    }

    fn cluster(&mut self, table: &ClusterTable) -> Result<Cluster, Problem> {
        let racks = (table.rack_nodes.unwrap_or(8) as usize, table.block_racks.unwrap_or(8) as usize);
        if let Some(path) = &table.file {
            let source = self.source("cluster.file", path)?;
            let machines = read::nodes(&source).map_err(|error| self.unreadable("cluster.file", &error))?;
            return Ok(Cluster { machines, spares: 0 });
        }
        if let Some(processors) = table.processors {
            return Ok(Cluster::processors(processors as usize));
        }
        let mut machines = Vec::new();
        for (at, group) in table.nodes.iter().flatten().enumerate() {
            let model = NodeModel {
                gpus: group.gpus,
                model: group.model.clone(),
                gpu_memory_mib: group.gpu_memory_mib.unwrap_or(81_920),
                cpu_milli: group.cpu_milli,
                memory_mib: group.memory_mib,
            };
            let several = table.nodes.as_ref().is_some_and(|groups| groups.len() > 1);
            for mut machine in Cluster::uniform(group.count as usize, &model, racks.0, racks.1).machines {
                if several {
                    machine.name = format!("g{at}-{}", machine.name);
                    machine.rack = format!("g{at}-{}", machine.rack);
                    machine.block = format!("g{at}-{}", machine.block);
                }
                machines.push(machine);
            }
        }
        Ok(Cluster { machines, spares: 0 })
    }

    fn trace(&mut self, file: &File) -> Result<Option<(Workload, ReadReport)>, Problem> {
        let table = &file.workload;
        let Some(path) = &table.file else { return Ok(None) };
        let source = self.source("workload.file", path)?;
        let settings = ReadSettings {
            node_gpus: table.node_gpus.unwrap_or(8),
            processors: table.processors.map(|choice| choice.value).unwrap_or_default(),
        };
        let reading = read::jobs(&source, table.format.map(|word| word.value), &settings);
        let reading = reading.map_err(|error| self.unreadable("workload.file", &error))?;
        let workload = jobs::cut_and_scaled(reading.workload, table);
        if workload.jobs.is_empty() {
            return Err(self
                .lines
                .problem("workload.until", "no job is submitted in the window: widen it, or take `from` and `until` out"));
        }
        Ok(Some((workload, reading.report)))
    }

    /// Keeps what a reader of the results must know of the trace.
    fn told(&mut self, trace: Option<(Workload, ReadReport)>, file: &File, cluster: &Cluster) -> Option<Workload> {
        let (workload, report) = trace?;
        let path = file.workload.file.as_deref().unwrap_or_default();
        self.notes.extend(words_of(path, &report, cluster.all_gpu_milli() / 1_000));
        Some(workload)
    }

    /// `at`: where its table stands in the file. Its name is the caller's.
    fn variant(
        &mut self,
        file: &File,
        table: &PolicyTable,
        at: &str,
        cluster: &Cluster,
        trace: Option<&Workload>,
    ) -> Result<Variant, Problem> {
        let jobs = table.jobs.as_ref().map_or_else(|| file.jobs.clone(), |own| own.over(&file.jobs));
        let (faults, of_faults) = match &table.faults {
            Some(own) => (own.over(&file.faults), format!("{at}.faults")),
            None => (file.faults.clone(), "faults".to_owned()),
        };
        let faults = self.faults(&faults, &of_faults, cluster)?;
        let placement = Settings {
            policy: table.placement.as_ref().map(Placement::policy).unwrap_or_default(),
            tie: table.tie.map(|word| word.value).unwrap_or_default(),
            scores: table.scores.map(|choice| choice.value).unwrap_or_default(),
            target: Vec::new(),
            seed: 0,
        };
        if placement.policy == PolicyName::Fgd && trace.is_some_and(|trace| trace.classes.is_empty()) {
            return Err(self.lines.problem(at, "the workload has no task that FGD could keep room for: use another placement"));
        }
        let nodes = cluster.machines.len().saturating_sub(table.fewer_nodes.unwrap_or(0) as usize);
        let spares = table.spares.or(file.cluster.spares).unwrap_or(0) as usize;
        if spares >= nodes {
            let field = format!("{at}.spares");
            return Err(self.lines.problem(&field, format!("all {nodes} nodes that it has would be spares: keep some to run jobs on")));
        }
        let dispatch = DispatchSettings {
            placement,
            order: table.order.map(|word| word.value).unwrap_or_default(),
            blocking: table.blocking.map(|word| word.value).unwrap_or_default(),
            reserve_after_ms: table.reserve_after.map(|span| span.ms),
            queues: queues::settings(&file.queue, trace.map_or(&[], |trace| &trace.queues)),
            history: table.history(),
            preemption: table.preemption(),
            resize_min_ms: table.resize_min.map(|span| span.ms),
            ..DispatchSettings::default()
        };
        let makes_sense = Dispatcher::new(&DispatchSettings { placement: Settings::default(), ..dispatch.clone() });
        makes_sense.map_err(|error| self.lines.problem(at, error.to_string()))?;
        let program = table.placement.as_ref().and_then(Placement::program).cloned();
        if let Some(command) = &program {
            self.of_program(&format!("{at}.placement"), command)?;
        }
        // These have an order of their own.
        let has_ties = program.is_none() && !matches!(dispatch.placement.policy, PolicyName::Random | PolicyName::RoundRobin);
        let tie = if has_ties { dispatch.placement.tie.to_string() } else { "none".to_owned() };
        Ok(Variant { name: String::new(), varied: None, tie, dispatch, program, nodes, spares, jobs, faults })
    }

    fn faults(&mut self, table: &FaultsTable, at: &str, cluster: &Cluster) -> Result<Faults, Problem> {
        let scale = table.time_scale.unwrap_or(1.0);
        let mut faults = match (table.preset, table.per_node_day) {
            (_, Some(per_node_day)) => Faults::constant(per_node_day * scale, 0),
            (Some(preset), None) if table.is_on() => Faults::preset(preset.value, scale),
            _ => Faults::off(),
        };
        if let Some(span) = table.repair {
            faults.repair = Repair::After(span.ms);
        }
        if let Some(pipeline) = &table.pipeline {
            faults.repair = Repair::Pipeline(Pipeline {
                automatic_ms: pipeline.automatic.ms,
                escalated: pipeline.escalated,
                manual_ms: pipeline.manual.ms,
                automatic_in_vain: pipeline.automatic_in_vain,
                manual_in_vain: pipeline.manual_in_vain,
            });
        }
        if let Some(name) = table.detector {
            faults.detector = name.detector;
        }
        faults.retirement =
            table.retirement.as_ref().map(|retirement| Retirement { faults: retirement.faults as usize, within_ms: retirement.within.ms });
        faults.one_gpu = table.one_gpu.unwrap_or(0.0);
        let speed_milli = (table.slow_speed.unwrap_or(1.0) * 1_000.0).round() as u16;
        faults.slow = table.slow.filter(|share| *share > 0.0).map(|share| Slow { share, speed_milli });
        faults.misdiagnosis = table.misdiagnosis.unwrap_or(0.0);
        if let Some(path) = &table.trace {
            faults.recorded = self.recorded(&format!("{at}.trace"), path, cluster)?;
        }
        Ok(faults)
    }

    /// Nodes go by the cluster's names where all of them are known; else in the order in which the file has them.
    fn recorded(&mut self, field: &str, path: &str, cluster: &Cluster) -> Result<Vec<RecordedFault>, Problem> {
        let bytes = self.bytes(field, path)?;
        let names: Vec<String> = cluster.machines.iter().map(|machine| machine.name.clone()).collect();
        if let Ok(recorded) = read_recorded(bytes.as_slice(), Some(&names)) {
            return Ok(recorded);
        }
        let recorded = read_recorded(bytes.as_slice(), None).map_err(|error| self.lines.problem(field, format!("{path}: {error}")))?;
        let note = format!("{path} names nodes that the cluster does not have: they were taken in the order in which the file has them.");
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
        match recorded.iter().find(|fault| fault.node >= names.len()) {
            Some(_) => Err(self
                .lines
                .problem(field, format!("{path} has faults on more nodes than the {} of the cluster: make it larger", names.len()))),
            None => Ok(recorded),
        }
    }
}

/// What a reader of the results must know of a trace.
fn words_of(path: &str, report: &ReadReport, gpus: u64) -> Vec<String> {
    use faultline_engine::words::{count, plural};
    let dropped: u64 = report.dropped.iter().map(|dropped| dropped.rows).sum();
    let reasons: Vec<String> = report.dropped.iter().map(|one| format!("{} ({})", count(one.rows), one.reason.as_str())).collect();
    let because = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join(", ")) };
    let mut words = vec![format!(
        "{path} ({}): {} of {} used, {} dropped{because}.",
        report.format.as_str(),
        count(report.used),
        plural(report.rows, "row"),
        count(dropped)
    )];
    let hours: f64 = report.statuses.iter().map(|status| status.gpu_hours()).sum();
    if !report.statuses.is_empty() && hours > 0.0 {
        let shares = report.statuses.iter().map(|status| {
            let (jobs, time) = (100.0 * status.jobs as f64 / report.used.max(1) as f64, 100.0 * status.gpu_hours() / hours);
            format!("{} {jobs:.1} % of jobs and {time:.1} % of GPU hours", status.status)
        });
        words.push(format!("{path}: {}.", shares.collect::<Vec<_>>().join("; ")));
    }
    if let Some(load) = report.offered_load(gpus) {
        words.push(format!(
            "{path}: its jobs ask for {:.1} % of the cluster's GPU time between the first and the last submission, unscaled.",
            100.0 * load
        ));
    }
    words.extend(report.notes.iter().map(|note| format!("{path}: {note}")));
    words
}

impl PolicyTable {
    fn preemption(&self) -> PreemptionSettings {
        let preempt = self.preempt.map(|choice| choice.value).unwrap_or_default();
        PreemptionSettings {
            by_priority: matches!(preempt, Preempt::ByPriority | Preempt::Both),
            reclaim: matches!(preempt, Preempt::Reclaim | Preempt::Both),
            min_run_ms: self.min_run.map_or(0, |span| span.ms),
        }
    }

    fn history(&self) -> Option<HistorySettings> {
        self.usage_half_life.map(|span| HistorySettings { half_life_ms: span.ms, ..HistorySettings::default() })
    }
}
