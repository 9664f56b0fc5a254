//! Queues and what is theirs: fair shares, the order of queues, and what a queue may start.
//!
//! Queues form a tree. From the top down, what a queue has is divided among the queues beneath it: first to each what it asks for, up to its
//! quota; then the rest by weight, by the resource that is scarce to each (see [`filling`]), the higher over-quota priority first. The queue that
//! is furthest below its fair share goes first.
//!
//! Sources: KAI (quota first, then over-quota priority and weight; order and reclaim by allocated / fair share; non-preemptible jobs only within
//! quota), Kueue (reclaim of what was lent, shares compared below the closest common ancestor), Slurm's fair tree (the order is decided at the
//! level where two queues part), DRF (Ghodsi et al., NSDI'11).

mod amounts;
mod filling;
mod history;
mod queue;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use amounts::Parts;
use filling::{Claim, dominant, fill};
use queue::Queue;

pub use amounts::{Amounts, Bounds, Resource};
pub use history::HistorySettings;
pub use queue::{Bound, BoundKind, InvalidQueues, QueueSettings, QueueShare};

/// Two shares that differ by less are equal.
const EQUAL: f64 = 1e-9;

/// What jobs of each queue hold, by the queue's position. Apart from the rest, so that a change can be tried out on a copy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Books {
    held: Vec<Amounts>,
    /// The part of it that jobs hold which are not preemptible.
    firm: Vec<Amounts>,
}

/// All queues.
#[derive(Debug)]
pub(crate) struct Shares {
    queues: Vec<Queue>,
    numbers: HashMap<u32, usize>,
    /// Their positions, those furthest from the top first.
    by_depth: Vec<usize>,
    books: Books,
    cluster: Amounts,
    history: Option<HistorySettings>,
    /// Something changed since the fair shares were computed.
    is_stale: bool,
}

impl Shares {
    pub(crate) fn new(settings: &[QueueSettings], history: Option<HistorySettings>) -> Result<Self, InvalidQueues> {
        let numbers = queue::check(settings, history.as_ref())?;
        let mut shares = Self {
            queues: settings.iter().cloned().map(Queue::new).collect(),
            numbers,
            by_depth: (0..settings.len()).collect(),
            books: Books { held: vec![Amounts::default(); settings.len()], firm: vec![Amounts::default(); settings.len()] },
            cluster: Amounts::default(),
            history,
            is_stale: true,
        };
        for (at, queue) in settings.iter().enumerate() {
            let parent = queue.parent.and_then(|parent| shares.numbers.get(&parent).copied());
            shares.queues[at].parent = parent;
            if let Some(parent) = parent {
                shares.queues[parent].children.push(at);
            }
        }
        for at in 0..settings.len() {
            shares.queues[at].path = shares.path_to(at);
        }
        shares.by_depth.sort_by_key(|at| std::cmp::Reverse(shares.queues[*at].path.len()));
        Ok(shares)
    }

    fn path_to(&self, at: usize) -> Vec<usize> {
        let mut path: Vec<usize> = std::iter::successors(Some(at), |at| self.queues[*at].parent).collect();
        path.reverse();
        path
    }

    /// The queue's position. One without settings stands at the top, with weight 1, and neither quota nor limit.
    fn at(&mut self, number: u32) -> usize {
        if let Some(at) = self.numbers.get(&number) {
            return *at;
        }
        let at = self.queues.len();
        let mut queue = Queue::new(QueueSettings::new(number, format!("queue {number}")));
        queue.path = vec![at];
        self.queues.push(queue);
        self.books.held.push(Amounts::default());
        self.books.firm.push(Amounts::default());
        self.numbers.insert(number, at);
        self.by_depth.push(at);
        at
    }

    /// What the nodes have that there are: all of it, whether or not it is in use. As much as one likes where nodes do not say.
    pub(crate) fn set_cluster(&mut self, cluster: Amounts) {
        self.is_stale |= self.cluster != cluster;
        self.cluster = cluster;
    }

