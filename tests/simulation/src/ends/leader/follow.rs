//! The leader follows the log as it grows, and looks around first on each new connection.

use super::barrier;
use super::read::{apply_part, next_read};
use super::term::{ASK_MS, Shared};
use crate::ends::exec::Ctx;
use crate::ends::message::{Reply, Request};

const READ_EACH_MS: u64 = 40;

pub(super) async fn run(ctx: Ctx, term: Shared) {
    while !term.borrow().is_over {
        let is_new_connection = term.borrow().checked != ctx.connection();
        if is_new_connection && ctx.connection().is_some() {
            barrier::pass(&ctx, &term).await;
        } else {
            read_on(&ctx, &term).await;
        }
        ctx.sleep(READ_EACH_MS).await;
    }
}

async fn read_on(ctx: &Ctx, term: &Shared) {
    let from = next_read(ctx, &term.borrow().fold);
    let connection = term.borrow().checked;
    let Some(Reply::LogPart(part)) = ctx.ask_on(connection, Request::ReadLog { from }, ASK_MS).await else { return };
    if connection == ctx.connection() {
        apply_part(ctx, &mut term.borrow_mut(), &part);
    }
}
