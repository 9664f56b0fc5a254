//! Snapshots of the log's fold in KV LEDGER. A snapshot may be larger than a message: it is cut into pieces, and the list that names it is written
//! last, by compare-and-set. Who dies between two pieces leaves what no list names. The last 8 are kept, since the newest may not fit the log.

use async_nats::jetstream::kv::{self, UpdateErrorKind};
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use faultline_engine::ends::Snapshot;
use faultline_protocol::codec;
use faultline_protocol::ends::{KeptSnapshot, KeptSnapshots, Unreadable, decode_snapshot, encode_snapshot};
use faultline_protocol::streams::KV_LEDGER;
use faultline_protocol::streams::packs::{KEY_SNAPSHOTS, all_snapshot_pieces, snapshot_of_piece, snapshot_piece_key, snapshot_pieces};
use futures::TryStreamExt;

use crate::clock::random_u128;
use crate::connect::Nats;

const KEPT: usize = 8;
const MOST_PIECE_BYTES: usize = 256 << 10;

/// Why a snapshot was not stored, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotsError {
    #[error("another leader has stored a snapshot since the list of them was read: read it again")]
    Conflict,
    #[error("snapshot {id:016x} has lost a piece: take an older one")]
    Torn { id: u64 },
    #[error("snapshot {id:016x}: {source}")]
    Unreadable { id: u64, source: Unreadable },
    #[error("bucket {KV_LEDGER}: {0}")]
    Failed(String),
}

fn failed(error: impl std::fmt::Display) -> SnapshotsError {
    SnapshotsError::Failed(error.to_string())
}

/// The list of the snapshots that are kept, as the server that leads the stream had it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// 0 when there is no list yet.
    pub revision: u64,
    /// Oldest first.
    pub kept: Vec<KeptSnapshot>,
}

/// Where snapshots are stored. Needs the right to purge the stream of KV LEDGER.
#[derive(Debug, Clone)]
pub struct Snapshots {
    bucket: kv::Store,
    stream: Stream,
    piece_bytes: usize,
}

impl Snapshots {
    /// Opens the bucket, which must be there.
    pub async fn open(nats: &Nats) -> Result<Self, SnapshotsError> {
        let bucket = nats.bucket(KV_LEDGER).await.map_err(failed)?;
        let stream = nats.jetstream.get_stream(&bucket.stream_name).await.map_err(failed)?;
        Ok(Self { bucket, stream, piece_bytes: nats.most_bytes().clamp(1, MOST_PIECE_BYTES) })
    }

    /// What is stored now. From the stream's leader: a replica may lag, and what it does not name could be trimmed from the log by then.
    pub async fn stored(&self) -> Result<Stored, SnapshotsError> {
        let Some((revision, body)) = self.last(KEY_SNAPSHOTS).await? else { return Ok(Stored::default()) };
        let KeptSnapshots { kept } = codec::decode_body(&body).map_err(failed)?;
        Ok(Stored { revision, kept })
    }

    /// Puts a snapshot together again. Whether it fits the log is for the caller to say.
    pub async fn load(&self, kept: KeptSnapshot) -> Result<Snapshot, SnapshotsError> {
        let KeptSnapshot { id, pieces, bytes, .. } = kept;
        let mut body = Vec::new();
        for piece in 0..pieces {
            let (_, part) = self.last(&snapshot_piece_key(id, piece)).await?.ok_or(SnapshotsError::Torn { id })?;
            body.extend_from_slice(&part);
        }
        if body.len() as u64 != bytes {
            return Err(SnapshotsError::Torn { id });
        }
        decode_snapshot(&body).map_err(|source| SnapshotsError::Unreadable { id, source })
    }

    /// Stores a snapshot, if nothing else was stored since `over`. Pieces first, then the list, then what the list names no more is removed. With an
    /// error other than a conflict, nothing tells whether it is stored: read the list again.
    pub async fn save(&self, over: &Stored, snapshot: &Snapshot) -> Result<Stored, SnapshotsError> {
        let body = encode_snapshot(snapshot);
        let (id, pieces) = (random_u128() as u64, body.chunks(self.piece_bytes));
        let new = KeptSnapshot { id, pieces: pieces.len() as u32, bytes: body.len() as u64, pos: snapshot.pos() };
        for (piece, part) in (0..).zip(pieces) {
            self.bucket.put(snapshot_piece_key(id, piece), part.to_vec().into()).await.map_err(failed)?;
        }
        let mut kept = over.kept.clone();
        kept.push(new);
        let dropped: Vec<KeptSnapshot> = kept.drain(..kept.len().saturating_sub(KEPT)).collect();
        let list = codec::encode(&KeptSnapshots { kept: kept.clone() });
        let revision = match self.bucket.update(KEY_SNAPSHOTS, list, over.revision).await {
            Ok(revision) => revision,
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {
                self.forget(id).await?;
                return Err(SnapshotsError::Conflict);
            }
            Err(error) => return Err(failed(error)),
        };
        for old in dropped {
            self.forget(old.id).await?;
        }
        Ok(Stored { revision, kept })
    }

    /// Removes the pieces that no list names, which a leader left that died between them. Returns of how many snapshots. To be called when a term
    /// begins: a predecessor that still writes may lose pieces by it, and then its snapshot is torn and an older one is taken.
    pub async fn sweep(&self, stored: &Stored) -> Result<usize, SnapshotsError> {
        let mut subjects = self.stream.info_with_subjects(all_snapshot_pieces()).await.map_err(failed)?;
        let mut unnamed = std::collections::BTreeSet::new();
        while let Some((subject, _)) = subjects.try_next().await.map_err(failed)? {
            unnamed.extend(snapshot_of_piece(&subject).filter(|id| stored.kept.iter().all(|kept| kept.id != *id)));
        }
        for id in &unnamed {
            self.forget(*id).await?;
        }
        Ok(unnamed.len())
    }

    async fn forget(&self, id: u64) -> Result<(), SnapshotsError> {
        self.stream.purge().filter(snapshot_pieces(id)).await.map(drop).map_err(failed)
    }

    /// The newest value of a key, with its revision, as the stream's leader has it.
    async fn last(&self, key: &str) -> Result<Option<(u64, bytes::Bytes)>, SnapshotsError> {
        match self.stream.get_last_raw_message_by_subject(&format!("$KV.{KV_LEDGER}.{key}")).await {
            Ok(message) => Ok(Some((message.sequence, message.payload))),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
}
