//! Publishing a pack: one durable write for all of its jobs.

use std::time::Duration;

use async_nats::{HeaderMap, header};
use faultline_engine::job::{InvalidJob, JobSpec, is_token};
use faultline_protocol::ends::{UnfitPack, encode_pack};
use faultline_protocol::streams::MAX_SUBMIT_AGE;
use faultline_protocol::subjects::packs;

use crate::connection::Connection;
use crate::failure::PublishError;
use crate::wire::Post;

const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(250);

/// Why a pack is not known to be queued.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("the pack is refused: {0}")]
    Unfit(#[from] UnfitPack),
    #[error("the pack is refused: job {idx}: {source}")]
    Invalid { idx: usize, source: InvalidJob },
    #[error("the pack is refused: its jobs have different priorities or kinds; submit those that are alike together")]
    Mixed,
    #[error("the id of the pack is more than {} s from now: make a new one, its jobs could run twice", MAX_SUBMIT_AGE.as_secs())]
    TooOld,
    #[error(
        "the pack was published {tries} times in {} s and never confirmed ({reason}): its jobs may be queued or not; look for their ids before they are submitted again",
        MAX_SUBMIT_AGE.as_secs()
    )]
    Unconfirmed { tries: u32, reason: String },
    #[error("the pack could not be queued: {0}")]
    Publish(PublishError),
}

/// The server's word that the pack is queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmed {
    /// The sequence of its message in JOBS.
    pub seq: u64,
    /// The server had it already, from an earlier try.
    pub was_there: bool,
}

/// Queues a pack. Without an answer, the same pack is published again under the same id, until the id is 60 s old: from then on the server and the
/// leader may have forgotten the first one, and its jobs would run a second time. May be called again with the same jobs, also by another process.
pub async fn publish_pack(nats: &Connection, jobs: &[JobSpec]) -> Result<Confirmed, PackError> {
    let body = encode_pack(jobs)?;
    for (idx, job) in jobs.iter().enumerate() {
        job.validate().map_err(|source| PackError::Invalid { idx, source })?;
    }
    let first = &jobs[0];
    if jobs.iter().any(|job| job.priority != first.priority || job.class() != first.class()) || !is_token(first.class()) {
        return Err(PackError::Mixed);
    }
    let pack = first.id.pack();
    let subject = packs::pack(first.priority, first.class(), jobs.len() as u16, pack);
    let (mut tries, mut reason) = (0, String::new());
    loop {
        if pack.unix_ms().abs_diff(nats.unix_ms()) >= MAX_SUBMIT_AGE.as_millis() as u64 {
            return Err(if tries == 0 { PackError::TooOld } else { PackError::Unconfirmed { tries, reason } });
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_MESSAGE_ID, pack.to_string().as_str());
        tries += 1;
        match nats.store(Post { headers: Some(headers), ..Post::bare(subject.as_str(), body.clone()) }).await {
            Ok(ack) => return Ok(Confirmed { seq: ack.sequence, was_there: ack.duplicate }),
            // Nothing tells whether it was stored.
            Err(error @ (PublishError::Timeout | PublishError::Other(_))) => reason = error.to_string(),
            Err(error) => return Err(PackError::Publish(error)),
        }
        tokio::time::sleep(PAUSE_AFTER_ERROR).await;
    }
}
