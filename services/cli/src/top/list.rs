//! A list of nodes or jobs: by which column it is sorted, what the filter leaves, which row is selected. Pure.

use std::cmp::Ordering;

use faultline_protocol::messages::{JobView, NodeView};

/// What a list can be sorted by.
pub(crate) trait Column: Copy + PartialEq + 'static {
    type Row;
    const ALL: &'static [Self];
    fn title(self) -> &'static str;
    fn compare(self, one: &Self::Row, other: &Self::Row) -> Ordering;
    /// What a row is called: it stays selected under this name.
    fn name(row: &Self::Row) -> String;
    /// All that the filter looks at, in lower case.
    fn text(row: &Self::Row) -> String;
}

/// How the order changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Next,
    Previous,
    Reverse,
}

#[derive(Debug)]
pub(crate) struct List<C> {
    pub(crate) column: C,
    pub(crate) is_descending: bool,
    pub(crate) filter: String,
    selected: Option<String>,
    place: usize,
}

impl<C: Column> List<C> {
    pub(crate) fn new(column: C) -> Self {
        Self { column, is_descending: false, filter: String::new(), selected: None, place: 0 }
    }

    /// The rows that the filter leaves, in order. Equal ones stand by name, so that nothing jumps about.
    pub(crate) fn shown<'a>(&self, rows: &'a [C::Row]) -> Vec<&'a C::Row> {
        let needle = self.filter.to_lowercase();
        let mut shown: Vec<_> = rows.iter().filter(|row| needle.is_empty() || C::text(row).contains(&needle)).collect();
        shown.sort_by(|one, other| {
            let order = self.column.compare(one, other);
            let order = if self.is_descending { order.reverse() } else { order };
            order.then_with(|| numbered(&C::name(one)).cmp(&numbered(&C::name(other))))
        });
        shown
    }

    /// Where among the shown rows the selected one is.
    pub(crate) fn place(&self) -> usize {
        self.place
    }

    pub(crate) fn step(&mut self, rows: &[C::Row], by: isize) {
        let shown = self.shown(rows);
        self.place = self.place.saturating_add_signed(by).min(shown.len().saturating_sub(1));
        self.selected = shown.get(self.place).map(|row| C::name(row));
    }

    /// The selected row stays selected wherever it moves; when it is gone, the one in its place is.
    pub(crate) fn keep_selection(&mut self, rows: &[C::Row]) {
        let shown = self.shown(rows);
        let found = self.selected.as_ref().and_then(|name| shown.iter().position(|row| C::name(row) == *name));
        self.place = found.unwrap_or(self.place.min(shown.len().saturating_sub(1)));
        self.selected = shown.get(self.place).map(|row| C::name(row));
    }

    pub(crate) fn sort(&mut self, change: Sort) {
        let count = C::ALL.len();
        let now = C::ALL.iter().position(|column| *column == self.column).unwrap_or(0);
        match change {
            Sort::Next => self.column = C::ALL[(now + 1) % count],
            Sort::Previous => self.column = C::ALL[(now + count - 1) % count],
            Sort::Reverse => self.is_descending = !self.is_descending,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeColumn {
    Node,
    Worker,
    Health,
    Used,
    Running,
    Hottest,
    Heartbeat,
}

/// Thousandths of GPUs that are booked.
pub(crate) fn used_milli(node: &NodeView) -> u64 {
    node.gpu_used_milli.iter().map(|&milli| u64::from(milli)).sum()
}

/// In degrees Celsius; none where no GPU reports it.
pub(crate) fn hottest(node: &NodeView) -> Option<f32> {
    node.telemetry.iter().filter_map(|gpu| gpu.temperature_c).reduce(f32::max)
}

/// `dead, draining`.
pub(crate) fn health_words(node: &NodeView) -> String {
    format!("{}{}", node.health.as_str(), if node.draining { ", draining" } else { "" })
}

/// A name and the number at its end, so that the thousandth node comes after the 999th.
fn numbered(name: &str) -> (&str, u64, &str) {
    let prefix = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    (prefix, name[prefix.len()..].parse().unwrap_or(0), name)
}

impl Column for NodeColumn {
    type Row = NodeView;

    const ALL: &'static [Self] = &[Self::Node, Self::Worker, Self::Health, Self::Used, Self::Running, Self::Hottest, Self::Heartbeat];

    fn title(self) -> &'static str {
        match self {
            Self::Node => "NODE",
            Self::Worker => "WORKER",
            Self::Health => "HEALTH",
            Self::Used => "GPU USED",
            Self::Running => "JOBS",
            Self::Hottest => "HOTTEST",
            Self::Heartbeat => "HEARTBEAT",
        }
    }

    fn compare(self, one: &NodeView, other: &NodeView) -> Ordering {
        match self {
            Self::Node => numbered(&one.spec.node).cmp(&numbered(&other.spec.node)),
            Self::Worker => numbered(&one.spec.worker).cmp(&numbered(&other.spec.worker)),
            Self::Health => (one.health, one.draining).cmp(&(other.health, other.draining)),
            Self::Used => used_milli(one).cmp(&used_milli(other)),
            Self::Running => one.running.len().cmp(&other.running.len()),
            Self::Hottest => hottest(one).unwrap_or(0.0).total_cmp(&hottest(other).unwrap_or(0.0)),
            Self::Heartbeat => one.heartbeat_age_ms.unwrap_or(u64::MAX).cmp(&other.heartbeat_age_ms.unwrap_or(u64::MAX)),
        }
    }

    fn name(node: &NodeView) -> String {
        node.spec.node.clone()
    }

    fn text(node: &NodeView) -> String {
        let models = node.spec.gpus.iter().map(|gpu| gpu.model.as_str()).collect::<Vec<_>>().join(" ");
        format!("{} {} {} {} {models}", node.spec.node, node.spec.worker, health_words(node), node.spec.rack).to_lowercase()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobColumn {
    Age,
    Kind,
    Priority,
    State,
    Node,
    Attempts,
    Failures,
}

impl Column for JobColumn {
    type Row = JobView;

    const ALL: &'static [Self] = &[Self::Age, Self::Kind, Self::Priority, Self::State, Self::Node, Self::Attempts, Self::Failures];

    fn title(self) -> &'static str {
        match self {
            Self::Age => "AGE",
            Self::Kind => "KIND",
            Self::Priority => "PRIORITY",
            Self::State => "STATE",
            Self::Node => "NODE",
            Self::Attempts => "TRIES",
            Self::Failures => "FAILED",
        }
    }

    fn compare(self, one: &JobView, other: &JobView) -> Ordering {
        match self {
            // The youngest first: that is where something happens.
            Self::Age => other.submitted_at_ms.cmp(&one.submitted_at_ms),
            Self::Kind => one.kind.cmp(&other.kind),
            Self::Priority => one.priority.cmp(&other.priority),
            Self::State => (one.state.as_str(), one.progress_permille).cmp(&(other.state.as_str(), other.progress_permille)),
            Self::Node => one.node.cmp(&other.node),
            Self::Attempts => one.attempts.len().cmp(&other.attempts.len()),
            Self::Failures => one.failures.cmp(&other.failures),
        }
    }

    fn name(job: &JobView) -> String {
        job.id.to_string()
    }

    fn text(job: &JobView) -> String {
        let node = job.node.as_deref().unwrap_or_default();
        format!("{} {} {} {} {} {node}", job.id, job.name, job.kind, job.priority, job.state_words()).to_lowercase()
    }
}
