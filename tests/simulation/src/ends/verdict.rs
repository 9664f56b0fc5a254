//! Whether a run has come to its end, and what must hold then: everything has ended, JOBS is empty, the equation is closed, all folds are equal.

use std::collections::BTreeSet;

use faultline_engine::ends::{Fold, Gen, Report};

use super::leader::log_message;
use super::shadow::{Message, Whereabouts};
use super::state::Core;
use faultline_engine::job::JobId;

/// After the last fault everything must have ended by then, however unlucky.
const QUIET_WITHIN_MS: u64 = 180_000;
/// It stays as it is for so long: acknowledgements and letters come late.
const STILL_MS: u64 = 1_500;

/// Asked after every event: it is over, or a promise is broken.
pub(crate) fn is_over(core: &mut Core, are_submitters_done: impl Fn(&Core) -> bool) -> bool {
    if core.shadow.broken().is_some() {
        return true;
    }
    if core.now < core.scenario.healthy_at || !core.is_healthy {
        return false;
    }
    if core.server.jobs.is_empty()
        && are_submitters_done(core)
        && core.now > core.shadow.last_end_ms + STILL_MS
        && core.now > core.scenario.healthy_at + STILL_MS
    {
        return true;
    }
    if core.now > core.scenario.healthy_at + QUIET_WITHIN_MS {
        let waits = core.server.jobs.all().next().map(|message| message.pack.id);
        let what = waits.map_or("a submitter".to_owned(), |pack| format!("pack {pack}"));
        core.shadow.broke(|| format!("{what} waits for ever"));
        return true;
    }
    false
}

