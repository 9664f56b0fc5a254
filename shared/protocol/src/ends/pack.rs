//! The body of a message of JOBS: the jobs of a pack, in the order of their indexes. No service writes it yet.

use bytes::Bytes;
use faultline_engine::job::{JobId, JobSpec, MAX_TASKS, PackId};
use serde::Serialize;

use super::error::Unreadable;
use super::wire::read;

const VERSION: u8 = 1;
/// The largest body of a pack.
pub const MAX_PACK_BYTES: usize = 256 << 10;

/// Why jobs are no pack.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnfitPack {
    #[error("a pack cannot have {0} jobs: use 1 to {MAX_TASKS}")]
    Count(usize),
    #[error("job {idx} of the pack has the id {found}: expected {expected}")]
    Id { idx: usize, found: JobId, expected: JobId },
    #[error("the pack has {bytes} bytes, more than the {MAX_PACK_BYTES} allowed: use fewer jobs, or smaller parameters")]
    TooLarge { bytes: usize },
}

/// Encodes the jobs of a pack, whose ids name their places in it.
///
/// # Panics
/// When a type cannot be expressed in MessagePack, which is a bug in its definition.
pub fn encode_pack(jobs: &[JobSpec]) -> Result<Bytes, UnfitPack> {
    check(jobs)?;
    let mut body = vec![VERSION];
    let mut writer = rmp_serde::Serializer::new(&mut body).with_struct_map();
    jobs.serialize(&mut writer).expect("wire types are plain data");
    if body.len() > MAX_PACK_BYTES { Err(UnfitPack::TooLarge { bytes: body.len() }) } else { Ok(body.into()) }
}

/// Decodes the jobs of a pack with the name that its subject has.
pub fn decode_pack(body: &[u8], (pack, count): (PackId, u16)) -> Result<Vec<JobSpec>, Unreadable> {
    if body.len() > MAX_PACK_BYTES {
        return Err(Unreadable::TooLarge { bytes: body.len(), most: MAX_PACK_BYTES });
    }
    let jobs: Vec<JobSpec> = read(VERSION, body)?;
    let contradicts = |reason: String| Unreadable::Body { reason };
    check(&jobs).map_err(|error| contradicts(error.to_string()))?;
    if jobs.len() != usize::from(count) || jobs[0].id.pack() != pack {
        return Err(contradicts(format!(
            "its subject names {count} jobs of the pack {pack}, and it has {} of {}",
            jobs.len(),
            jobs[0].id.pack()
        )));
    }
    Ok(jobs)
}

fn check(jobs: &[JobSpec]) -> Result<(), UnfitPack> {
    let count = u16::try_from(jobs.len()).ok().filter(|count| (1..=MAX_TASKS).contains(count)).ok_or(UnfitPack::Count(jobs.len()))?;
    let pack = jobs[0].id.pack();
    for (idx, job) in (0..count).zip(jobs) {
        let expected = JobId::of(pack, idx, count);
        if job.id != expected {
            return Err(UnfitPack::Id { idx: usize::from(idx), found: job.id, expected });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use faultline_engine::job::{Demand, Origin, Param, Params, Priority};

    use super::super::golden;
    use super::*;

    fn pack() -> PackId {
        PackId::new(1_700_000_000_000, 0x0123_4567_89ab_cdef_0123)
    }

    fn jobs(count: u16) -> Vec<JobSpec> {
        let job = |idx| JobSpec {
            id: JobId::of(pack(), idx, count),
            name: format!("gpu-algebra-{idx}"),
            kind: "matrix".into(),
            params: Params::from([("size".into(), Param::Int(512))]),
            priority: Priority::High,
            demand: Demand { gpu_milli: 500, gpu_memory_mib: 1_024, models: vec!["a100".into()] },
            expected_ms: 1_000,
            timeout_ms: 60_000,
            max_retries: 3,
            submitted_at_ms: 1_700_000_000_000,
            origin: Origin::default(),
        };
        (0..count).map(job).collect()
    }

    #[test]
    fn every_pack_is_read_as_it_was_written_by_every_build() {
        for (name, count) in [("pack-of-one.v1.bin", 1), ("pack-of-two.v1.bin", 2)] {
            let body = golden::same(name, &encode_pack(&jobs(count)).unwrap());
            assert_eq!(decode_pack(&body, (pack(), count)).unwrap(), jobs(count));
        }
        assert_eq!(decode_pack(&encode_pack(&jobs(256)).unwrap(), (pack(), 256)).unwrap(), jobs(256));
    }

    #[test]
    fn jobs_that_are_no_pack_are_refused() {
        assert_eq!(encode_pack(&[]), Err(UnfitPack::Count(0)));
        let mut many = jobs(256);
        many.push(many[0].clone());
        assert_eq!(encode_pack(&many), Err(UnfitPack::Count(257)));
        let mut swapped = jobs(3);
        swapped.swap(1, 2);
        let (found, expected) = (JobId::of(pack(), 2, 3), JobId::of(pack(), 1, 3));
        assert_eq!(encode_pack(&swapped), Err(UnfitPack::Id { idx: 1, found, expected }));
        let mut large = jobs(100);
        large.iter_mut().for_each(|job| drop(job.params.insert("text".into(), Param::Text("x".repeat(4_000)))));
        assert!(matches!(encode_pack(&large), Err(UnfitPack::TooLarge { bytes }) if bytes > MAX_PACK_BYTES));
    }

    #[test]
    fn a_body_that_contradicts_its_subject_is_unreadable() {
        let body = encode_pack(&jobs(2)).unwrap();
        for name in [(pack(), 1), (pack(), 3), (PackId::new(1, 1), 2)] {
            assert!(matches!(decode_pack(&body, name), Err(Unreadable::Body { .. })), "{name:?}");
        }
        let one = jobs(2).remove(1);
        let mut alone = vec![VERSION];
        [one].serialize(&mut rmp_serde::Serializer::new(&mut alone).with_struct_map()).unwrap();
        assert!(matches!(decode_pack(&alone, (pack(), 1)), Err(Unreadable::Body { .. })), "job 1 of a pack of one");
        assert_eq!(decode_pack(&[2], (pack(), 1)), Err(Unreadable::Version { found: 2, known: 1 }));
        assert_eq!(decode_pack(&[], (pack(), 1)), Err(Unreadable::Empty));
    }

    proptest::proptest! {
        #[test]
        fn no_body_panics(noise: Vec<u8>, at in 0_usize..400, bit in 0_u8..8) {
            let _ = decode_pack(&noise, (pack(), 1));
            let mut damaged = encode_pack(&jobs(2)).unwrap().to_vec();
            let at = at % damaged.len();
            damaged[at] ^= 1 << bit;
            let _ = decode_pack(&damaged, (pack(), 2));
        }
    }
}
