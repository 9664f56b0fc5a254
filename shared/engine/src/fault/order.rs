//! The one judge of what is ordered to break: what may be said of which kind, within which bounds, and what is meant when nothing is said.
//! The command, REST and experiments ask it, so that they cannot differ.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{FaultKind, FaultScope, UnknownFault};
use crate::words::plural;

/// The slow-down of a slow node lies between these, from any source.
pub const MIN_SLOW_FACTOR: f64 = 2.0;
pub const MAX_SLOW_FACTOR: f64 = 10.0;
/// How many times slower a node gets when nothing is said.
pub const USUAL_SLOW_FACTOR: f64 = 3.0;
/// The longest fault that can be ordered.
pub const MAX_ORDERED_MS: u64 = 3_600_000;
/// How long a fault lasts when nothing is said.
pub const USUAL_FAULT_MS: u64 = 10_000;

/// [`MAX_ORDERED_MS`] as it is written on a command line.
const LONGEST: &str = "1h";

/// What an order does: break something, or end what is broken. On the wire it is one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum FaultOrderKind {
    Break(FaultKind),
    /// End whatever faults the node, or the named GPU, has.
    Restore,
}

const RESTORE: &str = "restore";

impl From<FaultOrderKind> for String {
    fn from(kind: FaultOrderKind) -> String {
        kind.to_string()
    }
}

impl TryFrom<String> for FaultOrderKind {
    type Error = UnknownFault;

    fn try_from(text: String) -> Result<Self, UnknownFault> {
        text.parse()
    }
}

impl fmt::Display for FaultOrderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            FaultOrderKind::Break(kind) => kind.as_str(),
            FaultOrderKind::Restore => RESTORE,
        })
    }
}

impl FromStr for FaultOrderKind {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        if text == RESTORE { Ok(Self::Restore) } else { text.parse().map(Self::Break) }
    }
}

/// What is asked for, as far as it was said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FaultWish {
    pub kind: FaultOrderKind,
    pub for_ms: Option<u64>,
    /// How many times slower.
    pub factor: Option<f64>,
    /// Which GPU, from 0.
    pub gpu: Option<u8>,
}

/// How long and how badly: what was said, or what is usual.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FaultTerms {
    /// 0 for `restore`.
    pub for_ms: u64,
    pub factor: f64,
}

/// What is wrong with a wish. The text goes on behind the name that the field has where it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct InvalidFault {
    pub field: FaultField,
    reason: String,
}

/// Which part of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultField {
    For,
    Factor,
    Gpu,
}

impl FaultField {
    /// The name on the command line, behind `--`, and in experiments.
    pub fn as_str(self) -> &'static str {
        match self {
            FaultField::For => "for",
            FaultField::Factor => "factor",
            FaultField::Gpu => "gpu",
        }
    }
}

impl FaultWish {
    pub fn of(kind: FaultOrderKind) -> Self {
        Self { kind, for_ms: None, factor: None, gpu: None }
    }

    /// Refuses what means nothing for this kind or is out of bounds, and fills in the rest.
    pub fn check(&self) -> Result<FaultTerms, InvalidFault> {
        let refuse = |field, why: &str| {
            let reason = format!("does not apply to {}: {why}", self.kind);
            Err(InvalidFault { field, reason })
        };
        let breaks = |wanted: fn(FaultKind) -> bool| matches!(self.kind, FaultOrderKind::Break(kind) if wanted(kind));
        if self.gpu.is_some() && breaks(|kind| kind.scope() == FaultScope::Node) {
            return refuse(FaultField::Gpu, "it breaks the whole node");
        }
        if self.for_ms.is_some() && breaks(FaultKind::is_momentary) {
            return refuse(FaultField::For, "it is over as soon as it has hit an attempt");
        }
        if self.for_ms.is_some() && self.kind == FaultOrderKind::Restore {
            return refuse(FaultField::For, "what is mended stays so");
        }
        if self.factor.is_some() && !breaks(|kind| kind == FaultKind::Slow) {
            return refuse(FaultField::Factor, "only slow has a factor");
        }
        if self.for_ms.is_some_and(|for_ms| !(1..=MAX_ORDERED_MS).contains(&for_ms)) {
            return Err(InvalidFault { field: FaultField::For, reason: format!("must be at least 1ms and at most {LONGEST}") });
        }
        if self.factor.is_some_and(|factor| !(MIN_SLOW_FACTOR..=MAX_SLOW_FACTOR).contains(&factor)) {
            let reason = format!("must be in bounds: a node can be {MIN_SLOW_FACTOR} to {MAX_SLOW_FACTOR} times slower");
            return Err(InvalidFault { field: FaultField::Factor, reason });
        }
        let usual_ms = if self.kind == FaultOrderKind::Restore { 0 } else { USUAL_FAULT_MS };
        Ok(FaultTerms { for_ms: self.for_ms.unwrap_or(usual_ms), factor: self.factor.unwrap_or(USUAL_SLOW_FACTOR) })
    }

