//! One term of leadership: the shell around the engine's scheduler, as `services/scheduler` has it. Messages become calls, actions
//! become messages; what takes several steps is a task in `side`.

use std::collections::BTreeMap;
use std::rc::Rc;

use faultline_engine::detector::NodeVerdict;
use faultline_engine::job::{Assignment, AttemptId, JobId, Priority};
use faultline_engine::ledger::{Ledger, LedgerSnapshot};
use faultline_engine::placement::PolicyName;
use faultline_engine::scheduler::{Action, Beat, Delivery, Note, Past, Scheduler, SchedulerConfig};

use super::message::{Msg, Op, Plain, Reply, Tag, Timer};
use super::net::{Net, Proc};
use super::side::{Side, Step};
use super::worker::REQUEST_MS;
use super::{Bug, EPOCH_MS, ack_seq, ack_subject, unix};

const TICK_MS: u64 = 100;
const WATCH_MS: u64 = 500;
const PULL_MS: u64 = 2_000;
const PULL_PAUSE_MS: u64 = 250;
const LIST_PAUSE_MS: u64 = 250;
/// Jobs of one priority that are pulled and wait for room.
const WINDOW: usize = 16;
const SWEEP_EVERY: u64 = 10;
const ORPHAN_AFTER_MS: u64 = 120_000;

/// The ledger while this process leads.
struct Books {
    ledger: Ledger,
    saved: LedgerSnapshot,
    /// What is being saved.
    saving: Option<LedgerSnapshot>,
    revision: u64,
    /// How far RESULTS has been read in this term.
    read_seq: u64,
}

pub(super) struct Leader {
    proc: Proc,
    name: String,
    pub(super) term: u64,
    epoch: u64,
    pub(super) scheduler: Scheduler,
    pending_verdicts: Vec<Rc<NodeVerdict>>,
    nodes_revision: u64,
    sides: BTreeMap<u64, Side>,
    next_side: u64,
    ledger: Option<Books>,
    seconds: u64,
}

impl Leader {
    pub(super) fn begin(proc: Proc, name: &str, seed: u64, term: u64, epoch: u64, net: &mut Net) -> Self {
        let mut config = SchedulerConfig::default();
        if net.has(Bug::PlaceAtOnce) {
            config.settle_ms = 0;
        }
        net.request(proc, Op::GetVerdicts, REQUEST_MS, Tag::Verdicts);
        net.request(proc, Op::GetLedger, REQUEST_MS, Tag::LedgerRead);
        net.timer(proc, 1, Timer::Watch);
        net.timer(proc, TICK_MS, Timer::Tick { term });
        net.timer(proc, 1_000, Timer::Second { term });
        for priority in Priority::ALL {
            net.timer(proc, 1, Timer::Pull { term, priority });
        }
        if !net.has(Bug::PlaceAtOnce) {
            net.publish(proc, Op::AskSync { worker: None, epoch });
        }
        let seed = seed ^ (epoch << 32);
        Self {
            proc,
            name: name.to_owned(),
            term,
            epoch,
            scheduler: Scheduler::new(config, PolicyName::LeastLoaded, seed, unix(net)).under_epoch(epoch),
            pending_verdicts: Vec::new(),
            nodes_revision: 0,
            sides: BTreeMap::new(),
            next_side: 0,
            ledger: None,
            seconds: 0,
        }
    }

    /// Lets the engine place, and performs everything.
    fn act(&mut self, mut actions: Vec<Action>, net: &mut Net) {
        actions.extend(self.scheduler.on_tick(unix(net)));
        self.scheduler.sanity_check();
        if !actions.is_empty() {
            self.perform(actions, net);
        }
    }

