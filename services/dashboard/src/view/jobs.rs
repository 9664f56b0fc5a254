//! Jobs as far as this process has heard of them, in the order in which JetStream stored them: open markers, terminal records, what heartbeats say
//! runs, and the rows that the leader sent last. Which of these wins for one job is decided in `compose`.

mod entry;
mod order;

use std::collections::{BTreeMap, BTreeSet};

use faultline_engine::job::{AttemptId, JobId, Param, Params, Priority};
use faultline_protocol::messages::{ClusterEvent, JobState, JobView, OpenMarker, RunningBrief, TerminalRecord};

use super::per_second::PerSecond;
use entry::Entry;
use order::Sortable;
pub(crate) use order::{JobKey, JobOrder};

/// The longest text that is kept of a result or a reason, in bytes.
const MAX_TEXT_BYTES: usize = 4096;
/// The most bytes of parameters that are kept of an ended job.
const MAX_PARAM_BYTES: usize = 512;

/// Which jobs are wanted. The default wants all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct JobFilter {
    /// Empty: any state.
    pub(crate) states: BTreeSet<JobState>,
    pub(crate) kind: Option<String>,
    /// A node that the job runs on or ever ran on.
    pub(crate) node: Option<String>,
    pub(crate) priority: Option<Priority>,
    pub(crate) min_attempts: u32,
    /// Lower case; part of the name, the id or the reason.
    pub(crate) text: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct RunsOn {
    node: String,
    attempt: AttemptId,
    progress_permille: u16,
}

/// The newest jobs, at most `limit` of them; ended ones go first.
#[derive(Debug)]
pub(crate) struct JobTable {
    limit: usize,
    entries: BTreeMap<JobId, Entry>,
    /// All of them by their arrival. Their ids hold the times of their submitters' clocks.
    order: BTreeSet<(u64, JobId)>,
    ended: BTreeSet<(u64, JobId)>,
    runs: BTreeMap<JobId, RunsOn>,
    runs_by_node: BTreeMap<String, Vec<JobId>>,
    arrivals: PerSecond,
    commits: PerSecond,
}

impl JobTable {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            entries: BTreeMap::new(),
            order: BTreeSet::new(),
            ended: BTreeSet::new(),
            runs: BTreeMap::new(),
            runs_by_node: BTreeMap::new(),
            arrivals: PerSecond::default(),
            commits: PerSecond::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = JobId> {
        self.entries.keys().copied()
    }

    pub(crate) fn running(&self) -> usize {
        self.runs.keys().filter(|job| self.runs_at(**job).is_some()).count()
    }

    pub(crate) fn queued(&self) -> usize {
        self.entries.len() - self.ended.len() - self.runs.keys().filter(|job| self.is_open(**job) && self.runs_at(**job).is_some()).count()
    }

    /// Where the job runs. A heartbeat that named an attempt means nothing once that attempt is known to have ended: the job then waits for
    /// its retry.
    fn runs_at(&self, job: JobId) -> Option<&RunsOn> {
        let at = self.runs.get(&job)?;
        let has_ended = self.entries.get(&job).is_some_and(|entry| entry.has_ended(at.attempt));
        (!has_ended).then_some(at)
    }

    /// How many jobs were submitted in these seconds, as far as they are known here.
    pub(crate) fn submitted_in(&self, seconds: std::ops::RangeInclusive<u64>) -> u64 {
        seconds.map(|second| self.arrivals.at(second)).sum()
    }

    /// How many jobs were committed in that second.
    pub(crate) fn committed_in(&self, second: u64) -> u64 {
        self.commits.at(second)
    }

    /// How many jobs were submitted in the minute before `now_ms`, as far as they are known here.
    pub(crate) fn submitted_last_minute(&self, now_ms: u64) -> u64 {
        self.arrivals.last_minute(now_ms / 1000)
    }

    /// Since when the job that waits longest has waited, in Unix milliseconds: since it was submitted.
    pub(crate) fn oldest_queued_ms(&self) -> Option<u64> {
        let waits = |job: &JobId, entry: &Entry| {
            entry.end.is_none() && self.runs_at(*job).is_none() && entry.leader_state() != Some(JobState::Running)
        };
        self.oldest_first().find(|(job, entry)| waits(job, entry)).map(|(_, entry)| entry.arrived_ms)
    }

    pub(crate) fn contains(&self, job: JobId) -> bool {
        self.entries.contains_key(&job)
    }

    /// How the job ended, when, and by which attempt.
    pub(crate) fn end_of(&self, job: JobId) -> Option<(JobState, u64, Option<AttemptId>)> {
        let end = self.entries.get(&job)?.end.as_ref()?;
        Some((end.state, end.ended_at_ms, end.attempt))
    }

