//! What `top` knows and shows, and how keys and answers change it. Pure: time is an argument, what is to be done comes back as a list.

use faultline_protocol::messages::{ClusterStats, JobView, NodeView};
use faultline_protocol::views::RateView;
use serde::Serialize;

use super::dialog::{self, Dialog, Order};
use super::list::{JobColumn, List, NodeColumn, Sort};

/// How long the word on what was done stays.
const NOTE_MS: u64 = 6_000;
/// The most jobs that are looked at: five questions to the leader.
pub(crate) const MOST_JOBS: usize = 1_000;
const PAGE: isize = 10;
const LONGEST_FILTER: usize = 64;

/// One look at the cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Snapshot {
    pub(crate) at_ms: u64,
    pub(crate) stats: ClusterStats,
    pub(crate) rate: RateView,
    pub(crate) nodes: Vec<NodeView>,
    /// Those that have not ended, as far as the leader holds them; the oldest when there are very many.
    pub(crate) jobs: Vec<JobView>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pane {
    Nodes,
    Jobs,
}

/// A key, whatever the terminal calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Char(char),
    Enter,
    Escape,
    Tab,
    Backspace,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Interrupt,
}

#[derive(Debug)]
pub(crate) enum Input {
    Key(Key),
    /// The terminal has another size, or time went by.
    Redraw,
    /// For how many milliseconds NATS has not answered; none while it does.
    Silence(Option<u64>),
    /// An answer, or why there is none.
    Looked(Result<Box<Snapshot>, String>),
    /// What came of an order, in words.
    Done(Result<String, String>),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    Quit,
    Look,
    CarryOut(Order),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    Browse,
    /// Writing the filter of the pane.
    Filter,
    /// Choosing what to do.
    Choose(Dialog),
    Help,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) text: String,
    pub(crate) is_bad: bool,
    until_ms: u64,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Top {
    pub(crate) snapshot: Option<Snapshot>,
    /// Commits a second between the last two looks.
    pub(crate) commits_per_s: Option<f64>,
    pub(crate) pane: Pane,
    pub(crate) nodes: List<NodeColumn>,
    pub(crate) jobs: List<JobColumn>,
    pub(crate) mode: Mode,
    pub(crate) is_paused: bool,
    /// Since when NATS has not answered.
    pub(crate) silent_since_ms: Option<u64>,
    /// Since when no answer comes, and why.
    pub(crate) unanswered: Option<(u64, String)>,
    note: Option<Note>,
    pub(crate) interval_ms: u64,
    pub(crate) server: String,
}

impl Top {
    pub(crate) fn new(interval_ms: u64, server: String) -> Self {
        Self {
            snapshot: None,
            commits_per_s: None,
            pane: Pane::Nodes,
            nodes: List::new(NodeColumn::Node),
            jobs: List::new(JobColumn::Age),
            mode: Mode::Browse,
            is_paused: false,
            silent_since_ms: None,
            unanswered: None,
            note: None,
            interval_ms,
            server,
        }
    }

    pub(crate) fn handle(&mut self, input: Input, now_ms: u64) -> Vec<Effect> {
        match input {
            Input::Key(key) => return self.on_key(key, now_ms),
            Input::Redraw => {}
            Input::Silence(None) => self.silent_since_ms = None,
            Input::Silence(Some(ms)) => self.silent_since_ms = self.silent_since_ms.or(Some(now_ms.saturating_sub(ms))),
            Input::Looked(Ok(snapshot)) => self.on_snapshot(*snapshot),
            Input::Looked(Err(reason)) => {
                let since_ms = self.unanswered.as_ref().map_or(now_ms, |(since_ms, _)| *since_ms);
                self.unanswered = Some((since_ms, reason));
            }
            Input::Done(outcome) => {
                let is_bad = outcome.is_err();
                let text = outcome.unwrap_or_else(|reason| reason);
                self.note = Some(Note { text, is_bad, until_ms: now_ms + NOTE_MS });
                return vec![Effect::Look];
            }
        }
        Vec::new()
    }

    fn on_snapshot(&mut self, snapshot: Snapshot) {
        self.unanswered = None;
        if self.is_paused && self.snapshot.is_some() {
            return;
        }
        if let Some(before) = &self.snapshot
            && let Some(elapsed_ms) = snapshot.at_ms.checked_sub(before.at_ms).filter(|&ms| ms > 0)
        {
            let commits = snapshot.stats.ledger.committed.saturating_sub(before.stats.ledger.committed);
            self.commits_per_s = Some(commits as f64 * 1000.0 / elapsed_ms as f64);
        }
        self.snapshot = Some(snapshot);
        self.keep_selection();
    }

    /// What was last done, for a while.
    pub(crate) fn note(&self, now_ms: u64) -> Option<&Note> {
        self.note.as_ref().filter(|note| now_ms < note.until_ms)
    }

    pub(crate) fn shown_nodes(&self) -> Vec<&NodeView> {
        self.nodes.shown(self.snapshot.as_ref().map_or(&[], |snapshot| &snapshot.nodes))
    }

