//! What is written down along the way: the attempts, and a hash of all that was decided.

use faultline_engine::goodput::{Class, Totals};

use crate::outcome::{AttemptEnd, AttemptRow, JobRow};

/// FNV-1a with 64 bits, over words instead of bytes.
#[derive(Debug, Clone, Copy)]
struct Hash(u64);

impl Hash {
    fn add(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0100_0000_01b3);
        self.0 ^= self.0 >> 32;
    }
}

#[derive(Debug)]
pub(super) struct Trail {
    keeps_attempts: bool,
    attempts: Vec<AttemptRow>,
    hash: Hash,
}

impl Trail {
    pub(super) fn new(keeps_attempts: bool) -> Self {
        Self { keeps_attempts, attempts: Vec::new(), hash: Hash(0xcbf2_9ce4_8422_2325) }
    }

    /// An attempt started. Its row's number, if rows are kept.
    pub(super) fn started(&mut self, now_ms: u64, job: u32, attempt: u32, tasks: u32, nodes: &[u32]) -> Option<u32> {
        [now_ms, u64::from(job), u64::from(tasks)]
            .into_iter()
            .chain(nodes.iter().map(|node| u64::from(*node)))
            .for_each(|word| self.hash.add(word));
        let row = self.attempts.len() as u32;
        self.keeps_attempts.then(|| {
            self.attempts.push(AttemptRow {
                job: u64::from(job),
                attempt,
                start_ms: now_ms,
                end_ms: None,
                end: AttemptEnd::Open,
                tasks,
                nodes: nodes.to_vec(),
                culprit: None,
            });
            row
        })
    }

    pub(super) fn ended(&mut self, now_ms: u64, job: u32, row: Option<u32>, end: AttemptEnd, culprit: Option<u32>) {
        [now_ms, u64::from(job), end as u64].into_iter().for_each(|word| self.hash.add(word));
        if let Some(row) = row.and_then(|row| self.attempts.get_mut(row as usize)) {
            (row.end_ms, row.end, row.culprit) = (Some(now_ms), end, row.culprit.or(culprit));
        }
    }

    /// The node whose fault ended the attempt, or this part of it.
    pub(super) fn blame(&mut self, row: Option<u32>, culprit: u32) {
        if let Some(row) = row.and_then(|row| self.attempts.get_mut(row as usize)) {
            row.culprit = Some(culprit);
        }
    }

    pub(super) fn finish(mut self, jobs: &[JobRow], totals: &Totals) -> (Vec<AttemptRow>, u64) {
        for row in jobs {
            [row.end as u64, row.wait_ms, row.productive_ms, row.lost_ms].into_iter().for_each(|word| self.hash.add(word));
        }
        Class::ALL.into_iter().for_each(|class| self.hash.add(totals.of(class) as u64));
        (self.attempts, self.hash.0)
    }
}
