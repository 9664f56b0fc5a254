//! Streams and consumers of the next protocol (docs/log-of-ends.md). Nothing but tests creates them yet.

use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, SubjectTransform};
use faultline_engine::ends::Gen;
use faultline_engine::job::Priority;

use super::{DEDUPE_WINDOW, JOBS, Provision, queue_consumer};
use crate::subjects;
use crate::subjects::packs;

/// The log of ends.
pub const ENDS: &str = "ENDS";
/// KV LEDGER: which snapshots of the log are kept.
pub const KEY_SNAPSHOTS: &str = "ends";

/// KV LEDGER: one piece of a snapshot.
pub fn snapshot_piece_key(id: u64, piece: u32) -> String {
    format!("{KEY_SNAPSHOTS}.{id:016x}.{piece}")
}

/// The subjects of all pieces of a snapshot in the stream of KV LEDGER.
pub fn snapshot_pieces(id: u64) -> String {
    format!("$KV.{}.{KEY_SNAPSHOTS}.{id:016x}.*", super::KV_LEDGER)
}

/// The subjects of all pieces of all snapshots.
pub fn all_snapshot_pieces() -> String {
    format!("$KV.{}.{KEY_SNAPSHOTS}.*.*", super::KV_LEDGER)
}

/// The snapshot of which this subject is a piece.
pub fn snapshot_of_piece(subject: &str) -> Option<u64> {
    let rest = subject.strip_prefix(&format!("$KV.{}.{KEY_SNAPSHOTS}.", super::KV_LEDGER))?;
    u64::from_str_radix(rest.split_once('.')?.0, 16).ok()
}

/// JOBS with packs. The server puts the generation into each stored subject.
pub fn jobs(provision: Provision, r#gen: Gen) -> Config {
    Config {
        name: JOBS.into(),
        // One filter a priority, as the consumers have: what none of them would ever read is refused at the door.
        subjects: Priority::ALL.map(subjects::queue_filter).to_vec(),
        subject_transform: Some(SubjectTransform { source: packs::PACK_ALL.into(), destination: packs::pack_destination(r#gen) }),
        retention: RetentionPolicy::WorkQueue,
        discard: DiscardPolicy::New,
        max_bytes: provision.jobs_max_bytes,
        duplicate_window: DEDUPE_WINDOW,
        storage: StorageType::File,
        num_replicas: provision.replicas,
        allow_direct: true,
        description: Some("packs of jobs that have not ended".into()),
        ..Config::default()
    }
}

/// The generation of this JOBS; none when it has no packs.
pub fn generation_of(jobs: &Config) -> Option<Gen> {
    packs::generation_of(&jobs.subject_transform.as_ref()?.destination)
}

/// The log of ends: nothing expires, and nothing but the leader's purges shortens it.
pub fn ends(provision: Provision, max_bytes: i64) -> Config {
    Config {
        name: ENDS.into(),
        subjects: vec![packs::END_LEADER.into(), packs::END_WORKERS.into()],
        discard: DiscardPolicy::New,
        max_bytes,
        deny_delete: true,
        storage: StorageType::File,
        num_replicas: provision.replicas,
        allow_direct: true,
        description: Some("the log of ends: what became of each job".into()),
        ..Config::default()
    }
}

/// The durable consumer's name for one generation and priority: an acknowledgement for a JOBS that is gone finds no consumer.
pub fn consumer_name(r#gen: Gen, priority: Priority) -> String {
    format!("sched-{priority}-{gen}")
}

/// The consumers on a JOBS with packs, one a priority.
pub fn consumers(replicas: usize, r#gen: Gen, ack_wait: Duration) -> Vec<pull::Config> {
    let consumer = |priority| queue_consumer(consumer_name(r#gen, priority), packs::pack_filter(r#gen, priority), replicas, ack_wait);
    Priority::ALL.into_iter().map(consumer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jobs_says_its_generation_and_names_its_consumers_by_it() {
        let r#gen = Gen(0xa1);
        assert_eq!(generation_of(&jobs(Provision::default(), r#gen)), Some(r#gen));
        assert_eq!(generation_of(&Config::default()), None);
        let consumers = consumers(1, r#gen, super::super::ACK_WAIT);
        assert_eq!(consumers[0].durable_name.as_deref(), Some("sched-urgent-00000000000000a1"));
        assert!(consumers.iter().all(|consumer| consumer.filter_subject.starts_with("job.g.00000000000000a1.")));
    }

    #[test]
    fn a_piece_of_a_snapshot_says_whose_it_is() {
        let subject = format!("$KV.LEDGER.{}", snapshot_piece_key(0xfe, 12));
        assert_eq!(snapshot_of_piece(&subject), Some(0xfe));
        assert!(subjects::matches(&snapshot_pieces(0xfe), &subject) && subjects::matches(&all_snapshot_pieces(), &subject));
        assert!(!subjects::matches(&snapshot_pieces(0xff), &subject));
        assert!(!subjects::matches(&all_snapshot_pieces(), &format!("$KV.LEDGER.{KEY_SNAPSHOTS}")), "the list of them is none");
        assert_eq!([snapshot_of_piece("$KV.LEDGER.ends"), snapshot_of_piece("$KV.LEDGER.snapshot")], [None; 2]);
    }
}
