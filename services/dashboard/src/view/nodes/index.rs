//! The nodes in a fixed order, and the packed telemetry frames in that order: 5 bytes a node, so that a page can follow
//! 10,000 of them twice a second.

use std::collections::BTreeMap;
use std::sync::Arc;

use faultline_engine::node::Health;
use serde::Serialize;
use utoipa::ToSchema;

use super::NodeTable;
use super::entry::Entry;

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

/// The order of the nodes in the binary frames of the WebSocket, by rack, then by name (2 before 10), and what seldom changes of each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct NodeIndex {
    /// Another number means another order. Differs between processes of the dashboard.
    pub(crate) revision: u32,
    pub(crate) nodes: Vec<String>,
    /// For each rack its name, the place of its first node, and how many nodes it has.
    pub(crate) racks: Vec<(String, u32, u32)>,
    pub(crate) workers: Vec<String>,
    /// For each node the place of its worker in `workers`.
    pub(crate) worker_of: Vec<u32>,
    /// Of first GPUs.
    pub(crate) models: Vec<String>,
    /// For each node the place of its first GPU's model in `models`.
    pub(crate) model_of: Vec<u32>,
}

/// Texts that occur often, each once.
#[derive(Default)]
struct Names<'a> {
    all: Vec<String>,
    places: BTreeMap<&'a str, u32>,
}

impl<'a> Names<'a> {
    fn place(&mut self, name: &'a str) -> u32 {
        let Names { all, places } = self;
        *places.entry(name).or_insert_with(|| {
            all.push(name.to_owned());
            u32::try_from(all.len() - 1).unwrap_or(u32::MAX)
        })
    }
}

impl NodeIndex {
    pub(crate) fn empty(revision: u32) -> Self {
        Self { revision, ..Self::default() }
    }
}

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
        let mut order: Vec<(&str, &str, &Entry)> = self.known().map(|(node, entry)| (entry.rack(), node, entry)).collect();
        order.sort_unstable_by_key(|(rack, node, _)| (natural(rack), natural(node)));
        let mut index = NodeIndex::empty(self.index.revision.wrapping_add(1));
        let (mut workers, mut models) = (Names::default(), Names::default());
        for (place, (rack, node, entry)) in (0..).zip(order) {
            index.nodes.push(node.to_owned());
            index.worker_of.push(workers.place(entry.worker()));
            index.model_of.push(models.place(entry.first_gpu().map_or("", |gpu| &gpu.model)));
            match index.racks.last_mut() {
                Some((last, _, count)) if last == rack => *count += 1,
                Some(_) | None => index.racks.push((rack.to_owned(), place, 1)),
            }
        }
        (index.workers, index.models) = (workers.all, models.all);
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
    /// utilisation and memory in half percents, the temperature in degrees Celsius, its state and how many attempts run.
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
            half_percents(load.utilisation_percent),
            half_percents(load.memory_percent),
            // Saturates, and takes what is no number for 0.
            load.temperature_c.round() as u8,
            state,
            u8::try_from(running).unwrap_or(u8::MAX),
        ]
    }
}

/// What a name is ordered by: rack-2 comes before rack-10.
fn natural(name: &str) -> (&str, usize, &str, &str) {
    let letters = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let number = name[letters.len()..].trim_start_matches('0');
    (letters, number.len(), number, name)
}

fn half_percents(percent: f32) -> u8 {
    (percent.clamp(0.0, 100.0) * 2.0).round() as u8
}
