//! A set of sequences that closes from below: as few ranges as there are gaps. It is exact for ever, and takes no more memory the longer it is
//! used.

use std::collections::BTreeMap;

/// Sequences from 1 on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeqSet {
    /// First and last sequence of each range. Between two ranges there is always a gap.
    ranges: BTreeMap<u64, u64>,
}

impl SeqSet {
    /// False when it was in the set already.
    pub fn insert(&mut self, seq: u64) -> bool {
        let before = self.ranges.range_mut(..=seq).next_back();
        if before.as_ref().is_some_and(|(_, last)| **last >= seq) {
            return false;
        }
        let after = seq.checked_add(1);
        match before {
            Some((_, last)) if last.checked_add(1) == Some(seq) => {
                *last = seq;
                if let Some(end) = after.and_then(|next| self.ranges.remove(&next))
                    && let Some((_, last)) = self.ranges.range_mut(..=seq).next_back()
                {
                    *last = end;
                }
            }
            _ => {
                let end = after.and_then(|next| self.ranges.remove(&next)).unwrap_or(seq);
                self.ranges.insert(seq, end);
            }
        }
        true
    }

    pub fn contains(&self, seq: u64) -> bool {
        self.ranges.range(..=seq).next_back().is_some_and(|(_, last)| *last >= seq)
    }

    /// The sequence up to which all are in the set.
    pub fn floor(&self) -> u64 {
        self.ranges.get(&1).copied().unwrap_or(0)
    }

    /// The highest sequence; 0 for an empty set.
    pub fn highest(&self) -> u64 {
        self.ranges.last_key_value().map_or(0, |(_, last)| *last)
    }

    /// The ranges, both ends included.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().map(|(first, last)| (*first, *last))
    }

    /// The stretches of `1..=through` that are not in the set.
    pub fn gaps(&self, through: u64) -> Vec<(u64, u64)> {
        let (mut gaps, mut done) = (Vec::new(), 0);
        for (first, last) in self.ranges() {
            if first > through {
                break;
            }
            if first > done + 1 {
                gaps.push((done + 1, first - 1));
            }
            done = last;
        }
        if done < through {
            gaps.push((done + 1, through));
        }
        gaps
    }

    /// The set with these ranges; `None` when they are not in order, or touch.
    pub fn from_ranges(ranges: impl IntoIterator<Item = (u64, u64)>) -> Option<Self> {
        let (mut set, mut least) = (Self::default(), Some(1));
        for (first, last) in ranges {
            if first > last || least.is_none_or(|least| first < least) {
                return None;
            }
            set.ranges.insert(first, last);
            least = last.checked_add(2);
        }
        Some(set)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_of_the_numbers_are_sequences_too() {
        let mut set = SeqSet::default();
        assert!(set.insert(u64::MAX) && set.insert(u64::MAX - 1) && !set.insert(u64::MAX) && set.insert(0));
        assert_eq!(set.ranges().collect::<Vec<_>>(), [(0, 0), (u64::MAX - 1, u64::MAX)]);
        assert_eq!(set.gaps(3), [(1, 3)]);
        assert_eq!(SeqSet::from_ranges([(1, u64::MAX)]).unwrap().gaps(u64::MAX), []);
        assert_eq!(SeqSet::from_ranges([(1, u64::MAX), (4, 5)]), None);
        for ranges in [[(1, 2), (3, 4)], [(5, 6), (1, 2)], [(2, 1), (5, 5)]] {
            assert_eq!(SeqSet::from_ranges(ranges), None, "{ranges:?}");
        }
    }

    proptest! {
        #[test]
        fn it_is_a_set(seqs in prop::collection::vec(1_u64..60, 0..120), through in 0_u64..70) {
            let (mut set, mut model) = (SeqSet::default(), BTreeSet::new());
            for seq in seqs {
                prop_assert_eq!(set.insert(seq), model.insert(seq));
            }
            for seq in 0..70 {
                prop_assert_eq!(set.contains(seq), model.contains(&seq));
            }
            prop_assert_eq!(set.highest(), model.last().copied().unwrap_or(0));
            prop_assert_eq!(set.floor(), (1..).take_while(|seq| model.contains(seq)).last().unwrap_or(0));
            let missing: Vec<u64> = set.gaps(through).into_iter().flat_map(|(first, last)| first..=last).collect();
            prop_assert_eq!(missing, (1..=through).filter(|seq| !model.contains(seq)).collect::<Vec<_>>());
            prop_assert_eq!(SeqSet::from_ranges(set.ranges()), Some(set));
        }
    }
}
