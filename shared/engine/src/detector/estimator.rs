//! What an estimator is: it judges the silence of one node. One estimator a file.

/// What an estimator makes of one node's silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Trusted,
    Suspect,
    Dead,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Opinion {
    pub level: Level,
    /// The suspicion as a number; 0 where the estimator has none.
    pub phi: f64,
}

/// Judges the silence of one node from its heartbeats alone.
pub trait Estimator: std::fmt::Debug + Send + Sync {
    /// A heartbeat came. `interval_ms`: since the one before; none when that is not known, or says nothing about the node.
    fn on_heartbeat(&mut self, now_ms: u64, interval_ms: Option<u64>);
    /// What did not come before now was not the node's fault.
    fn on_resumed(&mut self, now_ms: u64);
    /// `silence_ms`: how long nothing came although something could have.
    fn opinion(&self, now_ms: u64, silence_ms: u64) -> Opinion;
    /// The level of that opinion alone: asked of all nodes all the time.
    fn level(&self, now_ms: u64, silence_ms: u64) -> Level {
        self.opinion(now_ms, silence_ms).level
    }
    /// The evidence for that opinion, for people.
    fn words(&self, now_ms: u64, silence_ms: u64) -> String;
}
