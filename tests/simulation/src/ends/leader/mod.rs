//! A scheduler, and its term when it leads. The rules themselves are the engine's (`faultline_engine::ends`); here is who asks what, in which
//! order, and what waits for what.

mod barrier;
mod books;
mod deliver;
mod duties;
mod follow;
mod hear;
mod place;
mod read;
mod takeover;
mod term;

use std::cell::RefCell;
use std::rc::Rc;

use super::bucket::LEASE_MS;
use super::exec::Ctx;
use super::message::{Reply, Request};
pub(crate) use read::{behind, log_message, next_read};
use term::{ASK_MS, Shared};

const RENEW_MS: u64 = 800;

pub(crate) async fn run(ctx: Ctx) {
    loop {
        if let Some(Reply::Lease { revision }) = ctx.ask(Request::Acquire, ASK_MS).await {
            let until_ms = ctx.now() + LEASE_MS;
            lead(&ctx, revision, until_ms).await;
        }
        let pause_ms = ctx.random(200..600);
        ctx.sleep(pause_ms).await;
    }
}

/// Until the term is over, for whatever reason.
async fn lead(ctx: &Ctx, revision: u64, until_ms: u64) {
    let Some(term) = takeover::begin(ctx, revision).await else { return };
    let term = Rc::new(RefCell::new(term));
    ctx.with(|core| core.stats.terms += 1);
    ctx.note(|| format!("leads with epoch {}", term.borrow().epoch));
    spawn_tasks(ctx, &term);
    renew(ctx, &term, until_ms).await;
    term.borrow_mut().is_over = true;
    ctx.note(|| "leads no more".into());
}

fn spawn_tasks(ctx: &Ctx, term: &Shared) {
    ctx.spawn(hear::run(ctx.clone(), Rc::clone(term)));
    ctx.spawn(follow::run(ctx.clone(), Rc::clone(term)));
    ctx.spawn(place::run(ctx.clone(), Rc::clone(term)));
    ctx.spawn(duties::decide(ctx.clone(), Rc::clone(term)));
    ctx.spawn(duties::acknowledge(ctx.clone(), Rc::clone(term)));
    ctx.spawn(duties::keep(ctx.clone(), Rc::clone(term)));
    ctx.spawn(duties::save(ctx.clone(), Rc::clone(term)));
    ctx.spawn(duties::look(ctx.clone(), Rc::clone(term)));
    for priority in 0..2 {
        ctx.spawn(deliver::run(ctx.clone(), Rc::clone(term), priority));
    }
}

/// Holds the lease; returns when it is lost or the term is over.
async fn renew(ctx: &Ctx, term: &Shared, mut until_ms: u64) {
    let mut revision = term.borrow().revision;
    // To make room in the log may have taken most of the first lease.
    let mut pause_ms = if ctx.now() + RENEW_MS < until_ms { RENEW_MS } else { 0 };
    loop {
        ctx.sleep(pause_ms).await;
        pause_ms = RENEW_MS;
        if term.borrow().is_over {
            return;
        }
        let asked_ms = ctx.now();
        match ctx.ask(Request::Renew { revision }, RENEW_MS).await {
            Some(Reply::Lease { revision: renewed }) => {
                revision = renewed;
                until_ms = asked_ms + LEASE_MS;
                // It leads for certain, so no other scheduler has given workers a higher epoch rightly.
                takeover::raise_epoch(ctx, term).await;
            }
            Some(_) => return,
            None if ctx.now() > until_ms => return,
            None => {}
        }
    }
}
