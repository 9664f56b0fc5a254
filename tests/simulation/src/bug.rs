//! Ways to break the protocol on purpose, to see that the simulation notices.

/// A way to break the protocol on purpose. Each is in the wires, in JetStream or in a setting, never in a service or the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// The worker takes what a deposed leader says.
    SkipFence,
    /// A result is written without naming the sequence that it replaces.
    SkipCas,
    /// The worker acknowledges when it sends its result, and does not look whether that arrived.
    TrustAck,
    /// The scheduler places what is delivered again without reading its record.
    NoReadBackOnRedelivery,
    /// A conflict is believed: the worker does not look whether it was its own commit.
    NoReadBackOfConflict,
    /// The worker goes on without any answer to its signs of progress.
    NoSelfFence,
    /// A failed job is handed back before its failure is in the history.
    NakFirst,
    /// A new leader places at once, without asking what runs already.
    PlaceAtOnce,
    /// JetStream forgets which jobs it has seen.
    NoDedupe,
    /// Schedulers, workers and the detector read durations from the wall clock.
    WallClock,
    /// A new leader counts an attempt's time limit from what the clock of the leader before showed.
    ForeignClock,
    /// The leader does not hear that workers refuse its epoch.
    EpochMayFall,
}

impl Bug {
    pub const ALL: [Bug; 12] = [
        Bug::SkipFence,
        Bug::SkipCas,
        Bug::TrustAck,
        Bug::NoReadBackOnRedelivery,
        Bug::NoReadBackOfConflict,
        Bug::NoSelfFence,
        Bug::NakFirst,
        Bug::PlaceAtOnce,
        Bug::NoDedupe,
        Bug::WallClock,
        Bug::ForeignClock,
        Bug::EpochMayFall,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Bug::SkipFence => "skip-fence",
            Bug::SkipCas => "skip-cas",
            Bug::TrustAck => "trust-ack",
            Bug::NoReadBackOnRedelivery => "no-read-back-on-redelivery",
            Bug::NoReadBackOfConflict => "no-read-back-of-conflict",
            Bug::NoSelfFence => "no-self-fence",
            Bug::NakFirst => "nak-first",
            Bug::PlaceAtOnce => "place-at-once",
            Bug::NoDedupe => "no-dedupe",
            Bug::WallClock => "wall-clock",
            Bug::ForeignClock => "foreign-clock",
            Bug::EpochMayFall => "epoch-may-fall",
        }
    }
}

impl std::str::FromStr for Bug {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        named(&Bug::ALL, Bug::as_str, text)
    }
}

/// The bug of this name.
pub(crate) fn named<B: Copy>(all: &[B], name: fn(B) -> &'static str, text: &str) -> Result<B, String> {
    let names = || all.iter().map(|bug| name(*bug)).collect::<Vec<_>>().join(", ");
    all.iter().copied().find(|bug| name(*bug) == text).ok_or_else(|| format!("bug: `{text}` is unknown: use one of {}", names()))
}