    /// A job of the queue waits for so much.
    pub(crate) fn waits(&mut self, queue: u32, amounts: &Amounts) {
        let at = self.at(queue);
        self.queues[at].waiting = self.queues[at].waiting.plus(amounts);
        self.is_stale = true;
    }

    /// It does not wait any longer.
    pub(crate) fn waits_no_longer(&mut self, queue: u32, amounts: &Amounts) {
        let at = self.at(queue);
        self.queues[at].waiting = self.queues[at].waiting.minus(amounts);
        self.is_stale = true;
    }

    /// A job that waited for so much holds this from now on. Fair shares stay as they are if it is the same: it has only changed sides.
    pub(crate) fn starts(&mut self, queue: u32, waited: &Amounts, held: &Amounts, preemptible: bool, now_ms: u64) {
        let at = self.at(queue);
        self.advance(now_ms);
        self.is_stale |= waited != held;
        self.queues[at].waiting = self.queues[at].waiting.minus(waited);
        self.books.take(&self.queues[at].path, held, preemptible);
        if let Some(history) = self.history {
            for level in self.queues[at].path.clone() {
                self.queues[level].used.enters(held, &history);
            }
        }
    }

    /// It holds this no longer; whether it waits again is told apart.
    pub(crate) fn ends(&mut self, queue: u32, amounts: &Amounts, preemptible: bool, now_ms: u64) {
        let at = self.at(queue);
        self.advance(now_ms);
        self.books.give(&self.queues[at].path, amounts, preemptible);
        self.is_stale = true;
    }

    /// A job that held so much holds this from now on.
    pub(crate) fn resized(&mut self, queue: u32, before: &Amounts, after: &Amounts, preemptible: bool, now_ms: u64) {
        self.ends(queue, before, preemptible, now_ms);
        let at = self.at(queue);
        self.books.take(&self.queues[at].path, after, preemptible);
    }

    fn advance(&mut self, now_ms: u64) {
        if let Some(history) = self.history {
            for (queue, held) in self.queues.iter_mut().zip(&self.books.held) {
                queue.used.held(held, now_ms, &history);
            }
        }
    }

    /// Computes the fair shares, if something changed. With a history they change with time alone.
    pub(crate) fn divide(&mut self, now_ms: u64) {
        if !self.is_stale && self.history.is_none() {
            return;
        }
        self.advance(now_ms);
        (0..self.queues.len()).for_each(|at| self.ask(self.by_depth[at]));
        let roots: Vec<usize> = (0..self.queues.len()).filter(|at| self.queues[*at].parent.is_none()).collect();
        let cluster = self.whole();
        self.divide_among(&roots, cluster, &cluster);
        for at in self.by_depth.clone().into_iter().rev() {
            let (children, fair) = (self.queues[at].children.clone(), self.queues[at].fair);
            self.divide_among(&children, fair, &cluster);
        }
        self.is_stale = false;
    }

    /// What the queue and those beneath it hold and wait for, up to the limits on the way.
    fn ask(&mut self, at: usize) {
        let mut asked = self.queues[at].children.iter().fold(self.queues[at].waiting.parts(), |asked, child| {
            let child = self.queues[*child].asked;
            [0, 1, 2].map(|resource| asked[resource] + child[resource])
        });
        let beneath = self.queues[at].children.iter().fold(Amounts::default(), |sum, child| sum.plus(&self.books.held[*child]));
        let own = self.books.held[at].minus(&beneath).parts();
        for (resource, (asked, own)) in asked.iter_mut().zip(own).enumerate() {
            *asked += own;
            if let Some(limit) = self.queues[at].settings.limit.get(Resource::ALL[resource]) {
                *asked = asked.min(limit as f64);
            }
        }
        self.queues[at].asked = asked;
    }

