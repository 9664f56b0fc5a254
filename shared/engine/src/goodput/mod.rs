//! Where GPU time went: every GPU-instant is in exactly one of 22 classes, and their sum is the capacity times the window, exactly.
//!
//! The unit is a thousandth of a GPU for a millisecond, in integers. The owner says what nodes and attempts do, in the order in which it
//! happens; live and virtual owners feed the same fold. Work is judged when it is known what became of it: it is pending until a checkpoint
//! is durable, then kept for the job, and turns into productive or lost time when the job ends or the window closes. docs/goodput.md has the
//! rules and the formulas of the ratios.

mod account;
mod books;
mod class;
pub mod history;
mod ratios;
mod series;
mod totals;

#[cfg(test)]
mod tests;

pub use account::{Account, Phase, Spent};
pub use books::{Books, Condition, Ending};
pub use class::{Class, Group, LossCause};
pub use ratios::{Ratio, Ratios, bounded_slowdown, young_interval_ms};
pub use series::Series;
pub use totals::Totals;
