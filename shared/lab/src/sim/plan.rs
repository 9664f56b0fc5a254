//! How an attempt goes when nothing interrupts it, in closed form: restore, then rounds of work and checkpoints, then the rest of the work. When
//! its tasks or its speed change, another plan takes the place of the first.

use faultline_engine::goodput::{Account, Books, Phase};

/// Thousandths of the full speed.
pub(crate) const FULL_SPEED: u16 = 1000;

/// Rounds of work, each with a checkpoint behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rounds {
    pub(crate) work_ms: u64,
    pub(crate) write_ms: u64,
}

/// An attempt, or a part of one in which neither its tasks nor its speed change. Work is counted as it passes with these tasks at full speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Until then it waits for another job to be gone, or for its assignment.
    pub(crate) handed_over_ms: u64,
    /// When a checkpoint is durable that it begins with: of what the attempt did before this part of it.
    pub(crate) saved_ms: Option<u64>,
    pub(crate) useful_from_ms: u64,
    /// What is left to do.
    pub(crate) work_ms: u64,
    pub(crate) rounds: Option<Rounds>,
    /// What the attempt did since its last checkpoint before this part of it.
    pub(crate) lead_ms: u64,
    pub(crate) speed_milli: u16,
    /// How long its end is on its way.
    pub(crate) report_ms: u64,
}

/// Where an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Rounds whose checkpoint is durable.
    pub(crate) rounds: u64,
    /// Work since the last of them.
    pub(crate) work_ms: u64,
    /// How long the next checkpoint has been written.
    pub(crate) writing_ms: Option<u64>,
}

impl Plan {
    /// How long so much work takes.
    fn takes_ms(&self, work_ms: u64) -> u64 {
        if self.speed_milli == FULL_SPEED { work_ms } else { (work_ms * u64::from(FULL_SPEED)).div_ceil(self.speed_milli.into()) }
    }

    /// How much work is done in so long.
    fn done_in(&self, for_ms: u64) -> u64 {
        if self.speed_milli == FULL_SPEED { for_ms } else { for_ms * u64::from(self.speed_milli) / u64::from(FULL_SPEED) }
    }

    /// The checkpoints that it writes: none after the last piece of work.
    fn checkpoints(&self) -> u64 {
        self.rounds.map_or(0, |rounds| (self.lead_ms + self.work_ms).saturating_sub(1) / rounds.work_ms)
    }

    /// The work of the first so many rounds: that of the first one is less by what was done before.
    fn in_rounds_ms(&self, count: u64) -> u64 {
        if count == 0 { 0 } else { self.rounds.map_or(0, |rounds| count * rounds.work_ms - self.lead_ms) }
    }

    /// How long the first so many rounds take, with their checkpoints.
    fn rounds_take_ms(&self, count: u64) -> u64 {
        let Some(rounds) = self.rounds.filter(|_| count > 0) else { return 0 };
        self.takes_ms(rounds.work_ms - self.lead_ms) + (count - 1) * self.takes_ms(rounds.work_ms) + count * rounds.write_ms
    }

    pub(crate) fn ends_ms(&self) -> u64 {
        self.done_ms() + self.report_ms
    }

    /// When all of its work is done.
    pub(crate) fn done_ms(&self) -> u64 {
        let count = self.checkpoints();
        self.useful_from_ms + self.rounds_take_ms(count) + self.takes_ms(self.work_ms - self.in_rounds_ms(count))
    }

