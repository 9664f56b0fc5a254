//! The bodies of the log of ends. Each begins with a byte that says its version; MessagePack arrays follow, because names would make them more
//! than twice as long, so every version is pinned by golden files.
//!
//! What the fold reads of an entry and what people are shown of it are apart: `entries` has the first, and carries the second, `detail`, as
//! bytes with a version of their own. So a build that does not know a new detail still folds like one that does. A new version of `entries`
//! must be understood by every reader before any process writes it.

mod detail;
mod entries;
mod error;
mod pack;
mod request;
mod snapshot;
mod wire;

use faultline_engine::ends::{Entry, Malformed};

pub use detail::{decode_detail, encode_detail};
pub use entries::{MAX_BYTES, Messages, decode, encode, messages};
pub use error::Unreadable;
pub use pack::{MAX_PACK_BYTES, UnfitPack, decode_pack, encode_pack};
pub use request::{EndsAnswer, EndsQuestion, HeldTicket, HeldTickets, KeptSnapshot, KeptSnapshots, PackStanding};
pub use snapshot::{decode_snapshot, encode_snapshot};

/// What the fold is told of a body that was read, or could not be.
pub fn told(entries: &Result<Vec<Entry>, Unreadable>) -> Result<&[Entry], Malformed> {
    entries.as_ref().map(Vec::as_slice).map_err(|_| Malformed)
}

#[cfg(test)]
mod golden;
