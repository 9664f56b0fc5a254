//! The orders: which of two waiting jobs goes first. Each is a number, the lowest first; of equal jobs the one submitted first, then the one
//! with the lower number. A job's priority goes above all of them.

use std::fmt;
use std::str::FromStr;

use crate::class::TaskClass;
use crate::settings::{InvalidSettings, names};

/// The orders, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OrderName {
    /// As submitted.
    #[default]
    Fifo,
    /// The shortest estimate first: shortest job first.
    Sjf,
    /// The shortest remaining time first.
    Srtf,
    /// The least attained service first, in levels: Gu et al., "Tiresias", NSDI'19, the two-dimensional variant, in which service is GPUs times
    /// time. A level holds what has attained less than a threshold; inside a level jobs go as submitted.
    Las,
    /// In a queue, the user goes first whose jobs come to the fewest processors: those that run, the average of those that ran, if there is a
    /// history, and those that wait up to the job in question.
    Fair,
    /// WFP3 of Tang et al., "Fault-aware, utility-based job scheduling on Blue Gene/P systems", CLUSTER'09: the largest
    /// `(wait / estimate)^3 * processors` first.
    Wfp3,
    /// UNICEF of the same paper: the largest `wait / (log2(processors) * estimate)` first.
    Uni,
    /// F1 of Carastan-Santos and de Camargo, SC'17: the smallest `log10(estimate) * processors + 870 * log10(submit)` first, times in seconds.
    F1,
    /// WFP3 as RLScheduler's published table has it: it took every job to have started at -1 s, so that the job submitted last goes first.
    /// Only to reproduce that table.
    Wfp3AsPublished,
    /// UNICEF with the same mistake.
    UniAsPublished,
}

impl OrderName {
    pub const ALL: [OrderName; 10] = [
        Self::Fifo,
        Self::Sjf,
        Self::Srtf,
        Self::Las,
        Self::Fair,
        Self::Wfp3,
        Self::Uni,
        Self::F1,
        Self::Wfp3AsPublished,
        Self::UniAsPublished,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            OrderName::Fifo => "fifo",
            OrderName::Sjf => "sjf",
            OrderName::Srtf => "srtf",
            OrderName::Las => "las",
            OrderName::Fair => "fair",
            OrderName::Wfp3 => "wfp3",
            OrderName::Uni => "uni",
            OrderName::F1 => "f1",
            OrderName::Wfp3AsPublished => "wfp3-as-published",
            OrderName::UniAsPublished => "uni-as-published",
        }
    }

    /// Whether waiting alone changes which of two jobs goes first.
    pub(super) fn changes_with_time(self) -> bool {
        matches!(self, OrderName::Wfp3 | OrderName::Uni)
    }
}

impl fmt::Display for OrderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for OrderName {
    type Err = InvalidSettings;

    fn from_str(text: &str) -> Result<Self, InvalidSettings> {
        Self::ALL
            .into_iter()
            .find(|order| order.as_str() == text)
            .ok_or_else(|| InvalidSettings::UnknownOrder { given: text.to_owned(), known: names(&Self::ALL.map(Self::as_str)) })
    }
}

/// What orders look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) now_ms: u64,
    pub(super) submitted_ms: u64,
    pub(super) estimate_ms: Option<u64>,
    /// How long it is still expected to run.
    pub(super) remaining_ms: Option<u64>,
    pub(super) attained_gpu_milli_ms: u128,
    pub(super) processors: f64,
}

/// GPUs of all tasks; of tasks without GPUs the CPU cores, at least one each.
pub(super) fn processors(task: &TaskClass, tasks: u32) -> f64 {
    let one = match task.gpus {
        0 => (f64::from(task.cpu_milli) / 1000.0).max(1.0),
        gpus => f64::from(gpus) * f64::from(task.gpu_milli) / 1000.0,
    };
    one * f64::from(tasks)
}

/// Where a job stands; the lowest goes first. A job without an estimate is taken to run for ever.
pub(super) fn rank(order: OrderName, job: &Facts, las_thresholds_gpu_s: &[u64]) -> u64 {
    match order {
        OrderName::Fifo => 0,
        OrderName::Sjf => job.estimate_ms.unwrap_or(u64::MAX),
        OrderName::Srtf => job.remaining_ms.unwrap_or(u64::MAX),
        OrderName::Las => level(job.attained_gpu_milli_ms, las_thresholds_gpu_s),
        // Ranks are given to all that wait together, before the next pass.
        OrderName::Fair => u64::MAX,
        OrderName::Wfp3 => largest_first(wfp3(job, waited_s(job))),
        OrderName::Uni => largest_first(uni(job, waited_s(job))),
        OrderName::F1 => smallest_first(f1(job)),
        OrderName::Wfp3AsPublished => largest_first(wfp3(job, -1.0 - seconds(job.submitted_ms))),
        OrderName::UniAsPublished => largest_first(uni(job, -1.0 - seconds(job.submitted_ms))),
    }
}

/// How many thresholds have been passed.
pub(super) fn level(attained_gpu_milli_ms: u128, thresholds_gpu_s: &[u64]) -> u64 {
    thresholds_gpu_s.iter().filter(|threshold| attained_gpu_milli_ms >= u128::from(**threshold) * 1_000_000).count() as u64
}

