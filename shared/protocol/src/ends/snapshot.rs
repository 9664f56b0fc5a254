//! A stored fold. It may be larger than a message: the leader that stores it cuts it into pieces, and puts them together again before it is read. The
//! checksum tells whether they belong together.

use faultline_engine::ends::Snapshot;

use super::error::Unreadable;
use super::wire::{read, write};

const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 8;

/// Encodes a snapshot.
pub fn encode_snapshot(snapshot: &Snapshot) -> Vec<u8> {
    let mut bytes = write(VERSION, snapshot);
    let checksum = checksum(&bytes);
    bytes.extend(checksum.to_be_bytes());
    bytes
}

/// Decodes a snapshot. [`Snapshot::restore`] then checks what it says.
pub fn decode_snapshot(bytes: &[u8]) -> Result<Snapshot, Unreadable> {
    let (body, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(Unreadable::Empty)?;
    if checksum(body) != u64::from_be_bytes(*sum) {
        return Err(Unreadable::Damaged);
    }
    read(VERSION, body)
}

/// FNV-1a. It guards against pieces that do not belong together, not against an attacker.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
