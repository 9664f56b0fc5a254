//! Those who only read: an auditor, and a reader of the log such as the dashboard. Neither shares anything with the leader but the streams.

use std::cell::RefCell;
use std::rc::Rc;

use faultline_engine::ends::{Evidence, Fold, JobsSight, Ledgers, LogCheck, LogSight, Report, audit};

use super::EndsBug;
use super::exec::Ctx;
use super::leader::{behind, log_message, next_read};
use super::message::{JobsInfo, LogInfo, Logged, Reply, Request, Saved, SeenJobs};
use super::shadow::as_read;
use super::state::Core;

const ASK_MS: u64 = 1_500;
const AUDIT_EACH_MS: std::ops::Range<u64> = 3_000..9_000;
const READ_EACH_MS: u64 = 300;

/// What the reader has folded.
pub(crate) type Reading = Rc<RefCell<Fold>>;

pub(crate) async fn audit_again(ctx: Ctx) {
    loop {
        let pause_ms = ctx.random(AUDIT_EACH_MS);
        ctx.sleep(pause_ms).await;
        if let Some(report) = audit_once(&ctx).await {
            ctx.with(|core| {
                core.stats.audits += 1;
                super::verdict::check_report(core, &report);
            });
        }
    }
}

/// First JOBS, then the log to its end: what is gone from JOBS by then has ended before.
async fn audit_once(ctx: &Ctx) -> Option<Report> {
    let is_reversed = ctx.has(EndsBug::AuditLogFirst);
    let early = if is_reversed { None } else { Some(jobs_info(ctx).await?) };
    let Reply::Ledger(saved) = ctx.ask(Request::LoadLedger { is_direct: false }, ASK_MS).await? else { return None };
    let log = log_info(ctx).await?;
    let mut messages = Vec::new();
    let mut next = log.first_pos;
    while next <= log.last_pos {
        let Reply::LogPart(part) = ctx.ask(Request::ReadLog { from: next }, ASK_MS).await? else { return None };
        // Trimmed meanwhile: another time.
        if part.first().is_some_and(|first| first.pos != next) {
            return None;
        }
        next = part.last().map_or(next, |last| last.pos + 1);
        if part.is_empty() {
            ctx.sleep(50).await;
        }
        messages.extend(part);
    }
    let jobs = match early {
        Some(jobs) => jobs,
        None => {
            ctx.sleep(300).await;
            jobs_info(ctx).await?
        }
    };
    let after = jobs_info(ctx).await?;
    if after.r#gen != jobs.r#gen {
        return None;
    }
    let bug = ctx.with(|core| core.bug);
    // Trimmed beyond all snapshots that were read before: another time.
    let is_known = log.first_pos == 1 || newest_that_fits(&saved, log.first_pos, &messages).is_some();
    is_known.then(|| compare(bug, &jobs, after.last_seq, &saved, log.first_pos, &messages))
}

async fn jobs_info(ctx: &Ctx) -> Option<Box<JobsInfo>> {
    match ctx.ask(Request::JobsInfo, ASK_MS).await? {
        Reply::Jobs(jobs) => Some(jobs),
        _ => None,
    }
}

async fn log_info(ctx: &Ctx) -> Option<LogInfo> {
    match ctx.ask(Request::LogInfo, ASK_MS).await? {
        Reply::Log(log) => Some(log),
        _ => None,
    }
}

/// The equation, for everything as it is at this moment.
pub(crate) fn audit_now(core: &Core) -> Report {
    let (jobs, log) = (core.server.jobs.info(0), core.server.log.info());
    let saved: Vec<Saved> = core.server.ledger.now.saved.iter().cloned().collect();
    let messages: Vec<Logged> = core.server.log.all().cloned().collect();
    compare(core.bug, &jobs, jobs.last_seq, &saved, log.first_pos, &messages)
}

