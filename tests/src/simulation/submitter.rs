//! A submitter: two durable writes a job, repeated with the same id until both are answered or the id is too old.

use std::collections::BTreeMap;
use std::rc::Rc;

use faultline_engine::job::{JobId, JobSpec};

use super::message::{Op, Record, Reply, Tag, Timer};
use super::net::{Net, Proc};
use super::unix;
use super::worker::REQUEST_MS;

const AGAIN_MS: u64 = 500;
const MAX_SUBMIT_AGE_MS: u64 = 60_000;

pub(super) struct Submitter {
    pub(super) proc: Proc,
    /// Jobs with the time of their submission; those that were handed over are gone.
    todo: BTreeMap<JobId, (u64, Rc<JobSpec>)>,
}

impl Submitter {
    pub(super) fn new(proc: Proc, todo: BTreeMap<JobId, (u64, Rc<JobSpec>)>) -> Self {
        Self { proc, todo }
    }

    pub(super) fn start(&mut self, net: &mut Net) {
        for (job, (at, _)) in &self.todo {
            net.timer(self.proc, at.saturating_sub(net.now).max(1), Timer::Submit { job: *job });
        }
    }

    /// It dies, and forgets what it was in the middle of unless it wrote its ids down.
    pub(super) fn crash(&mut self, remembers: bool, now: u64) {
        if !remembers {
            self.todo.retain(|_, (at, _)| *at > now);
        }
    }

    /// Nothing more will come from it.
    pub(super) fn is_done(&self) -> bool {
        self.todo.is_empty()
    }

    pub(super) fn on_timer(&mut self, timer: Timer, net: &mut Net) {
        let Timer::Submit { job } = timer else { return };
        let now_ms = unix(net);
        if now_ms.saturating_sub(job.unix_ms()) > MAX_SUBMIT_AGE_MS {
            self.todo.remove(&job);
        } else if self.todo.contains_key(&job) {
            net.request(self.proc, Op::Open { job }, REQUEST_MS, Tag::Opened { job });
        }
    }

    pub(super) fn on_answer(&mut self, tag: Tag, reply: Option<Reply>, net: &mut Net) {
        match (tag, reply) {
            (Tag::Opened { job }, Some(Reply::Ok(seq))) => self.enqueue(job, seq, net),
            (Tag::Opened { job }, Some(_)) => net.request(self.proc, Op::GetRecord { job }, REQUEST_MS, Tag::OpenRead { job }),
            (Tag::OpenRead { job }, Some(Reply::Record(Some((seq, Record::Open))))) => self.enqueue(job, seq, net),
            (Tag::OpenRead { job }, Some(Reply::Record(Some((_, Record::Ended(_)))))) => drop(self.todo.remove(&job)),
            (Tag::Enqueued { job }, Some(Reply::Ok(_))) => drop(self.todo.remove(&job)),
            (Tag::Opened { job } | Tag::OpenRead { job } | Tag::Enqueued { job }, _) => {
                net.timer(self.proc, AGAIN_MS, Timer::Submit { job });
            }
            _ => {}
        }
    }

    fn enqueue(&self, job: JobId, open_seq: u64, net: &mut Net) {
        if let Some((_, spec)) = self.todo.get(&job) {
            net.request(self.proc, Op::Enqueue { spec: Rc::clone(spec), open_seq }, REQUEST_MS, Tag::Enqueued { job });
        }
    }
}