    /// What the cluster has; infinity where nodes do not say.
    fn whole(&self) -> Parts {
        Resource::ALL.map(|resource| match self.cluster.get(resource) {
            u64::MAX => f64::INFINITY,
            amount => amount as f64,
        })
    }

    fn divide_among(&mut self, queues: &[usize], mut left: Parts, cluster: &Parts) {
        let whole = left;
        let within: Vec<Claim> = queues.iter().map(|at| self.queues[*at].within_quota(cluster)).collect();
        let mut fair = fill(&mut left, cluster, &within);
        let mut priorities: Vec<u8> = queues.iter().map(|at| self.queues[*at].settings.over_quota_priority).collect();
        priorities.sort_unstable_by_key(|priority| std::cmp::Reverse(*priority));
        priorities.dedup();
        for priority in priorities {
            let group: Vec<usize> =
                (0..queues.len()).filter(|at| self.queues[queues[*at]].settings.over_quota_priority == priority).collect();
            // What queues leave that the past speaks against is theirs after all.
            for with_history in [true, false] {
                let claims = self.above_quota(&group, queues, &fair, &whole, with_history);
                for (at, more) in group.iter().zip(fill(&mut left, cluster, &claims)) {
                    (0..more.len()).for_each(|resource| fair[*at][resource] += more[resource]);
                }
            }
        }
        for (at, fair) in queues.iter().zip(fair) {
            self.queues[*at].fair = fair;
        }
    }

    /// What queues ask for beyond what they have got so far, with the weights that their past leaves them.
    fn above_quota(&self, group: &[usize], queues: &[usize], fair: &[Parts], whole: &Parts, with_history: bool) -> Vec<Claim> {
        let rest = |at: &usize| {
            let asked = self.queues[queues[*at]].asked;
            [0, 1, 2].map(|resource| (asked[resource] - fair[*at][resource]).max(0.0))
        };
        let claims = group.iter().map(|at| Claim { demand: rest(at), weight: self.queues[queues[*at]].settings.weight });
        let mut claims: Vec<Claim> = claims.collect();
        let Some(history) = self.history.filter(|_| with_history) else { return claims };
        let taking_part = claims.iter().filter(|claim| claim.demand.iter().any(|demand| *demand > EQUAL));
        let all: f64 = taking_part.map(|claim| claim.weight).sum();
        for (claim, at) in claims.iter_mut().zip(group).filter(|_| all > 0.0) {
            let weight = claim.weight / all;
            let used = dominant(self.queues[queues[*at]].used.average(), whole);
            claim.weight = (weight + history.strength * (weight - used)).max(0.0);
        }
        claims
    }

    /// Which of these goes first: queues, each with what its first job asks for, at most one of each. From the top down, of the queues that have
    /// one of these or are above one, the queue goes first that would still be within its quota, and then the one that would hold the least of its
    /// fair share; then by weight and number. What would be held counts, not what is: a large job would otherwise take its queue over its share
    /// and be stopped again for the next one (so does KAI).
    pub(crate) fn first(&self, candidates: &[(u32, Amounts)]) -> Option<usize> {
        // By queue: the candidate that goes first of it and those beneath it. Of its own and one from beneath, the one from beneath.
        let mut first: Vec<Option<usize>> = vec![None; self.queues.len()];
        for (at, (queue, _)) in candidates.iter().enumerate() {
            first[*self.numbers.get(queue)?] = Some(at);
        }
        let mut ahead: Vec<Option<usize>> = vec![None; self.queues.len()];
        let mut top = None;
        for at in &self.by_depth {
            let Some(candidate) = first[*at] else { continue };
            let parent = self.queues[*at].parent;
            let leads = parent.map_or(top, |parent| ahead[parent]);
            let stands = |at: usize, candidate: usize| self.standing(at, &candidates[candidate].1);
            let goes_before = |lead: usize| first[lead].is_none_or(|other| stands(*at, candidate) < stands(lead, other));
            if leads.is_none_or(goes_before) {
                match parent {
                    Some(parent) => (ahead[parent], first[parent]) = (Some(*at), Some(candidate)),
                    None => top = Some(*at),
                }
            }
        }
        first[top?]
    }

