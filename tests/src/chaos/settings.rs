//! What a run of the chaos suite is asked to do.

use std::time::Duration;

/// What one run is asked to do.
#[derive(Debug, Clone)]
pub struct Settings {
    pub seed: u64,
    pub length: Duration,
    /// Jobs a second that each of the two submitters makes.
    pub rate: u32,
    /// The most resident memory of any process, in MiB.
    pub max_memory_mib: u64,
}
