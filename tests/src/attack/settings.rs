//! What a run of the attack is made of, and what it looks at.

/// What one run is made of.
#[derive(Debug, Clone)]
pub struct Settings {
    pub messages: u64,
    pub seed: u64,
    /// Messages a second, at most.
    pub rate: u64,
    /// Normal jobs that run meanwhile.
    pub jobs: u64,
    /// How much any process may grow, in MiB.
    pub max_growth_mib: u64,
}

/// One process of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: u64,
    pub restarts: u64,
    pub resident_kib: u64,
}
