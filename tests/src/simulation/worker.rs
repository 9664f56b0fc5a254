//! A worker process: the shell around [`Agent`] and [`Attempt`] as the live one is, with executors that take a drawn time and end in
//! a drawn way. Its planted bugs are in what it does with the actions, never in the engine.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use faultline_engine::agent::{
    Agent, AgentAction, AgentNode, Attempt, AttemptAction, AttemptConfig, CommitAnswer, Executed, FENCED_AFTER_MS, Failure,
};
use faultline_engine::job::{Assignment, AttemptId, AttemptOutcome, Commit, EndedAttempt, Found, TerminalRecord};
use faultline_engine::node::NodeSpec;
use faultline_engine::scheduler::{Past, RunningSign};

use super::message::{Beat, Msg, Op, Plain, Record, Reply, Tag, Timer};
use super::net::{Net, Proc};
use super::shadow::Plan;
use super::{Bug, EPOCH_MS, ack_seq, unix};

pub(super) const HEARTBEAT_MS: u64 = 1_000;
pub(super) const RETRY_BASE_MS: u64 = 500;
pub(super) const RETRY_CAP_MS: u64 = 4_000;
pub(super) const REQUEST_MS: u64 = 3_000;
const PAUSE_MS: u64 = 500;
const EVENT_PAUSE_MS: u64 = 200;
const REPORT_EVERY_MS: u64 = 2;
const DRAIN_LIMIT_MS: u64 = 5_000;

struct Life {
    attempt: Attempt,
    began: u64,
    /// What its executor comes to; none once it does not work any more.
    work: Option<Executed>,
    record: Option<Arc<TerminalRecord>>,
    failure: Option<Box<Failure>>,
    /// Until when its failure is tried to be written.
    write_until: u64,
}

enum State {
    Off,
    /// Reads which life of its nodes this is.
    Starting(Vec<Option<u64>>),
    Running(Box<Running>),
}

struct Running {
    agent: Agent,
    lives: BTreeMap<AttemptId, Life>,
    ended: Vec<EndedAttempt>,
}

pub(super) struct Worker {
    pub(super) proc: Proc,
    pub(super) name: String,
    specs: Vec<NodeSpec>,
    state: State,
}

