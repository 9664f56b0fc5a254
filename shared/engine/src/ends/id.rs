//! The names of packs, tasks, and tickets.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::job::{InvalidJob, PackId};

/// The most jobs in one pack.
pub const MAX_TASKS: u16 = 256;

const GEN_DIGITS: usize = 16;

/// The bits of an id in two halves, as they are stored and sent: 18 bytes at most, where the text of a ULID has 27. A ULID itself is aligned
/// to 16 bytes, and takes twice as much memory as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halves(u64, u64);

impl From<u128> for Halves {
    fn from(bits: u128) -> Self {
        Self((bits >> 64) as u64, bits as u64)
    }
}

impl From<Halves> for u128 {
    fn from(Halves(high, low): Halves) -> Self {
        (u128::from(high) << 64) | u128::from(low)
    }
}

impl Halves {
    pub(super) fn of(pack: PackId) -> Self {
        pack.to_u128().into()
    }

    pub(super) fn pack(self) -> PackId {
        PackId::from_u128(self.into())
    }
}

/// Which making of JOBS a message belongs to. A stream that is made anew hands out the same sequences again, with another generation. 16
/// hexadecimal digits, which the server puts into the subject of each message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Gen(pub u64);

impl fmt::Display for Gen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Gen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Gen {
    type Err = InvalidJob;

    fn from_str(text: &str) -> Result<Self, InvalidJob> {
        let is_plain = text.len() == GEN_DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match u64::from_str_radix(text, 16) {
            Ok(number) if is_plain => Ok(Self(number)),
            Ok(_) | Err(_) => {
                let shown: String = text.chars().take(40).collect();
                Err(InvalidJob::new("gen", format!("invalid generation `{shown}`: expected {GEN_DIGITS} lowercase hexadecimal digits")))
            }
        }
    }
}

/// The message of JOBS that brought a pack. `ts` is part of the identity: a stream that lost its tail hands out the lost sequences once more,
/// and only the time at which the message was stored tells the two apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PackTicket {
    pub r#gen: Gen,
    pub seq: u64,
    pub ts: u64,
}

impl PackTicket {
    pub fn task(self, idx: u16) -> Ticket {
        Ticket { r#gen: self.r#gen, seq: self.seq, ts: self.ts, idx }
    }

    /// Whether JOBS cannot lose this message and keep the other one: a stream loses its tail, and an older copy of it lacks what was stored last.
    pub fn outlasts(self, other: PackTicket) -> bool {
        self.r#gen == other.r#gen && self.seq < other.seq
    }

    /// The pack id for a message whose own one cannot be read: the same for every reader, and another one for every message.
    pub fn stand_in(self) -> PackId {
        const LOW_40_BITS: u64 = (1 << 40) - 1;
        let random = (u128::from(self.r#gen.0 & LOW_40_BITS) << 40) | u128::from(self.seq & LOW_40_BITS);
        PackId::new(self.ts / 1_000_000, random)
    }
}

impl fmt::Display for PackTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} of generation {}", self.seq, self.r#gen)
    }
}

/// One task of a pack: what an end is an end of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    pub r#gen: Gen,
    pub seq: u64,
    pub ts: u64,
    pub idx: u16,
}

impl Ticket {
    pub fn of_pack(self) -> PackTicket {
        PackTicket { r#gen: self.r#gen, seq: self.seq, ts: self.ts }
    }
}

/// A job's id. A job that came alone has its pack's ULID; a job of a larger pack has the ULID and its index in the pack: `01J...-17`. So the
/// pack of a job is known from the job's id.
///
/// Bytes instead of a number: 18 bytes in all, where an aligned ULID would make it 32.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    pack: [u8; 16],
    /// 0 for a job that came alone, else its index and one.
    slot: u16,
}

impl TaskId {
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

    pub fn pack(self) -> PackId {
        PackId::from_u128(u128::from_be_bytes(self.pack))
    }

    /// Its index in its pack.
    pub fn idx(self) -> u16 {
        self.slot.saturating_sub(1)
    }

    pub fn is_alone(self) -> bool {
        self.slot == 0
    }