    /// What was done until an instant that is not after the end; `None` while it restores.
    pub(crate) fn progress(&self, at_ms: u64) -> Option<Progress> {
        let for_ms = at_ms.min(self.done_ms()).checked_sub(self.useful_from_ms)?;
        let Some(Rounds { work_ms, write_ms }) = self.rounds else {
            return Some(Progress { rounds: 0, work_ms: self.done_in(for_ms), writing_ms: None });
        };
        let first_ms = self.rounds_take_ms(1);
        let done = match for_ms.checked_sub(first_ms) {
            Some(behind_ms) => 1 + behind_ms / (self.takes_ms(work_ms) + write_ms),
            None => 0,
        };
        let done = done.min(self.checkpoints());
        let rest_ms = for_ms - self.rounds_take_ms(done);
        let round_ms = if done == 0 { work_ms - self.lead_ms } else { work_ms };
        let is_writing = rest_ms >= self.takes_ms(round_ms) && done < self.checkpoints();
        let writing_ms = is_writing.then(|| rest_ms - self.takes_ms(round_ms));
        Some(Progress { rounds: done, work_ms: if is_writing { round_ms } else { self.done_in(rest_ms) }, writing_ms })
    }

    /// Work that was done until an instant, whatever becomes of it.
    pub(crate) fn made_ms(&self, at_ms: u64) -> u64 {
        self.progress(at_ms).map_or(0, |progress| self.in_rounds_ms(progress.rounds) + progress.work_ms)
    }

    /// Work that a later attempt need not do again.
    pub(crate) fn durable_ms(&self, at_ms: u64) -> u64 {
        self.in_rounds_ms(self.progress(at_ms).map_or(0, |progress| progress.rounds))
    }

    /// Whether what the attempt did before this part of it is durable.
    pub(crate) fn keeps_earlier(&self, at_ms: u64) -> bool {
        self.saved_ms.is_some_and(|saved_ms| saved_ms <= at_ms) || self.progress(at_ms).is_some_and(|progress| progress.rounds > 0)
    }

    /// How long it takes until all that was done by now is durable, if a checkpoint takes so long: less when one is being written.
    pub(crate) fn save_ms(&self, at_ms: u64, write_ms: u64) -> u64 {
        write_ms - self.progress(at_ms).and_then(|progress| progress.writing_ms).unwrap_or(0).min(write_ms)
    }

    /// When the last checkpoint became durable.
    pub(crate) fn last_checkpoint_ms(&self, at_ms: u64) -> Option<u64> {
        let rounds = self.progress(at_ms).map_or(0, |progress| progress.rounds);
        let saved_ms = self.saved_ms.filter(|saved_ms| *saved_ms <= at_ms);
        if rounds > 0 { Some(self.useful_from_ms + self.rounds_take_ms(rounds)) } else { saved_ms }
    }

    /// Tells the books what happened until an instant, which ends the phase that is written down last.
    pub(crate) fn tell(&self, at_ms: u64, books: &mut Books, account: &mut Account) {
        if at_ms >= self.handed_over_ms {
            books.enter(self.handed_over_ms, account, if self.saved_ms.is_some() { Phase::Checkpoint } else { Phase::Restore });
        }
        if let Some(saved_ms) = self.saved_ms.filter(|saved_ms| *saved_ms <= at_ms) {
            books.enter(saved_ms, account, Phase::Restore);
            account.durable();
        }
        let Some(progress) = self.progress(at_ms) else { return };
        books.enter(self.useful_from_ms, account, Phase::Work { speed_milli: self.speed_milli });
        self.tell_rounds(&progress, books, account);
        if at_ms > self.done_ms() {
            books.enter(self.done_ms(), account, Phase::Handover);
        }
    }

