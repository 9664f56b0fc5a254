//! The classes over time: one row for each stretch of the window. Work appears in the rows in which it was done, whenever it was judged.

use super::class::Class;

/// A window that needs more rows gets rows twice as long.
const MAX_ROWS: usize = 1 << 14;

/// Rows of equal length from the beginning of the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    from_ms: u64,
    row_ms: u64,
    rows: Vec<[u128; Class::COUNT]>,
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
        self.rows.iter().enumerate().map(|(at, row)| (self.from_ms + at as u64 * self.row_ms, row))
    }

    /// Each two rows become one.
    fn merge_rows(&mut self) {
        self.row_ms = self.row_ms.saturating_mul(2);
        let merged = |pair: &[[u128; Class::COUNT]]| std::array::from_fn(|class| pair.iter().map(|row| row[class]).sum());
        self.rows = self.rows.chunks(2).map(merged).collect();
    }

    /// Spreads a stretch over the rows that it lies in. `parts`: milliseconds of it by class; the last class takes what the others leave, so
    /// that each row's sum is exact.
    pub(super) fn spread(&mut self, from_ms: u64, to_ms: u64, milli: u64, parts: &[(Class, u64)]) {
        let whole_ms = to_ms.saturating_sub(from_ms);
        let Some(((rest, _), others)) = parts.split_last() else { return };
        if whole_ms == 0 || milli == 0 {
            return;
        }
        let mut at_ms = from_ms;
        while at_ms < to_ms {
            let row = (at_ms.saturating_sub(self.from_ms) / self.row_ms) as usize;
            if row >= MAX_ROWS {
                self.merge_rows();
                continue;
            }
            let end_ms = to_ms.min(self.from_ms + (row as u64 + 1) * self.row_ms);
            if self.rows.len() <= row {
                self.rows.resize(row + 1, [0; Class::COUNT]);
            }
            let until = |ms: u64, at_ms: u64| (u128::from(ms) * u128::from(at_ms - from_ms) / u128::from(whole_ms)) as u64;
            let mut left_ms = end_ms - at_ms;
            for (class, ms) in others {
                let part_ms = (until(*ms, end_ms) - until(*ms, at_ms)).min(left_ms);
                left_ms -= part_ms;
                self.rows[row][class.at()] += u128::from(part_ms) * u128::from(milli);
            }
            self.rows[row][rest.at()] += u128::from(left_ms) * u128::from(milli);
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
        series.spread(0, 10, 3, &[(Class::Lost, 4), (Class::Productive, 6)]);
        series.spread(1_000_000, 1_000_040, 5, &[(Class::Productive, 40)]);
        assert_eq!(series.row_ms(), 80);
        assert!(series.rows().count() <= MAX_ROWS);
        let sum = |class: Class| series.rows().map(|(_, row)| row[class.at()]).sum::<u128>();
        assert_eq!((sum(Class::Lost), sum(Class::Productive)), (12, 18 + 200));
        assert_eq!(series.rows().next().map(|(_, row)| row[Class::Lost.at()]), Some(12));
    }
}
