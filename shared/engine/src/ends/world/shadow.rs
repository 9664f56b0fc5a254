//! What really happened, worked out from the log and the submitters alone. It knows who was the leader when something was decided, and so needs no
//! epochs; it shares nothing with the fold.

use std::collections::{BTreeMap, BTreeSet};

use super::super::audit::{Evidence, JobsSight, audit};
use super::super::entry::{Entry, TaskKind};
use super::super::fold::{Fold, LogMessage};
use super::super::id::{PackTicket, Ticket};
use super::super::snapshot::Snapshot;
use super::{Outcome, Plant, World};
use crate::job::PackId;

pub(super) fn judge(world: &mut World) -> Outcome {
    let mut broken = Vec::new();
    let (ends, zombies_word) = first_ends(world);
    if !world.jobs.messages.is_empty() {
        broken.push(format!("{} packs never finished", world.jobs.messages.len()));
    }
    let (mut jobs, mut doubles, mut excused) = (0, 0, 0);
    for (pack, count) in &world.submitter.all {
        let is_promised = world.submitter.confirmed.contains_key(pack) && !world.jobs.taken.contains(pack);
        for idx in 0..*count {
            let number = ends.get(&(*pack, idx)).map_or(0, BTreeSet::len) as u64;
            jobs += number.min(1);
            doubles += number.saturating_sub(1);
            match number {
                0 if is_promised => broken.push(format!("lost: {pack} {idx}")),
                // Its message was lost while a worker slept on it, and no process knew when the submitter repeated it.
                0 | 1 => {}
                _ if world.jobs.taken.contains(pack) => excused += number - 1,
                _ => broken.push(format!("ended {number} times: {pack} {idx}")),
            }
        }
    }
    let fold = fold_of(world);
    // A second end of an excused job may come so late that the first one is forgotten.
    let (counted, double) = (fold.counts().jobs(), fold.counts().double);
    if counted + double != jobs + doubles || !(jobs..=jobs + excused).contains(&counted) {
        broken.push(format!("the fold counts {:?}, and {jobs} jobs ended, {doubles} of them twice", fold.counts()));
    }
    if zombies_word > 0 && world.plant == Plant::NoTerm {
        broken.push(format!("a deposed leader decided {zombies_word} times"));
    }
    broken.extend(check_leader(world, &fold));
    broken.extend(check_audit(world, &fold));
    Outcome { broken, counts: *fold.counts(), happened: std::mem::take(&mut world.happened) }
}

type Ends = BTreeMap<(PackId, u16), BTreeSet<PackTicket>>;

/// Under which tickets each job ended, and how often a deposed leader's word was the first.
fn first_ends(world: &World) -> (Ends, u64) {
    let (mut ended, mut ends, mut zombies_word) = (BTreeSet::<Ticket>::new(), Ends::new(), 0);
    // Two messages can have one sequence, after a power cut. Its first name is what counts.
    let mut names = BTreeMap::new();
    for row in &world.log {
        for entry in &row.entries {
            let Entry::Task(task) = entry else { continue };
            if !row.is_rightful {
                zombies_word += u64::from(!ended.contains(&task.ticket));
                continue;
            }
            let name = (task.ticket.ts, task.pack, task.count);
            let is_known = *names.entry((task.ticket.r#gen, task.ticket.seq)).or_insert(name) == name;
            if matches!(task.kind, TaskKind::Failed { .. }) || ended.contains(&task.ticket) || !is_known {
                continue;
            }
            ended.insert(task.ticket);
            if !matches!(task.kind, TaskKind::Void { .. }) {
                ends.entry((task.pack, task.ticket.idx)).or_default().insert(task.ticket.of_pack());
            }
        }
    }
    (ends, zombies_word)
}

pub(super) fn fold_of(world: &World) -> Fold {
    let mut fold = Fold::new();
    for (pos, row) in (1..).zip(&world.log) {
        let message = LogMessage { pos, ts: row.ts, is_leaders: row.is_leaders, is_copy: false, body: Ok(&row.entries) };
        fold.on_message(message).expect("every message is told");
    }
    fold.sanity_check();
    fold
}

/// Every reader comes to the same state, also the leader after all that it went through.
fn check_leader(world: &mut World, fold: &Fold) -> Option<String> {
    world.read_log();
    let leaders = &world.leader.fold;
    let rest = Snapshot::of(leaders, BTreeMap::new());
    let again = rest.restore().map_err(|error| error.to_string());
    if again.as_ref() != Ok(leaders) {
        return Some("a snapshot is not its fold".to_owned());
    }
    (leaders != fold).then(|| format!("the leader counts {:?}, a reader of the whole log {:?}", leaders.counts(), fold.counts()))
}

fn check_audit(world: &World, fold: &Fold) -> Option<String> {
    let jobs = &world.jobs;
    let first_seq = jobs.messages.keys().next().copied().unwrap_or(jobs.last_seq + 1);
    let deleted = (first_seq..=jobs.last_seq).filter(|seq| !jobs.messages.contains_key(seq)).collect();
    let sight = JobsSight { r#gen: jobs.r#gen, first_seq, last_seq: jobs.last_seq, deleted, last_seq_after: jobs.last_seq };
    let report = audit(Evidence { jobs: &sight, fold, seen: &world.seen, ledgers: None });
    // What a power cut or a deletion took from JOBS is found where it was ever known, and nothing else is.
    let may_lose = world.happened.contains_key("power cuts") || world.happened.contains_key("made anew");
    let went_back = world.happened.contains_key("power cuts");
    let is_alarm = !report.holes.is_empty() && !may_lose || report.counts.conflict > 0 && !went_back;
    is_alarm.then(|| format!("the audit found {report:?}"))
}
