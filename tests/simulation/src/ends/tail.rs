//! What a store did in the last moments: the machine's death takes what was not forced to the disk.

use std::collections::VecDeque;

/// No disk is further behind.
pub(crate) const LONGEST_TAIL_MS: u64 = 2_000;

/// How to undo what was done, the newest last.
#[derive(Debug, Clone)]
pub(crate) struct Tail<T>(VecDeque<(u64, T)>);

impl<T> Default for Tail<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Tail<T> {
    pub(crate) fn push(&mut self, now: u64, undo: T) {
        while self.0.front().is_some_and(|(at, _)| at + LONGEST_TAIL_MS < now) {
            self.0.pop_front();
        }
        self.0.push_back((now, undo));
    }

    /// What is to be undone when all since `since` is lost, newest first.
    pub(crate) fn lost_since(&mut self, since: u64) -> Vec<T> {
        let mut lost = Vec::new();
        while self.0.back().is_some_and(|(at, _)| *at >= since) {
            lost.extend(self.0.pop_back().map(|(_, undo)| undo));
        }
        self.0.clear();
        lost
    }
}
