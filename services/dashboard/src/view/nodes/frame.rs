//! The packed telemetry frames, in the order of the node index: 5 bytes a node, so that a page can follow 10,000 of them twice a second.

use std::sync::Arc;

use faultline_engine::node::Health;

use super::NodeTable;
use super::entry::Entry;
use super::index::NodeIndex;

/// In the place of a reading that no GPU of the node gives.
const NOT_REPORTED: u8 = u8::MAX;
const FRAME_VERSION: u8 = 1;
const FRAME_HEADER_BYTES: usize = 16;
const FRAME_NODE_BYTES: usize = 5;

/// A heartbeat older than this is marked: one is due every second.
const LATE_MS: u64 = 2_000;
const NEVER_HEARD: u8 = 4;
const DRAINING: u8 = 1 << 3;
const THROTTLED: u8 = 1 << 4;
const FAULTY: u8 = 1 << 5;
const LATE: u8 = 1 << 6;

impl NodeTable {
    /// The order as of now; made anew only when it changed.
    pub(crate) fn index(&mut self) -> Arc<NodeIndex> {
        if std::mem::take(&mut self.index_is_old) {
            let index = self.make_index();
            if index != (NodeIndex { revision: index.revision, ..NodeIndex::clone(&self.index) }) {
                self.index = Arc::new(index);
            }
        }
        Arc::clone(&self.index)
    }

    fn make_index(&mut self) -> NodeIndex {
        let index = NodeIndex::of(self.index.revision.wrapping_add(1), self.known());
        for entry in self.entries.values_mut() {
            entry.place = None;
        }
        for (place, node) in (0..).zip(&index.nodes) {
            if let Some(entry) = self.entries.get_mut(node) {
                entry.place = Some(place);
            }
        }
        index
    }

    /// The frame number `seq` in the order of the last [`NodeTable::index`], little endian: version, flags (0), two
    /// bytes reserved, then `seq`, the index' revision and the number of nodes, 4 bytes each. For each node:
    /// utilisation and memory in half percents, the temperature in degrees Celsius (255 in each: not reported), its state and how many
    /// attempts run.
    /// The state's bits 0 to 2 are 0 alive, 1 suspect, 2 gone, 3 dead, 4 never heard of or gone from the table; bit 3
    /// draining, 4 throttled, 5 under a fault, 6 the last heartbeat is older than 2 s.
    pub(crate) fn frame(&self, seq: u32, now_ms: u64) -> Vec<u8> {
        let count = self.index.nodes.len();
        let mut frame = vec![0; FRAME_HEADER_BYTES + count * FRAME_NODE_BYTES];
        frame[0] = FRAME_VERSION;
        let (header, nodes) = frame.split_at_mut(FRAME_HEADER_BYTES);
        header[4..8].copy_from_slice(&seq.to_le_bytes());
        header[8..12].copy_from_slice(&self.index.revision.to_le_bytes());
        header[12..16].copy_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
        for cell in nodes.chunks_exact_mut(FRAME_NODE_BYTES) {
            cell[3] = NEVER_HEARD;
        }
        for (node, entry) in &self.entries {
            let Some(place) = entry.place else { continue };
            let start = place as usize * FRAME_NODE_BYTES;
            if let Some(cell) = nodes.get_mut(start..start + FRAME_NODE_BYTES) {
                cell.copy_from_slice(&self.cell(node, entry, now_ms));
            }
        }
        frame
    }

    fn cell(&self, node: &str, entry: &Entry, now_ms: u64) -> [u8; FRAME_NODE_BYTES] {
        let load = entry.load();
        let age_ms = entry.heartbeat_age_ms(now_ms);
        let heard = age_ms.is_some() || entry.verdict_on_this_life().is_some();
        let mut state = match entry.health() {
            _ if !heard => NEVER_HEARD,
            Health::Alive => 0,
            Health::Suspect => 1,
            Health::Gone => 2,
            Health::Dead => 3,
        };
        let mut mark = |bit: u8, is_set: bool| state |= if is_set { bit } else { 0 };
        mark(DRAINING, self.draining.contains(node));
        mark(THROTTLED, load.throttled);
        mark(FAULTY, self.fault(node, now_ms).is_some());
        mark(LATE, age_ms.is_none_or(|age_ms| age_ms > LATE_MS));
        let running = entry.running().len();
        [
            load.utilisation_percent.map_or(NOT_REPORTED, half_percents),
            load.memory_percent.map_or(NOT_REPORTED, half_percents),
            // The cast saturates, and makes 0 of NaN.
            load.temperature_c.map_or(NOT_REPORTED, |celsius| celsius.round().min(254.0) as u8),
            state,
            u8::try_from(running).unwrap_or(u8::MAX),
        ]
    }
}

/// A share from 0 to 100 in one byte, 0 to 200.
pub(crate) fn half_percents(percent: f32) -> u8 {
    (percent.clamp(0.0, 100.0) * 2.0).round() as u8
}
