//! The parts of NATS that the cluster stands on, with the habits that were measured: an acknowledgement acts on the stream's sequence
//! only, whoever sends it; sequences are compared before duplicates are looked for; a killed server forgets the deliveries of its
//! last tenth of a second, and which messages it had seen of jobs that are gone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use faultline_engine::detector::NodeVerdict;
use faultline_engine::job::{JobId, JobSpec, JobState, Priority};
use faultline_engine::ledger::{LedgerRecord, LedgerSnapshot};
use faultline_engine::node::NodeSpec;
use faultline_engine::scheduler::{Past, PendingMessage};

use super::message::{Msg, Op, Record, Reply};
use super::net::{Net, Proc};
use super::{Bug, Cast, ack_subject};

pub(super) const ACK_WAIT_MS: u64 = 15_000;
const DEDUPE_MS: u64 = 120_000;
const LEASE_MAX_AGE_MS: u64 = 3_000;
/// What a killed server had not yet written down of its deliveries.
const FORGOTTEN_MS: u64 = 100;
const TICK_MS: u64 = 100;

struct Queued {
    spec: Rc<JobSpec>,
    open_seq: u64,
}

/// A delivery that was not acknowledged.
struct Pending {
    first_at: u64,
    due_at: u64,
    count: u64,
    /// It waits for a pull.
    is_due: bool,
}

struct Pull {
    of: Proc,
    life: u32,
    left: usize,
    until: u64,
}

#[derive(Default)]
struct Consumer {
    next: u64,
    pending: BTreeMap<u64, Pending>,
    due: BTreeSet<u64>,
    pulls: VecDeque<Pull>,
}

struct Lease {
    holder: Proc,
    revision: u64,
    written_at: u64,
}

#[derive(Default)]
pub(super) struct Server {
    jobs: BTreeMap<u64, Queued>,
    jobs_seq: u64,
    seen: BTreeMap<JobId, u64>,
    consumers: [Consumer; Priority::ALL.len()],
    results: BTreeMap<JobId, (u64, Record)>,
    results_by_seq: BTreeMap<u64, JobId>,
    results_seq: u64,
    pasts: BTreeMap<JobId, Rc<Past>>,
    lease: Option<Lease>,
    revision: u64,
    nodes: BTreeMap<String, (u64, Option<Rc<NodeSpec>>)>,
    verdicts: BTreeMap<String, Rc<NodeVerdict>>,
    ledger: LedgerSnapshot,
    ledger_revision: u64,
}

