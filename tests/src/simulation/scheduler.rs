//! A scheduler process: stands by, takes the lease, leads while it holds it. What one term does is in `leader`.

use super::Bug;
use super::leader::Leader;
use super::message::{Msg, Op, Reply, Tag, Timer};
use super::net::{Net, Proc};

const STANDBY_EVERY_MS: u64 = 400;
const RENEW_EVERY_MS: u64 = 1_000;
/// A leader that could not renew for this long stops by itself, before the key expires for the others.
const GIVE_UP_AFTER_MS: u64 = 2_400;
const RENEW_LIMIT_MS: u64 = 800;

struct Lease {
    term: u64,
    revision: u64,
    renewed_at: u64,
}

pub(super) struct Scheduler {
    pub(super) proc: Proc,
    pub(super) name: String,
    seed: u64,
    terms: u64,
    lease: Option<Lease>,
    pub(super) leader: Option<Box<Leader>>,
}

impl Scheduler {
    pub(super) fn new(proc: Proc, name: String, seed: u64) -> Self {
        Self { proc, name, seed, terms: 0, lease: None, leader: None }
    }

    pub(super) fn start(&mut self, net: &mut Net) {
        net.timer(self.proc, 1, Timer::Stand);
    }

    pub(super) fn crash(&mut self) {
        (self.lease, self.leader) = (None, None);
    }

    fn acquire(&mut self, net: &mut Net) {
        self.terms += 1;
        net.request(self.proc, Op::CreateLease, RENEW_LIMIT_MS, Tag::Acquire { term: self.terms });
    }

    /// The term is over; the process stands by again.
    fn lose(&mut self, net: &mut Net) {
        net.say(|| format!("{} does not lead any more", self.name));
        net.links[self.proc].is_subscribed = false;
        net.forget_requests(self.proc);
        (self.lease, self.leader) = (None, None);
        net.timer(self.proc, STANDBY_EVERY_MS, Timer::Stand);
    }

    fn lead(&mut self, term: u64, epoch: u64, net: &mut Net) {
        net.say(|| format!("{} leads, epoch {epoch}", self.name));
        net.stats.terms += 1;
        net.links[self.proc].is_subscribed = true;
        self.lease = Some(Lease { term, revision: epoch, renewed_at: net.now });
        net.timer(self.proc, RENEW_EVERY_MS, Timer::Renew { term });
        self.leader = Some(Box::new(Leader::begin(self.proc, &self.name, self.seed, term, epoch, net)));
    }

    /// A process that has just woken up does not act on what it believed before.
    fn check_lease(&mut self, net: &mut Net) {
        if self.lease.as_ref().is_some_and(|lease| net.now - lease.renewed_at >= GIVE_UP_AFTER_MS) {
            self.lose(net);
        }
    }

    pub(super) fn on_message(&mut self, msg: Msg, net: &mut Net) {
        self.check_lease(net);
        if let Some(leader) = &mut self.leader {
            leader.on_message(msg, net);
        }
    }

    pub(super) fn on_timer(&mut self, timer: Timer, net: &mut Net) {
        self.check_lease(net);
        match timer {
            Timer::Stand => self.acquire(net),
            Timer::Renew { term } => {
                if let Some(lease) = self.lease.as_ref().filter(|lease| lease.term == term) {
                    let tag = Tag::Renewed { term, asked_at: net.now };
                    net.request(self.proc, Op::RenewLease { revision: lease.revision }, RENEW_LIMIT_MS, tag);
                }
            }
            timer => {
                if let Some(leader) = &mut self.leader {
                    leader.on_timer(timer, net);
                }
            }
        }
    }

    pub(super) fn on_answer(&mut self, tag: Tag, reply: Option<Reply>, net: &mut Net) {
        match (tag, reply) {
            (Tag::Acquire { term }, Some(Reply::Ok(epoch))) if term == self.terms => self.lead(term, epoch, net),
            (Tag::Acquire { .. }, _) => net.timer(self.proc, STANDBY_EVERY_MS, Timer::Stand),
            (Tag::Renewed { term, asked_at }, reply) => self.on_renewed(term, asked_at, reply.as_ref(), net),
            (Tag::LeaseRead { term }, reply) => self.on_lease_read(term, reply.as_ref(), net),
            (tag, reply) => {
                if let Some(leader) = &mut self.leader {
                    leader.on_answer(tag, reply, net);
                }
            }
        }
    }

    fn on_renewed(&mut self, term: u64, asked_at: u64, reply: Option<&Reply>, net: &mut Net) {
        let Some(lease) = self.lease.as_mut().filter(|lease| lease.term == term) else { return };
        match reply {
            Some(Reply::Ok(revision)) => {
                (lease.revision, lease.renewed_at) = (*revision, asked_at);
                net.timer(self.proc, RENEW_EVERY_MS, Timer::Renew { term });
            }
            // A renewal whose answer was lost looks like a conflict: read back.
            Some(_) if !net.has(Bug::NoReadBackOfConflict) => {
                net.request(self.proc, Op::GetLease, RENEW_LIMIT_MS, Tag::LeaseRead { term });
            }
            None if net.now - lease.renewed_at < GIVE_UP_AFTER_MS => net.timer(self.proc, RENEW_EVERY_MS, Timer::Renew { term }),
            Some(_) | None => self.lose(net),
        }
    }

    fn on_lease_read(&mut self, term: u64, reply: Option<&Reply>, net: &mut Net) {
        let Some(lease) = self.lease.as_mut().filter(|lease| lease.term == term) else { return };
        match reply {
            Some(Reply::Lease(Some((holder, revision)))) if *holder == self.proc => {
                (lease.revision, lease.renewed_at) = (*revision, net.now);
                net.timer(self.proc, RENEW_EVERY_MS, Timer::Renew { term });
            }
            _ => self.lose(net),
        }
    }
}
