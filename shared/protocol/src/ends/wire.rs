//! What all bodies have in common: a version in front, arrays behind it, and nothing after them.

use std::fmt;

use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::Unreadable;
use crate::codec::shown;

/// Writes a body.
///
/// # Panics
/// When a type cannot be expressed in MessagePack, which is a bug in its definition.
pub(super) fn write(version: u8, value: &impl Serialize) -> Vec<u8> {
    let mut body = vec![version];
    rmp_serde::encode::write(&mut body, value).expect("wire types are plain data");
    body
}

/// Reads a body of this version, all of it.
pub(super) fn read<T: DeserializeOwned>(known: u8, body: &[u8]) -> Result<T, Unreadable> {
    let (&found, mut rest) = body.split_first().ok_or(Unreadable::Empty)?;
    if found != known {
        return Err(Unreadable::Version { found, known });
    }
    let value = T::deserialize(&mut rmp_serde::Deserializer::new(&mut rest));
    let value = value.map_err(|error| Unreadable::Body { reason: shown(&error.to_string(), 300) })?;
    if rest.is_empty() { Ok(value) } else { Err(Unreadable::Body { reason: format!("{} bytes follow its end", rest.len()) }) }
}

/// Bytes, which serde takes for a list of numbers unless it is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Blob(pub(super) Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(bytes))
            }
        }

        deserializer.deserialize_byte_buf(Bytes)
    }
}