    /// Where a queue stands among its siblings once a job of this size has started; the lowest goes first.
    fn standing(&self, at: usize, asks: &Amounts) -> (bool, u64, u64, u32) {
        let (queue, held) = (&self.queues[at], self.books.held[at].plus(asks));
        // Numbers from 0 up keep their order as bits.
        let level = (self.level_of(at, &held) / EQUAL).round().to_bits();
        let by_weight = (dominant(&held.parts(), &self.whole()) / queue.settings.weight).to_bits();
        (queue.is_over_quota(&held), level, by_weight, queue.settings.number)
    }

    /// What is held of the fair share, in the resource of which it is most. Infinite where the fair share is nothing.
    fn level(&self, at: usize, books: &Books) -> f64 {
        self.level_of(at, &books.held[at])
    }

    fn level_of(&self, at: usize, held: &Amounts) -> f64 {
        let (queue, cluster) = (&self.queues[at], self.whole());
        let of = |resource: usize, held: f64| match (held > 0.0 || queue.asked[resource] > 0.0, queue.fair[resource] > EQUAL) {
            (true, true) => held / queue.fair[resource],
            (true, false) if cluster[resource] > 0.0 => f64::INFINITY,
            _ => 0.0,
        };
        held.parts().into_iter().enumerate().map(|(resource, held)| of(resource, held)).fold(0.0, f64::max)
    }

    /// What forbids the queue to start a job of this size, if anything does: a limit on the way to it, or a quota, which a job that cannot be
    /// preempted has to stay within.
    pub(crate) fn bound(&self, queue: u32, amounts: &Amounts, preemptible: bool) -> Option<Bound> {
        self.bound_in(&self.books, queue, amounts, preemptible)
    }

    pub(crate) fn bound_in(&self, books: &Books, queue: u32, amounts: &Amounts, preemptible: bool) -> Option<Bound> {
        let path = &self.queues[*self.numbers.get(&queue)?].path;
        path.iter().rev().find_map(|at| {
            let settings = &self.queues[*at].settings;
            let exceeds = |kind: BoundKind, held: &Amounts, bounds: &Bounds| {
                let mut over = bounds
                    .set()
                    .filter(|(resource, most)| amounts.get(*resource) > 0 && held.get(*resource) + amounts.get(*resource) > *most);
                over.next().map(|(resource, most)| Bound {
                    queue: settings.number,
                    kind,
                    resource,
                    held: held.get(resource),
                    asked: amounts.get(resource),
                    most,
                })
            };
            let by_limit = exceeds(BoundKind::Limit, &books.held[*at], &settings.limit);
            by_limit.or_else(|| if preemptible { None } else { exceeds(BoundKind::Quota, &books.firm[*at], &settings.quota) })
        })
    }

    /// A copy of what is held, to try things out on.
    pub(crate) fn books(&self) -> Books {
        self.books.clone()
    }

    pub(crate) fn take_in(&self, books: &mut Books, queue: u32, amounts: &Amounts, preemptible: bool) {
        if let Some(at) = self.numbers.get(&queue) {
            books.take(&self.queues[*at].path, amounts, preemptible);
        }
    }

    pub(crate) fn give_in(&self, books: &mut Books, queue: u32, amounts: &Amounts, preemptible: bool) {
        if let Some(at) = self.numbers.get(&queue) {
            books.give(&self.queues[*at].path, amounts, preemptible);
        }
    }