    fn perform(&mut self, actions: Vec<Action>, net: &mut Net) {
        let mut assignments: BTreeMap<String, Vec<Assignment>> = BTreeMap::new();
        let mut kills: BTreeMap<String, Vec<AttemptId>> = BTreeMap::new();
        for action in actions {
            match action {
                Action::Assign { worker, assignment } => assignments.entry(worker).or_default().push(*assignment),
                Action::Kill { worker, attempt, reason } => {
                    net.say(|| format!("{} kills {attempt}: {reason}", self.name));
                    kills.entry(worker).or_default().push(attempt);
                }
                Action::Ack { ack_subject } => net.send(self.proc, Op::Ack { seq: ack_seq(&ack_subject) }),
                Action::InProgress { ack_subject } => net.send(self.proc, Op::InProgress { seq: ack_seq(&ack_subject) }),
                Action::Nak { ack_subject, delay_ms } => net.send(self.proc, Op::Nak { seq: ack_seq(&ack_subject), delay_ms }),
                Action::ReadBack { job } => self.aside(Side::read_back(job), net),
                Action::Die { job, reason, last_error } => {
                    net.say(|| format!("{} buries {}: {reason}", self.name, job.spec.name));
                    self.aside(Side::bury(*job, reason, last_error, unix(net)), net);
                }
                Action::Note(note) => self.note(note, net),
                Action::AskSync { worker } => {
                    let worker = Some(net.shadow.worker_of(&worker));
                    net.publish(self.proc, Op::AskSync { worker, epoch: self.epoch });
                }
                Action::ListPending => self.list_pending(net),
                // The engine's own checks know nothing of a message that comes twice, which NATS does not do.
                Action::Report(violation) if net.stats.doubled == 0 => net.shadow.fail(format!("{} reports: {violation}", self.name)),
                Action::Report(_) => {}
            }
        }
        for (worker, assignments) in assignments {
            for assignment in &assignments {
                net.say(|| format!("{} places {} as {} on {}", self.name, assignment.spec.name, assignment.attempt, assignment.node));
            }
            let worker = net.shadow.worker_of(&worker);
            net.publish(self.proc, Op::Assign { worker, epoch: self.epoch, assignments: Rc::new(assignments) });
        }
        for (worker, attempts) in kills {
            let worker = net.shadow.worker_of(&worker);
            net.publish(self.proc, Op::Kill { worker, epoch: self.epoch, attempts: Rc::new(attempts) });
        }
    }

    fn list_pending(&self, net: &mut Net) {
        net.request(self.proc, Op::ListPending, REQUEST_MS, Tag::Pending { term: self.term });
    }

    fn note(&self, note: Note, net: &mut Net) {
        let is_read_back = note.is_read_back();
        match note {
            Note::Placed { job, requeues, failures, history, .. } if is_read_back => {
                net.send(self.proc, Op::WriteEvent { job, past: Rc::new(Past { failures, requeues, history, ..Past::default() }) });
            }
            Note::Placed { .. } => {}
            Note::Lost { job, attempt, node, reason, .. } => {
                net.say(|| format!("{} gives up {attempt} on {node}: {reason}", self.name));
                net.stats.requeues += 1;
                net.shadow.on_taken_away(job, net.now);
            }
        }
    }

    pub(super) fn on_message(&mut self, msg: Msg, net: &mut Net) {
        let now_ms = unix(net);
        let actions = match msg {
            Msg::Plain(Plain::Beat(beat)) => {
                let signs = Beat { incarnation: beat.incarnation, running: &beat.running, telemetry: &[], leaving: beat.leaving };
                self.scheduler.on_heartbeat(&beat.node, signs, now_ms)
            }
            Msg::Plain(Plain::Bye { node, incarnation }) => self.scheduler.on_left(&node, incarnation, now_ms),
            Msg::Plain(Plain::Ended(ended)) => ended.iter().flat_map(|ended| self.scheduler.on_ended(ended, now_ms)).collect(),
            Msg::Plain(Plain::Synced { epoch, nodes }) if epoch == self.epoch => {
                nodes.iter().flat_map(|node| self.scheduler.on_synced(node.clone(), now_ms)).collect()
            }
            Msg::Plain(Plain::Verdict(verdict)) => self.judge(&verdict, now_ms),
            Msg::Plain(Plain::Cancel { job }) => {
                let past = self.scheduler.job(job).map(|held| (held.path(), held.failures, held.requeues)).unwrap_or_default();
                self.aside(Side::cancel(job, past), net);
                Vec::new()
            }
            Msg::Delivery { seq, spec, open_seq, count, priority } => {
                let delivery = Delivery {
                    spec: (*spec).clone(),
                    open_seq,
                    ack_subject: ack_subject(seq),
                    traceparent: None,
                    redelivered: count > 1 && !net.has(Bug::NoReadBackOnRedelivery),
                };
                let actions = self.scheduler.on_delivered(delivery, now_ms);
                let waiting = self.scheduler.waiting_of(priority);
                if waiting >= WINDOW {
                    net.say(|| format!("{} holds {waiting} jobs of {priority}", self.name));
                }
                actions
            }
            Msg::Connected => {
                self.scheduler.on_reconnected(now_ms);
                net.publish(self.proc, Op::AskSync { worker: None, epoch: self.epoch });
                for priority in Priority::ALL {
                    net.timer(self.proc, PULL_PAUSE_MS, Timer::Pull { term: self.term, priority });
                }
                Vec::new()
            }
            _ => Vec::new(),
        };
        self.act(actions, net);
    }

