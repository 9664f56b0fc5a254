//! How one attempt goes when nothing interrupts it, in closed form: restore, then rounds of work and checkpoints, then the rest of the work.

use faultline_engine::goodput::{Account, Books, Phase};

/// Rounds of work, each with a checkpoint behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rounds {
    pub(crate) work_ms: u64,
    pub(crate) write_ms: u64,
}

/// An attempt that starts at an instant. Work is counted as it passes with this attempt's tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Until then it waits for another job to be gone.
    pub(crate) handed_over_ms: u64,
    pub(crate) useful_from_ms: u64,
    /// What is left to do.
    pub(crate) work_ms: u64,
    pub(crate) rounds: Option<Rounds>,
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
    /// The checkpoints that it writes: none after the last piece of work.
    fn checkpoints(&self) -> u64 {
        self.rounds.map_or(0, |rounds| self.work_ms.saturating_sub(1) / rounds.work_ms)
    }

    pub(crate) fn ends_ms(&self) -> u64 {
        self.useful_from_ms + self.work_ms + self.checkpoints() * self.rounds.map_or(0, |rounds| rounds.write_ms)
    }

    /// What was done until an instant that is not after the end; `None` while it restores.
    pub(crate) fn progress(&self, at_ms: u64) -> Option<Progress> {
        let for_ms = at_ms.checked_sub(self.useful_from_ms)?;
        let Some(Rounds { work_ms, write_ms }) = self.rounds else {
            return Some(Progress { rounds: 0, work_ms: for_ms, writing_ms: None });
        };
        let done = (for_ms / (work_ms + write_ms)).min(self.checkpoints());
        let rest_ms = for_ms - done * (work_ms + write_ms);
        let is_writing = rest_ms >= work_ms && done < self.checkpoints();
        let writing_ms = is_writing.then(|| rest_ms - work_ms);
        Some(Progress { rounds: done, work_ms: if is_writing { work_ms } else { rest_ms }, writing_ms })
    }

    /// Work that was done until an instant, whatever becomes of it.
    pub(crate) fn made_ms(&self, at_ms: u64) -> u64 {
        self.progress(at_ms).map_or(0, |progress| progress.rounds * self.rounds.map_or(0, |rounds| rounds.work_ms) + progress.work_ms)
    }

    /// Work that a later attempt need not do again.
    pub(crate) fn durable_ms(&self, at_ms: u64) -> u64 {
        let rounds = self.progress(at_ms).map_or(0, |progress| progress.rounds);
        rounds * self.rounds.map_or(0, |rounds| rounds.work_ms)
    }

    /// When the last checkpoint became durable.
    pub(crate) fn last_checkpoint_ms(&self, at_ms: u64) -> Option<u64> {
        let (progress, rounds) = (self.progress(at_ms)?, self.rounds?);
        (progress.rounds > 0).then(|| self.useful_from_ms + progress.rounds * (rounds.work_ms + rounds.write_ms))
    }

    /// Tells the books what happened until an instant, which ends the phase that is written down last.
    pub(crate) fn tell(&self, at_ms: u64, books: &mut Books, account: &mut Account) {
        if at_ms >= self.handed_over_ms {
            books.enter(self.handed_over_ms, account, Phase::Restore);
        }
        let Some(progress) = self.progress(at_ms) else { return };
        books.enter(self.useful_from_ms, account, Phase::FULL);
        let Some(Rounds { work_ms, write_ms }) = self.rounds else { return };
        books.rounds(account, progress.rounds, work_ms, write_ms);
        if progress.writing_ms.is_some() {
            let since_ms = account.since_ms();
            books.enter(since_ms + work_ms, account, Phase::Checkpoint);
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
            useful_from_ms: 15_000,
            work_ms: 100_000,
            rounds: Some(Rounds { work_ms: 30_000, write_ms: 3_000 }),
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
        assert_eq!(Plan { rounds: None, ..plan }.progress(45_000), Some(Progress { rounds: 0, work_ms: 30_000, writing_ms: None }));
    }
}
