//! Errors that tests plant into a run, to see that they are caught. Without tests there are none.

/// One error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// After a fault, one node of the attempt is not given back.
    LeakedGpu,
    /// Work since the last checkpoint survives an interruption.
    ForgottenLoss,
    /// How long a node lives is drawn by the number of faults before it, whoever had them.
    DrawsByCallOrder,
}
