//! What a process is to the others.

/// Its number: schedulers first, then workers, submitters and readers.
pub(crate) type Proc = usize;
/// The wall clocks begin here.
pub(crate) const EPOCH_MS: u64 = 1_800_000_000_000;