    fn tell_rounds(&self, progress: &Progress, books: &mut Books, account: &mut Account) {
        let work = Phase::Work { speed_milli: self.speed_milli };
        let Some(Rounds { work_ms, write_ms }) = self.rounds else { return };
        let mut rounds = progress.rounds;
        if rounds > 0 && self.lead_ms > 0 {
            books.enter(account.since_ms() + self.takes_ms(work_ms - self.lead_ms), account, Phase::Checkpoint);
            books.enter(account.since_ms() + write_ms, account, work);
            account.durable();
            rounds -= 1;
        }
        books.slow_rounds(account, rounds, work_ms, self.takes_ms(work_ms), write_ms);
        if progress.writing_ms.is_some() {
            let since_ms = account.since_ms();
            books.enter(since_ms + self.takes_ms(progress.work_ms), account, Phase::Checkpoint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_by_hand() {
        // 5 s to restore from second 10, then 100 s of work with a checkpoint of 3 s every 30 s: three of them, and 10 s behind the last.
        let plan = Plan {
            handed_over_ms: 10_000,
            saved_ms: None,
            useful_from_ms: 15_000,
            work_ms: 100_000,
            rounds: Some(Rounds { work_ms: 30_000, write_ms: 3_000 }),
            lead_ms: 0,
            speed_milli: FULL_SPEED,
            report_ms: 0,
        };
        assert_eq!(plan.ends_ms(), 124_000);
        let at = |s: u64| plan.progress(s * 1000).map(|now| (now.rounds, now.work_ms / 1000, now.writing_ms));
        assert_eq!(at(14), None);
        assert_eq!(at(15), Some((0, 0, None)));
        assert_eq!(at(44), Some((0, 29, None)));
        assert_eq!(at(45), Some((0, 30, Some(0))));
        assert_eq!(at(47), Some((0, 30, Some(2_000))));
        assert_eq!(at(48), Some((1, 0, None)));
        assert_eq!(at(113), Some((2, 30, Some(2_000))));
        assert_eq!(at(124), Some((3, 10, None)));
        assert_eq!((plan.durable_ms(113_000), plan.durable_ms(124_000), plan.durable_ms(12_000)), (60_000, 90_000, 0));
        // Work that is a multiple of the interval has no checkpoint at its end.
        assert_eq!(Plan { work_ms: 90_000, ..plan }.ends_ms(), 15_000 + 90_000 + 2 * 3_000);
        // An end that is on its way for 2 s makes no progress meanwhile.
        let reported = Plan { report_ms: 2_000, ..plan };
        assert_eq!((reported.ends_ms(), reported.progress(125_000)), (126_000, plan.progress(124_000)));
        assert_eq!(Plan { rounds: None, ..plan }.progress(45_000), Some(Progress { rounds: 0, work_ms: 30_000, writing_ms: None }));
    }
    #[test]
    fn a_slow_part_of_an_attempt_by_hand() {
        // A checkpoint is durable at second 5. 20 of 30 s of the round are done, so at half speed the next one begins after 20 s, and is durable at 28.
        let plan = Plan {
            handed_over_ms: 0,
            saved_ms: Some(5_000),
            useful_from_ms: 5_000,
            work_ms: 50_000,
            rounds: Some(Rounds { work_ms: 30_000, write_ms: 3_000 }),
            lead_ms: 20_000,
            speed_milli: 500,
            report_ms: 0,
        };
        // 10 s of work, 30 s of work, and 10 s, of which each takes twice as long; two checkpoints.
        assert_eq!(plan.ends_ms(), 5_000 + 100_000 + 6_000);
        let at = |s: u64| plan.progress(s * 1000).map(|now| (now.rounds, now.work_ms / 1000, now.writing_ms));
        assert_eq!((at(4), at(15), at(26)), (None, Some((0, 5, None)), Some((0, 10, Some(1_000)))));
        assert_eq!((at(28), at(88), at(91)), (Some((1, 0, None)), Some((1, 30, Some(0))), Some((2, 0, None))));
        assert_eq!(
            [plan.made_ms(26_000), plan.made_ms(50_000), plan.durable_ms(50_000), plan.durable_ms(111_000)],
            [10_000, 21_000, 10_000, 40_000]
        );
        assert_eq!([4, 5, 28].map(|s| plan.last_checkpoint_ms(s * 1000)), [None, Some(5_000), Some(28_000)]);
        assert!(plan.keeps_earlier(5_000) && !plan.keeps_earlier(4_999));
    }
}
