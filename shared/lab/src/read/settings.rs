//! What a trace does not say and its reader must be told.

/// The most GPUs or processors of one job.
pub(super) const MAX_GPUS: u32 = 100_000;

/// What processors of a trace of plain processors become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Processors {
    /// Each is a whole GPU, so that the lab's accounting of GPU time covers them.
    #[default]
    Gpus,
    /// Each is a processor of a node's CPU, and no GPU is asked for.
    Cpus,
}

/// What a reader assumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadSettings {
    /// GPUs of one node where the trace says only how many a job has: larger jobs become gangs.
    pub node_gpus: u16,
    /// For the Standard Workload Format.
    pub processors: Processors,
}

impl Default for ReadSettings {
    fn default() -> Self {
        Self { node_gpus: 8, processors: Processors::default() }
    }
}
