//! The names of jobs, packs, and attempts, and why what a submitter wrote cannot be accepted.

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
    /// Names one try of a job. A ULID.
    AttemptId
);
ulid_id!(
    /// Names the jobs that were submitted together. A ULID.
    PackId
);

/// The most jobs in one pack.
pub const MAX_TASKS: u16 = 256;

/// What the text of a [`JobId`] looks like.
const JOB_ID_PATTERN: &str = "^[0-7][0-9A-HJKMNP-TV-Z]{25}(-([0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5]))?$";
/// A ULID, `-`, and up to three digits.
const JOB_ID_LEN: usize = ulid::ULID_LEN + 4;

/// Names a job from its submission to its end, and sorts by the time of its making. A job that came alone has its pack's ULID; a job of a larger
/// pack has the ULID and its index in the pack: `01J...-17`. So the pack of a job is known from the job's id.
///
/// Bytes instead of a number: 18 bytes in all, where an aligned ULID would make it 32.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId {
    pack: [u8; 16],
    /// 0 for a job that came alone, else its index and one.
    slot: u16,
}

impl JobId {
    /// The id of a job that comes alone, from a Unix time in milliseconds and 80 random bits (higher bits are dropped).
    pub fn new(unix_ms: u64, random: u128) -> Self {
        Self::alone(PackId::new(unix_ms, random))
    }

    /// The only job of this pack.
    pub fn alone(pack: PackId) -> Self {
        Self { pack: pack.to_u128().to_be_bytes(), slot: 0 }
    }

    /// Job `idx` of a pack of `count`.
    ///
    /// # Panics
    /// When there is no such job in a pack.
    pub fn of(pack: PackId, idx: u16, count: u16) -> Self {
        assert!(idx < count && count <= MAX_TASKS, "a pack of {count} has no job {idx}");
        let slot = if count == 1 { 0 } else { idx + 1 };
        Self { slot, ..Self::alone(pack) }
    }

    /// The jobs that it was submitted with.
    pub fn pack(self) -> PackId {
        PackId::from_u128(u128::from_be_bytes(self.pack))
    }

    /// Its index in its pack.
    pub fn idx(self) -> u16 {
        self.slot.saturating_sub(1)
    }

    /// Whether its pack has no other job.
    pub fn is_alone(self) -> bool {
        self.slot == 0
    }

    /// When the pack's id was made, in Unix milliseconds.
    pub fn unix_ms(self) -> u64 {
        self.pack().unix_ms()
    }

    /// What it consists of; sorts as ids do.
    pub(crate) fn to_bytes(self) -> [u8; 18] {
        let mut bytes = [0; 18];
        bytes[..16].copy_from_slice(&self.pack);
        bytes[16..].copy_from_slice(&self.slot.to_be_bytes());
        bytes
    }

    /// The id that [`JobId::to_bytes`] made these bytes of.
    pub(crate) fn from_bytes(bytes: [u8; 18]) -> Self {
        let [pack @ .., high, low] = bytes;
        Self { pack, slot: u16::from_be_bytes([high, low]) }
    }

    /// Its text, in this room.
    fn write(self, room: &mut [u8; JOB_ID_LEN]) -> &str {
        let mut ulid = [0; ulid::ULID_LEN];
        room[..ulid::ULID_LEN].copy_from_slice(Ulid::from_bytes(self.pack).array_to_str(&mut ulid).as_bytes());
        let mut len = ulid::ULID_LEN;
        if !self.is_alone() {
            room[len] = b'-';
            len += 1;
            for power in [100, 10, 1] {
                if self.idx() >= power || power == 1 {
                    room[len] = b'0' + (self.idx() / power % 10) as u8;
                    len += 1;
                }
            }
        }
        std::str::from_utf8(&room[..len]).unwrap_or_default()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.write(&mut [0; JOB_ID_LEN]))
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for JobId {
    type Err = InvalidJob;

    fn from_str(text: &str) -> Result<Self, InvalidJob> {
        let Some((pack, index)) = text.split_once('-') else { return text.parse().map(Self::alone) };
        let is_plain = !index.is_empty() && index.len() <= 3 && index.bytes().all(|byte| byte.is_ascii_digit());
        let is_canonical = is_plain && (index.len() == 1 || !index.starts_with('0'));
        match index.parse::<u16>() {
            Ok(idx) if is_canonical && idx < MAX_TASKS => Ok(Self { slot: idx + 1, ..Self::alone(pack.parse()?) }),
            Ok(_) | Err(_) => {
                let problem = format!("invalid id `{}`: expected a number from 0 to {} after the `-`", clip(text), MAX_TASKS - 1);
                Err(InvalidJob::new("id", problem))
            }
        }
    }
}

impl Serialize for JobId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.write(&mut [0; JOB_ID_LEN]))
    }
}