    fn judge(&mut self, verdict: &NodeVerdict, now_ms: u64) -> Vec<Action> {
        self.scheduler.on_verdict(&verdict.node, verdict.incarnation, verdict.health, &verdict.evidence, verdict.silence_ms, now_ms)
    }

    pub(super) fn on_timer(&mut self, timer: Timer, net: &mut Net) {
        match timer {
            Timer::Tick { term } if term == self.term => net.timer(self.proc, TICK_MS, timer),
            Timer::Second { term } if term == self.term => {
                net.timer(self.proc, 1_000, timer);
                self.on_second(net);
            }
            Timer::Watch => net.request(self.proc, Op::NodesSince { revision: self.nodes_revision }, REQUEST_MS, Tag::Nodes),
            Timer::Pull { term, priority } if term == self.term => {
                let want = WINDOW.saturating_sub(self.scheduler.waiting_of(priority));
                if want > 0 {
                    net.request(self.proc, Op::Pull { priority, want, expires_ms: PULL_MS }, PULL_MS, Tag::Pulled);
                }
                net.timer(self.proc, PULL_MS, timer);
            }
            Timer::Retry(Tag::Pending { term }) if term == self.term => self.list_pending(net),
            Timer::Side { task } => {
                if let Some(side) = self.sides.get_mut(&task) {
                    let step = side.resume();
                    self.step(task, step, net);
                }
            }
            _ => return,
        }
        self.act(Vec::new(), net);
    }

    fn on_second(&mut self, net: &mut Net) {
        self.seconds += 1;
        let Some(Books { ledger, saved, saving, revision, read_seq }) = &mut self.ledger else {
            return net.request(self.proc, Op::GetLedger, REQUEST_MS, Tag::LedgerRead);
        };
        if saving.is_none() && (LedgerSnapshot { at_ms: saved.at_ms, ..ledger.counts().clone() }) != *saved {
            let snapshot = ledger.snapshot(unix(net));
            *saving = Some(snapshot.clone());
            net.request(self.proc, Op::SaveLedger { snapshot, revision: *revision }, REQUEST_MS, Tag::LedgerSaved);
        }
        let seq = *read_seq;
        let old: Vec<(JobId, u64)> = if self.seconds.is_multiple_of(SWEEP_EVERY) {
            let now_ms = unix(net);
            ledger.open_jobs().take_while(|(job, _)| now_ms.saturating_sub(job.unix_ms()) > ORPHAN_AFTER_MS).collect()
        } else {
            Vec::new()
        };
        net.request(self.proc, Op::ResultsSince { seq }, REQUEST_MS, Tag::Results);
        for (job, open_seq) in old {
            net.say(|| format!("{} looks whether {job} is an orphan", self.name));
            self.aside(Side::abandon(job, open_seq), net);
        }
    }

