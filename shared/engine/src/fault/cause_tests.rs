use AttemptOutcome::{Cancelled, Committed, Failed, Lost, Superseded, TimedOut};

use super::super::{FaultCause, FaultDepth};
use super::*;

const NODE: &str = "gpu-node-03";
const WORKER: &str = "worker-02";

fn fault(kind: &str, target: &str, from_ms: u64, until_ms: Option<u64>) -> FaultTruth {
    FaultTruth {
        id: format!("{kind}-{from_ms}"),
        kind: kind.to_owned(),
        depth: FaultDepth::Simulated,
        target: target.to_owned(),
        gpu: (kind.starts_with("xid_") || kind == "wrong_result" || kind == "thermal_throttle").then_some(2),
        from_ms,
        until_ms,
        cause: FaultCause::Ordered,
        domain: None,
        by: String::new(),
    }
}

/// Placed at 10 s, given up at 40 s.
fn broken(outcome: AttemptOutcome, detail: &str) -> BrokenAttempt<'_> {
    BrokenAttempt { node: NODE, worker: Some(WORKER), from_ms: 10_000, ended_ms: 40_000, outcome, detail }
}

fn named(attempt: &BrokenAttempt<'_>, faults: &[FaultTruth]) -> Option<String> {
    cause_of(attempt, faults).map(|fault| fault.id.clone())
}

/// What a kind of fault explains; all other outcomes it does not.
#[test]
fn each_kind_explains_the_outcomes_that_it_brings_about_and_no_other() {
    let own_kinds = [KILL, TERM, FREEZE, PARTITION, "link_closed", "link_delay", "link_loss", "something_new"];
    let kinds = FaultKind::ALL.map(FaultKind::as_str).into_iter().chain(own_kinds);
    for kind in kinds {
        let (target, detail) = if own_kinds.contains(&kind) {
            (WORKER, String::new())
        } else {
            (NODE, kind.parse().map_or_else(|_| String::new(), |kind| interruption_words(kind, 2, NODE)))
        };
        let expected: &[AttemptOutcome] = match kind {
            "crash" | "heartbeat_loss" | "zombie" | KILL | TERM | FREEZE | PARTITION | "link_closed" | "link_delay" | "link_loss" => {
                &[Lost]
            }
            "xid_48" | "xid_74" | "xid_79" | "xid_94" | "xid_95" => &[Lost],
            "xid_13" | "xid_31" => &[Failed],
            "hang" => &[TimedOut],
            // The detail above does not say that a product was wrong.
            "slow" | "thermal_throttle" | "wrong_result" | "something_new" => &[],
            other => panic!("what does {other} explain?"),
        };
        for outcome in [Lost, Failed, TimedOut, Cancelled, Superseded, Committed] {
            let found = named(&broken(outcome, &detail), &[fault(kind, target, 39_000, None)]);
            assert_eq!(found.is_some(), expected.contains(&outcome), "{kind} and {outcome:?}");
        }
    }
}

#[test]
fn a_job_that_fails_on_purpose_blames_nothing_but_what_its_worker_names() {
    let slow = fault("slow", NODE, 20_000, None);
    let xid = fault("xid_13", NODE, 39_990, Some(39_990));
    let own = broken(Failed, "failed on purpose after 30 s");
    assert_eq!(named(&own, &[slow.clone(), xid.clone(), fault(KILL, WORKER, 39_000, None)]), None);
    let hit = interruption_words(FaultKind::Xid13, 2, NODE);
    assert_eq!(named(&broken(Failed, &hit), &[slow.clone(), xid.clone()]).unwrap(), "xid_13-39990");
    let other_gpu = FaultTruth { gpu: Some(3), ..xid };
    assert_eq!(named(&broken(Failed, &hit), &[slow, other_gpu]), None);
    let wrong = format!("the product of the 64x64 matrices {WRONG_PRODUCT}");
    assert_eq!(named(&broken(Failed, &wrong), &[fault("wrong_result", NODE, 20_000, None)]).unwrap(), "wrong_result-20000");
}

#[test]
fn a_fault_must_overlap_the_attempt_in_time_and_place() {
    let lost = broken(Lost, "its node is gone");
    for (what, fault, is_cause) in [
        ("it lasts", fault(KILL, WORKER, 39_900, None), true),
        ("on the node itself", fault("crash", NODE, 39_900, None), true),
        ("it was over before the attempt was given up", fault(KILL, WORKER, 39_000, Some(39_400)), true),
        ("it was over long before the attempt was given up", fault("heartbeat_loss", NODE, 10_500, Some(10_600)), true),
        ("it had ended before the attempt began", fault(KILL, WORKER, 9_000, Some(9_999)), false),
        ("it lasted while the attempt began", fault(KILL, WORKER, 9_000, Some(10_000)), true),
        ("it began after the attempt was given up", fault(KILL, WORKER, 40_001, None), false),
        ("on another node of the same process", fault("crash", "gpu-node-04", 39_900, None), false),
        ("on another process", fault(KILL, "worker-03", 39_900, None), false),
    ] {
        assert_eq!(named(&lost, std::slice::from_ref(&fault)).is_some(), is_cause, "{what}");
    }
    let late = BrokenAttempt { ended_ms: 10_600 + LOSS_GRACE_MS + 1, ..lost };
    assert_eq!(named(&late, &[fault("heartbeat_loss", NODE, 10_500, Some(10_600))]), None, "it survived that");
    let homeless = BrokenAttempt { worker: None, ..lost };
    assert_eq!(named(&homeless, &[fault(KILL, WORKER, 39_900, None)]), None);
}

#[test]
fn what_ends_attempts_comes_before_what_silences_and_the_first_of_it_before_the_next() {
    let lost = broken(Lost, "");
    let (mute, partition) = (fault("heartbeat_loss", NODE, 30_000, None), fault(PARTITION, WORKER, 38_000, None));
    let (kill, crash) = (fault(KILL, WORKER, 35_000, Some(35_400)), fault("crash", NODE, 36_000, None));
    let all = [mute.clone(), crash.clone(), partition.clone(), kill];
    assert_eq!(named(&lost, &all).unwrap(), "kill-35000");
    assert_eq!(named(&lost, &[mute.clone(), crash, partition.clone()]).unwrap(), "crash-36000");
    assert_eq!(named(&lost, &[partition, mute]).unwrap(), "partition-38000");
}

#[test]
fn notice_counts_from_the_fault_or_from_the_placement() {
    let lost = broken(Lost, "");
    assert_eq!(lost.noticed_after_ms(&fault(KILL, WORKER, 39_880, None)), 120);
    assert_eq!(lost.noticed_after_ms(&fault(KILL, WORKER, 9_000, None)), 30_000);
}
