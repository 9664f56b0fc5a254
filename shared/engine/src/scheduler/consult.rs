//! Asks the program that chooses the nodes, and carries out what it answers, as far as that holds.

use faultline_planner::{Chosen, DoesNotHold, OpenClass};

use super::program::{GRACE_MS, Heard, Mind, PATIENCE, Program, ProgramNews, ProgramStanding, ProgramState, Reply, Sent, read, shown};
use super::{Action, Durations, Scheduler};
use crate::job::JobId;
use crate::program::Answer;
use crate::words::{limit, plural};

/// What an answered request came to.
#[derive(Debug, Default)]
struct Fruits {
    held: u64,
    refused: u64,
}

impl Scheduler {
    /// The program of this name chooses the nodes; the policy decides while it does not answer.
    pub fn asking(mut self, program: Option<String>) -> Self {
        let now_ms = self.elected_at_ms;
        self.program = program.map(|name| Box::new(Program::new(name, now_ms)));
        self
    }

    /// Asks the program, if there is one, and says whether it decides: then nothing else is placed now.
    pub(super) fn consult(&mut self, now_ms: u64, actions: &mut Vec<Action>) -> bool {
        let Some(mut program) = self.program.take() else { return false };
        let answer_within_ms = self.config.answer_within_ms;
        if let Some(sent) = &program.sent
            && now_ms.saturating_sub(sent.at_ms) > answer_within_ms.saturating_add(GRACE_MS)
        {
            program.sent = None;
            self.leave_out(&mut program, format!("no answer within {}", limit(answer_within_ms)), now_ms);
        }
        if let Mind::Silent { until_ms } = program.mind
            && now_ms >= until_ms
        {
            program.turn_to(Mind::Greeting { holds: false, is_said: false }, now_ms);
        }
        if program.sent.is_none() && !matches!(program.mind, Mind::Silent { .. }) {
            let (question, unfinished) = program.next_question(&mut self.planner, self.epoch, answer_within_ms, now_ms);
            self.has_more_to_place = unfinished;
            actions.extend(question.map(|question| Action::Ask(Box::new(question))));
        }
        actions.extend(program.news.drain(..).map(Action::Tell));
        let decides = program.state() != ProgramState::Silent;
        self.program = Some(program);
        decides
    }

    /// The policy decides in place of the program, also about what that let wait.
    fn leave_out(&mut self, program: &mut Program, why: String, now_ms: u64) {
        program.fail(why, self.policy.as_str(), now_ms);
        self.planner.try_again();
    }

    /// What became of a request to the program. One that is not waited for any more changes nothing.
    pub fn on_answered(&mut self, number: u64, heard: &Heard, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        let Some(mut program) = self.program.take() else { return actions };
        if let Some(sent) = program.sent.take_if(|sent| sent.number == number) {
            self.hear(&mut program, &sent, heard, now_ms, &mut actions);
        }
        actions.extend(program.news.drain(..).map(Action::Tell));
        self.program = Some(program);
        actions
    }

    fn hear(&mut self, program: &mut Program, sent: &Sent, heard: &Heard, now_ms: u64, actions: &mut Vec<Action>) {
        let reply = match heard {
            Heard::Answer(text) => read(text),
            Heard::Nothing(why) => Reply::Failed(shown(why)),
        };
        let answers = match reply {
            Reply::Answers(answers) => answers,
            Reply::Failed(why) => return self.leave_out(program, why, now_ms),
            Reply::UnknownWorld => {
                program.fruitless += 1;
                if program.fruitless >= PATIENCE {
                    let why = format!("it was told of all nodes, and said {PATIENCE} times in a row that it knows nothing of them");
                    return self.leave_out(program, why, now_ms);
                }
                let holds = program.state() != ProgramState::Silent;
                return program.turn_to(Mind::Greeting { holds, is_said: false }, now_ms);
            }
        };
        program.recent.push(now_ms.saturating_sub(sent.at_ms));
        program.durations.push(now_ms.saturating_sub(sent.at_ms));
        // Workers that refuse this leader would refuse what it places now: it is asked again.
        let fruits = if self.is_refused() { Fruits::default() } else { self.carry_out(program, sent, answers, now_ms, actions) };
        if fruits.held > 0 {
            program.fruitless = 0;
        } else if fruits.refused > 0 {
            program.fruitless += 1;
        }
        if program.fruitless >= PATIENCE {
            let last = if program.counts.last_wrong.is_empty() {
                String::new()
            } else {
                format!("; the last wrong one: {}", program.counts.last_wrong)
            };
            let why = format!("{PATIENCE} requests in a row without an answer that holds{last}");
            return self.leave_out(program, why, now_ms);
        }
        if matches!(program.mind, Mind::Greeting { .. }) && sent.tells_all {
            program.turn_to(Mind::Decides, now_ms);
            // It is not the one that let tasks wait, or does not know of them any more.
            self.planner.try_again();
            program.news.push(ProgramNews::Decides { program: program.name.clone() });
        }
    }

