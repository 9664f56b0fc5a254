//! Times that different processes wrote. Each process compares its clock with the NATS server's, and a comparison is as good as its
//! round trip, which a busy machine makes long. Times of one process are compared with `<=`, those of two with [`is_before`].

/// How far the clocks of two processes may be apart on a busy machine.
pub const APART_MS: u64 = 100;

/// Whether what one process wrote at `earlier_ms` may have come before what another wrote at `later_ms`.
pub fn is_before(earlier_ms: u64, later_ms: u64) -> bool {
    earlier_ms <= later_ms + APART_MS
}
