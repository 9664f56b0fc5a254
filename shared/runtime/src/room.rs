//! Whether RESULTS has room for one more job. Open markers never expire, and each is replaced by an end that is larger: it carries what was
//! submitted, how it went, and the result. A RESULTS so full that no end fits any more stands still, so the ends of all open jobs are counted
//! as if they were there already.

use std::time::Duration;

use tokio::time::Instant;

use crate::sight::Look;

/// No job is opened once so much of RESULTS is used or promised to the ends of open jobs. What is left is for long results and long paths.
pub const FULL_PERCENT: u64 = 90;
/// What an end takes beside what was submitted, which is as large as the job's message in JOBS: the record's own fields, two rows of the path,
/// and a short result.
pub const END_BYTES: u64 = 800;
/// How often is looked.
pub const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What RESULTS will hold once all that are open have ended, as far as can be told now.
pub fn promised_bytes(jobs: &Look, results: &Look) -> u64 {
    results.bytes.saturating_add(jobs.bytes).saturating_add(jobs.sight.messages.saturating_mul(END_BYTES))
}

/// The same as a part of what it may hold, in percent; `None` without a limit.
pub fn promised_percent(jobs: &Look, results: &Look) -> Option<u64> {
    Look { bytes: promised_bytes(jobs, results), ..*results }.filled_percent()
}

/// What a submitter knows of the room in RESULTS.
#[derive(Debug, Default)]
pub(crate) struct Room {
    looked_at: Option<Instant>,
    /// By the last look.
    promised_bytes: u64,
    max_bytes: Option<u64>,
    /// Promised by this process since then.
    since_bytes: u64,
    /// Promised by this process to jobs that it is opening just now, which no look has seen.
    opening_bytes: u64,
}

/// A job of this size takes so much: its marker, its message, and its end.
fn bytes_for(spec_bytes: usize) -> u64 {
    END_BYTES.saturating_add((spec_bytes as u64).saturating_mul(2))
}

impl Room {
    /// Whether it is time for another look; the caller that gets `true` takes it.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.looked_at.is_none_or(|looked_at| now.duration_since(looked_at) >= LOOK_EVERY);
        if is_due {
            self.looked_at = Some(now);
        }
        is_due
    }

    pub(crate) fn on_look(&mut self, jobs: &Look, results: &Look) {
        self.promised_bytes = promised_bytes(jobs, results);
        self.max_bytes = u64::try_from(results.max_bytes).ok().filter(|&limit| limit > 0);
        self.since_bytes = 0;
    }

    /// Keeps room for a job of this size, or says in words why it cannot be opened now.
    pub(crate) fn reserve(&mut self, spec_bytes: usize) -> Result<(), String> {
        if let Some(words) = self.refusal() {
            return Err(words);
        }
        self.opening_bytes = self.opening_bytes.saturating_add(bytes_for(spec_bytes));
        Ok(())
    }

    /// A job of this size for which room was kept is open, or is not and will not be.
    pub(crate) fn on_settled(&mut self, spec_bytes: usize, is_open: bool) {
        self.opening_bytes = self.opening_bytes.saturating_sub(bytes_for(spec_bytes));
        if is_open {
            self.since_bytes = self.since_bytes.saturating_add(bytes_for(spec_bytes));
        }
    }

    fn refusal(&self) -> Option<String> {
        let limit = self.max_bytes?;
        let percent = self.promised_bytes.saturating_add(self.since_bytes).saturating_add(self.opening_bytes).saturating_mul(100) / limit;
        (percent >= FULL_PERCENT).then(|| {
            format!("{percent} % of its bytes are used or kept for the ends of open jobs, and jobs are taken below {FULL_PERCENT} %")
        })
    }
}

#[cfg(test)]
mod tests {
    use faultline_engine::job::{
        AttemptId, AttemptOutcome, AttemptSummary, Demand, JobId, JobSpec, JobState, Origin, Param, Params, Priority, Submission,
        TerminalRecord,
    };
    use faultline_engine::ledger::stores::Sight;
    use faultline_protocol::batch;
    use faultline_protocol::messages::QueuedJob;

    use super::*;

    fn look(bytes: u64, messages: u64, max_bytes: i64) -> Look {
        Look { sight: Sight { messages, ..Sight::default() }, bytes, max_bytes, ..Look::default() }
    }

