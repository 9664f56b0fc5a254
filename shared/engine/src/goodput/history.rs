//! The last hour of a live cluster in rows, across leaders. A leader keeps its own books; of those before it there are only the rows that they stored.

use serde::{Deserialize, Serialize};

use super::books::Books;
use super::class::{Class, LossCause};
use super::totals::Totals;

/// How long a row is.
pub const ROW_MS: u64 = 10_000;
/// How far back rows are kept.
pub const KEPT_MS: u64 = 3_600_000;

/// What GPU time went into in one stretch, in thousandths of a GPU times milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// In Unix milliseconds, as the leader's cluster time has it.
    pub from_ms: u64,
    pub for_ms: u64,
    /// By [`Class::ALL`]. Work of attempts that run is open.
    pub classes: Vec<u64>,
    /// The part of [`Class::Lost`] by [`LossCause::ALL`].
    pub lost: Vec<u64>,
}

fn short(amount: u128) -> u64 {
    u64::try_from(amount).unwrap_or(u64::MAX)
}

impl Row {
    pub fn of(&self, class: Class) -> u64 {
        self.classes.get(class.at()).copied().unwrap_or(0)
    }

    pub fn lost_by(&self, cause: LossCause) -> u64 {
        self.lost.get(cause.at()).copied().unwrap_or(0)
    }

    pub fn until_ms(&self) -> u64 {
        self.from_ms.saturating_add(self.for_ms)
    }

    fn add(&mut self, class: Class, amount: u64) {
        self.classes.resize(Class::COUNT, 0);
        let sum = &mut self.classes[class.at()];
        *sum = sum.saturating_add(amount);
    }

    fn add_lost(&mut self, cause: LossCause, amount: u64) {
        self.lost.resize(LossCause::COUNT, 0);
        let sum = &mut self.lost[cause.at()];
        *sum = sum.saturating_add(amount);
    }

    /// All of a window, from its totals.
    pub fn of_totals(from_ms: u64, for_ms: u64, totals: &Totals) -> Self {
        Self {
            from_ms,
            for_ms,
            classes: Class::ALL.map(|class| short(totals.of(class))).to_vec(),
            lost: LossCause::ALL.map(|cause| short(totals.lost_by(cause))).to_vec(),
        }
    }
}

/// Many rows together; an amount that a row lacks is 0.
pub fn total<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Totals {
    let mut totals = Totals::default();
    for row in rows {
        for class in Class::ALL.into_iter().filter(|class| *class != Class::Lost) {
            totals.add(class, row.of(class).into());
        }
        let by_cause: u128 = LossCause::ALL.iter().map(|cause| u128::from(row.lost_by(*cause))).sum();
        LossCause::ALL.into_iter().for_each(|cause| totals.add_lost(cause, row.lost_by(cause).into()));
        totals.add(Class::Lost, u128::from(row.of(Class::Lost)).saturating_sub(by_cause));
        totals.capacity += row.classes.iter().map(|amount| u128::from(*amount)).sum::<u128>();
    }
    totals
}

/// The rows of the books' series up to `now_ms`, of at most [`KEPT_MS`].
pub fn rows(books: &Books, now_ms: u64, cluster_time: impl Fn(u64) -> u64) -> Vec<Row> {
    let Some(series) = books.series() else { return Vec::new() };
    let rows = series.rows_and_losses().filter(|(from_ms, ..)| *from_ms < now_ms && from_ms + KEPT_MS > now_ms);
    let row = |(from_ms, classes, lost): (u64, &[u128; Class::COUNT], &[u128; LossCause::COUNT])| Row {
        from_ms: cluster_time(from_ms),
        for_ms: series.row_ms().min(now_ms - from_ms),
        classes: classes.map(short).to_vec(),
        lost: lost.map(short).to_vec(),
    };
    rows.map(row).collect()
}

/// Work that an attempt did under a leader before, which had to leave it open, and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// In the cluster's time.
    pub from_ms: u64,
    pub until_ms: u64,
    pub milli: u64,
    /// Why it was lost; `None` if it was committed.
    pub lost: Option<LossCause>,
}