    /// Name and kind of a job.
    pub(crate) fn name_of(&self, job: JobId) -> Option<(String, String)> {
        self.entries.get(&job).map(|entry| (entry.name().to_owned(), entry.kind().to_owned()))
    }

    fn oldest_first(&self) -> impl DoubleEndedIterator<Item = (JobId, &Entry)> {
        self.order.iter().filter_map(|(_, job)| self.entries.get(job).map(|entry| (*job, entry)))
    }

    /// The entry of a job; one that was not known before has just arrived.
    fn arrived(&mut self, job: JobId, arrived_ms: u64) -> &mut Entry {
        let (arrivals, order) = (&mut self.arrivals, &mut self.order);
        self.entries.entry(job).or_insert_with(|| {
            arrivals.add(arrived_ms / 1000);
            order.insert((arrived_ms, job));
            Entry { arrived_ms, ..Entry::default() }
        })
    }

    /// How many jobs were committed in the minute before `now_ms`, as far as their records arrived here.
    pub(crate) fn committed_last_minute(&self, now_ms: u64) -> u64 {
        self.commits.last_minute(now_ms / 1000)
    }

    fn is_open(&self, job: JobId) -> bool {
        self.entries.get(&job).is_some_and(|entry| entry.end.is_none())
    }

    /// An open marker. Comes late when records are read again: an ended job stays ended.
    pub(crate) fn on_open(&mut self, marker: OpenMarker) {
        let (job, submitted_at_ms) = (marker.job, marker.submitted_at_ms);
        self.arrived(job, submitted_at_ms).marker = Some(marker);
        self.evict();
    }

    /// An open marker of a job that was not known, and the job as it then looks.
    pub(crate) fn on_open_and_get(&mut self, marker: OpenMarker) -> JobView {
        let job = marker.job;
        let alone = self.compose(job, &Entry { arrived_ms: marker.submitted_at_ms, marker: Some(marker.clone()), ..Entry::default() });
        self.on_open(marker);
        self.get(job).unwrap_or(alone)
    }

    /// A terminal record. The first one stands.
    pub(crate) fn on_end(&mut self, mut record: TerminalRecord) {
        let job = record.job;
        let entry = self.arrived(job, record.submitted_at_ms);
        if entry.end.is_some() {
            return;
        }
        if record.submission.as_ref().is_some_and(|submission| is_large(&submission.params)) {
            record.submission = None;
        }
        clip(&mut record.result);
        clip(&mut record.reason);
        let committed_at_ms = (record.state == JobState::Committed).then_some(record.ended_at_ms);
        let arrived_ms = entry.arrived_ms;
        // The record repeats its submitter's word; the first message of the job was judged by when it was stored.
        record.submitted_at_ms = arrived_ms;
        *entry = Entry { arrived_ms, end: Some(record), ..Entry::default() };
        if let Some(at_ms) = committed_at_ms {
            self.commits.add(at_ms / 1000);
        }
        self.ended.insert((arrived_ms, job));
        self.runs.remove(&job);
        self.evict();
    }

    /// An event about a job tells how it fared so far.
    pub(crate) fn on_event(&mut self, event: &ClusterEvent) {
        let Some(entry) = event.job.and_then(|job| self.entries.get_mut(&job)) else { return };
        if entry.end.is_some() {
            return;
        }
        entry.failures = entry.failures.max(event.failures);
        entry.requeues = entry.requeues.max(event.requeues);
        if !event.history.is_empty() {
            entry.history.clone_from(&event.history);
        }
    }

    /// What one node says that it runs; replaces what it said before. Empty for a node that is gone.
    pub(crate) fn on_running(&mut self, node: &str, running: &[RunningBrief]) {
        if self.only_goes_on(node, running) {
            return;
        }
        for job in self.runs_by_node.remove(node).unwrap_or_default() {
            if self.runs.get(&job).is_some_and(|at| at.node == node) {
                self.runs.remove(&job);
            }
        }
        let mut jobs = Vec::with_capacity(running.len());
        for brief in running {
            // A zombie may still report an attempt that was superseded: the younger attempt counts.
            let older = self.runs.get(&brief.job).is_none_or(|at| at.attempt <= brief.attempt);
            if older && self.entries.get(&brief.job).is_none_or(|entry| entry.end.is_none()) {
                let at = RunsOn { node: node.to_owned(), attempt: brief.attempt, progress_permille: brief.progress_permille };
                self.runs.insert(brief.job, at);
                jobs.push(brief.job);
            }
        }
        if !jobs.is_empty() {
            self.runs_by_node.insert(node.to_owned(), jobs);
        }
    }

