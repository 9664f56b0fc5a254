//! What users hold and held, for the order `fair`: in a queue, the user goes first whose jobs would come to least.
//!
//! Jobs of one user count one after the other, as in fair queueing (Demers, Keshav, and Shenker, SIGCOMM'89): the first of them with what the user
//! has plus its own processors, the next one with the processors of both. So a user who submits a hundred jobs does not go ahead with all of them
//! of another who submits one.

use std::collections::HashMap;

use super::order::smallest_first;
use super::request::JobNumber;
use super::shares::HistorySettings;

#[derive(Debug, Default)]
struct Use {
    /// Processors that are held now.
    held: f64,
    /// The average of what was held, in which an instant counts half as much for each half-life that has gone by.
    average: f64,
    until_ms: u64,
}

/// A job that waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    /// The numbers of its queue and its user.
    pub(super) user: (u32, u32),
    /// 255 less its priority.
    pub(super) step: u8,
    pub(super) submitted_ms: u64,
    pub(super) job: JobNumber,
    pub(super) processors: f64,
}

#[derive(Debug)]
pub(super) struct Users {
    uses: HashMap<(u32, u32), Use>,
    history: Option<HistorySettings>,
    /// Something changed since jobs were ranked.
    is_stale: bool,
}

impl Users {
    /// Without a history only what is held counts.
    pub(super) fn new(history: Option<HistorySettings>) -> Self {
        Self { uses: HashMap::new(), history, is_stale: false }
    }

    pub(super) fn something_changed(&mut self) {
        self.is_stale = true;
    }

    pub(super) fn take_stale(&mut self) -> bool {
        std::mem::take(&mut self.is_stale)
    }

    /// The user holds so many more processors from now on, or fewer.
    pub(super) fn holds(&mut self, user: (u32, u32), processors: f64, now_ms: u64) {
        let history = self.history;
        let of = self.uses.entry(user).or_default();
        of.advance(history.as_ref(), now_ms);
        of.held = (of.held + processors).max(0.0);
        self.is_stale = true;
    }

    /// The rank of each job that waits.
    pub(super) fn ranks(&mut self, mut claims: Vec<Claim>, now_ms: u64) -> HashMap<JobNumber, u64> {
        claims.sort_unstable_by_key(|claim| (claim.user, claim.step, claim.submitted_ms, claim.job));
        let history = self.history;
        let (mut user, mut sum) = (None, 0.0);
        let mut ranks = HashMap::with_capacity(claims.len());
        for claim in claims {
            if user != Some(claim.user) {
                let of = self.uses.entry(claim.user).or_default();
                of.advance(history.as_ref(), now_ms);
                (user, sum) = (Some(claim.user), of.held + of.average);
            }
            sum += claim.processors;
            ranks.insert(claim.job, smallest_first(sum));
        }
        ranks
    }
}

impl Use {
    fn advance(&mut self, history: Option<&HistorySettings>, now_ms: u64) {
        if let Some(history) = history {
            self.average += history.part_of(now_ms.saturating_sub(self.until_ms)) * (self.held - self.average);
        }
        self.until_ms = self.until_ms.max(now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    fn claim(job: JobNumber, user: u32, processors: f64) -> Claim {
        Claim { user: (0, user), step: 255, submitted_ms: job, job, processors }
    }

    fn order(users: &mut Users, claims: &[Claim], now_ms: u64) -> Vec<JobNumber> {
        let ranks = users.ranks(claims.to_vec(), now_ms);
        let mut jobs: Vec<JobNumber> = claims.iter().map(|claim| claim.job).collect();
        jobs.sort_by_key(|job| (ranks[job], *job));
        jobs
    }

    #[test]
    fn jobs_of_one_user_count_one_after_the_other() {
        let mut users = Users::new(None);
        let claims = [claim(1, 7, 1.0), claim(2, 7, 1.0), claim(3, 7, 1.0), claim(4, 8, 2.0), claim(5, 8, 2.0)];
        // They come to 1, 2, and 3 for the one, and to 2 and 4 for the other.
        assert_eq!(order(&mut users, &claims, 0), [1, 2, 4, 3, 5]);
        // Who holds four already comes to 5, 6, and 7.
        users.holds((0, 7), 4.0, 0);
        assert_eq!(order(&mut users, &claims, 0), [4, 5, 1, 2, 3]);
        users.holds((0, 7), -4.0, HOUR_MS);
        assert_eq!(order(&mut users, &claims, HOUR_MS), [1, 2, 4, 3, 5], "nothing is remembered");
        // A job that is more urgent counts first.
        let urgent = Claim { step: 254, ..claim(6, 7, 1.0) };
        assert_eq!(order(&mut users, &[claim(1, 7, 1.0), urgent, claim(4, 8, 1.5)], 0), [6, 4, 1]);
    }

    #[test]
    fn what_was_held_is_remembered_for_a_while() {
        let history = HistorySettings { half_life_ms: HOUR_MS, ..HistorySettings::default() };
        let mut users = Users::new(Some(history));
        users.holds((0, 7), 4.0, 0);
        users.holds((0, 7), -4.0, HOUR_MS);
        // The average of the one is 2 now, and 0.5 two hours later.
        let claims = [claim(1, 7, 1.0), claim(2, 8, 1.0), claim(3, 8, 1.0)];
        assert_eq!(order(&mut users, &claims, HOUR_MS), [2, 3, 1]);
        assert_eq!(order(&mut users, &claims, 3 * HOUR_MS), [2, 1, 3]);
    }
}