    /// When the pack's id was made, in Unix milliseconds.
    pub fn unix_ms(self) -> u64 {
        self.pack().unix_ms()
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_alone() {
            return self.pack().fmt(f);
        }
        f.pad(&format!("{}-{}", self.pack(), self.idx()))
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TaskId {
    type Err = InvalidJob;

    fn from_str(text: &str) -> Result<Self, InvalidJob> {
        let Some((pack, index)) = text.split_once('-') else { return text.parse().map(Self::alone) };
        let is_plain = !index.is_empty() && index.len() <= 3 && index.bytes().all(|byte| byte.is_ascii_digit());
        let is_canonical = is_plain && (index.len() == 1 || !index.starts_with('0'));
        match index.parse::<u16>() {
            Ok(idx) if is_canonical && idx < MAX_TASKS => Ok(Self { slot: idx + 1, ..Self::alone(pack.parse()?) }),
            Ok(_) | Err(_) => {
                let problem = format!("invalid id: expected a number from 0 to {} after the `-`", MAX_TASKS - 1);
                Err(InvalidJob::new("id", problem))
            }
        }
    }
}

impl Serialize for TaskId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TaskId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_job_that_came_alone_keeps_its_ulid_and_others_show_their_index() {
        let pack: PackId = "01M8NRP1V0QQQM1FBTTF2P0ABC".parse().unwrap();
        assert_eq!(TaskId::of(pack, 0, 1).to_string(), "01M8NRP1V0QQQM1FBTTF2P0ABC");
        assert_eq!(TaskId::of(pack, 0, 2).to_string(), "01M8NRP1V0QQQM1FBTTF2P0ABC-0");
        assert_eq!(TaskId::of(pack, 255, 256).to_string(), "01M8NRP1V0QQQM1FBTTF2P0ABC-255");
        assert_eq!(size_of::<TaskId>(), 18);
    }

    #[test]
    fn only_one_text_names_a_job() {
        for wrong in ["", "-1", "-01", "-256", "-+1", "-1-1", "- 1", "-1 ", "-9999999"] {
            let text = format!("01M8NRP1V0QQQM1FBTTF2P0ABC{wrong}");
            assert_eq!(text.parse::<TaskId>().is_ok(), ["", "-1"].contains(&wrong), "{text}");
        }
        assert!("-1".parse::<TaskId>().is_err() && "01M8-1".parse::<TaskId>().is_err());
    }

    #[test]
    fn a_generation_is_sixteen_digits() {
        assert_eq!("00000000000000ff".parse(), Ok(Gen(255)));
        for wrong in ["", "ff", "00000000000000FF", "+0000000000000ff", "0000000000000000ff"] {
            assert_eq!(wrong.parse::<Gen>().unwrap_err().field, "gen", "{wrong}");
        }
        assert_eq!(Gen(255).to_string(), "00000000000000ff");
    }

    #[test]
    fn each_unreadable_message_has_a_pack_id_of_its_own() {
        let ticket = PackTicket { r#gen: Gen(7), seq: 3, ts: 1_700_000_000_000_000_000 };
        assert_eq!(ticket.stand_in(), ticket.stand_in());
        assert_eq!(ticket.stand_in().unix_ms(), 1_700_000_000_000);
        assert_ne!(ticket.stand_in(), PackTicket { seq: 4, ..ticket }.stand_in());
        assert_ne!(ticket.stand_in(), PackTicket { r#gen: Gen(8), ..ticket }.stand_in());
    }

    proptest! {
        #[test]
        fn ids_round_trip_as_text_and_sort_by_time_and_index(ms in 0_u64..1 << 48, random: u128, idx in 0_u16..256, count in 1_u16..=256) {
            let pack = PackId::new(ms, random);
            let id = TaskId::of(pack, idx % count, count);
            prop_assert_eq!(id.to_string().parse::<TaskId>().unwrap(), id);
            prop_assert_eq!((id.pack(), id.idx(), id.is_alone(), id.unix_ms()), (pack, idx % count, count == 1, ms));
            prop_assert_eq!(PackId::from_u128(pack.to_u128()), pack);
            if count > 1 && id.idx() > 0 {
                prop_assert!(TaskId::of(pack, id.idx() - 1, count) < id);
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = text.parse::<TaskId>();
            let _ = text.parse::<Gen>();
        }
    }
}