    #[test]
    fn one_caller_looks() {
        let now = Instant::now();
        let mut room = Room::default();
        assert!(room.is_due(now) && !room.is_due(now) && room.is_due(now + LOOK_EVERY));
        assert_eq!(room.refusal(), None);
    }

    #[test]
    fn the_ends_of_open_jobs_are_counted_before_they_come() {
        let mut room = Room::default();
        // As found in a RESULTS of 16 MiB beside a JOBS of 16 MiB: 60 % full of markers, and no room for their ends.
        room.on_look(&look(16_700_000, 31_754, 16 << 20), &look(10_000_000, 31_754, 16 << 20));
        assert!(room.refusal().is_some_and(|words| words.contains("kept for the ends of open jobs")));
        room.on_look(&look(528 * 8_000, 8_000, 16 << 20), &look(317 * 8_000, 8_000, 16 << 20));
        assert_eq!(room.refusal(), None);
        let opened = (0..4_000).take_while(|_| room.reserve(400).is_ok()).count();
        assert!((1_000..2_000).contains(&opened), "also those that are being opened: {opened}");
        room.on_look(&look(528 * 8_000, 8_000, 16 << 20), &look(317 * 8_000, 8_000, 16 << 20));
        assert!(room.refusal().is_some(), "which a look does not see");
        (0..opened).for_each(|at| room.on_settled(400, at % 2 == 0));
        assert_eq!(room.refusal(), None, "half of them were refused");
        (0..opened).for_each(|_| _ = room.reserve(400));
        (0..opened).for_each(|_| room.on_settled(400, true));
        assert!(room.refusal().is_some(), "and those that were opened since the last look");
        room.on_look(&look(1 << 30, 1 << 20, -1), &look(1 << 40, 1 << 20, -1));
        assert_eq!(room.refusal(), None, "without a limit");
    }

    #[test]
    fn an_end_is_no_larger_than_what_is_kept_for_it() {
        let spec = JobSpec {
            id: JobId::new(1_800_000_000_000, 1),
            name: "wait-normal-1".into(),
            kind: "sleep".into(),
            params: Params::from([("duration_ms".into(), Param::Int(1))]),
            priority: Priority::Normal,
            demand: Demand { gpu_milli: 1_000, gpu_memory_mib: 1_000, models: Vec::new() },
            expected_ms: 1_000,
            timeout_ms: 60_000,
            max_retries: 3,
            submitted_at_ms: 1_800_000_000_000,
            origin: Origin::default(),
        };
        let row = AttemptSummary {
            attempt: AttemptId::new(1_800_000_000_000, 1),
            node: "gpu-node-01".into(),
            incarnation: 1_800_000_000_000,
            gpus: vec![0],
            gpu_milli: 1_000,
            placed_at_ms: 1_800_000_000_000,
            started_at_ms: Some(1_800_000_000_000),
            ended_at_ms: Some(1_800_000_000_000),
            outcome: AttemptOutcome::Lost,
            detail: "gpu-node-01 is dead: silent for 5.2 s, phi 8.1".into(),
            why: "least loaded (12 % of GPU), best of 7 of 8 nodes".into(),
            choice: None,
        };
        let end = TerminalRecord {
            job: spec.id,
            name: spec.name.clone(),
            kind: spec.kind.clone(),
            priority: spec.priority,
            state: JobState::Committed,
            attempt: Some(row.attempt),
            open_seq: 1,
            submitted_at_ms: spec.submitted_at_ms,
            ended_at_ms: spec.submitted_at_ms,
            result: "slept for 1 ms".into(),
            reason: String::new(),
            failures: 0,
            requeues: 1,
            history: vec![row.clone(), row],
            submission: Some(Submission::for_record(&spec)),
        };
        // What the server adds to a message is the same for both.
        let (end, job) = (batch::bytes_of(&end) as u64, batch::bytes_of(&QueuedJob { spec }) as u64);
        assert!(end <= job + END_BYTES, "an end of {end} bytes for a job of {job}");
        assert!(end + END_BYTES / 2 > job + END_BYTES, "and it is not kept for nothing: {end} bytes for a job of {job}");
    }
}