    /// Places what the answers say, as far as they hold.
    fn carry_out(&mut self, program: &mut Program, sent: &Sent, answers: Vec<Answer>, now_ms: u64, actions: &mut Vec<Action>) -> Fruits {
        let mut fruits = Fruits::default();
        let mut is_open = vec![true; sent.order.len()];
        for Answer { id, node, gpus } in answers {
            let at = id.checked_sub(sent.first_id).and_then(|at| usize::try_from(at).ok());
            let Some((at, position)) = at.and_then(|at| Some((at, *sent.order.get(at)?))) else {
                fruits.refused += 1;
                program.note_wrong(format!("it answers {id}, which it was not asked"), now_ms);
                continue;
            };
            if !std::mem::replace(&mut is_open[at], false) {
                fruits.refused += 1;
                program.note_wrong(format!("it answers {id} twice"), now_ms);
                continue;
            }
            let asked = &sent.classes[position];
            // What it let wait takes the others of its class along; and what was cancelled meanwhile is not placed.
            if self.planner.stands_aside(asked.class) || self.planner.turns(asked.class).next().is_none() {
                node.into_iter().for_each(|node| program.theirs.tell_again(node));
                continue;
            }
            let Some(node) = node else {
                fruits.held += 1;
                program.counts.left_waiting += 1;
                self.planner.let_wait(asked.class);
                continue;
            };
            self.take_choice(program, asked, &Chosen { node, gpus }, &mut fruits, now_ms, actions);
        }
        let unanswered = is_open.iter().filter(|is_open| **is_open).count() as u64;
        if unanswered > 0 {
            fruits.refused += unanswered;
            let of = plural(sent.order.len() as u64, "question");
            program.note_wrong(format!("{unanswered} of {of} are not answered"), now_ms);
        }
        fruits
    }

    fn take_choice(
        &mut self,
        program: &mut Program,
        asked: &OpenClass,
        chosen: &Chosen,
        fruits: &mut Fruits,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        match self.planner.choose(asked, chosen) {
            Ok((turn, placed)) => {
                fruits.held += 1;
                program.counts.placed += 1;
                program.wrong.remove(&asked.class);
                self.assign(JobId::from_bytes(turn.job), &placed, Some(&program.name), now_ms, actions);
            }
            Err(DoesNotHold::Late) => {
                fruits.refused += 1;
                program.counts.late += 1;
                // It may have counted the task there.
                program.theirs.tell_again(chosen.node);
            }
            Err(DoesNotHold::Wrong(what)) => {
                fruits.refused += 1;
                program.note_wrong(what, now_ms);
                program.theirs.tell_again(chosen.node);
                let tries = program.wrong.entry(asked.class).or_default();
                *tries += 1;
                if *tries >= PATIENCE {
                    program.wrong.remove(&asked.class);
                    if let Some((turn, placed)) = self.planner.place_first(asked.class) {
                        program.counts.placed_by_fallback += 1;
                        self.assign(JobId::from_bytes(turn.job), &placed, None, now_ms, actions);
                    }
                }
            }
        }
    }

    /// The policy placed so many tasks while a program was to do it.
    pub(super) fn note_fallback(&mut self, placed: usize) {
        if let Some(program) = &mut self.program {
            program.counts.placed_by_fallback += placed as u64;
        }
    }

    /// How it stands with the program; `None` where a built-in policy decides by itself.
    pub fn program(&self) -> Option<ProgramStanding> {
        let program = self.program.as_ref()?;
        Some(ProgramStanding {
            state: program.state(),
            since_ms: self.cluster_time(program.since_ms),
            fallback: self.policy.as_str().to_owned(),
            answer_p50_ms: program.recent.percentile_ms(50),
            answer_p95_ms: program.recent.percentile_ms(95),
            ..program.counts.clone()
        })
    }

    /// How long the program's answers took.
    pub fn program_durations(&self) -> Option<&Durations> {
        self.program.as_ref().map(|program| &program.durations)
    }
}

#[cfg(test)]
#[path = "consult_tests.rs"]
mod tests;
