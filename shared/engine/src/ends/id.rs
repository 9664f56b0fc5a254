//! The names of generations and tickets.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::job::{InvalidJob, PackId};

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        fn no_text_panics(text in ".{0,40}") {
            let _ = text.parse::<Gen>();
        }
    }
}