    /// Whether the node runs what it ran before, as most heartbeats say; the progress is then noted.
    fn only_goes_on(&mut self, node: &str, running: &[RunningBrief]) -> bool {
        let Some(jobs) = self.runs_by_node.get(node) else { return running.is_empty() };
        let runs = &mut self.runs;
        jobs.len() == running.len()
            && running.iter().zip(jobs).all(|(brief, job)| {
                let known = runs.get_mut(job).filter(|at| brief.job == *job && at.attempt == brief.attempt && at.node == node);
                known.map(|at| at.progress_permille = brief.progress_permille).is_some()
            })
    }

    /// The attempts that a node runs, and how far each had come when it said so last.
    pub(crate) fn running_on(&self, node: &str) -> impl Iterator<Item = (AttemptId, u16)> {
        let jobs = self.runs_by_node.get(node).into_iter().flatten();
        jobs.filter_map(|job| self.runs.get(job)).filter(move |at| at.node == node).map(|at| (at.attempt, at.progress_permille))
    }

    /// The rows that the leader sent: they replace its earlier ones.
    pub(crate) fn on_leader_rows(&mut self, rows: Vec<JobView>) {
        let named: BTreeSet<JobId> = rows.iter().map(|row| row.id).collect();
        self.entries.retain(|job, entry| {
            if entry.leader.is_some() && !named.contains(job) {
                entry.leader = None;
            }
            // Known from the leader alone, and it forgot it: nothing is left to show.
            let is_kept = entry.leader.is_some() || entry.marker.is_some() || entry.end.is_some() || named.contains(job);
            if !is_kept {
                self.order.remove(&(entry.arrived_ms, *job));
            }
            is_kept
        });
        for row in rows {
            self.on_leader_row(row);
        }
        self.evict();
    }

    fn on_leader_row(&mut self, row: JobView) {
        let entry = self.arrived(row.id, row.submitted_at_ms);
        if entry.end.is_none() {
            entry.leader = Some(row);
        }
    }

    /// One job, if it is known.
    pub(crate) fn get(&self, job: JobId) -> Option<JobView> {
        self.entries.get(&job).map(|entry| self.compose(job, entry))
    }

    /// Puts what heartbeats say on top of a row that the leader has just sent.
    pub(crate) fn overlay(&self, view: &mut JobView) {
        let Some(at) = self.runs_at(view.id) else { return };
        if view.state.is_terminal() {
            return;
        }
        view.state = JobState::Running;
        view.node = Some(at.node.clone());
        view.progress_permille = at.progress_permille;
    }

    /// So many of the wanted jobs after so many others, and how many there are in all. Of equal ones the newest comes first.
    pub(crate) fn page(&self, filter: &JobFilter, order: JobOrder, now_ms: u64, skip: usize, limit: usize) -> (Vec<JobView>, usize) {
        let newest_first = self.oldest_first().rev().filter(|(job, entry)| self.wanted(filter, *job, entry));
        if order == JobOrder::default() && *filter == JobFilter::default() {
            return (newest_first.skip(skip).take(limit).map(|(job, entry)| self.compose(job, entry)).collect(), self.entries.len());
        }
        let mut wanted: Vec<(JobId, &Entry)> = newest_first.collect();
        let total = wanted.len();
        if order.key == JobKey::Submitted {
            if !order.is_descending {
                wanted.reverse();
            }
        } else {
            let mut keyed: Vec<_> = wanted.iter().map(|&(job, entry)| (self.sortable(job, entry, now_ms), (job, entry))).collect();
            keyed.sort_by(|(one, _), (other, _)| order.compare(one, other));
            wanted = keyed.into_iter().map(|(_, row)| row).collect();
        }
        (wanted.into_iter().skip(skip).take(limit).map(|(job, entry)| self.compose(job, entry)).collect(), total)
    }

