//! The classes over time: one row for each stretch of the window. Work appears in the rows in which it was done, whenever it was judged.

use super::class::{Class, LossCause};

/// A window that needs more rows gets rows twice as long.
const MAX_ROWS: usize = 1 << 14;

/// The amounts of one row by [`Class::ALL`], and what was lost by [`LossCause::ALL`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Row {
    classes: [u128; Class::COUNT],
    lost: [u128; LossCause::COUNT],
}

/// A stretch of work or of anything else.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
    pub(super) milli: u64,
}

/// Rows of equal length from the beginning of the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    from_ms: u64,
    row_ms: u64,
    rows: Vec<Row>,
}

impl Series {
    pub(super) fn new(from_ms: u64, row_ms: u64) -> Self {
        Self { from_ms, row_ms: row_ms.max(1), rows: Vec::new() }
    }

    /// How long a row is. The last one ends with the window.
    pub fn row_ms(&self) -> u64 {
        self.row_ms
    }

    /// The rows with their beginnings, each by [`Class::ALL`].
    pub fn rows(&self) -> impl Iterator<Item = (u64, &[u128; Class::COUNT])> {
        self.rows_and_losses().map(|(from_ms, classes, _)| (from_ms, classes))
    }

    /// The same, with what was lost by [`LossCause::ALL`].
    pub fn rows_and_losses(&self) -> impl Iterator<Item = (u64, &[u128; Class::COUNT], &[u128; LossCause::COUNT])> {
        self.rows.iter().enumerate().map(|(at, row)| (self.from_ms + at as u64 * self.row_ms, &row.classes, &row.lost))
    }

    /// Drops the rows that end by then. What is told of them later is dropped too.
    pub(super) fn forget_before(&mut self, ms: u64) {
        let over = ms.saturating_sub(self.from_ms) / self.row_ms;
        self.from_ms += over * self.row_ms;
        self.rows.drain(..self.rows.len().min(usize::try_from(over).unwrap_or(usize::MAX)));
    }

    /// Each two rows become one.
    fn merge_rows(&mut self) {
        self.row_ms = self.row_ms.saturating_mul(2);
        let merged = |pair: &[Row]| Row {
            classes: std::array::from_fn(|class| pair.iter().map(|row| row.classes[class]).sum()),
            lost: std::array::from_fn(|cause| pair.iter().map(|row| row.lost[cause]).sum()),
        };
        self.rows = self.rows.chunks(2).map(merged).collect();
    }

    /// Spreads a stretch over the rows that it lies in. `parts`: milliseconds of it by class; the last class takes what the others leave, so
    /// that each row's sum is exact. `cause`: why that one was lost.
    pub(super) fn spread(&mut self, stretch: Stretch, parts: &[(Class, u64)], cause: Option<LossCause>) {
        let Stretch { from_ms, to_ms, milli } = stretch;
        let whole_ms = to_ms.saturating_sub(from_ms);
        let Some(((rest, _), others)) = parts.split_last() else { return };
        if whole_ms == 0 || milli == 0 {
            return;
        }
        let mut at_ms = from_ms.max(self.from_ms);
        while at_ms < to_ms {
            let row = (at_ms.saturating_sub(self.from_ms) / self.row_ms) as usize;
            if row >= MAX_ROWS {
                self.merge_rows();
                continue;
            }
            let end_ms = to_ms.min(self.from_ms + (row as u64 + 1) * self.row_ms);
            if self.rows.len() <= row {
                self.rows.resize_with(row + 1, Row::default);
            }
            let until = |ms: u64, at_ms: u64| (u128::from(ms) * u128::from(at_ms - from_ms) / u128::from(whole_ms)) as u64;
            let mut left_ms = end_ms - at_ms;
            for (class, ms) in others {
                let part_ms = (until(*ms, end_ms) - until(*ms, at_ms)).min(left_ms);
                left_ms -= part_ms;
                self.rows[row].classes[class.at()] += u128::from(part_ms) * u128::from(milli);
            }
            let left = u128::from(left_ms) * u128::from(milli);
            self.rows[row].classes[rest.at()] += left;
            if let Some(cause) = cause {
                self.rows[row].lost[cause.at()] += left;
            }
            at_ms = end_ms;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_window_gets_longer_rows_and_loses_nothing() {
        let mut series = Series::new(0, 10);
        let stretch = |from_ms: u64, to_ms: u64, milli: u64| Stretch { from_ms, to_ms, milli };
        series.spread(stretch(0, 10, 3), &[(Class::Lost, 4), (Class::Productive, 6)], None);
        series.spread(stretch(1_000_000, 1_000_040, 5), &[(Class::Productive, 40)], None);
        assert_eq!(series.row_ms(), 80);
        assert!(series.rows().count() <= MAX_ROWS);
        let sum = |class: Class| series.rows().map(|(_, row)| row[class.at()]).sum::<u128>();
        assert_eq!((sum(Class::Lost), sum(Class::Productive)), (12, 18 + 200));
        assert_eq!(series.rows().next().map(|(_, row)| row[Class::Lost.at()]), Some(12));
    }

    #[test]
    fn rows_that_are_over_go_and_what_is_told_of_them_later_counts_from_the_first_row_on() {
        let mut series = Series::new(1_000, 10);
        series.spread(Stretch { from_ms: 1_000, to_ms: 1_030, milli: 2 }, &[(Class::NoDemand, 30)], None);
        series.forget_before(1_019);
        assert_eq!(series.rows().map(|(from_ms, _)| from_ms).collect::<Vec<_>>(), [1_010, 1_020]);
        series.spread(Stretch { from_ms: 1_000, to_ms: 1_020, milli: 3 }, &[(Class::Lost, 20)], Some(LossCause::NodeFault));
        let (from_ms, classes, lost) = series.rows_and_losses().next().unwrap();
        assert_eq!((from_ms, classes[Class::NoDemand.at()], classes[Class::Lost.at()]), (1_010, 20, 30));
        assert_eq!(lost[LossCause::NodeFault.at()], 30);
        series.forget_before(9_000);
        assert_eq!(series.rows().count(), 0);
    }
}
