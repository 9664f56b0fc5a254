//! Segments of one step, oldest first, within bounds of age and memory.

use std::collections::VecDeque;
use std::sync::Arc;

use super::segment::{Body, Last, Segment, SegmentInfo};
use crate::push::Taken;

/// Instants in a segment: how many deltas a page reads at most to show one.
const MAX_INSTANTS: u32 = 60;
/// A segment that has grown to this is complete, too: 10,000 nodes write about 60 KiB an instant.
const MAX_SEGMENT_BYTES: usize = 4 << 20;
/// A clock that was set back by less stops the tier for as long.
const MAX_STEP_BACK_MS: u64 = 5_000;

/// How finely, how long and how much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) every_ms: u64,
    pub(super) keep_ms: u64,
    pub(super) max_bytes: usize,
}

/// Segments of one step.
#[derive(Debug)]
pub(super) struct Tier {
    bounds: Bounds,
    segments: VecDeque<Segment>,
    last: Last,
}

impl Tier {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, segments: VecDeque::new(), last: Last::default() }
    }

    fn last_ms(&self) -> Option<u64> {
        self.segments.back().map(|segment| segment.to_ms)
    }

    /// By the clock: at most one instant in each of its steps.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        self.last_ms().is_none_or(|last_ms| now_ms / self.bounds.every_ms > last_ms / self.bounds.every_ms)
    }

    pub(super) fn went_back(&self, now_ms: u64) -> bool {
        self.last_ms().is_some_and(|last_ms| now_ms + MAX_STEP_BACK_MS < last_ms)
    }

    pub(super) fn push(&mut self, taken: &Taken) {
        let is_open = |segment: &Segment| segment.instants < MAX_INSTANTS && segment.body.bytes().len() < MAX_SEGMENT_BYTES;
        match (self.segments.back_mut().filter(|segment| is_open(segment)), self.last.delta(&taken.state)) {
            (Some(open), Some(delta)) => open.add(taken, &delta),
            (Some(_) | None, _) => {
                if let Some(complete) = self.segments.back_mut() {
                    complete.complete();
                }
                self.segments.push_back(Segment::begin(taken));
                self.last.set(&taken.state);
            }
        }
        self.forget(taken.at_ms);
    }

    /// The newest one always stays.
    fn forget(&mut self, now_ms: u64) {
        let mut bytes: usize = self.complete_ones().map(|segment| segment.body.bytes().len()).sum();
        while self.segments.len() > 1
            && self.segments.front().is_some_and(|oldest| {
                // An instant lasts until the next one, which is in the next segment.
                bytes > self.bounds.max_bytes || oldest.to_ms + self.bounds.every_ms + self.bounds.keep_ms < now_ms
            })
        {
            bytes -= self.segments.pop_front().map_or(0, |oldest| oldest.body.bytes().len());
        }
    }

    fn complete_ones(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().take(self.segments.len().saturating_sub(1))
    }

    fn id(&self, segment: &Segment) -> String {
        format!("{}-{}", self.bounds.every_ms, segment.from_ms)
    }

    fn info(&self, segment: &Segment) -> SegmentInfo {
        let &Segment { from_ms, to_ms, .. } = segment;
        SegmentInfo { id: self.id(segment), from_ms, to_ms, every_ms: self.bounds.every_ms, bytes: segment.body.bytes().len() }
    }

    pub(super) fn infos(&self) -> impl Iterator<Item = SegmentInfo> {
        self.segments.iter().map(|segment| self.info(segment))
    }

    pub(super) fn body(&self, id: &str) -> Option<Body> {
        self.segments.iter().find(|segment| self.id(segment) == id).map(|segment| segment.body.clone())
    }

    /// Those with an instant that lasted into the stretch.
    pub(super) fn between(&self, from_ms: u64, to_ms: u64) -> Vec<(SegmentInfo, Body)> {
        let ends = self.segments.iter().skip(1).map(|next| next.from_ms).chain([u64::MAX]);
        let wanted = self.segments.iter().zip(ends).filter(|(segment, end_ms)| segment.from_ms <= to_ms && *end_ms > from_ms);
        wanted.map(|(segment, _)| (self.info(segment), segment.body.clone())).collect()
    }

    pub(super) fn complete(&self) -> Option<(String, Arc<Vec<u8>>)> {
        self.complete_ones().find_map(|segment| match &segment.body {
            Body::Plain(bytes) => Some((self.id(segment), Arc::clone(bytes))),
            Body::Packed(_) => None,
        })
    }

    pub(super) fn pack(&mut self, id: &str, packed: &Arc<Vec<u8>>) {
        let Some(at) = self.complete_ones().position(|segment| self.id(segment) == id) else { return };
        self.segments[at].body = Body::Packed(Arc::clone(packed));
    }
}
