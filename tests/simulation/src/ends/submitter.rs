//! A submitter: it hands packs over, and repeats one while nothing tells whether it arrived and its id is young.

use std::cell::RefCell;
use std::rc::Rc;

use faultline_engine::job::PackId;

use super::EndsBug;
use super::exec::Ctx;
use super::message::{MsgId, Pack, Reply, Request};
use super::scenario::PackPlan;

const ANSWER_WITHIN_MS: u64 = 1_500;
/// A pack is not repeated when it is older by the submitter's own clock.
const REPEATED_FOR_MS: u64 = 60_000;

/// What a submitter has on its disk: it outlives the process.
#[derive(Default)]
pub(crate) struct Journal {
    /// How many of its plans were begun.
    begun: usize,
    /// Handed over, and not confirmed.
    open: Vec<Rc<Pack>>,
}

impl Journal {
    pub(crate) fn is_done(&self, plans: usize) -> bool {
        self.begun == plans && self.open.is_empty()
    }
}

pub(crate) type Journals = Rc<Vec<RefCell<Journal>>>;

pub(crate) async fn run(ctx: Ctx, index: usize, journals: Journals) {
    loop {
        // The journal is all that it knows of an earlier life.
        let open = journals[index].borrow().open.first().cloned();
        if let Some(pack) = open {
            hand_over(&ctx, &pack).await;
            journals[index].borrow_mut().open.remove(0);
            continue;
        }
        let begun = journals[index].borrow().begun;
        let Some(plan) = ctx.with(|core| core.scenario.submitters[index].get(begun).cloned()) else { return };
        if plan.at > ctx.now() {
            ctx.sleep(plan.at - ctx.now()).await;
            continue;
        }
        let pack = Rc::new(make(&ctx, plan));
        ctx.with(|core| core.shadow.on_submitted(&pack));
        let mut journal = journals[index].borrow_mut();
        journal.begun += 1;
        journal.open.push(pack);
    }
}

fn make(ctx: &Ctx, plan: PackPlan) -> Pack {
    let PackPlan { priority, jobs, is_garbage, is_poison, .. } = plan;
    Pack { id: PackId::new(ctx.wall_ms(), ctx.random_bits()), priority, jobs, is_garbage, is_poison }
}

/// Until it is confirmed, or too old to be repeated: then it may have been taken, or not.
async fn hand_over(ctx: &Ctx, pack: &Rc<Pack>) {
    let id = MsgId { pack: pack.id, again: None };
    let repeated_for_ms = if ctx.has(EndsBug::RepeatedForEver) { 400_000 } else { REPEATED_FOR_MS };
    loop {
        if ctx.wall_ms().saturating_sub(pack.id.unix_ms()) >= repeated_for_ms {
            ctx.note(|| format!("gives {} up", pack.id));
            return;
        }
        let stored = ctx.ask(Request::Submit { pack: Rc::clone(pack), id }, ANSWER_WITHIN_MS).await;
        if let Some(Reply::Done) = stored {
            ctx.with(|core| core.shadow.on_confirmed(pack));
            ctx.note(|| format!("has {} confirmed", pack.id));
            return;
        }
        ctx.sleep(200).await;
    }
}