    pub(crate) fn shown_jobs(&self) -> Vec<&JobView> {
        self.jobs.shown(self.snapshot.as_ref().map_or(&[], |snapshot| &snapshot.jobs))
    }

    /// The selected row stays selected wherever it moves; when it is gone, the one in its place is.
    fn keep_selection(&mut self) {
        let Some(snapshot) = &self.snapshot else { return };
        self.nodes.keep_selection(&snapshot.nodes);
        self.jobs.keep_selection(&snapshot.jobs);
    }

    fn on_key(&mut self, key: Key, now_ms: u64) -> Vec<Effect> {
        if key == Key::Interrupt {
            return vec![Effect::Quit];
        }
        match &self.mode {
            Mode::Browse => self.on_browse(key, now_ms),
            Mode::Filter => {
                self.on_filter(key);
                Vec::new()
            }
            Mode::Help => {
                self.mode = Mode::Browse;
                Vec::new()
            }
            Mode::Choose(dialog) => {
                let chosen = match key {
                    Key::Char(letter) => dialog.choice(letter),
                    Key::Enter => dialog.only_choice(),
                    _ => None,
                };
                // Whatever else is pressed does nothing, so that no slip breaks anything.
                if chosen.is_some() || matches!(key, Key::Escape | Key::Char('n' | 'q')) {
                    self.mode = Mode::Browse;
                }
                chosen.map(Effect::CarryOut).into_iter().collect()
            }
        }
    }

    fn on_browse(&mut self, key: Key, now_ms: u64) -> Vec<Effect> {
        match key {
            Key::Char('q') => return vec![Effect::Quit],
            Key::Char('?' | 'h') => self.mode = Mode::Help,
            Key::Tab => self.pane = if self.pane == Pane::Nodes { Pane::Jobs } else { Pane::Nodes },
            Key::Char('/') => self.mode = Mode::Filter,
            Key::Escape => self.edit_filter(String::clear),
            Key::Char('p' | ' ') => {
                self.is_paused = !self.is_paused;
                return if self.is_paused { Vec::new() } else { vec![Effect::Look] };
            }
            Key::Char('>' | 's') => self.sort(Sort::Next),
            Key::Char('<') => self.sort(Sort::Previous),
            Key::Char('r') => self.sort(Sort::Reverse),
            Key::Up => self.step(-1),
            Key::Down => self.step(1),
            Key::PageUp => self.step(-PAGE),
            Key::PageDown => self.step(PAGE),
            Key::Home => self.step(isize::MIN),
            Key::End => self.step(isize::MAX),
            Key::Char(letter) => self.on_order(letter, now_ms),
            Key::Enter | Key::Backspace | Key::Interrupt => {}
        }
        Vec::new()
    }

    /// The keys that open a dialog about what is selected.
    fn on_order(&mut self, letter: char, now_ms: u64) {
        let dialog = match self.pane {
            Pane::Nodes => self.selected_node().and_then(|node| dialog::about_node(letter, node)),
            Pane::Jobs => self.selected_job().and_then(|job| dialog::about_job(letter, job)),
        };
        match dialog {
            Some(dialog) => self.mode = Mode::Choose(dialog),
            None if "kfdc".contains(letter) => {
                let text = match self.pane {
                    Pane::Nodes => "nothing to do: select a node; jobs are cancelled in the other pane (Tab)",
                    Pane::Jobs => "nothing to do: select a job; nodes are killed, frozen and drained in the other pane (Tab)",
                };
                self.note = Some(Note { text: text.to_owned(), is_bad: true, until_ms: now_ms + NOTE_MS });
            }
            None => {}
        }
    }

    fn selected_node(&self) -> Option<&NodeView> {
        self.shown_nodes().get(self.nodes.place()).copied()
    }

    fn selected_job(&self) -> Option<&JobView> {
        self.shown_jobs().get(self.jobs.place()).copied()
    }

    fn on_filter(&mut self, key: Key) {
        match key {
            Key::Enter => self.mode = Mode::Browse,
            Key::Escape => {
                self.edit_filter(String::clear);
                self.mode = Mode::Browse;
            }
            Key::Backspace => self.edit_filter(|filter| {
                filter.pop();
            }),
            Key::Char(letter) => self.edit_filter(|filter| {
                if filter.chars().count() < LONGEST_FILTER {
                    filter.push(letter);
                }
            }),
            _ => {}
        }
    }

    fn edit_filter(&mut self, edit: impl FnOnce(&mut String)) {
        match self.pane {
            Pane::Nodes => edit(&mut self.nodes.filter),
            Pane::Jobs => edit(&mut self.jobs.filter),
        }
        self.keep_selection();
    }

    fn sort(&mut self, change: Sort) {
        match self.pane {
            Pane::Nodes => self.nodes.sort(change),
            Pane::Jobs => self.jobs.sort(change),
        }
        self.keep_selection();
    }

    fn step(&mut self, by: isize) {
        let Some(snapshot) = &self.snapshot else { return };
        match self.pane {
            Pane::Nodes => self.nodes.step(&snapshot.nodes, by),
            Pane::Jobs => self.jobs.step(&snapshot.jobs, by),
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