    pub(super) fn on_answer(&mut self, tag: Tag, reply: Option<Reply>, net: &mut Net) {
        let now_ms = unix(net);
        let mut actions = Vec::new();
        match (tag, reply) {
            (Tag::Nodes, reply) => {
                net.timer(self.proc, WATCH_MS, Timer::Watch);
                let Some(Reply::Nodes(revision, entries)) = reply else { return };
                self.nodes_revision = revision;
                for (node, spec) in entries.iter() {
                    actions.extend(match spec {
                        Some(spec) => self.on_registered(node, spec, now_ms),
                        None => self.scheduler.on_left(node, u64::MAX, now_ms),
                    });
                }
            }
            (Tag::Verdicts, Some(Reply::Verdicts(verdicts))) => {
                for verdict in verdicts.iter() {
                    if self.scheduler.node(&verdict.node).is_some() {
                        actions.extend(self.judge(verdict, now_ms));
                    } else {
                        self.pending_verdicts.push(Rc::clone(verdict));
                    }
                }
            }
            (Tag::LedgerRead, Some(Reply::Ledger(snapshot, revision))) => {
                self.ledger = Some(Books { ledger: Ledger::new(snapshot.clone()), saved: snapshot, saving: None, revision, read_seq: 0 });
                // Everything that is still there is looked at again, as the live fold does.
                net.request(self.proc, Op::ResultsSince { seq: 0 }, REQUEST_MS, Tag::Results);
            }
            (Tag::Pending { term }, reply) if term == self.term => match reply {
                Some(Reply::Pending(pending)) => actions.extend(self.scheduler.on_pending(&pending, now_ms)),
                _ => net.timer(self.proc, LIST_PAUSE_MS, Timer::Retry(Tag::Pending { term })),
            },
            (Tag::LedgerSaved, reply) => self.on_ledger_saved(reply.as_ref()),
            (Tag::Results, Some(Reply::Results(records))) => {
                if let Some(books) = &mut self.ledger {
                    for record in records.iter().filter(|record| record.seq > books.read_seq) {
                        books.ledger.fold(*record);
                    }
                    books.read_seq = records.last().map_or(books.read_seq, |last| books.read_seq.max(last.seq));
                }
            }
            (Tag::Side { task }, reply) => {
                let Some(side) = self.sides.get_mut(&task) else { return };
                let step = side.on_answer(reply, now_ms, net.bug);
                self.step(task, step, net);
            }
            _ => {}
        }
        self.act(actions, net);
    }

    fn on_ledger_saved(&mut self, reply: Option<&Reply>) {
        let Some(books) = &mut self.ledger else { return };
        match (reply, books.saving.take()) {
            (Some(Reply::Ok(newer)), Some(saving)) => (books.saved, books.revision) = (saving, *newer),
            // Somebody else wrote, or nobody knows: begin again from what is stored.
            _ => self.ledger = None,
        }
    }

    fn on_registered(&mut self, node: &str, spec: &faultline_engine::node::NodeSpec, now_ms: u64) -> Vec<Action> {
        let mut actions = self.scheduler.on_registered(spec.clone(), now_ms);
        let (known, pending): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending_verdicts).into_iter().partition(|verdict| verdict.node == node);
        self.pending_verdicts = pending;
        for verdict in &known {
            actions.extend(self.judge(verdict, now_ms));
        }
        actions
    }

    fn aside(&mut self, mut side: Side, net: &mut Net) {
        self.next_side += 1;
        let step = side.resume();
        self.sides.insert(self.next_side, side);
        self.step(self.next_side, step, net);
    }

    fn step(&mut self, task: u64, step: Step, net: &mut Net) {
        match step {
            Step::Ask(op) => net.request(self.proc, op, REQUEST_MS, Tag::Side { task }),
            Step::Pause(ms) => net.timer(self.proc, ms, Timer::Side { task }),
            Step::Read(job, read) => {
                self.sides.remove(&task);
                let actions = self.scheduler.on_record_read(job, read, EPOCH_MS + net.now);
                self.perform(actions, net);
            }
            Step::Cancelled(job, then) => {
                self.sides.remove(&task);
                let actions = self.scheduler.on_cancelled(job, EPOCH_MS + net.now);
                self.perform(actions, net);
                then.into_iter().for_each(|op| net.send(self.proc, op));
            }
            Step::Over(then) => {
                self.sides.remove(&task);
                then.into_iter().for_each(|op| net.send(self.proc, op));
            }
        }
    }
}