fn wfp3(job: &Facts, waited_s: f64) -> f64 {
    (waited_s / estimate_s(job)).powi(3) * job.processors
}

/// So that one processor does not divide by zero; RLScheduler adds as much.
const TINY: f64 = 1e-15;

fn uni(job: &Facts, waited_s: f64) -> f64 {
    (waited_s + TINY) / ((job.processors + TINY).log2() * estimate_s(job))
}

fn f1(job: &Facts) -> f64 {
    estimate_s(job).log10() * job.processors + 870.0 * seconds(job.submitted_ms).log10()
}

fn waited_s(job: &Facts) -> f64 {
    seconds(job.now_ms.saturating_sub(job.submitted_ms))
}

fn estimate_s(job: &Facts) -> f64 {
    job.estimate_ms.map_or(f64::INFINITY, |estimate_ms| seconds(estimate_ms.max(1)))
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// Numbers in the order of the given ones.
pub(super) fn smallest_first(number: f64) -> u64 {
    let bits = (number + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn largest_first(number: f64) -> u64 {
    !smallest_first(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_can_be_named() {
        for order in OrderName::ALL {
            assert_eq!(order.as_str().parse(), Ok(order));
        }
        assert_eq!("fair".parse(), Ok(OrderName::Fair));
    }

    fn job(submit_s: u64, estimate_s: u64, processors: f64) -> Facts {
        Facts {
            now_ms: 100_000,
            submitted_ms: submit_s * 1000,
            estimate_ms: Some(estimate_s * 1000),
            remaining_ms: Some(estimate_s * 1000),
            attained_gpu_milli_ms: 0,
            processors,
        }
    }

    #[test]
    fn the_formulas_by_hand() {
        // Waited 50 s of an estimated 100 s on 8 processors: 0.5^3 * 8 = 1, and 50 / (3 * 100).
        assert_eq!(wfp3(&job(50, 100, 8.0), 50.0), 1.0);
        assert!((uni(&job(50, 100, 8.0), 50.0) - 1.0 / 6.0).abs() < 1e-12);
        // log10(100) * 4 + 870 * log10(10) = 8 + 870.
        assert_eq!(f1(&job(10, 100, 4.0)), 878.0);
    }

    #[test]
    fn who_goes_first() {
        let goes_first = |order, one: &Facts, other: &Facts| rank(order, one, &[18_000]) < rank(order, other, &[18_000]);
        let (early, late) = (job(10, 100, 4.0), job(60, 20, 4.0));
        assert!(goes_first(OrderName::Sjf, &late, &early));
        assert!(goes_first(OrderName::F1, &early, &late));
        // (90/100)^3 * 4 = 2.9 and (40/20)^3 * 4 = 32; 90 / (2 * 100) = 0.45 and 40 / (2 * 20) = 1.
        assert!(goes_first(OrderName::Wfp3, &late, &early));
        assert!(goes_first(OrderName::Uni, &late, &early));
        // With the published mistake: (-11/100)^3 * 4 = -0.005 and (-61/20)^3 * 4 = -113.
        assert!(goes_first(OrderName::Wfp3AsPublished, &early, &late));
        assert!(goes_first(OrderName::UniAsPublished, &early, &late));
        let half_done = Facts { remaining_ms: Some(1), ..early };
        assert!(goes_first(OrderName::Srtf, &half_done, &late));
        let unknown = Facts { estimate_ms: None, remaining_ms: None, ..early };
        for order in [OrderName::Sjf, OrderName::Srtf, OrderName::Wfp3, OrderName::Uni, OrderName::F1] {
            assert!(goes_first(order, &late, &unknown), "{order}");
        }
    }

    /// 18,000 GPU seconds are five hours of one GPU, or just over half an hour of eight.
    #[test]
    fn attained_service_is_counted_in_levels() {
        let gpu_s = |gpus: u128, s: u128| gpus * 1000 * s * 1000;
        assert_eq!(level(gpu_s(1, 17_999), &[18_000]), 0);
        assert_eq!(level(gpu_s(8, 2_250), &[18_000]), 1);
        assert_eq!(level(gpu_s(8, 2_250), &[3_600, 18_000, 36_000]), 2);
    }

    #[test]
    fn numbers_keep_their_order() {
        let numbers = [f64::NEG_INFINITY, -2.0, -1e-300, 0.0, 1e-300, 1.5, f64::INFINITY];
        assert!(numbers.is_sorted_by_key(|number| smallest_first(*number)));
        assert_eq!(smallest_first(-0.0), smallest_first(0.0));
        assert_eq!("las".parse(), Ok(OrderName::Las));
    }

    #[test]
    fn processors_are_gpus_or_else_cores() {
        let task = |gpus, gpu_milli, cpu_milli| TaskClass { gpus, gpu_milli, cpu_milli, ..TaskClass::default() };
        assert_eq!(processors(&task(8, 1000, 64_000), 4), 32.0);
        assert_eq!(processors(&task(1, 500, 64_000), 1), 0.5);
        assert_eq!((processors(&task(0, 0, 4_000), 2), processors(&task(0, 0, 0), 3)), (8.0, 3.0));
    }
}
