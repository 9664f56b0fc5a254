//! The names of jobs and attempts, and why what a submitter wrote cannot be accepted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use ulid::Ulid;
use utoipa::ToSchema;

macro_rules! ulid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Ulid);

        impl $name {
            /// Builds an id from a Unix time in milliseconds and 80 random bits (higher bits are dropped).
            pub fn new(unix_ms: u64, random: u128) -> Self {
                Self(Ulid::from_parts(unix_ms, random))
            }

            /// All 128 bits: 48 of time, 80 random.
            pub fn to_u128(self) -> u128 {
                u128::from_be_bytes(self.0.to_bytes())
            }

            /// The id with these 128 bits.
            pub fn from_u128(bits: u128) -> Self {
                Self(Ulid::from_bytes(bits.to_be_bytes()))
            }

            /// When the id was made, in Unix milliseconds.
            pub fn unix_ms(self) -> u64 {
                self.0.timestamp_ms()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; ulid::ULID_LEN];
                f.pad(self.0.array_to_str(&mut text))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidJob;

            fn from_str(text: &str) -> Result<Self, InvalidJob> {
                // 26 characters hold 130 bits: a first one above 7 would lose two of them and name another id.
                let fits = text.bytes().next().is_some_and(|first| first <= b'7');
                match Ulid::from_string(text) {
                    Ok(id) if fits => Ok(Self(id)),
                    Ok(_) | Err(_) => Err(InvalidJob::new("id", format!("invalid id `{}`: expected a ULID, which has 26 characters of Crockford base 32, the first from 0 to 7", clip(text)))),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut text = [0; ulid::ULID_LEN];
                serializer.serialize_str(self.0.array_to_str(&mut text))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                String::schema()
            }
        }

        impl ToSchema for $name {}
    };
}

ulid_id!(
    /// Names a job from its submission to its terminal record. A ULID: sorts by the time of its making.
    JobId
);
ulid_id!(
    /// Names one try of a job. A ULID.
    AttemptId
);
ulid_id!(
    /// Names the jobs that were submitted together. A ULID.
    PackId
);

pub(super) fn clip(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Why a job cannot be accepted: the field, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct InvalidJob {
    pub field: &'static str,
    pub problem: String,
}

impl InvalidJob {
    pub fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self { field, problem: problem.into() }
    }
}
