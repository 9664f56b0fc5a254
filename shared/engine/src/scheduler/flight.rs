//! The flight recorder: what a leader was told and what it decided, call by call, and the same calls played to the same engine again. Pure: who
//! records and who replays brings the bytes.

use serde::{Deserialize, Serialize};

use super::{Action, Call, Note, PolicyName, Question, Scheduler, SchedulerConfig};

/// The version of what is recorded; a recording of another one is refused.
pub const VERSION: u32 = 1;

/// What a recording begins with: all that a term begins with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    pub version: u32,
    /// The scheduler's name.
    pub scheduler: String,
    pub policy: PolicyName,
    /// The program that decides in place of the policy while it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    pub seed: u64,
    pub epoch: u64,
    /// The leader's clock when its term began; it passes evenly, and begins anywhere.
    pub began_ms: u64,
    pub config: SchedulerConfig,
}

/// A call, and what it led to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// By the leader's clock.
    pub at_ms: u64,
    pub call: Call,
    /// One line for each action, in order.
    pub decided: Vec<String>,
}

/// One action as a line that says all that was decided and nothing that follows from the call.
pub fn line(action: &Action) -> String {
    match action {
        Action::Assign { worker, assignment } => {
            let gpus: Vec<String> = assignment.gpus.iter().map(u8::to_string).collect();
            let (job, attempt, node) = (assignment.spec.id, assignment.attempt, &assignment.node);
            let epoch = assignment.epoch;
            format!("assign {job} as {attempt} to {node} of {worker}, GPUs [{}], epoch {epoch}", gpus.join(" "))
        }
        Action::Ack { ack_subject } => format!("acknowledge {ack_subject}"),
        Action::Nak { ack_subject, delay_ms } => format!("hand back {ack_subject} for {delay_ms} ms"),
        Action::InProgress { ack_subject } => format!("keep {ack_subject}"),
        Action::ReadBack { job } => format!("read back {job}"),
        Action::Kill { worker, attempt, reason } => format!("kill {attempt} of {worker}: {reason}"),
        Action::Die { job, reason, .. } => format!("give up {}: {reason}", job.spec.id),
        Action::AskSync { worker } => format!("ask {worker} what it runs"),
        Action::ListPending => "list what is pending".to_owned(),
        Action::RaiseEpoch { above } => format!("raise the epoch above {above}"),
        Action::Report(violation) => format!("report {violation:?}"),
        Action::Note(Note::Placed { job, attempt, node, choice, .. }) => format!("note {job} as {attempt} on {node}: {}", choice.words()),
        Action::Ask(question) => {
            let Question { program, world, number, lines, asks, .. } = &**question;
            format!("ask service:{program} about {asks} tasks in {} bytes, request {number} of world {world}", lines.len())
        }
        Action::Tell(news) => format!("tell that {news}"),
        Action::Note(Note::Lost { job, attempt, node, reason, .. }) => format!("note {job} lost as {attempt} on {node}: {reason}"),
    }
}

/// The first call to which the engine answered otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Counted from 1.
    pub call_number: u64,
    pub at_ms: u64,
    pub call: Call,
    /// The first line that differs; `None` where there was none.
    pub recorded: Option<String>,
    pub replayed: Option<String>,
}

/// A recording played again.
pub struct Replay {
    scheduler: Scheduler,
    pub calls: u64,
    /// Lines that were the same.
    pub decisions: u64,
    pub placements: u64,
}

impl Replay {
    pub fn begin(header: &Header) -> Self {
        let scheduler = Scheduler::new(header.config.clone(), header.policy, header.seed, header.began_ms).under_epoch(header.epoch);
        let scheduler = scheduler.asking(header.program.clone());
        Self { scheduler, calls: 0, decisions: 0, placements: 0 }
    }

    /// Tells the engine the same, and compares what it decides.
    pub fn check(&mut self, entry: Entry) -> Result<(), Box<Difference>> {
        let Entry { at_ms, call, decided } = entry;
        self.calls += 1;
        let actions = self.scheduler.call(call.clone(), at_ms);
        self.placements += actions.iter().filter(|action| matches!(action, Action::Assign { .. })).count() as u64;
        let replayed: Vec<String> = actions.iter().map(line).collect();
        if replayed == decided {
            self.decisions += decided.len() as u64;
            return Ok(());
        }
        let at = decided.iter().zip(&replayed).take_while(|(recorded, replayed)| recorded == replayed).count();
        Err(Box::new(Difference {
            call_number: self.calls,
            at_ms,
            call,
            recorded: decided.get(at).cloned(),
            replayed: replayed.get(at).cloned(),
        }))
    }
}