    /// Whether the node has the GPU.
    pub fn check_gpu(&self, node: &str, gpus: usize) -> Result<(), InvalidFault> {
        match self.gpu {
            Some(gpu) if usize::from(gpu) >= gpus => {
                let reason = format!("{gpu} does not exist: {node} has {}, counted from 0", plural(gpus as u64, "GPU"));
                Err(InvalidFault { field: FaultField::Gpu, reason })
            }
            _ => Ok(()),
        }
    }
}

/// The factor's bounds and default, for help texts.
pub fn slow_factor_words() -> String {
    format!("how many times slower, {MIN_SLOW_FACTOR} to {MAX_SLOW_FACTOR} (default {USUAL_SLOW_FACTOR})")
}

/// The same of the length.
pub fn fault_length_words() -> String {
    format!("up to {LONGEST} (default {}s)", USUAL_FAULT_MS / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::limit;

    fn refused(kind: &str, change: impl FnOnce(&mut FaultWish)) -> (FaultField, String) {
        let mut wish = FaultWish::of(kind.parse().unwrap());
        change(&mut wish);
        let refused = wish.check().unwrap_err();
        (refused.field, refused.to_string())
    }

    #[test]
    fn what_is_not_said_is_what_is_usual() {
        for kind in FaultKind::ALL {
            let terms = FaultWish::of(FaultOrderKind::Break(kind)).check().unwrap();
            assert_eq!(terms, FaultTerms { for_ms: USUAL_FAULT_MS, factor: USUAL_SLOW_FACTOR }, "{kind}");
        }
        assert_eq!(FaultWish::of(FaultOrderKind::Restore).check().unwrap().for_ms, 0);
        assert_eq!(slow_factor_words(), "how many times slower, 2 to 10 (default 3)");
        assert_eq!(fault_length_words(), "up to 1h (default 10s)");
        assert_eq!(limit(MAX_ORDERED_MS).replace(' ', ""), LONGEST);
    }

    #[test]
    fn what_means_nothing_for_a_kind_is_refused() {
        let for_ms = |wish: &mut FaultWish| wish.for_ms = Some(5_000);
        assert_eq!(
            refused("xid_31", for_ms),
            (FaultField::For, "does not apply to xid_31: it is over as soon as it has hit an attempt".into())
        );
        assert_eq!(refused("restore", for_ms), (FaultField::For, "does not apply to restore: what is mended stays so".into()));
        let gpu = refused("crash", |wish| wish.gpu = Some(0));
        assert_eq!(gpu, (FaultField::Gpu, "does not apply to crash: it breaks the whole node".into()));
        let factor = refused("hang", |wish| wish.factor = Some(3.0));
        assert_eq!(factor, (FaultField::Factor, "does not apply to hang: only slow has a factor".into()));
        let restore = FaultWish { gpu: Some(1), ..FaultWish::of(FaultOrderKind::Restore) };
        assert!(restore.check().is_ok(), "one GPU can be mended alone");
    }

    #[test]
    fn bounds_hold_for_all() {
        for for_ms in [0, MAX_ORDERED_MS + 1] {
            let (field, reason) = refused("crash", |wish| wish.for_ms = Some(for_ms));
            assert!(field == FaultField::For && reason.contains("at most 1h"), "{reason}");
        }
        for factor in [1.9, 10.1, f64::NAN] {
            let (field, reason) = refused("slow", |wish| wish.factor = Some(factor));
            assert!(field == FaultField::Factor && reason.contains("2 to 10 times slower"), "{reason}");
        }
        let wish = FaultWish { gpu: Some(2), ..FaultWish::of(FaultOrderKind::Break(FaultKind::Xid79)) };
        assert!(wish.check().is_ok() && wish.check_gpu("gpu-node-01", 3).is_ok());
        assert_eq!(wish.check_gpu("gpu-node-01", 2).unwrap_err().to_string(), "2 does not exist: gpu-node-01 has 2 GPUs, counted from 0");
    }
}