    /// Whether a queue may take back what another one holds, which must be over its quota. Either the taker stays within its own; or the taker
    /// stays within its fair share and the holder is over its own, for a job that is larger than that share or leaves the holder with a larger
    /// part of it than the taker has now. All of this on each level below the one where they part.
    ///
    /// In each case the taker ends up with less of its share than the holder had, so the holder cannot take it back at once (Kueue's rule against
    /// circles). The last condition goes further. With it the smaller of the two parts grows with each such step, so there is no way round over
    /// several steps either, and no job is stopped for an excess that is small against it.
    pub(crate) fn may_reclaim(&self, taker: u32, after: &Books, holder: u32, job: &Amounts, before: &Books) -> bool {
        let (Some(taker), Some(holder)) = (self.numbers.get(&taker), self.numbers.get(&holder)) else { return false };
        let (taker, holder) = (&self.queues[*taker].path, &self.queues[*holder].path);
        let shared = taker.iter().zip(holder).take_while(|(a, b)| a == b).count();
        let (taker, holder) = (&taker[shared..], &holder[shared..]);
        let (Some(takes), Some(gives)) = (taker.first(), holder.first()) else { return false };
        let over_quota = |at: &usize, books: &Books| self.queues[*at].is_over_quota(&books.held[*at]);
        let over_share = |at: &usize, books: &Books| self.level(*at, books) > 1.0 + EQUAL;
        if !holder.iter().all(|at| over_quota(at, before)) {
            return false;
        }
        let by_quota = || taker.iter().all(|at| !over_quota(at, after));
        let by_share = || taker.iter().all(|at| !over_share(at, after)) && holder.iter().all(|at| over_share(at, before));
        let is_too_large = || self.level_of(*gives, job) > 1.0 + EQUAL;
        let keeps_more = || self.level_of(*gives, &before.held[*gives].minus(job)) > self.level(*takes, &self.books) + EQUAL;
        by_quota() || (by_share() && (is_too_large() || keeps_more()))
    }

    /// Whether it is possible at all that the queue takes something back for a job of this size, as things are now.
    pub(crate) fn may_take(&self, queue: u32, amounts: &Amounts) -> bool {
        let Some(at) = self.numbers.get(&queue).copied() else { return false };
        let after = self.books.held[at].plus(amounts);
        let may = !self.queues[at].is_over_quota(&after) || self.level_of(at, &after) <= 1.0 + EQUAL;
        let mut others = (0..self.queues.len()).filter(|other| *other != at);
        may && others.any(|other| self.queues[other].is_over_quota(&self.books.held[other]))
    }

    /// Whether a queue may hold this for a job that stops others: on all levels within its quota or its fair share, or no larger a part of it than
    /// now. A job could otherwise take the place of a smaller one with a lower priority, and be stopped for the excess by another queue.
    pub(crate) fn may_grow(&self, queue: u32, after: &Books) -> bool {
        let Some(queue) = self.numbers.get(&queue) else { return false };
        self.queues[*queue].path.iter().all(|at| {
            let most = self.level(*at, &self.books).max(1.0) + EQUAL;
            !self.queues[*at].is_over_quota(&after.held[*at]) || self.level(*at, after) <= most
        })
    }

    /// All queues that have settings or had jobs, for showing.
    pub(crate) fn overview(&self) -> Vec<QueueShare> {
        let all = self.queues.iter().zip(&self.books.held).enumerate();
        all.map(|(at, (queue, held))| queue.share(held, self.level(at, &self.books))).collect()
    }
}

impl Books {
    fn take(&mut self, path: &[usize], amounts: &Amounts, preemptible: bool) {
        for at in path {
            self.held[*at] = self.held[*at].plus(amounts);
            if !preemptible {
                self.firm[*at] = self.firm[*at].plus(amounts);
            }
        }
    }

    fn give(&mut self, path: &[usize], amounts: &Amounts, preemptible: bool) {
        for at in path {
            self.held[*at] = self.held[*at].minus(amounts);
            if !preemptible {
                self.firm[*at] = self.firm[*at].minus(amounts);
            }
        }
    }
}
