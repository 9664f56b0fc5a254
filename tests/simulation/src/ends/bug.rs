//! Ways to break the next protocol on purpose, one for each of its rules.

/// A way to break the next protocol on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndsBug {
    /// The leader acknowledges a pack as soon as its last end is in the log, and the machine may lose the end and keep the acknowledgement.
    AckAtOnce,
    /// The leader acknowledges what it decides itself when it sends the decision.
    AckBeforeEnd,
    /// The leader believes workers that say that they have sent an end.
    AckByWord,
    /// The leader acknowledges on another connection than the one that delivered the message.
    AckAcrossConnections,
    /// The consumers have the same names in each generation of JOBS.
    ConsumerWithoutGen,
    /// Sequences are told apart by nothing when JOBS is made anew.
    FoldWithoutGen,
    /// A ticket lacks the time of storing.
    NoTimeInTicket,
    /// Neither generation nor time.
    SequenceOnly,
    /// A reader does not look whether the log is still the one that it has folded.
    NoPositionCheck,
    /// After a reconnect, deliveries are judged before the log was read.
    NoBarrier,
    /// Leaders do not say in the log that their term begins.
    NoTerm,
    /// The epoch is the revision of the lease, even below the log's term.
    EpochBelowTerm,
    /// A leader does not hear that workers know a higher epoch.
    EpochMayFall,
    /// What the leader decides goes out on whatever connection there is.
    DecideAcrossConnections,
    /// Attempts are named by their leader's epoch and a number.
    AttemptsByEpoch,
    /// The leader does not look whether a pack came before.
    NoResubmissionCheck,
    /// Submitters repeat a pack for ever, and leaders take it.
    RepeatedForEver,
    /// A pack that is too old ends under its own name, although it may have ended before.
    TooOldByName,
    /// The leader keeps a pack although no worker names one of its attempts.
    KeepDead,
    /// A snapshot says that it is further than it is.
    SnapshotBehind,
    /// A leader takes what a replica has of LEDGER, and only the newest snapshot is kept.
    OneSnapshot,
    /// A trim goes out on whatever connection there is.
    TrimAcrossConnections,
    /// The log is trimmed beyond the message by which the snapshot is recognised.
    TrimTooFar,
    /// The end of the log is kept even when there is no room.
    KeepBeforeRoom,
    /// An attempt that is not named is lost, whether the log was read so far or not.
    DurableIgnored,
    /// A new leader hands back with a consumer sequence that was not given yet.
    WrongConsumerSequence,
    /// A new leader hands nothing back.
    NoHandBack,
    /// The letter is written before the log says that the job is dead.
    LetterBeforeEnd,
    /// The letter is written while the machine may still lose the end.
    LetterAtOnce,
    /// Only who gives a job up writes its letter.
    LettersOnce,
    /// What waits in JOBS is not looked at, and the log says that it was.
    NoLook,
    /// A message on a sequence that another one had is acknowledged as closed.
    NoRepublish,
    /// A pack is published again before the leader has read in the log why.
    RepublishedUnread,
    /// The log says at once that a pack was published again, and JOBS may still lose it.
    StoredAtOnce,
    /// A pack that kills a leader is tried by each.
    NoSuspicion,
    /// Setbacks of JOBS are not written into the log.
    SetbackUntold,
    /// The audit reads the log first.
    AuditLogFirst,
    /// A message is taken for the other one of a pack by its ticket alone, whatever pack it brings.
    OtherByTicket,
    /// The other ticket of a pack is given up by the name of the delivered message.
    VoidByOwnName,
    /// A ticket with a wrong name is given up although its pack could not be published again.
    MisnamedUnpublished,
    /// What the log says under a wrong name counts for the pack in the books.
    KeepMisnamed,
    /// A message with a count that no pack has is given up by its own name.
    OddCountByName,
    /// A decision that never came to count is not repeated.
    DecidedForEver,
    /// A new leader does not wait for the rest of a retry's delay.
    RetryAtOnce,
    /// A task that is freed does not wait for the rest of the delay after another attempt's failure.
    FreedAtOnce,
    /// Of two messages of a pack the one that was delivered last is void, although JOBS may still lose the other one.
    VoidForNewer,
    /// A leader believes any epoch of which a worker has heard.
    AnyEpoch,
}

