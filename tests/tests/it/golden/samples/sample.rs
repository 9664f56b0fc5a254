//! A message of any kind, as the golden files are compared with it.

use std::fmt::Debug;

use async_nats::HeaderMap;
use faultline_protocol::codec::{self, DecodeError, Message};

/// 2026-01-01T12:00:00Z.
pub(super) const T: u64 = 1_767_268_800_000;

/// Whether bytes decode to the sample.
type ReadsBack = Box<dyn Fn(&[u8]) -> Result<bool, DecodeError>>;
/// What headers and bytes decode to, encoded again.
type Rewrites = Box<dyn Fn(Option<&HeaderMap>, &[u8]) -> Result<Vec<u8>, DecodeError>>;

/// A message, with its type forgotten.
pub(crate) struct Sample {
    /// The file's name without `.v1.msgpack`: the kind, and for further variants of an enum ` -variant` without the space.
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) version: u32,
    pub(crate) encoded: Vec<u8>,
    /// Whether its file is of an earlier build, which wrote fields that this one ignores.
    pub(crate) is_former: bool,
    is_read_from: ReadsBack,
    rewritten: Rewrites,
}

impl Sample {
    /// Whether these bytes decode to the very value of the sample.
    pub(crate) fn is_read_from(&self, body: &[u8]) -> Result<bool, DecodeError> {
        (self.is_read_from)(body)
    }

    /// What these headers and bytes are read as, written anew.
    pub(crate) fn rewritten(&self, headers: Option<&HeaderMap>, body: &[u8]) -> Result<Vec<u8>, DecodeError> {
        (self.rewritten)(headers, body)
    }
}

/// A message as an earlier build wrote it: read as ever, and written otherwise.
pub(super) fn former<M: Message + PartialEq + Debug + 'static>(variant: &str, value: M) -> Sample {
    Sample { is_former: true, ..sample(variant, value) }
}

pub(super) fn sample<M: Message + PartialEq + Debug + 'static>(variant: &str, value: M) -> Sample {
    let name = if variant.is_empty() { M::KIND.to_owned() } else { format!("{}-{variant}", M::KIND) };
    let encoded = codec::encode(&value).to_vec();
    Sample {
        name,
        kind: M::KIND,
        version: M::VERSION,
        encoded,
        is_former: false,
        is_read_from: Box::new(move |body| codec::decode_body::<M>(body).map(|read| read == value)),
        rewritten: Box::new(|headers, body| codec::decode::<M>(headers, body).map(|read| codec::encode(&read).to_vec())),
    }
}
