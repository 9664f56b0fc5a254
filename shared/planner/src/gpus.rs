//! Sets of the GPUs of one node.

use std::fmt;

/// The most GPUs that one node can have here: they are kept inside the node's record.
pub const MAX_NODE_GPUS: usize = 16;

/// One whole GPU, in the unit of shares.
pub const WHOLE_GPU_MILLI: u16 = 1000;

/// Some GPUs of one node, by their positions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct GpuSet(u16);

impl GpuSet {
    /// The first `count` GPUs.
    pub(crate) fn first(count: usize) -> Self {
        Self(if count >= MAX_NODE_GPUS { u16::MAX } else { (1 << count) - 1 })
    }

    pub(crate) fn only(gpu: usize) -> Self {
        Self(1 << gpu)
    }

    pub(crate) fn insert(&mut self, gpu: usize) {
        self.0 |= 1 << gpu;
    }

    pub(crate) fn set(&mut self, gpu: usize, included: bool) {
        if included { self.0 |= 1 << gpu } else { self.0 &= !(1 << gpu) }
    }

    pub(crate) fn contains(self, gpu: usize) -> bool {
        self.0 & (1 << gpu) != 0
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their positions on the node, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let gpu = rest.trailing_zeros() as usize;
            (rest != 0).then(|| {
                rest &= rest - 1;
                gpu
            })
        })
    }
}

impl fmt::Debug for GpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_in() {
        let mut set = GpuSet::only(15);
        set.insert(3);
        set.set(0, true);
        set.set(3, false);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 15]);
        assert_eq!((set.len(), set.contains(3), GpuSet::first(16).len(), GpuSet::first(0).is_empty()), (2, false, 16, true));
    }
}