/// What a report of an audit may say at any time.
pub(crate) fn check_report(core: &mut Core, report: &Report) {
    let shadow = &mut core.shadow;
    core.stats.named += report.lost();
    if shadow.is_log_lost {
        return;
    }
    for hole in &report.holes {
        for seq in hole.first_seq..=hole.last_seq {
            let known =
                shadow.messages.values().filter(|message| (message.queued.ticket.r#gen, message.queued.ticket.seq) == (hole.r#gen, seq));
            let known: Vec<&Message> = known.collect();
            if known.iter().any(|message| matches!(message.whereabouts, Whereabouts::Gone(_))) {
                continue;
            }
            let r#gen = hole.r#gen;
            let is_lost = known.iter().any(|message| !message.unended(&shadow.truth).is_empty());
            return shadow.broke(|| match is_lost {
                true => format!("message {seq} of generation {gen} was acknowledged, and its end is lost"),
                false => format!("the audit says that message {seq} of generation {gen} is lost, and it is not"),
            });
        }
    }
    let has_gone = shadow.messages.values().any(|message| matches!(message.whereabouts, Whereabouts::Gone(_))) || shadow.is_jobs_older;
    let has_conflict = report.counts.conflict > 0 && shadow.lies.is_empty();
    let is_alarmed = !report.went_back.is_empty() || !report.regressions.is_empty() || has_conflict;
    if is_alarmed && !has_gone {
        return shadow.broke(|| format!("the audit says that JOBS went back, and it did not: {report:?}"));
    }
    if !report.differences.is_empty() {
        return shadow.broke(|| format!("the leader counts otherwise: {:?}", report.differences));
    }
    if report.counts.double > shadow.truth.double.len() as u64 {
        shadow.broke(|| "the audit counts more jobs that ended twice than there are".into());
    }
}

/// What must hold when nothing happens any more.
pub(crate) fn check_end(core: &mut Core, report: &Report, reading: &Fold) {
    check_report(core, report);
    check_jobs(core, report);
    check_letters(core);
    check_folds(core, reading);
}

fn check_jobs(core: &mut Core, report: &Report) {
    let shadow = &core.shadow;
    let mut excused = 0;
    let mut broken = None;
    for message in shadow.messages.values() {
        let lost = message.unended(&shadow.truth);
        let is_confirmed = shadow.confirmed.contains_key(&message.queued.pack.id);
        if lost.is_empty() || (message.has_stand_in() && shadow.has_ended_elsewhere(message.queued.pack.id)) {
            continue;
        }
        let is_excused = shadow.is_log_lost || shadow.has_gone(message.queued.pack.id);
        if !is_excused && is_confirmed {
            broken = Some(format!("job {} is lost", lost[0]));
            break;
        }
        excused += lost.len() as u64;
        let pack = message.queued.pack.id;
        let is_pack_named = shadow.messages.values().any(|other| other.queued.pack.id == pack && is_named(report, other));
        if must_be_named(core, message) && !is_pack_named {
            let ticket = message.queued.ticket;
            broken = Some(format!("{ticket}, pack {pack}, is lost, and the audit does not name it"));
            break;
        }
    }
    core.stats.excused += excused;
    if let Some(broken) = broken {
        core.shadow.broke(|| broken);
    }
}

/// A leader has stored that it saw this message, and no worker has said that it ended.
fn must_be_named(core: &Core, message: &Message) -> bool {
    let is_gone = matches!(message.whereabouts, Whereabouts::Gone(_));
    let is_lied_about = core.shadow.lies.values().any(|(ticket, _)| *ticket == message.queued.ticket);
    is_gone && !is_lied_about && message.seen_ms.is_some() && !core.shadow.is_log_lost
}

fn is_named(report: &Report, message: &Message) -> bool {
    let (r#gen, seq): (Gen, u64) = (message.queued.ticket.r#gen, message.queued.ticket.seq);
    let in_holes = report.holes.iter().any(|hole| hole.r#gen == r#gen && (hole.first_seq..=hole.last_seq).contains(&seq));
    let in_setbacks = report.went_back.iter().any(|it| it.r#gen == r#gen && it.to_seq < seq && seq <= it.from_seq);
    let in_regressions = report.regressions.iter().any(|it| it.r#gen == r#gen && it.last_seq < seq && seq <= it.known_seq);
    in_holes || in_setbacks || in_regressions
}

/// Each job that was given up has its letter, and no other job has one.
fn check_letters(core: &mut Core) {
    use faultline_engine::ends::TaskKind;
    let truth = &core.shadow.truth;
    let dead = truth.jobs.iter().filter(|(_, (_, kind))| *kind == TaskKind::Dead).map(|(job, _)| *job);
    // What is gone from JOBS does not come to a leader again.
    let is_owed =
        |job: &JobId| core.shadow.messages.values().all(|it| !it.is_named(job.pack()) || !core.shadow.has_gone(it.queued.pack.id));
    let (dead, written): (BTreeSet<_>, BTreeSet<_>) = (dead.collect(), core.server.letters.stored.values().copied().collect());
    let (missing, wrong) = (dead.difference(&written).find(|job| is_owed(job)).copied(), written.difference(&dead).next().copied());
    if let Some(job) = missing.filter(|_| !core.shadow.is_log_lost) {
        core.shadow.broke(|| format!("job {job} was given up without a letter"));
    }
    if let Some(job) = wrong.filter(|_| !core.shadow.is_log_lost) {
        core.shadow.broke(|| format!("there is a dead letter for job {job}, which is not dead"));
    }
}

/// The reader has what a fold of the whole log has, and both have what is true.
fn check_folds(core: &mut Core, reading: &Fold) {
    let mut whole = Fold::new();
    for message in core.shadow.log_from_beginning() {
        whole.on_message(log_message(message)).expect("the shadow's log has no gap");
    }
    let truth = &core.shadow.truth;
    let counts = whole.counts();
    let engines = [counts.committed, counts.dead, counts.cancelled, counts.void, counts.failed, counts.fenced];
    let own = [truth.committed, truth.dead, truth.cancelled, truth.void, truth.failed, truth.fenced];
    if engines != own && !core.shadow.is_log_lost {
        core.shadow.broke(|| format!("the fold counts {engines:?}, and it was {own:?}"));
    }
    let mut reading = reading.clone();
    let rest: Vec<_> = core.server.log.all().filter(|message| message.pos > reading.pos()).cloned().collect();
    let has_gap = rest.iter().any(|message| reading.on_message(log_message(message)).is_err());
    if !has_gap && reading != whole && !core.shadow.is_log_lost {
        core.shadow.broke(|| "two readers of the log have come to different folds".into());
    }
}
