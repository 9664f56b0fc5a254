//! A segment: records one after the other. Each has one byte for its kind and four for its length, little endian, before its bytes. An instant
//! begins with its time; the records up to the next time belong to it.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::planes::difference;
use crate::push::{Delta, State, Taken, Told, told};

/// Eight bytes, little endian: Unix milliseconds.
pub(super) const TIME: u8 = 0;
/// A text message as the WebSocket has it: `hello` first, then `delta`.
pub(super) const TEXT: u8 = 1;
/// A frame of telemetry as the WebSocket has it.
pub(super) const FRAME: u8 = 2;
/// The difference to the frame before: its header, then planes.
pub(super) const PLANES: u8 = 3;
/// The order of the nodes in the frames that follow, as `/api/v1/nodes/index` tells it.
pub(super) const INDEX: u8 = 4;

/// A segment as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct SegmentInfo {
    /// What it is asked for by.
    pub(crate) id: String,
    /// Its first instant, in Unix milliseconds.
    pub(crate) from_ms: u64,
    /// Its last instant so far.
    pub(crate) to_ms: u64,
    /// Between two instants, in milliseconds.
    pub(crate) every_ms: u64,
    /// In memory here; compressed once nothing is added to it any more.
    pub(crate) bytes: usize,
}

/// What is asked for: records as they are, or as gzip.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    Plain(Arc<Vec<u8>>),
    Packed(Arc<Vec<u8>>),
}

impl Body {
    pub(crate) fn bytes(&self) -> &Arc<Vec<u8>> {
        match self {
            Body::Plain(bytes) | Body::Packed(bytes) => bytes,
        }
    }
}

/// Instants from a keyframe on.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
    pub(super) instants: u32,
    pub(super) body: Body,
    last_frame: Vec<u8>,
}

impl Segment {
    /// Begins with a keyframe.
    pub(super) fn begin(taken: &Taken) -> Self {
        let mut segment =
            Self { from_ms: taken.at_ms, to_ms: taken.at_ms, instants: 0, body: Body::Plain(Arc::default()), last_frame: Vec::new() };
        segment.instant(taken, &Told::Hello { seq: 0, at_ms: taken.at_ms, state: &taken.state });
        segment
    }

    /// Adds an instant that `delta` leads to.
    pub(super) fn add(&mut self, taken: &Taken, delta: &Delta) {
        let seq = u64::from(self.instants);
        self.instant(taken, &Told::Delta { seq, at_ms: taken.at_ms, delta });
    }

    fn instant(&mut self, taken: &Taken, text: &Told<'_>) {
        self.record(TIME, &taken.at_ms.to_le_bytes());
        match difference(&self.last_frame, &taken.telemetry) {
            Some(planes) => self.record(PLANES, &planes),
            None => {
                self.record(INDEX, &serde_json::to_vec(&*taken.index).unwrap_or_default());
                self.record(FRAME, &taken.telemetry);
            }
        }
        self.record(TEXT, told(text).as_bytes());
        self.last_frame.clone_from(&taken.telemetry);
        (self.to_ms, self.instants) = (taken.at_ms, self.instants + 1);
    }

    fn record(&mut self, kind: u8, bytes: &[u8]) {
        // A segment that is compressed is complete: nothing is added to it.
        let Body::Plain(body) = &mut self.body else { return };
        let body = Arc::make_mut(body);
        body.push(kind);
        body.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        body.extend_from_slice(bytes);
    }

    /// Nothing is added any more.
    pub(super) fn complete(&mut self) {
        self.last_frame = Vec::new();
    }
}

/// What the deltas of a tier are made from.
#[derive(Debug, Default)]
pub(super) struct Last(Option<State>);

impl Last {
    /// What leads from the instant before to this one; none at the first.
    pub(super) fn delta(&mut self, state: &State) -> Option<Delta> {
        let mut next = state.clone();
        let delta = self.0.as_ref().map(|before| Delta::between(before, &mut next));
        self.0 = Some(next);
        delta
    }

    /// A keyframe was written.
    pub(super) fn set(&mut self, state: &State) {
        self.0 = Some(state.clone());
    }
}