impl Server {
    pub(super) fn is_queue_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) fn queued_jobs(&self) -> impl Iterator<Item = JobId> + '_ {
        self.jobs.values().map(|queued| queued.spec.id)
    }

    pub(super) fn records(&self) -> &BTreeMap<JobId, (u64, Record)> {
        &self.results
    }

    pub(super) fn results_seq(&self) -> u64 {
        self.results_seq
    }

    pub(super) fn ledger(&self) -> &LedgerSnapshot {
        &self.ledger
    }

    /// The server stops without a word.
    pub(super) fn crash(&mut self, net: &mut Net) {
        net.server_crash();
        for consumer in &mut self.consumers {
            consumer.pulls.clear();
            let forgotten: Vec<u64> =
                consumer.pending.iter().filter(|(_, it)| it.first_at + FORGOTTEN_MS > net.now).map(|(seq, _)| *seq).collect();
            for seq in forgotten {
                if let Some(queued) = self.jobs.get(&seq) {
                    net.shadow.on_forgotten(queued.spec.id);
                }
                consumer.pending.remove(&seq);
                consumer.due.remove(&seq);
                consumer.next = consumer.next.min(seq);
            }
        }
        let still_there: BTreeSet<JobId> = self.queued_jobs().collect();
        self.seen.retain(|job, _| still_there.contains(job));
    }

    /// Time passes: what was not acknowledged is due again.
    pub(super) fn tick(&mut self, net: &mut Net, cast: &Cast) {
        let now = net.now;
        for consumer in &mut self.consumers {
            for (seq, pending) in &mut consumer.pending {
                if !pending.is_due && pending.due_at <= now {
                    pending.is_due = true;
                    consumer.due.insert(*seq);
                }
            }
        }
        if self.lease.as_ref().is_some_and(|lease| lease.written_at + LEASE_MAX_AGE_MS <= now) {
            self.lease = None;
            self.revision += 1;
        }
        self.serve_pulls(net, cast);
        net.server_tick(TICK_MS);
    }

    fn serve_pulls(&mut self, net: &mut Net, cast: &Cast) {
        for priority in Priority::ALL {
            let consumer = &mut self.consumers[priority as usize];
            while let Some(pull) = consumer.pulls.front() {
                let (to, link) = (pull.of, &net.links[pull.of]);
                if pull.left == 0 || pull.until <= net.now || !link.is_connected || link.life != pull.life {
                    consumer.pulls.pop_front();
                    continue;
                }
                let Some((seq, count)) = consumer.take_next(&self.jobs, priority, net.now) else { break };
                consumer.pulls[0].left -= 1;
                let queued = &self.jobs[&seq];
                net.stats.deliveries += 1;
                net.say(|| format!("JETSTREAM delivers {} to {} (seq {seq}, count {count})", queued.spec.name, cast.name(to)));
                net.shadow.on_taken_away(queued.spec.id, net.now);
                let msg = Msg::Delivery { seq, spec: Rc::clone(&queued.spec), open_seq: queued.open_seq, count, priority };
                net.deliver(to, msg);
            }
        }
    }

    pub(super) fn handle(&mut self, from: Proc, op: Op, net: &mut Net, cast: &Cast) -> Option<Reply> {
        match op {
            Op::Publish(plain) => {
                for to in cast.listeners(&plain, net) {
                    net.deliver(to, Msg::Plain(plain.clone()));
                }
                None
            }
            Op::Assign { worker, epoch, assignments } => self.tell(worker, Msg::Assign { epoch, assignments }, net),
            Op::Kill { worker, epoch, attempts } => self.tell(worker, Msg::Kill { epoch, attempts }, net),
            Op::AskSync { worker, epoch } => {
                for worker in cast.workers().filter(|known| worker.is_none_or(|meant| meant == *known)) {
                    self.tell(worker, Msg::AskSync { epoch }, net);
                }
                None
            }
            Op::Ack { .. } | Op::Nak { .. } | Op::InProgress { .. } => {
                self.acknowledge(&op, net.now);
                self.serve_pulls(net, cast);
                Some(Reply::Ok(0))
            }
            Op::Pull { priority, want, expires_ms } => {
                let pull = Pull { of: from, life: net.links[from].life, left: want, until: net.now + expires_ms };
                self.consumers[priority as usize].pulls.push_back(pull);
                self.serve_pulls(net, cast);
                None
            }
            Op::Commit { .. } | Op::Open { .. } | Op::GetRecord { .. } | Op::ResultsSince { .. } => self.on_results(op, net),
            Op::Enqueue { spec, open_seq } => Some(self.enqueue(spec, open_seq, net, cast)),
            Op::GetPast { job } => Some(Reply::Past(self.pasts.get(&job).cloned().unwrap_or_default())),
            Op::WriteEvent { job, past } => {
                if cast.workers().contains(&from) {
                    net.shadow.on_failure_written(job, past.failures);
                }
                self.pasts.insert(job, past);
                Some(Reply::Ok(0))
            }
            Op::Purge { job } => {
                self.jobs.retain(|_, queued| queued.spec.id != job);
                self.forget_missing();
                Some(Reply::Ok(0))
            }
            Op::IsQueued { job } => Some(Reply::Flag(self.queued_jobs().any(|queued| queued == job))),
            Op::ListPending => Some(Reply::Pending(Rc::new(self.pending()))),
            Op::WriteLetter | Op::Probe => Some(Reply::Ok(0)),
            op => self.on_buckets(from, op, net),
        }
    }

    /// What the stream still holds up to a consumer's last delivery.
    fn pending(&self) -> Vec<PendingMessage> {
        let message = |(seq, queued): (&u64, &Queued)| PendingMessage { job: queued.spec.id, ack_subject: ack_subject(*seq) };
        let is_delivered = |(seq, queued): &(&u64, &Queued)| **seq < self.consumers[queued.spec.priority as usize].next;
        self.jobs.iter().filter(is_delivered).map(message).collect()
    }

    fn tell(&self, worker: Proc, msg: Msg, net: &mut Net) -> Option<Reply> {
        if net.links[worker].is_subscribed {
            net.deliver(worker, msg);
        }
        None
    }

    /// Whoever says it, and whatever became of the delivery meanwhile.
    fn acknowledge(&mut self, op: &Op, now: u64) {
        match *op {
            Op::Ack { seq } => {
                self.jobs.remove(&seq);
                self.forget_missing();
            }
            Op::Nak { seq, delay_ms } => self.reschedule(seq, now + delay_ms),
            Op::InProgress { seq } => self.reschedule(seq, now + ACK_WAIT_MS),
            _ => unreachable!("no acknowledgement"),
        }
    }

    fn reschedule(&mut self, seq: u64, due_at: u64) {
        for consumer in &mut self.consumers {
            if let Some(pending) = consumer.pending.get_mut(&seq) {
                pending.due_at = due_at;
                // What is due already goes out all the same.
            }
        }
    }

    fn forget_missing(&mut self) {
        let jobs = &self.jobs;
        for consumer in &mut self.consumers {
            consumer.pending.retain(|seq, _| jobs.contains_key(seq));
            consumer.due.retain(|seq| jobs.contains_key(seq));
        }
    }

    fn enqueue(&mut self, spec: Rc<JobSpec>, open_seq: u64, net: &mut Net, cast: &Cast) -> Reply {
        let id = spec.id;
        let is_seen = self.seen.get(&id).is_some_and(|at| at + DEDUPE_MS > net.now);
        if is_seen && !net.has(Bug::NoDedupe) {
            return Reply::Ok(0);
        }
        self.seen.insert(id, net.now);
        self.jobs_seq += 1;
        self.jobs.insert(self.jobs_seq, Queued { spec, open_seq });
        net.shadow.on_queued(id);
        self.serve_pulls(net, cast);
        Reply::Ok(self.jobs_seq)
    }

    fn on_results(&mut self, op: Op, net: &mut Net) -> Option<Reply> {
        Some(match op {
            Op::Open { job } => match self.results.get(&job) {
                Some(_) => Reply::Conflict,
                None => Reply::Ok(self.write_result(job, Record::Open)),
            },
            Op::Commit { record, expected } => {
                let last = self.results.get(&record.job).map_or(0, |(seq, _)| *seq);
                if expected.is_some_and(|expected| expected != last) {
                    net.stats.conflicts += 1;
                    return Some(Reply::Conflict);
                }
                net.shadow.on_ended(&record, net.now);
                Reply::Ok(self.write_result(record.job, Record::Ended(record)))
            }
            Op::GetRecord { job } => Reply::Record(self.results.get(&job).cloned()),
            Op::ResultsSince { seq } => {
                let read = |(seq, job): (&u64, &JobId)| {
                    let state = match &self.results[job].1 {
                        Record::Open => JobState::Queued,
                        Record::Ended(record) => record.state,
                    };
                    LedgerRecord { seq: *seq, job: *job, state }
                };
                Reply::Results(Rc::new(self.results_by_seq.range(seq + 1..).map(read).collect()))
            }
            _ => unreachable!("not about RESULTS"),
        })
    }

    /// One message a subject: the older one is gone.
    fn write_result(&mut self, job: JobId, record: Record) -> u64 {
        self.results_seq += 1;
        if let Some((older, _)) = self.results.insert(job, (self.results_seq, record)) {
            self.results_by_seq.remove(&older);
        }
        self.results_by_seq.insert(self.results_seq, job);
        self.results_seq
    }

    fn on_buckets(&mut self, from: Proc, op: Op, net: &mut Net) -> Option<Reply> {
        Some(match op {
            Op::CreateLease => match &self.lease {
                Some(_) => Reply::Conflict,
                None => Reply::Ok(self.write_lease(from, net.now)),
            },
            Op::RenewLease { revision } => match &self.lease {
                Some(lease) if lease.revision == revision => Reply::Ok(self.write_lease(from, net.now)),
                Some(_) | None => Reply::Conflict,
            },
            Op::GetLease => Reply::Lease(self.lease.as_ref().map(|lease| (lease.holder, lease.revision))),
            Op::PutNode(spec) => {
                self.revision += 1;
                net.shadow.on_registered(&spec.node, net.now);
                self.nodes.insert(spec.node.clone(), (self.revision, Some(spec)));
                Reply::Ok(self.revision)
            }
            Op::RemoveNode { node } => {
                self.revision += 1;
                net.shadow.on_unregistered(&node, net.now);
                self.nodes.insert(node, (self.revision, None));
                Reply::Ok(self.revision)
            }
            Op::GetNode { node } => Reply::Node(self.nodes.get(&node).and_then(|(_, spec)| spec.as_ref()).map(|spec| spec.incarnation)),
            Op::NodesSince { revision } => {
                let mut newer: Vec<_> = self.nodes.iter().filter(|(_, (at, _))| *at > revision).collect();
                newer.sort_by_key(|(_, (at, _))| *at);
                let newer = newer.into_iter().map(|(node, (_, spec))| (node.clone(), spec.clone())).collect();
                Reply::Nodes(self.revision, Rc::new(newer))
            }
            Op::PutVerdict(verdict) => {
                self.verdicts.insert(verdict.node.clone(), verdict);
                Reply::Ok(0)
            }
            Op::RemoveVerdict { node } => {
                self.verdicts.remove(&node);
                Reply::Ok(0)
            }
            Op::GetVerdicts => Reply::Verdicts(Rc::new(self.verdicts.values().cloned().collect())),
            Op::GetLedger => Reply::Ledger(self.ledger.clone(), self.ledger_revision),
            Op::SaveLedger { snapshot, revision } => {
                if revision != self.ledger_revision {
                    return Some(Reply::Conflict);
                }
                self.revision += 1;
                self.ledger_revision = self.revision;
                self.ledger = snapshot;
                Reply::Ok(self.ledger_revision)
            }
            _ => return None,
        })
    }

    fn write_lease(&mut self, holder: Proc, now: u64) -> u64 {
        self.revision += 1;
        self.lease = Some(Lease { holder, revision: self.revision, written_at: now });
        self.revision
    }
}

impl Consumer {
    /// What is delivered next, and how often that makes.
    fn take_next(&mut self, jobs: &BTreeMap<u64, Queued>, priority: Priority, now: u64) -> Option<(u64, u64)> {
        if let Some(seq) = self.due.pop_first()
            && let Some(pending) = self.pending.get_mut(&seq)
        {
            (pending.is_due, pending.due_at, pending.count) = (false, now + ACK_WAIT_MS, pending.count + 1);
            return Some((seq, pending.count));
        }
        let is_new = |(seq, queued): &(&u64, &Queued)| queued.spec.priority == priority && !self.pending.contains_key(seq);
        let (seq, _) = jobs.range(self.next..).find(is_new)?;
        self.next = seq + 1;
        self.pending.insert(*seq, Pending { first_at: now, due_at: now + ACK_WAIT_MS, count: 1, is_due: false });
        Some((*seq, 1))
    }
}
