use faultline_engine::job::{Param, TerminalRecord};
use proptest::prelude::*;

use super::super::golden;
use super::*;
use crate::codec;

fn row(outcome: AttemptOutcome) -> AttemptSummary {
    AttemptSummary {
        attempt: AttemptId::new(1_700_000_000_100, 77),
        node: "gpu-node-01".into(),
        incarnation: 1_699_999_999_000,
        gpus: vec![0, 3],
        gpu_milli: 2_000,
        placed_at_ms: 1_700_000_000_100,
        started_at_ms: Some(1_700_000_000_110),
        ended_at_ms: (outcome != AttemptOutcome::Running).then_some(1_700_000_001_110),
        outcome,
        detail: if outcome == AttemptOutcome::Committed { String::new() } else { "why it ended so".into() },
        why: "best-fit: 2 of 8 GPUs were free".into(),
        choice: None,
    }
}

fn full() -> EndRecord {
    EndRecord {
        name: "gpu-algebra-5678".into(),
        kind: "matrix".into(),
        priority: Priority::High,
        submitted_at_ms: 1_700_000_000_000,
        ended_at_ms: 1_700_000_001_110,
        result: "512 x 512: trace 1.5".into(),
        reason: "a reason".into(),
        path: Path { failures: 1, requeues: 2, history: OUTCOMES.map(row).to_vec() },
        submission: Some(Submission {
            demand: Demand { gpu_milli: 2_000, gpu_memory_mib: 1_024, models: vec!["a100".into()] },
            expected_ms: 1_000,
            timeout_ms: 60_000,
            max_retries: 3,
            params: [("size".into(), Param::Int(512)), ("mode".into(), Param::Text("x".into())), ("p".into(), Param::Float(0.5))].into(),
            params_left_out_bytes: 7,
            origin: Origin { by: "command, user ann@login-1".into(), resubmitted_from: Some(JobId::new(5, 6)) },
        }),
    }
}

/// What most jobs leave.
fn usual() -> EndRecord {
    let mut record = full();
    record.reason.clear();
    record.path = Path { failures: 0, requeues: 0, history: vec![row(AttemptOutcome::Committed)] };
    if let Some(submission) = &mut record.submission {
        submission.params = [("size".into(), Param::Int(512))].into();
        submission.params_left_out_bytes = 0;
        submission.origin.resubmitted_from = None;
    }
    record
}

#[test]
fn every_detail_is_read_as_it_was_written_by_every_build() {
    let end = Detail::End(Box::new(full()));
    assert_eq!(decode_detail(&golden::same("end-detail.v1.bin", &encode_detail(&end))), Ok(Some(end)));
    let failure = Detail::Failure(Box::new(row(AttemptOutcome::TimedOut)));
    assert_eq!(decode_detail(&golden::same("failure-detail.v1.bin", &encode_detail(&failure))), Ok(Some(failure)));
    assert_eq!(decode_detail(&[]), Ok(None));
}

#[test]
fn it_says_all_that_a_record_said_in_half_the_bytes() {
    let EndRecord { name, kind, priority, submitted_at_ms, ended_at_ms, result, reason, path, submission } = usual();
    let record = TerminalRecord {
        job: JobId::new(1_700_000_000_000, 9),
        name,
        kind,
        priority,
        state: faultline_engine::job::JobState::Committed,
        attempt: Some(path.history[0].attempt),
        open_seq: 70_000,
        submitted_at_ms,
        ended_at_ms,
        result,
        reason,
        failures: path.failures,
        requeues: path.requeues,
        history: path.history,
        submission,
    };
    let before = codec::encode(&record).len();
    let now = encode_detail(&Detail::End(Box::new(record.clone().into()))).len();
    assert!(2 * now < before, "{now} and {before} bytes");
    assert_eq!(EndRecord::from(record), usual());
}

#[test]
fn unknown_numbers_and_versions_are_refused() {
    let mut newer = encode_detail(&Detail::Failure(Box::new(row(AttemptOutcome::Lost))));
    newer[0] = 2;
    assert_eq!(decode_detail(&newer), Err(Unreadable::Version { found: 2, known: 1 }));
    let odd = Wire::Failure(Box::new(Row { outcome: 7, ..Row::from(&row(AttemptOutcome::Lost)) }));
    assert!(decode_detail(&write(VERSION, &odd)).is_err());
    let odd = Wire::End(Box::new(End { priority: 4, ..end(&full()) }));
    assert!(decode_detail(&write(VERSION, &odd)).is_err());
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), with: u8) {
        let _ = decode_detail(&bytes);
        let _ = decode_detail(&[b"\x01".as_ref(), &bytes].concat());
        let mut damaged = encode_detail(&Detail::End(Box::new(full())));
        let at = at.index(damaged.len());
        damaged[at] = with;
        let _ = decode_detail(&damaged);
    }
}
