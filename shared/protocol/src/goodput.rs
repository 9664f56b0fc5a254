//! Where GPU time went, as the command, REST, and the page show it: one definition and one set of words for all.

use std::collections::BTreeMap;

use faultline_engine::goodput::history::{ROW_MS, Row, total};
use faultline_engine::goodput::{Class, Group, LossCause, Ratios, Totals};
use serde::Serialize;
use utoipa::ToSchema;

use crate::messages::GoodputHistory;

/// In GPU-seconds: thousandths of a GPU times milliseconds, by a million.
const UNIT: f64 = 1e6;
/// What is lost by these is what failures cost. The rest is the jobs' own doing, or somebody's order.
const FAILURES: [LossCause; 4] = [LossCause::NodeFault, LossCause::Network, LossCause::Duplicate, LossCause::SchedulerError];

/// One class of GPU time.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ClassTime {
    /// A1 to A4 cannot be used, B1 to B9 are booked, C1 to C9 are free.
    pub code: String,
    pub class: &'static str,
    pub gpu_seconds: f64,
    /// Of all, 0 to 1.
    pub share: f64,
}

/// Work that was lost for one cause.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct LostTime {
    pub cause: &'static str,
    pub gpu_seconds: f64,
}

/// A ratio with its formula; without a value where there is nothing to divide by.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RatioView {
    pub name: &'static str,
    pub formula: &'static str,
    pub value: Option<f64>,
}

/// What failures cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub struct FailureCost {
    /// Work that was done and lost.
    pub lost_gpu_seconds: f64,
    /// Booked by attempts that stood still until they were given up.
    pub stalled_gpu_seconds: f64,
    /// GPUs that could not be used, because they were broken or believed to be.
    pub unusable_gpu_seconds: f64,
}

/// A stretch of the window.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct GoodputRow {
    pub from_ms: u64,
    pub for_ms: u64,
    /// By class, without those that are 0.
    pub gpu_seconds: BTreeMap<&'static str, f64>,
}

/// Where the GPU time of a window went. Work appears when it was done, and stays open until it is known what it was worth.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct GoodputView {
    /// Where the first row begins, in Unix milliseconds.
    pub from_ms: u64,
    pub to_ms: u64,
    /// How much of that time is accounted for. A leader accounts for its own term, so that time without one is missing.
    pub covered_ms: u64,
    pub gpu_seconds: f64,
    pub classes: Vec<ClassTime>,
    pub lost: Vec<LostTime>,
    pub ratios: Vec<RatioView>,
    pub failures: FailureCost,
    /// The same in a sentence or two.
    pub words: Vec<String>,
    pub rows: Vec<GoodputRow>,
}

fn seconds(amount: u128) -> f64 {
    amount as f64 / UNIT
}

impl GoodputView {
    /// The last `last_ms` before the history was told, in whole rows.
    pub fn of(history: &GoodputHistory, last_ms: u64) -> Self {
        let begin_ms = history.at_ms.saturating_sub(last_ms);
        let rows: Vec<&Row> = history.rows.iter().filter(|row| row.until_ms() > begin_ms.saturating_add(ROW_MS / 2)).collect();
        let totals = total(rows.iter().copied());
        let all = totals.sum();
        let share = |amount: u128| if all > 0 { amount as f64 / all as f64 } else { 0.0 };
        let class = |class: Class| ClassTime {
            code: class.code(),
            class: class.as_str(),
            gpu_seconds: seconds(totals.of(class)),
            share: share(totals.of(class)),
        };
        let lost = |cause: LossCause| LostTime { cause: cause.as_str(), gpu_seconds: seconds(totals.lost_by(cause)) };
        let (from_ms, to_ms) = (rows.first().map_or(history.at_ms, |row| row.from_ms), history.at_ms);
        let failures = FailureCost::of(&totals);
        let covered_ms = rows.iter().map(|row| row.for_ms).sum();
        Self {
            from_ms,
            to_ms,
            covered_ms,
            gpu_seconds: seconds(all),
            classes: Class::ALL.map(class).to_vec(),
            lost: LossCause::ALL.map(lost).to_vec(),
            ratios: Ratios::of(&totals)
                .all()
                .map(|ratio| RatioView { name: ratio.name, formula: ratio.formula, value: ratio.value })
                .to_vec(),
            failures,
            words: words(&totals, failures, to_ms.saturating_sub(from_ms), covered_ms),
            rows: rows.iter().map(|row| GoodputRow::of(row)).collect(),
        }
    }
}

impl FailureCost {
    fn of(totals: &Totals) -> Self {
        let unusable = [Class::Down, Class::DownUnseen, Class::Quarantined].map(|class| totals.of(class));
        Self {
            lost_gpu_seconds: seconds(FAILURES.iter().map(|cause| totals.lost_by(*cause)).sum()),
            stalled_gpu_seconds: seconds(totals.of(Class::Stalled)),
            unusable_gpu_seconds: seconds(unusable.iter().sum()),
        }
    }
}

impl GoodputRow {
    fn of(row: &Row) -> Self {
        let amounts = Class::ALL.into_iter().filter(|class| row.of(*class) > 0);
        let gpu_seconds = amounts.map(|class| (class.as_str(), seconds(row.of(class).into()))).collect();
        Self { from_ms: row.from_ms, for_ms: row.for_ms, gpu_seconds }
    }
}

