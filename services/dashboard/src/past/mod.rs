//! The last hour as it was pushed, for the time machine and for recordings: keyframes, and what changed from one second to the next. A plain
//! struct: what is known at an instant goes in with its time, segments come out; no IO, no clock. The newest ten minutes are kept second by
//! second, the whole hour in steps of ten seconds. A segment is read from its keyframe on, so none needs another.

mod planes;
mod segment;
mod shared;
mod tier;

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use crate::push::Taken;
pub(crate) use segment::{Body, SegmentInfo};
pub(crate) use shared::SharedPast;
use tier::{Bounds, Tier};

/// Second by second, for ten minutes.
const FINE: Bounds = Bounds { every_ms: 1_000, keep_ms: 600_000, max_bytes: 40 << 20 };
/// Every ten seconds, for an hour.
const COARSE: Bounds = Bounds { every_ms: 10_000, keep_ms: 3_600_000, max_bytes: 24 << 20 };
/// The most bytes of both together, beside one segment of each that is being written.
pub(crate) const MAX_BYTES: usize = FINE.max_bytes + COARSE.max_bytes;

/// What is kept of the past.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Kept {
    /// The oldest instant; none in the first second of this process.
    pub(crate) from_ms: Option<u64>,
    pub(crate) to_ms: Option<u64>,
    pub(crate) bytes: usize,
    /// The bound of `bytes`, beside two segments that are being written.
    pub(crate) max_bytes: usize,
    /// Those of 1 s first, then those of 10 s, each oldest first. They overlap: an instant is in the last one of the smallest step that
    /// does not begin after it.
    pub(crate) segments: Vec<SegmentInfo>,
}

impl Kept {
    pub(crate) fn of(segments: Vec<SegmentInfo>) -> Self {
        Self {
            from_ms: segments.iter().map(|segment| segment.from_ms).min(),
            to_ms: segments.iter().map(|segment| segment.to_ms).max(),
            bytes: segments.iter().map(|segment| segment.bytes).sum(),
            max_bytes: MAX_BYTES,
            segments,
        }
    }
}

/// What is kept.
#[derive(Debug)]
pub(crate) struct Past {
    tiers: [Tier; 2],
}

impl Default for Past {
    fn default() -> Self {
        Self { tiers: [Tier::new(FINE), Tier::new(COARSE)] }
    }
}

impl Past {
    /// Whether an instant is to be taken down: a second has begun that nothing is known of.
    pub(crate) fn is_due(&self, now_ms: u64) -> bool {
        self.tiers.iter().any(|tier| tier.is_due(now_ms))
    }

    /// Takes down an instant.
    pub(crate) fn push(&mut self, taken: &Taken) {
        // The clock was set back: what is kept would lie in the future.
        if self.tiers[0].went_back(taken.at_ms) {
            *self = Self::default();
        }
        self.tiers.iter_mut().filter(|tier| tier.is_due(taken.at_ms)).for_each(|tier| tier.push(taken));
    }

    pub(crate) fn kept(&self) -> Kept {
        Kept::of(self.tiers.iter().flat_map(Tier::infos).collect())
    }

    /// The records of a segment.
    pub(crate) fn segment(&self, id: &str) -> Option<Body> {
        self.tiers.iter().find_map(|tier| tier.body(id))
    }

    /// The segments that cover a stretch, each instant in the smallest step that there is, oldest first. They begin before and end after it.
    pub(crate) fn covering(&self, from_ms: u64, to_ms: u64) -> Vec<(SegmentInfo, Body)> {
        let [fine, coarse] = &self.tiers;
        let fine = fine.between(from_ms, to_ms);
        let fine_from_ms = fine.first().map_or(to_ms, |(info, _)| info.from_ms);
        let older = if from_ms < fine_from_ms { coarse.between(from_ms, fine_from_ms - 1) } else { Vec::new() };
        older.into_iter().chain(fine).collect()
    }

    /// A segment that is complete and not compressed yet. To compress it takes too long to hold a lock meanwhile.
    pub(crate) fn complete(&self) -> Option<(String, Arc<Vec<u8>>)> {
        self.tiers.iter().find_map(Tier::complete)
    }

    /// The segment of that id, compressed.
    pub(crate) fn pack(&mut self, id: &str, mut packed: Vec<u8>) {
        // It is kept for up to an hour: not with the room that compressing made for it.
        packed.shrink_to_fit();
        let packed = Arc::new(packed);
        self.tiers.iter_mut().for_each(|tier| tier.pack(id, &packed));
    }
}

#[cfg(test)]
mod tests;
