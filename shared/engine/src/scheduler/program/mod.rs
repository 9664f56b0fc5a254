//! A user's program chooses the nodes. It is asked by requests that the owner sends, and nothing waits for it: while a request is out, everything
//! else goes on, and an answer is checked against the books as they are when it comes. A program that does not answer, or answers nonsense, is
//! left out: a built-in policy decides until it answers again.

mod question;
mod standing;

use std::collections::BTreeMap;

use faultline_planner::{ClassId, Limits, OpenTasks, Planner};

pub use question::{Heard, Question};
pub use standing::{ProgramNews, ProgramStanding, ProgramState};

use super::counters::Recent;
use super::durations::Durations;
#[cfg(test)]
pub(super) use question::REQUEST_BYTES;
use question::{MOST_TASKS, TheirWorld};
pub(super) use question::{Reply, Sent, read, shown};

/// A program that has nothing to decide is told of changes this often, so that its end is noticed.
const IDLE_MS: u64 = 5_000;
/// How much longer than an answer may take the owner has to say that there was none.
pub(super) const GRACE_MS: u64 = 1_000;
/// The pause after a failure; doubled by each further one.
const PAUSE_MS: u64 = 1_000;
const LONGEST_PAUSE_MS: u64 = 30_000;
/// A program that decided for so long begins anew with its pauses.
const FORGET_AFTER_MS: u64 = 60_000;
/// So many requests in a row without an answer that holds, and the program is left out; so many wrong answers in a row for a class of
/// tasks, and the built-in policy places one.
pub(super) const PATIENCE: u8 = 3;
/// Wrong answers are told of no more often than this.
pub(super) const WRONG_EVERY_MS: u64 = 10_000;

/// A policy program as the scheduler knows it.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) name: String,
    pub(super) mind: Mind,
    pub(super) since_ms: u64,
    /// The number of the request that began its world, as text.
    world: String,
    pub(super) theirs: TheirWorld,
    pub(super) sent: Option<Sent>,
    last_sent_ms: u64,
    last_id: u64,
    pub(super) fruitless: u8,
    /// Failures in a row, for the pause.
    failed: u32,
    /// By class: wrong answers in a row.
    pub(super) wrong: BTreeMap<ClassId, u8>,
    told_wrong_at_ms: Option<u64>,
    wrong_untold: u64,
    pub(super) counts: ProgramStanding,
    pub(super) recent: Recent,
    pub(super) durations: Durations,
    /// What is to be told.
    pub(super) news: Vec<ProgramNews>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mind {
    /// It is to be told, or has been told, of all nodes. `holds`: nothing is placed meanwhile.
    Greeting {
        holds: bool,
        is_said: bool,
    },
    Decides,
    Silent {
        until_ms: u64,
    },
}

impl Program {
    pub(super) fn new(name: String, now_ms: u64) -> Self {
        Self {
            counts: ProgramStanding { name: name.clone(), ..ProgramStanding::default() },
            name,
            mind: Mind::Greeting { holds: true, is_said: false },
            since_ms: now_ms,
            world: String::new(),
            theirs: TheirWorld::default(),
            sent: None,
            last_sent_ms: now_ms,
            last_id: 0,
            fruitless: 0,
            failed: 0,
            wrong: BTreeMap::new(),
            told_wrong_at_ms: None,
            wrong_untold: 0,
            recent: Recent::default(),
            durations: Durations::default(),
            news: Vec::new(),
        }
    }

    pub(super) fn state(&self) -> ProgramState {
        match self.mind {
            Mind::Greeting { holds: true, .. } => ProgramState::Greeted,
            Mind::Decides => ProgramState::Decides,
            Mind::Greeting { holds: false, .. } | Mind::Silent { .. } => ProgramState::Silent,
        }
    }

    pub(super) fn turn_to(&mut self, mind: Mind, now_ms: u64) {
        let before = self.state();
        self.mind = mind;
        if self.state() != before {
            self.since_ms = now_ms;
        }
    }

    /// The next request, if there is anything to say, and whether there may be more to ask about at once.
    pub(super) fn next_question(
        &mut self,
        planner: &mut Planner,
        epoch: u64,
        answer_within_ms: u64,
        now_ms: u64,
    ) -> (Option<Question>, bool) {
        let number = self.counts.requests + 1;
        let (mut lines, mut open) = (String::new(), OpenTasks::default());
        if let Mind::Greeting { is_said, .. } = &mut self.mind
            && !std::mem::replace(is_said, true)
        {
            self.world = format!("{epoch}-{number}");
            lines = self.theirs.greet(planner);
        } else {
            self.theirs.catch_up(planner);
            if self.mind == Mind::Decides {
                open = planner.open_tasks(MOST_TASKS, Limits::default().scores);
                if open.order.is_empty() && now_ms.saturating_sub(self.last_sent_ms) < IDLE_MS {
                    return (None, open.unfinished);
                }
            }
        }
        let tells_all = self.theirs.tell(planner, &mut lines);
        let first_id = self.last_id + 1;
        let order = if tells_all { question::ask(&open, first_id, &mut lines) } else { Vec::new() };
        let asks = order.len() as u64;
        self.last_id += asks;
        self.counts.requests = number;
        self.last_sent_ms = now_ms;
        self.sent = Some(Sent { number, at_ms: now_ms, first_id, order, classes: open.classes, tells_all });
        let (program, world) = (self.name.clone(), self.world.clone());
        (Some(Question { program, world, number, lines, asks, answer_within_ms }), false)
    }

    /// It is left out for a while.
    pub(super) fn fail(&mut self, why: String, fallback: &str, now_ms: u64) {
        let is_news = self.state() != ProgramState::Silent;
        if self.mind == Mind::Decides && now_ms.saturating_sub(self.since_ms) >= FORGET_AFTER_MS {
            self.failed = 0;
        }
        let again_in_ms = (PAUSE_MS << self.failed.min(16)).min(LONGEST_PAUSE_MS);
        self.failed += 1;
        self.fruitless = 0;
        self.wrong.clear();
        self.counts.failures += 1;
        self.counts.why.clone_from(&why);
        self.turn_to(Mind::Silent { until_ms: now_ms + again_in_ms }, now_ms);
        if is_news {
            let (program, fallback) = (self.name.clone(), fallback.to_owned());
            self.news.push(ProgramNews::Silent { program, fallback, why, again_in_ms });
        }
    }

    pub(super) fn note_wrong(&mut self, what: String, now_ms: u64) {
        self.counts.wrong += 1;
        self.counts.last_wrong.clone_from(&what);
        if self.told_wrong_at_ms.is_some_and(|at_ms| now_ms.saturating_sub(at_ms) < WRONG_EVERY_MS) {
            self.wrong_untold += 1;
            return;
        }
        self.told_wrong_at_ms = Some(now_ms);
        let (program, others) = (self.name.clone(), std::mem::take(&mut self.wrong_untold));
        self.news.push(ProgramNews::Wrong { program, what, others });
    }
}
