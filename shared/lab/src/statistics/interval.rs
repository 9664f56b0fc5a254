//! Confidence intervals of means and of differences of means, by Student's t distribution, and Holm's correction for many comparisons.
//!
//! Runs of one seed share their arrivals, faults, and estimates whatever the policy, so the paired difference is the usual one. Pairing can
//! also widen an interval (two policies that err in opposite directions), so the unpaired one is given as well.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// The confidence of every interval.
pub const CONFIDENCE: f64 = 0.95;

/// An interval that covers a mean with [`CONFIDENCE`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

/// A difference of two means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    pub interval: Interval,
    /// Two-sided: how often a difference at least as large comes by chance when there is none.
    pub p: f64,
}

/// `NaN` of nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Standard deviation of a sample, with one less than the number of values; `None` of fewer than two.
pub fn sd(values: &[f64]) -> Option<f64> {
    variance(values).map(f64::sqrt)
}

fn variance(values: &[f64]) -> Option<f64> {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| squares / (values.len() - 1) as f64)
}

/// Of the mean of independent values; `None` of fewer than two.
pub fn mean_interval(values: &[f64]) -> Option<Interval> {
    let error = sd(values)? / (values.len() as f64).sqrt();
    Some(difference(mean(values), error, (values.len() - 1) as f64).interval)
}

/// Of `a - b`, value by value: the paired t interval (Student, "The Probable Error of a Mean", Biometrika 6, 1908). `None` unless both have the
/// same number of values, at least two.
pub fn paired(a: &[f64], b: &[f64]) -> Option<Difference> {
    if a.len() != b.len() {
        return None;
    }
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let error = sd(&differences)? / (differences.len() as f64).sqrt();
    Some(difference(mean(&differences), error, (differences.len() - 1) as f64))
}

/// Of the means of two independent samples whose variances may differ: Welch, "The Generalization of Student's Problem When Several Different
/// Population Variances Are Involved", Biometrika 34, 1947, with the degrees of freedom of Welch and Satterthwaite. `None` unless both have at
/// least two values.
pub fn unpaired(a: &[f64], b: &[f64]) -> Option<Difference> {
    let [part_a, part_b] = [variance(a)? / a.len() as f64, variance(b)? / b.len() as f64];
    let sum = part_a + part_b;
    let freedom = sum.powi(2) / (part_a.powi(2) / (a.len() - 1) as f64 + part_b.powi(2) / (b.len() - 1) as f64);
    Some(difference(mean(a) - mean(b), sum.sqrt(), freedom))
}

/// `error`: the standard error. Without any spread there is nothing to estimate: the interval is a point.
fn difference(mean: f64, error: f64, freedom: f64) -> Difference {
    let known = StudentsT::new(0.0, 1.0, freedom).ok().filter(|_| error > 0.0);
    let Some(student) = known else {
        return Difference { interval: Interval { mean, low: mean, high: mean }, p: if mean == 0.0 { 1.0 } else { 0.0 } };
    };
    let half = student.inverse_cdf(0.5 + CONFIDENCE / 2.0) * error;
    Difference { interval: Interval { mean, low: mean - half, high: mean + half }, p: 2.0 * student.sf((mean / error).abs()) }
}

/// The p values of one family of comparisons, adjusted so that the chance of any false finding stays below what one is compared with: Holm,
/// "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6, 1979.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut adjusted = vec![0.0; p.len()];
    let mut largest: f64 = 0.0;
    for (rank, at) in order.into_iter().enumerate() {
        largest = largest.max((p[at] * (p.len() - rank) as f64).min(1.0));
        adjusted[at] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Student's own data, hours of sleep gained with two drugs by ten patients (Biometrika 6, 1908, page 20); R's `sleep`.
    const FIRST: [f64; 10] = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
    const SECOND: [f64; 10] = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];

    fn close(value: f64, expected: f64, digits: i32) {
        assert!((value - expected).abs() < 0.5 * 10f64.powi(-digits), "{value} is not {expected}");
    }

    /// R 4: `t.test(extra ~ group, data = sleep, paired = TRUE)`: t = -4.0621, df = 9, p = 0.002833, interval -2.4598858 to -0.7001142.
    #[test]
    fn paired_differences_are_students() {
        let Difference { interval, p } = paired(&FIRST, &SECOND).unwrap();
        close(interval.mean, -1.58, 6);
        close(interval.low, -2.4598858, 6);
        close(interval.high, -0.7001142, 6);
        close(p, 0.002833, 6);
        assert_eq!(paired(&FIRST, &SECOND[1..]), None);
        assert_eq!(paired(&FIRST[..1], &SECOND[..1]), None);
    }

    /// R 4: `t.test(extra ~ group, data = sleep)`: t = -1.8608, df = 17.776, p = 0.07939, interval -3.3654832 to 0.2054832.
    #[test]
    fn unpaired_differences_are_welchs() {
        let Difference { interval, p } = unpaired(&FIRST, &SECOND).unwrap();
        close(interval.mean, -1.58, 6);
        close(interval.low, -3.3654832, 5);
        close(interval.high, 0.2054832, 5);
        close(p, 0.07939, 5);
    }

    /// 2, 4, 6: mean 4, sd 2, standard error 2 / sqrt 3, and Student's 97.5 % quantile for 2 degrees is 4.30265 (any table).
    #[test]
    fn the_interval_of_a_mean() {
        let Interval { mean, low, high } = mean_interval(&[2.0, 4.0, 6.0]).unwrap();
        close(mean, 4.0, 9);
        close(high - mean, 4.30265 * 2.0 / 3f64.sqrt(), 4);
        close(mean - low, high - mean, 9);
        assert_eq!((mean_interval(&[1.0]), sd(&[])), (None, None));
    }

    #[test]
    fn values_that_do_not_spread_leave_nothing_to_chance() {
        let same = paired(&[1.0, 2.0], &[1.0, 2.0]).unwrap();
        assert_eq!((same.interval.low, same.interval.high, same.p), (0.0, 0.0, 1.0));
        let apart = unpaired(&[2.0, 2.0], &[1.0, 1.0]).unwrap();
        assert_eq!((apart.interval.low, apart.interval.high, apart.p), (1.0, 1.0, 0.0));
    }

    /// By hand: sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1 is 0.02, 0.03, 0.06, 0.04; the last may not be smaller than the one before.
    #[test]
    fn holm_multiplies_the_smallest_most_and_never_goes_down() {
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (value, expected) in adjusted.into_iter().zip([0.03, 0.06, 0.06, 0.02]) {
            close(value, expected, 12);
        }
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert_eq!(holm(&[0.04]), [0.04], "one comparison needs no correction");
    }
}