impl EndsBug {
    pub const ALL: [EndsBug; 47] = [
        EndsBug::AckAtOnce,
        EndsBug::AckBeforeEnd,
        EndsBug::AckByWord,
        EndsBug::AckAcrossConnections,
        EndsBug::ConsumerWithoutGen,
        EndsBug::FoldWithoutGen,
        EndsBug::NoTimeInTicket,
        EndsBug::SequenceOnly,
        EndsBug::NoPositionCheck,
        EndsBug::NoBarrier,
        EndsBug::NoTerm,
        EndsBug::EpochBelowTerm,
        EndsBug::EpochMayFall,
        EndsBug::DecideAcrossConnections,
        EndsBug::AttemptsByEpoch,
        EndsBug::NoResubmissionCheck,
        EndsBug::RepeatedForEver,
        EndsBug::TooOldByName,
        EndsBug::KeepDead,
        EndsBug::SnapshotBehind,
        EndsBug::OneSnapshot,
        EndsBug::TrimAcrossConnections,
        EndsBug::TrimTooFar,
        EndsBug::KeepBeforeRoom,
        EndsBug::DurableIgnored,
        EndsBug::WrongConsumerSequence,
        EndsBug::NoHandBack,
        EndsBug::LetterBeforeEnd,
        EndsBug::LetterAtOnce,
        EndsBug::LettersOnce,
        EndsBug::NoLook,
        EndsBug::NoRepublish,
        EndsBug::RepublishedUnread,
        EndsBug::StoredAtOnce,
        EndsBug::NoSuspicion,
        EndsBug::SetbackUntold,
        EndsBug::AuditLogFirst,
        EndsBug::OtherByTicket,
        EndsBug::VoidByOwnName,
        EndsBug::MisnamedUnpublished,
        EndsBug::KeepMisnamed,
        EndsBug::OddCountByName,
        EndsBug::DecidedForEver,
        EndsBug::RetryAtOnce,
        EndsBug::FreedAtOnce,
        EndsBug::VoidForNewer,
        EndsBug::AnyEpoch,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            EndsBug::AckAtOnce => "ack-at-once",
            EndsBug::AckBeforeEnd => "ack-before-end",
            EndsBug::AckByWord => "ack-by-word",
            EndsBug::AckAcrossConnections => "ack-across-connections",
            EndsBug::ConsumerWithoutGen => "consumer-without-gen",
            EndsBug::FoldWithoutGen => "fold-without-gen",
            EndsBug::NoTimeInTicket => "no-time-in-ticket",
            EndsBug::SequenceOnly => "sequence-only",
            EndsBug::NoPositionCheck => "no-position-check",
            EndsBug::NoBarrier => "no-barrier",
            EndsBug::NoTerm => "no-term",
            EndsBug::EpochBelowTerm => "epoch-below-term",
            EndsBug::EpochMayFall => "epoch-may-fall",
            EndsBug::DecideAcrossConnections => "decide-across-connections",
            EndsBug::AttemptsByEpoch => "attempts-by-epoch",
            EndsBug::NoResubmissionCheck => "no-resubmission-check",
            EndsBug::RepeatedForEver => "repeated-for-ever",
            EndsBug::TooOldByName => "too-old-by-name",
            EndsBug::KeepDead => "keep-dead",
            EndsBug::SnapshotBehind => "snapshot-behind",
            EndsBug::OneSnapshot => "one-snapshot",
            EndsBug::TrimAcrossConnections => "trim-across-connections",
            EndsBug::TrimTooFar => "trim-too-far",
            EndsBug::KeepBeforeRoom => "keep-before-room",
            EndsBug::DurableIgnored => "durable-ignored",
            EndsBug::WrongConsumerSequence => "wrong-consumer-sequence",
            EndsBug::NoHandBack => "no-hand-back",
            EndsBug::LetterBeforeEnd => "letter-before-end",
            EndsBug::LetterAtOnce => "letter-at-once",
            EndsBug::LettersOnce => "letters-once",
            EndsBug::NoLook => "no-look",
            EndsBug::NoRepublish => "no-republish",
            EndsBug::RepublishedUnread => "republished-unread",
            EndsBug::StoredAtOnce => "stored-at-once",
            EndsBug::NoSuspicion => "no-suspicion",
            EndsBug::SetbackUntold => "setback-untold",
            EndsBug::AuditLogFirst => "audit-log-first",
            EndsBug::OtherByTicket => "other-by-ticket",
            EndsBug::VoidByOwnName => "void-by-own-name",
            EndsBug::MisnamedUnpublished => "misnamed-unpublished",
            EndsBug::KeepMisnamed => "keep-misnamed",
            EndsBug::OddCountByName => "odd-count-by-name",
            EndsBug::DecidedForEver => "decided-for-ever",
            EndsBug::RetryAtOnce => "retry-at-once",
            EndsBug::FreedAtOnce => "freed-at-once",
            EndsBug::VoidForNewer => "void-for-newer",
            EndsBug::AnyEpoch => "any-epoch",
        }
    }
}

impl std::str::FromStr for EndsBug {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        crate::bug::named(&EndsBug::ALL, EndsBug::as_str, text)
    }
}
