//! The log of ends: what every reader of it concludes, and what the leader may do because of that.
//!
//! A message in JOBS is a pack of 1 to 256 jobs. Whatever becomes of a job is an entry in an append-only log, and the first end of a ticket
//! in the order of that log is the job's end. `fold` is that rule, a pure function of the log: leader, audit, dashboard, and command use
//! the same one and come to the same state. `snapshot` stores a fold and takes it up again. `delivery` and `duties` are the leader's rules
//! that follow from a fold, `position` tells whether the log is still the one that was folded, `audit` is the equation between JOBS and the
//! log. Reading, writing, clocks, and the encoding of entries are the caller's.
//!
//! All times are those at which NATS stored a message, in nanoseconds since 1970, unless a name says otherwise.

mod audit;
mod changes;
mod delivery;
mod duties;
mod entry;
mod fold;
mod id;
mod packs;
mod position;
mod record;
mod seq_set;
mod snapshot;
mod tasks;

#[cfg(test)]
mod audit_tests;
#[cfg(test)]
mod build;
#[cfg(test)]
mod delivery_tests;
#[cfg(test)]
mod duties_tests;
#[cfg(test)]
mod fold_tests;
#[cfg(test)]
mod history_tests;
#[cfg(test)]
mod snapshot_tests;
#[cfg(test)]
mod world;

pub use audit::{CountDifference, Evidence, Hole, JobsSight, Ledgers, Regression, Report, audit};
pub use changes::{Alarm, AlarmKind, Changes, Closed, Counts, Ended, Failed, Term};
pub use delivery::{Books, Delivery, Judgement};
pub use duties::{Custody, Standing, Sync, ack_delay_ns};
pub use entry::{Entry, Looked, Republished, TaskEntry, TaskKind, WentBack};
pub use fold::{Fold, Gap, LogMessage, Malformed};
pub use id::{Gen, Halves, PackTicket, Ticket};
pub use packs::{EndKind, Failure};
pub use position::{LogCheck, LogSight};
pub use record::{Detail, EndRecord};
pub use seq_set::SeqSet;
pub use snapshot::{BadSnapshot, Seen, Snapshot};
pub use tasks::Tasks;
