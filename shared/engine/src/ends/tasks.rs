//! A set of tasks of one pack.

use std::fmt;

use crate::job::MAX_TASKS;
use serde::{Deserialize, Serialize};

const WORDS: usize = MAX_TASKS as usize / 64;

/// Which tasks of a pack, by index.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tasks([u64; WORDS]);

impl Tasks {
    /// Indexes beyond the largest pack are left out.
    pub fn insert(&mut self, idx: u16) {
        if let Some(word) = self.0.get_mut(usize::from(idx / 64)) {
            *word |= 1 << (idx % 64);
        }
    }

    pub fn contains(&self, idx: u16) -> bool {
        self.0.get(usize::from(idx / 64)).is_some_and(|word| word & (1 << (idx % 64)) != 0)
    }

    pub fn len(&self) -> u16 {
        self.0.iter().map(|word| word.count_ones() as u16).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }

    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (0..MAX_TASKS).filter(|idx| self.contains(*idx))
    }
}

impl FromIterator<u16> for Tasks {
    fn from_iter<T: IntoIterator<Item = u16>>(tasks: T) -> Self {
        let mut set = Self::default();
        tasks.into_iter().for_each(|idx| set.insert(idx));
        set
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_every_index_of_the_largest_pack_and_none_beyond() {
        let all: Tasks = (0..400).collect();
        assert_eq!((all.len(), all.contains(255), all.contains(256)), (256, true, false));
        let some: Tasks = [0, 63, 64, 255].into_iter().collect();
        assert_eq!(some.iter().collect::<Vec<_>>(), [0, 63, 64, 255]);
        assert!(Tasks::default().is_empty() && !some.is_empty() && !some.contains(1));
    }
}