/// GPU time in the unit that suits it.
pub fn gpu_time(gpu_seconds: f64) -> String {
    match gpu_seconds {
        seconds if seconds >= 3_600.0 => format!("{:.1} GPU-hours", seconds / 3_600.0),
        seconds if seconds >= 120.0 => format!("{:.1} GPU-minutes", seconds / 60.0),
        seconds => format!("{seconds:.1} GPU-seconds"),
    }
}

fn words(totals: &Totals, failures: FailureCost, for_ms: u64, covered_ms: u64) -> Vec<String> {
    let all = seconds(totals.sum());
    if all <= 0.0 {
        return vec!["No GPU time is accounted for yet.".to_owned()];
    }
    let percent = |amount: u128| 100.0 * seconds(amount) / all;
    let (productive, open) = (totals.of(Class::Productive), totals.of(Class::Open));
    let mut words = vec![format!(
        "Of {}, {:.1} % went into work that was committed, {:.1} % into work that still runs, and {:.1} % was free.",
        gpu_time(all),
        percent(productive),
        percent(open),
        percent(totals.group(Group::Free)),
    )];
    let FailureCost { lost_gpu_seconds: lost, stalled_gpu_seconds: stalled, unusable_gpu_seconds: unusable } = failures;
    words.push(if lost + stalled + unusable < 0.05 {
        "Failures cost nothing.".to_owned()
    } else {
        format!(
            "Failures cost {} of work: {} lost, and {} in attempts that stood still. They kept {} from use.",
            gpu_time(lost + stalled),
            gpu_time(lost),
            gpu_time(stalled),
            gpu_time(unusable)
        )
    });
    // Rounding of times at the joints of two terms is no gap.
    if for_ms > covered_ms + 1_000 {
        words
            .push(format!("{:.0} s are missing, in which no scheduler led or stored what it knew.", (for_ms - covered_ms) as f64 / 1000.0));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(from_ms: u64, amounts: &[(Class, u64)], lost: &[(LossCause, u64)]) -> Row {
        let mut row = Row { from_ms, for_ms: 10_000, classes: vec![0; Class::COUNT], lost: vec![0; LossCause::COUNT] };
        for (class, gpu_seconds) in amounts {
            row.classes[Class::ALL.iter().position(|known| known == class).unwrap()] += gpu_seconds * 1_000_000;
        }
        for (cause, gpu_seconds) in lost {
            row.lost[LossCause::ALL.iter().position(|known| known == cause).unwrap()] += gpu_seconds * 1_000_000;
            row.classes[Class::ALL.iter().position(|known| *known == Class::Lost).unwrap()] += gpu_seconds * 1_000_000;
        }
        row
    }

    fn history(rows: Vec<Row>) -> GoodputHistory {
        GoodputHistory { at_ms: 1_060_000, rows, ..GoodputHistory::default() }
    }

    #[test]
    fn a_window_says_what_failures_cost_and_leaves_the_jobs_own_failures_out() {
        let rows = vec![
            row(1_000_000, &[(Class::Productive, 900)], &[]),
            row(
                1_040_000,
                &[(Class::Productive, 60), (Class::Stalled, 3), (Class::Down, 7)],
                &[(LossCause::NodeFault, 6), (LossCause::OwnFailure, 4)],
            ),
            row(1_050_000, &[(Class::NoDemand, 80)], &[]),
        ];
        let view = GoodputView::of(&history(rows), 20_000);
        assert_eq!((view.from_ms, view.to_ms, view.covered_ms, view.gpu_seconds), (1_040_000, 1_060_000, 20_000, 160.0));
        let expected = FailureCost { lost_gpu_seconds: 6.0, stalled_gpu_seconds: 3.0, unusable_gpu_seconds: 7.0 };
        assert_eq!(view.failures, expected);
        assert_eq!(
            view.words[0],
            "Of 2.7 GPU-minutes, 37.5 % went into work that was committed, 0.0 % into work that still runs, and 50.0 % was free."
        );
        assert_eq!(
            view.words[1],
            "Failures cost 9.0 GPU-seconds of work: 6.0 GPU-seconds lost, and 3.0 GPU-seconds in attempts that stood still. They kept 7.0 GPU-seconds from use."
        );
        assert_eq!(view.words.len(), 2);
        let shares: f64 = view.classes.iter().map(|class| class.share).sum();
        assert!((shares - 1.0).abs() < 1e-9);
        assert_eq!(view.rows[1].gpu_seconds, BTreeMap::from([("no_demand", 80.0)]));
    }

    #[test]
    fn a_gap_is_said() {
        let view = GoodputView::of(
            &history(vec![row(1_030_000, &[(Class::NoDemand, 1)], &[]), row(1_050_000, &[(Class::NoDemand, 1)], &[])]),
            60_000,
        );
        assert_eq!(view.words[1..], ["Failures cost nothing.", "10 s are missing, in which no scheduler led or stored what it knew."]);
    }

    #[test]
    fn an_empty_history_divides_by_nothing() {
        let view = GoodputView::of(&history(vec![]), 60_000);
        assert_eq!(view.words, ["No GPU time is accounted for yet."]);
        assert!(view.ratios.iter().all(|ratio| ratio.value.is_none()));
    }
}