impl Worker {
    pub(super) fn new(proc: Proc, name: String, specs: Vec<NodeSpec>) -> Self {
        Self { proc, name, specs, state: State::Off }
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &str> {
        self.specs.iter().map(|spec| spec.node.as_str())
    }

    /// The name and the life of its node number `node`, while it runs.
    pub(super) fn life_of(&self, node: usize) -> Option<(String, u64)> {
        let State::Running(running) = &self.state else { return None };
        running.agent.nodes().nth(node).map(|node| (node.spec().node.clone(), node.spec().incarnation))
    }

    pub(super) fn is_idle(&self) -> bool {
        match &self.state {
            State::Running(running) => running.agent.running() == 0 && running.lives.is_empty(),
            State::Off | State::Starting(_) => false,
        }
    }

    pub(super) fn start(&mut self, net: &mut Net) {
        net.links[self.proc].is_subscribed = true;
        self.state = State::Starting(vec![None; self.specs.len()]);
        for node in 0..self.specs.len() {
            self.read_incarnation(node, net);
        }
    }

    pub(super) fn crash(&mut self, net: &mut Net) {
        self.state = State::Off;
        net.shadow.on_worker_gone(self.proc);
    }

    fn read_incarnation(&self, node: usize, net: &mut Net) {
        net.request(self.proc, Op::GetNode { node: self.specs[node].node.clone() }, REQUEST_MS, Tag::Incarnation { node });
    }

    /// The process is told to stop, as by SIGTERM.
    pub(super) fn drain(&mut self, net: &mut Net) {
        if let State::Running(running) = &mut self.state {
            running.agent.on_drain();
            net.timer(self.proc, DRAIN_LIMIT_MS, Timer::Left);
            self.beat(net);
            self.leave_if_idle(net);
        }
    }

    fn leave_if_idle(&mut self, net: &mut Net) {
        if let State::Running(running) = &self.state
            && running.agent.running() == 0
            && running.agent.nodes().all(AgentNode::is_leaving)
        {
            self.leave(net);
        }
    }

    fn leave(&mut self, net: &mut Net) {
        let State::Running(mut running) = std::mem::replace(&mut self.state, State::Off) else { return };
        for node in running.agent.on_leave() {
            for assignment in node.handed_back {
                net.send(self.proc, Op::Nak { seq: ack_seq(&assignment.ack_subject), delay_ms: 0 });
            }
            net.publish(self.proc, Op::Publish(Plain::Bye { node: node.node.clone(), incarnation: node.incarnation }));
            net.request(self.proc, Op::RemoveNode { node: node.node }, PAUSE_MS, Tag::Unregistered);
        }
        net.links[self.proc].is_subscribed = false;
        net.shadow.on_worker_gone(self.proc);
    }

    pub(super) fn node_crash(&mut self, node: &str, net: &mut Net) {
        let State::Running(running) = &mut self.state else { return };
        running.lives.retain(|id, life| {
            let dies = life.attempt.assignment().node == node;
            if dies {
                net.shadow.on_work_stopped(*id);
            }
            !dies
        });
        if let Some(node) = running.agent.node_mut(node) {
            node.on_crash();
        }
    }

    pub(super) fn node_reboot(&mut self, node: &str, net: &mut Net) {
        let State::Running(running) = &mut self.state else { return };
        let Some(node) = running.agent.node_mut(node).filter(|node| node.is_down()) else { return };
        node.on_reboot();
        let spec = Rc::new(node.spec().clone());
        self.register(spec, net);
    }

    pub(super) fn node_mute(&mut self, node: &str, is_mute: bool) {
        if let State::Running(running) = &mut self.state
            && let Some(node) = running.agent.node_mut(node)
        {
            node.on_mute(is_mute);
        }
    }

    pub(super) fn mend_nodes(&mut self, net: &mut Net) {
        let names: Vec<String> = self.nodes().map(str::to_owned).collect();
        for node in names {
            self.node_reboot(&node, net);
            self.node_mute(&node, false);
        }
    }

    fn register(&self, spec: Rc<NodeSpec>, net: &mut Net) {
        let tag = Tag::Registered { node: spec.node.clone(), incarnation: spec.incarnation };
        net.request(self.proc, Op::PutNode(spec), REQUEST_MS, tag);
    }

    fn beat(&mut self, net: &mut Net) {
        let State::Running(running) = &mut self.state else { return };
        for node in running.agent.nodes_mut() {
            if node.next_heartbeat().is_some() {
                let sign = |(attempt, hosted): (&AttemptId, &faultline_engine::agent::Hosted)| RunningSign {
                    attempt: *attempt,
                    job: hosted.assignment.spec.id,
                    progress_permille: 0,
                    epoch: hosted.assignment.epoch,
                };
                let beat = Beat {
                    node: node.spec().node.clone(),
                    worker: node.spec().worker.clone(),
                    incarnation: node.spec().incarnation,
                    running: node.running().iter().map(sign).collect(),
                    leaving: node.is_leaving(),
                };
                net.publish(self.proc, Op::Publish(Plain::Beat(Rc::new(beat))));
            }
        }
    }

    pub(super) fn on_message(&mut self, msg: Msg, net: &mut Net) {
        match msg {
            Msg::Ping { asker, life, request } => {
                if let State::Running(running) = &self.state {
                    let nodes = running.agent.nodes().filter(|node| node.answers()).map(|node| node.spec().node.clone()).collect();
                    net.send(self.proc, Op::Pong { asker, life, request, nodes });
                }
            }
            Msg::Connected => self.beat(net),
            Msg::Assign { epoch, assignments } => self.on_assignments(epoch, &assignments, net),
            Msg::AskSync { epoch } => {
                let State::Running(running) = &mut self.state else { return };
                if let Some(nodes) = running.agent.on_sync(epoch) {
                    net.shadow.on_epoch_seen(self.proc, epoch);
                    net.publish(self.proc, Op::Publish(Plain::Synced { epoch, nodes: Rc::new(nodes) }));
                    self.beat(net);
                }
            }
            Msg::Kill { epoch, attempts } => {
                let State::Running(running) = &mut self.state else { return };
                let actions = running.agent.on_kill(epoch, &attempts);
                self.perform(actions, epoch, net);
            }
            Msg::Plain(_) | Msg::Delivery { .. } | Msg::Reply { .. } | Msg::Hint { .. } => {}
        }
    }

    fn on_assignments(&mut self, epoch: u64, assignments: &[Assignment], net: &mut Net) {
        let State::Running(running) = &mut self.state else { return };
        let believed = if net.has(Bug::SkipFence) { epoch.max(running.agent.epoch()) } else { epoch };
        match running.agent.on_assignments(believed, assignments.to_vec(), EPOCH_MS + net.now) {
            Some(actions) => self.perform(actions, epoch, net),
            None => {
                net.stats.fenced += assignments.len() as u64;
                net.say(|| format!("{} refuses {} assignments of the deposed epoch {epoch}", self.name, assignments.len()));
            }
        }
        if let State::Running(running) = &self.state {
            running.agent.sanity_check();
        }
    }

    fn perform(&mut self, actions: Vec<AgentAction>, epoch: u64, net: &mut Net) {
        for action in actions {
            match action {
                AgentAction::Start(assignment) => self.begin(assignment, epoch, net),
                AgentAction::Nak { ack_subject, delay_ms } => net.send(self.proc, Op::Nak { seq: ack_seq(&ack_subject), delay_ms }),
                AgentAction::Report(ended) => {
                    net.say(|| format!("{} gives {} back: {}", self.name, ended.attempt, ended.detail));
                    self.report(ended, net);
                }
                AgentAction::Stop { attempt, .. } => self.tell(attempt, net, Attempt::on_stop),
            }
        }
    }

    fn begin(&mut self, assignment: Arc<Assignment>, epoch: u64, net: &mut Net) {
        let State::Running(running) = &mut self.state else { return };
        let id = assignment.attempt;
        let Plan { after_ms, executed } = net.shadow.on_started(self.proc, epoch, &assignment, net.now);
        net.say(|| format!("{} starts {} of {} on {} (epoch {epoch})", self.name, id, assignment.spec.name, assignment.node));
        net.stats.attempts += 1;
        let config = AttemptConfig { retry_base_ms: RETRY_BASE_MS, retry_cap_ms: RETRY_CAP_MS };
        let life = Life {
            attempt: Attempt::new(config, assignment, EPOCH_MS + net.now),
            began: net.now,
            work: Some(executed),
            record: None,
            failure: None,
            write_until: 0,
        };
        if let Some(wake) = life.attempt.next_wake_ms() {
            net.timer(self.proc, wake, Timer::Wake { attempt: id });
        }
        running.lives.insert(id, life);
        net.timer(self.proc, after_ms, Timer::Executed { attempt: id });
    }

    /// Tells the attempt that something happened, and does what it answers.
    fn tell(&mut self, id: AttemptId, net: &mut Net, event: impl FnOnce(&mut Attempt, u64) -> Vec<AttemptAction>) {
        let State::Running(running) = &mut self.state else { return };
        let Some(life) = running.lives.get_mut(&id) else { return };
        let elapsed_ms = net.now - life.began;
        let before = life.attempt.next_wake_ms();
        let actions = event(&mut life.attempt, elapsed_ms);
        let after = life.attempt.next_wake_ms();
        if let Some(wake) = after
            && (after != before || wake <= elapsed_ms)
        {
            net.timer(self.proc, wake.saturating_sub(elapsed_ms).max(1), Timer::Wake { attempt: id });
        }
        for action in actions {
            self.perform_for(id, action, net);
        }
        if let State::Running(running) = &mut self.state
            && running.lives.get(&id).is_some_and(|life| life.attempt.is_over())
        {
            running.lives.remove(&id);
        }
    }

    fn perform_for(&mut self, id: AttemptId, action: AttemptAction, net: &mut Net) {
        let State::Running(running) = &mut self.state else { return };
        let Some(life) = running.lives.get_mut(&id) else { return };
        let seq = ack_seq(&life.attempt.assignment().ack_subject);
        match action {
            AttemptAction::StopWork => {
                if life.work.take().is_some() {
                    net.shadow.on_work_stopped(id);
                }
            }
            AttemptAction::SayProgress { limit_ms } => {
                net.request(self.proc, Op::InProgress { seq }, limit_ms, Tag::Progress { attempt: id });
            }
            AttemptAction::Commit(record) => {
                life.record = Some(Arc::clone(&record));
                if net.has(Bug::TrustAck) {
                    // The result is on its way: who would not acknowledge now?
                    net.send(self.proc, Op::Commit { expected: Some(record.open_seq), record });
                    net.send(self.proc, Op::Ack { seq });
                    self.tell(id, net, |attempt, now| attempt.on_commit_answer(CommitAnswer::Answered(Commit::Committed), now));
                    return;
                }
                let expected = (!net.has(Bug::SkipCas)).then_some(record.open_seq);
                net.request(self.proc, Op::Commit { record, expected }, REQUEST_MS, Tag::Commit { attempt: id });
            }
            AttemptAction::WriteFailure(failure) => {
                life.failure = Some(failure);
                life.write_until = net.now + FENCED_AFTER_MS;
                net.shadow.on_failed(id);
                if net.has(Bug::NakFirst) {
                    let delay_ms = life.failure.as_ref().map_or(0, |failure| failure.retry_delay_ms);
                    net.shadow.on_failure_handed_back(id, net.now);
                    net.send(self.proc, Op::Nak { seq, delay_ms });
                }
                self.write_failure(id, net);
            }
            AttemptAction::Ack => net.send(self.proc, Op::Ack { seq }),
            AttemptAction::Nak { delay_ms } => {
                net.shadow.on_failure_handed_back(id, net.now);
                net.send(self.proc, Op::Nak { seq, delay_ms });
            }
            AttemptAction::Report(ended) => self.report(ended, net),
        }
    }

    fn write_failure(&mut self, id: AttemptId, net: &mut Net) {
        let State::Running(running) = &mut self.state else { return };
        let Some(life) = running.lives.get(&id) else { return };
        let Some(failure) = &life.failure else { return };
        let past = Past {
            failures: failure.failures,
            requeues: failure.requeues,
            history: failure.history.clone(),
            retry_at_ms: unix(net) + failure.retry_delay_ms,
            no_retry: failure.no_retry,
        };
        let op = Op::WriteEvent { job: life.attempt.assignment().spec.id, past: Rc::new(past) };
        let limit_ms = REQUEST_MS.min(life.write_until.saturating_sub(net.now)).max(1);
        net.request(self.proc, op, limit_ms, Tag::FailureWritten { attempt: id });
    }

    fn report(&mut self, ended: EndedAttempt, net: &mut Net) {
        let State::Running(running) = &mut self.state else { return };
        if running.ended.is_empty() {
            net.timer(self.proc, REPORT_EVERY_MS, Timer::Flush);
        }
        net.say(|| format!("{} reports {} as {:?} {}", self.name, ended.attempt, ended.outcome, ended.detail));
        net.stats.superseded += u64::from(ended.outcome == AttemptOutcome::Superseded);
        running.ended.push(ended);
    }

    pub(super) fn on_timer(&mut self, timer: Timer, net: &mut Net) {
        match timer {
            Timer::Beat => {
                self.beat(net);
                net.timer(self.proc, HEARTBEAT_MS, Timer::Beat);
            }
            Timer::Wake { attempt } => self.tell(attempt, net, Attempt::on_time),
            Timer::Executed { attempt } => {
                let State::Running(running) = &mut self.state else { return };
                let Some(executed) = running.lives.get_mut(&attempt).and_then(|life| life.work.take()) else { return };
                net.shadow.on_executed(attempt, &executed, net.now);
                self.tell(attempt, net, |attempt, now| attempt.on_executed(executed, now));
            }
            Timer::Flush => {
                let State::Running(running) = &mut self.state else { return };
                let ended = std::mem::take(&mut running.ended);
                running.agent.on_ended(&ended);
                running.agent.sanity_check();
                net.publish(self.proc, Op::Publish(Plain::Ended(Rc::new(ended))));
                self.leave_if_idle(net);
            }
            Timer::Left => self.leave(net),
            Timer::Retry(Tag::FailureWritten { attempt }) => self.write_failure(attempt, net),
            Timer::Retry(Tag::Incarnation { node }) => self.read_incarnation(node, net),
            Timer::Retry(Tag::Registered { node, incarnation }) => {
                if let State::Running(running) = &self.state
                    && let Some(node) = running.agent.node(&node).filter(|node| node.spec().incarnation == incarnation)
                {
                    self.register(Rc::new(node.spec().clone()), net);
                }
            }
            _ => {}
        }
    }

    pub(super) fn on_answer(&mut self, tag: Tag, reply: Option<Reply>, net: &mut Net) {
        match (tag, reply) {
            (Tag::Progress { attempt }, reply) => {
                let is_answered = reply.is_some() || net.has(Bug::NoSelfFence);
                self.tell(attempt, net, |attempt, now| attempt.on_progress_answer(is_answered, now));
            }
            (Tag::Commit { attempt }, Some(Reply::Conflict)) => self.read_back(attempt, net),
            (Tag::Commit { attempt }, reply) => {
                let answer = if reply.is_some() { CommitAnswer::Answered(Commit::Committed) } else { CommitAnswer::Unanswered };
                self.tell(attempt, net, |attempt, now| attempt.on_commit_answer(answer, now));
            }
            (Tag::CommitRead { attempt }, reply) => {
                let answer = self.judge(attempt, reply.as_ref());
                self.tell(attempt, net, |attempt, now| attempt.on_commit_answer(answer, now));
            }
            (Tag::FailureWritten { attempt }, reply) => self.on_failure_answer(attempt, reply.is_some(), net),
            (Tag::Incarnation { node }, Some(Reply::Node(former))) => self.on_incarnation(node, former.map_or(1, |it| it + 1), net),
            (tag @ (Tag::Incarnation { .. } | Tag::Registered { .. }), None) => net.timer(self.proc, PAUSE_MS, Timer::Retry(tag)),
            _ => {}
        }
    }

    fn read_back(&mut self, id: AttemptId, net: &mut Net) {
        if net.has(Bug::NoReadBackOfConflict) {
            let lost = CommitAnswer::Answered(Commit::TooLate(None));
            return self.tell(id, net, |attempt, now| attempt.on_commit_answer(lost, now));
        }
        let State::Running(running) = &self.state else { return };
        let Some(life) = running.lives.get(&id) else { return };
        net.request(self.proc, Op::GetRecord { job: life.attempt.assignment().spec.id }, REQUEST_MS, Tag::CommitRead { attempt: id });
    }

    fn judge(&self, id: AttemptId, reply: Option<&Reply>) -> CommitAnswer {
        let State::Running(running) = &self.state else { return CommitAnswer::Unanswered };
        let (Some(Reply::Record(found)), Some(record)) = (reply, running.lives.get(&id).and_then(|life| life.record.as_ref())) else {
            return CommitAnswer::Unanswered;
        };
        record.after_conflict(found_of(found)).map_or(CommitAnswer::Unanswered, CommitAnswer::Answered)
    }

    fn on_failure_answer(&mut self, id: AttemptId, is_written: bool, net: &mut Net) {
        let State::Running(running) = &mut self.state else { return };
        let Some(life) = running.lives.get_mut(&id) else { return };
        if is_written || net.now >= life.write_until {
            let is_early = net.has(Bug::NakFirst);
            self.tell(id, net, |attempt, now| {
                let mut actions = attempt.on_failure_written(is_written, now);
                actions.retain(|action| !(is_early && matches!(action, AttemptAction::Nak { .. })));
                actions
            });
        } else {
            net.timer(self.proc, EVENT_PAUSE_MS, Timer::Retry(Tag::FailureWritten { attempt: id }));
        }
    }

    fn on_incarnation(&mut self, node: usize, incarnation: u64, net: &mut Net) {
        let State::Starting(known) = &mut self.state else { return };
        known[node] = Some(incarnation);
        let Some(incarnations) = known.iter().copied().collect::<Option<Vec<u64>>>() else { return };
        let specs: Vec<NodeSpec> =
            self.specs.iter().zip(incarnations).map(|(spec, incarnation)| NodeSpec { incarnation, ..spec.clone() }).collect();
        for spec in &specs {
            self.register(Rc::new(spec.clone()), net);
        }
        let agent = Agent::new(specs.into_iter().map(AgentNode::new));
        net.shadow.on_worker_started(self.proc);
        self.state = State::Running(Box::new(Running { agent, lives: BTreeMap::new(), ended: Vec::new() }));
        net.timer(self.proc, 1, Timer::Beat);
    }
}

/// What stands in RESULTS, in the words of the engine.
pub(super) fn found_of(record: &Option<(u64, Record)>) -> Found<'_> {
    match record {
        None => Found::Nothing,
        Some((seq, Record::Open)) => Found::Open { seq: *seq },
        Some((_, Record::Ended(record))) => Found::Ended { state: Some(record.state), record: Some(record) },
    }
}