impl<'de> Deserialize<'de> for JobId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl utoipa::PartialSchema for JobId {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        let text = utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::schema::Type::String);
        let about = "A job's id: a ULID, and `-` with its index if its pack has more than one job.";
        text.description(Some(about)).pattern(Some(JOB_ID_PATTERN)).into()
    }
}

impl ToSchema for JobId {}

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_job_that_came_alone_keeps_its_ulid_and_others_show_their_index() {
        let pack: PackId = "01M8NRP1V0QQQM1FBTTF2P0ABC".parse().unwrap();
        assert_eq!(JobId::of(pack, 0, 1).to_string(), "01M8NRP1V0QQQM1FBTTF2P0ABC");
        for idx in [0, 9, 10, 99, 100, 209, 255] {
            assert_eq!(JobId::of(pack, idx, 256).to_string(), format!("01M8NRP1V0QQQM1FBTTF2P0ABC-{idx}"));
        }
        assert_eq!(
            format!("{:>30}|{:?}", JobId::of(pack, 7, 8), JobId::alone(pack)),
            "  01M8NRP1V0QQQM1FBTTF2P0ABC-7|01M8NRP1V0QQQM1FBTTF2P0ABC"
        );
        assert_eq!(size_of::<JobId>(), 18);
    }

    #[test]
    fn only_one_text_names_a_job() {
        for wrong in ["", "-1", "-01", "-256", "-+1", "-1-1", "- 1", "-1 ", "-", "-9999999"] {
            let text = format!("01M8NRP1V0QQQM1FBTTF2P0ABC{wrong}");
            assert_eq!(text.parse::<JobId>().is_ok(), ["", "-1"].contains(&wrong), "{text}");
        }
        for wrong in ["-1", "01M8-1", "81M8NRP1V0QQQM1FBTTF2P0ABC-1"] {
            assert!(wrong.parse::<JobId>().unwrap_err().problem.contains("invalid id"), "{wrong}");
        }
        let named = "01M8NRP1V0QQQM1FBTTF2P0ABC-256".parse::<JobId>().unwrap_err();
        assert!(named.problem.contains("2P0ABC-256`") && named.problem.contains("from 0 to 255"), "{named}");
    }

    proptest! {
        #[test]
        fn ids_round_trip_as_text_and_sort_by_time_and_index(ms in 0_u64..1 << 48, random: u128, idx in 0_u16..256, count in 1_u16..=256) {
            let pack = PackId::new(ms, random);
            let id = JobId::of(pack, idx % count, count);
            prop_assert_eq!(id.to_string().parse::<JobId>().unwrap(), id);
            prop_assert_eq!((id.pack(), id.idx(), id.is_alone(), id.unix_ms()), (pack, idx % count, count == 1, ms));
            prop_assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{id}\""));
            prop_assert_eq!(PackId::from_u128(pack.to_u128()), pack);
            prop_assert_eq!(JobId::from_bytes(id.to_bytes()), id);
            if count > 1 && id.idx() > 0 {
                let before = JobId::of(pack, id.idx() - 1, count);
                prop_assert!(before < id && before.to_bytes() < id.to_bytes());
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = text.parse::<JobId>();
        }
    }
}
