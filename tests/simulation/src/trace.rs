//! What a run leaves behind.

use std::collections::VecDeque;

/// A hash over everything that happened and, when asked for, the last of it in words.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) hash: u64,
    keep: usize,
    pub(crate) last: VecDeque<String>,
}

impl Trace {
    pub(crate) fn new(keep: usize) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, keep, last: VecDeque::new() }
    }

    /// FNV-1a over eight bytes at once: enough to tell two runs apart.
    pub(crate) fn mix(&mut self, value: u64) {
        self.hash = (self.hash ^ value).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    }

    pub(crate) fn note(&mut self, words: impl FnOnce() -> String) {
        if self.keep > 0 {
            if self.last.len() == self.keep {
                self.last.pop_front();
            }
            self.last.push_back(words());
        }
    }
}