fn compare(bug: Option<EndsBug>, jobs: &JobsInfo, last_seq_after: u64, saved: &[Saved], first_pos: u64, messages: &[Logged]) -> Report {
    let is_whole = first_pos == 1;
    let newest = saved.last().map(|saved| &saved.snapshot);
    let (mut fold, mut ledgers) = (Fold::new(), None);
    if !is_whole {
        fold = newest_that_fits(saved, first_pos, messages).unwrap_or_else(|| Fold::from_remains(first_pos));
    }
    for message in messages {
        // What the fold has is not a gap.
        fold.on_message(log_message(message)).expect("the log was read without a gap");
        if let Some(snapshot) = newest.filter(|snapshot| is_whole && (snapshot.pos(), snapshot.pos_ts()) == (message.pos, message.ts)) {
            ledgers = Some(Ledgers { leaders: *snapshot.counts(), own: *fold.counts() });
        }
    }
    let seen: SeenJobs = newest.map(|snapshot| snapshot.seen().clone()).unwrap_or_default();
    let r#gen = as_read(bug, faultline_engine::ends::PackTicket { r#gen: jobs.r#gen, seq: 1, ts: 0 }).r#gen;
    let sight = JobsSight { r#gen, first_seq: jobs.first_seq, last_seq: jobs.last_seq, deleted: jobs.deleted.clone(), last_seq_after };
    audit(Evidence { jobs: &sight, fold: &fold, seen: &seen, ledgers })
}

fn newest_that_fits(saved: &[Saved], first_pos: u64, messages: &[Logged]) -> Option<Fold> {
    saved.iter().rev().find_map(|saved| {
        let fold = saved.snapshot.restore().ok()?;
        let at = messages.iter().find(|message| message.pos == fold.pos()).map(|message| message.ts);
        let last_pos = messages.last().map_or(first_pos - 1, |message| message.pos);
        let sight = LogSight { first_pos, last_pos, ts_at_pos: at };
        (fold.check(sight) == LogCheck::Fits).then_some(fold)
    })
}

/// Follows the log as a dashboard does: in pieces, from any replica; after a gap or another log it begins again.
pub(crate) async fn follow(ctx: Ctx, reading: Reading) {
    let mut checked = None;
    *reading.borrow_mut() = Fold::new();
    loop {
        ctx.sleep(READ_EACH_MS).await;
        let Some(connection) = ctx.connection() else { continue };
        if checked != Some(connection) {
            if begin_again(&ctx, &reading).await.is_none() {
                continue;
            }
            checked = Some(connection);
        }
        let from = next_read(&ctx, &reading.borrow());
        let Some(Reply::LogPart(part)) = ctx.ask_on(checked, Request::ReadLog { from }, ASK_MS).await else { continue };
        let mut fold = reading.borrow_mut();
        let rest = behind(&ctx, &fold, &part);
        if rest.is_none_or(|rest| rest.iter().any(|message| fold.on_message(log_message(message)).is_err())) {
            checked = None;
        }
    }
}

/// On from where it is, if the log is still the same; from the newest snapshot that fits, or from the beginning.
async fn begin_again(ctx: &Ctx, reading: &Reading) -> Option<()> {
    let pos = reading.borrow().pos();
    let sight_at_pos = sight(ctx, pos).await?;
    if reading.borrow().check(sight_at_pos) == LogCheck::Fits || ctx.has(EndsBug::NoPositionCheck) {
        return Some(());
    }
    let log = log_info(ctx).await?;
    if log.first_pos == 1 {
        *reading.borrow_mut() = Fold::new();
        return Some(());
    }
    let Reply::Ledger(saved) = ctx.ask(Request::LoadLedger { is_direct: false }, ASK_MS).await? else { return None };
    for saved in saved.iter().rev() {
        let fold = saved.snapshot.restore().ok()?;
        if fold.check(sight(ctx, fold.pos()).await?) == LogCheck::Fits {
            *reading.borrow_mut() = fold;
            return Some(());
        }
    }
    *reading.borrow_mut() = Fold::from_remains(log.first_pos);
    Some(())
}

async fn sight(ctx: &Ctx, pos: u64) -> Option<LogSight> {
    let Reply::LogAt(message) = ctx.ask(Request::LogAt { pos }, ASK_MS).await? else { return None };
    let log = log_info(ctx).await?;
    Some(LogSight { first_pos: log.first_pos, last_pos: log.last_pos, ts_at_pos: message.map(|message| message.ts) })
}