    fn sortable<'e>(&self, job: JobId, entry: &'e Entry, now_ms: u64) -> Sortable<'e> {
        let since_ms = |at_ms: u64| at_ms.saturating_sub(entry.arrived_ms);
        let until_ms = entry.end.as_ref().map_or(now_ms, |end| end.ended_at_ms);
        Sortable {
            name: entry.name(),
            kind: entry.kind(),
            priority: entry.priority(),
            state: self.state(job, entry),
            gpu_milli: entry.gpu_milli(),
            attempts: entry.attempts(self.runs_at(job).is_some()),
            wait_ms: since_ms(entry.history().first().map_or(until_ms, |row| row.placed_at_ms)),
            took_ms: since_ms(until_ms),
        }
    }

    /// The wanted jobs that have not ended, newest first, at most `limit`, and whether there are more.
    pub(crate) fn open_ones(&self, filter: &JobFilter, limit: usize) -> (Vec<JobId>, bool) {
        let open = self.oldest_first().rev().filter(|(job, entry)| entry.end.is_none() && self.wanted(filter, *job, entry));
        let mut jobs: Vec<JobId> = open.map(|(job, _)| job).take(limit.saturating_add(1)).collect();
        let more = jobs.len() > limit;
        jobs.truncate(limit);
        (jobs, more)
    }

    fn state(&self, job: JobId, entry: &Entry) -> JobState {
        match (&entry.end, &entry.leader) {
            (Some(end), _) => end.state,
            (None, _) if self.runs_at(job).is_some() => JobState::Running,
            (None, Some(row)) => row.state,
            (None, None) => JobState::Queued,
        }
    }

    fn wanted(&self, filter: &JobFilter, job: JobId, entry: &Entry) -> bool {
        if !filter.states.is_empty() && !filter.states.contains(&self.state(job, entry)) {
            return false;
        }
        if filter.kind.as_deref().is_some_and(|kind| kind != entry.kind())
            || filter.priority.is_some_and(|wanted| Some(wanted) != entry.priority())
        {
            return false;
        }
        if filter.min_attempts > 0 && entry.attempts(self.runs_at(job).is_some()) < filter.min_attempts {
            return false;
        }
        if let Some(node) = &filter.node {
            let runs_there = self.runs_at(job).is_some_and(|at| &at.node == node);
            if !runs_there && !entry.history().iter().any(|row| &row.node == node) {
                return false;
            }
        }
        filter.text.as_ref().is_none_or(|text| {
            let found = |field: &str| field.to_lowercase().contains(text.as_str());
            found(entry.name()) || found(&job.to_string()) || entry.end.as_ref().is_some_and(|end| found(&end.reason))
        })
    }

    fn compose(&self, job: JobId, entry: &Entry) -> JobView {
        if let Some(end) = &entry.end {
            return ended_view(end);
        }
        let mut view = entry.leader.clone().unwrap_or_else(|| {
            let priority = entry.priority().unwrap_or(Priority::Normal);
            let submitted_at_ms = if entry.arrived_ms > 0 { entry.arrived_ms } else { job.unix_ms() };
            JobView {
                failures: entry.failures,
                requeues: entry.requeues,
                attempts: entry.history.clone(),
                ..JobView::queued(job, entry.name().to_owned(), entry.kind().to_owned(), priority, submitted_at_ms)
            }
        });
        self.overlay(&mut view);
        view.said()
    }

    /// Ended jobs go first, the oldest of them; then the oldest of all.
    fn evict(&mut self) {
        while self.entries.len() > self.limit {
            let Some((arrived_ms, job)) = self.ended.pop_first().or_else(|| self.order.first().copied()) else { return };
            self.order.remove(&(arrived_ms, job));
            self.entries.remove(&job);
        }
    }
}

/// A job that has ended, from its record.
pub(crate) fn ended_view(end: &TerminalRecord) -> JobView {
    JobView {
        id: end.job,
        name: end.name.clone(),
        kind: end.kind.clone(),
        priority: end.priority,
        state: end.state,
        submitted_at_ms: end.submitted_at_ms,
        ended_at_ms: Some(end.ended_at_ms),
        demand: None,
        node: end.history.last().map(|row| row.node.clone()),
        progress_permille: if end.state == JobState::Committed { 1000 } else { 0 },
        failures: end.failures,
        requeues: end.requeues,
        attempts: end.history.clone(),
        result: end.result.clone(),
        reason: end.reason.clone(),
        waiting: None,
        submission: None,
    }
    .with_submission(end.submission.clone())
    .said()
}

/// Whether so much is better read from the record, when one job is asked for, than kept of thousands.
fn is_large(params: &Params) -> bool {
    let bytes = params.iter().map(|(name, value)| name.len() + if let Param::Text(text) = value { text.len() } else { 0 });
    bytes.sum::<usize>() > MAX_PARAM_BYTES
}

/// Shortens a text from outside, on a character's border.
pub(super) fn clip(text: &mut String) {
    clip_to(text, MAX_TEXT_BYTES);
}

/// The same, to so many bytes.
pub(super) fn clip_to(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes));
        text.push('…');
    }
}

#[cfg(test)]
#[path = "jobs_tests.rs"]
mod tests;