/// The rows of leaders before, with what has become of the work that they left open, and then the leader's own. What two leaders tell of the same
/// time, the later one tells.
pub fn joined(earlier: &[Row], carried: &[Carried], own: Vec<Row>, began_ms: u64, now_ms: u64) -> Vec<Row> {
    let is_kept = |row: &&Row| row.until_ms() <= began_ms && row.from_ms.saturating_add(KEPT_MS) > now_ms;
    let mut rows: Vec<Row> = earlier.iter().filter(is_kept).cloned().collect();
    for work in carried {
        let from = rows.partition_point(|row| row.until_ms() <= work.from_ms);
        for row in rows[from..].iter_mut().take_while(|row| row.from_ms < work.until_ms) {
            let for_ms = work.until_ms.min(row.until_ms()) - work.from_ms.max(row.from_ms);
            let amount = for_ms.saturating_mul(work.milli).min(row.of(Class::Open));
            row.add(Class::Open, 0);
            row.classes[Class::Open.at()] -= amount;
            match work.lost {
                Some(cause) => {
                    row.add(Class::Lost, amount);
                    row.add_lost(cause, amount);
                }
                None => row.add(Class::Productive, amount),
            }
        }
    }
    rows.extend(own);
    rows
}

#[cfg(test)]
mod tests {
    use super::super::{Account, Books, Condition, Ending, Phase};
    use super::*;

    fn row(from_ms: u64, open: u64) -> Row {
        let mut row = Row { from_ms, for_ms: 10_000, ..Row::default() };
        row.add(Class::Open, open);
        row
    }

    #[test]
    fn what_a_leader_left_open_becomes_what_the_next_one_sees_it_end_as() {
        let earlier = [row(0, 10_000_000), row(10_000, 10_000_000), row(20_000, 4_000_000)];
        let work = |milli: u64, lost: Option<LossCause>| Carried { from_ms: 5_000, until_ms: 24_000, milli, lost };
        let rows = joined(&earlier, &[work(500, None), work(100, Some(LossCause::NodeFault))], vec![row(32_000, 7)], 30_000, 40_000);
        let amounts: Vec<[u64; 4]> = rows
            .iter()
            .map(|row| [row.of(Class::Open), row.of(Class::Productive), row.of(Class::Lost), row.lost_by(LossCause::NodeFault)])
            .collect();
        assert_eq!(amounts[0], [7_000_000, 2_500_000, 500_000, 500_000]);
        assert_eq!(amounts[1], [4_000_000, 5_000_000, 1_000_000, 1_000_000]);
        assert_eq!(amounts[2], [1_600_000, 2_000_000, 400_000, 400_000]);
        assert_eq!(amounts[3], [7, 0, 0, 0]);
        let before: u128 = total(&earlier).sum();
        assert_eq!(total(&rows[..3]).sum(), before, "nothing came and nothing went");
    }

    #[test]
    fn rows_of_more_than_an_hour_ago_and_those_that_a_later_leader_tells_are_left_out() {
        let earlier = [row(0, 1), row(10_000, 1), row(3_590_000, 1), row(3_605_000, 1)];
        let rows = joined(&earlier, &[], vec![row(3_610_000, 2)], 3_610_000, 3_612_000);
        assert_eq!(rows.iter().map(|row| row.from_ms).collect::<Vec<_>>(), [3_590_000, 3_610_000]);
    }

    #[test]
    fn rows_of_books_sum_to_their_totals() {
        let mut books = Books::new(1_000, Some(ROW_MS));
        let mut account = Account::default();
        books.node(1_000, 0, 8_000, Condition::Up, 0);
        books.start(4_000, &mut account, [(0, 3_000)], Phase::Handover);
        books.enter(4_500, &mut account, Phase::FULL);
        books.end(26_000, &mut account, [(0, 3_000)], Ending::Interrupted(LossCause::NodeFault));
        books.close(31_500);
        let rows = rows(&books, 31_500, |ms| ms + 7);
        assert_eq!(
            rows.iter().map(|row| (row.from_ms, row.for_ms)).collect::<Vec<_>>(),
            [(1_007, 10_000), (11_007, 10_000), (21_007, 10_000), (31_007, 500)]
        );
        let (sum, totals) = (total(&rows), books.totals());
        assert!(sum.is_exact() && totals.is_exact());
        assert!(Class::ALL.into_iter().all(|class| sum.of(class) == totals.of(class)));
        assert_eq!(sum.lost_by(LossCause::NodeFault), 21_500 * 3_000);
        assert_eq!(Row::of_totals(1_007, 30_500, totals).of(Class::Handover), 500 * 3_000);
    }
}
