//! Empirical distributions.

/// The value below or at which a share of the values lies: the smallest one of which at least `share` are no larger, which is the inverse of
/// the empirical distribution function (type 1 of Hyndman and Fan, "Sample Quantiles in Statistical Packages", The American Statistician 50,
/// 1996). Sorts the values. `None` of nothing.
pub fn quantile(values: &mut [f64], share: f64) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    at_share(values, share)
}

fn at_share(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied()
}

/// The empirical distribution function of values that are all known.
#[derive(Debug, Clone, PartialEq)]
pub struct Ecdf {
    sorted: Vec<f64>,
}

impl Ecdf {
    pub fn new(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        Self { sorted: values }
    }

    /// The share of the values that are no larger; 0 of nothing.
    pub fn at(&self, value: f64) -> f64 {
        self.sorted.partition_point(|known| *known <= value) as f64 / self.sorted.len().max(1) as f64
    }

    /// As [`quantile`].
    pub fn quantile(&self, share: f64) -> Option<f64> {
        at_share(&self.sorted, share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_are_there() {
        let mut values = [3.0, 1.0, 2.0, 4.0];
        let of = |values: &mut [f64], share| quantile(values, share);
        assert_eq!(of(&mut values, 0.5), Some(2.0));
        assert_eq!(of(&mut values, 0.51), Some(3.0));
        assert_eq!((of(&mut values, 0.0), of(&mut values, 1.0)), (Some(1.0), Some(4.0)));
        assert_eq!(of(&mut [], 0.5), None);
    }

    #[test]
    fn the_distribution_function_and_its_inverse_agree() {
        let ecdf = Ecdf::new(vec![5.0, 1.0, 1.0, 9.0]);
        assert_eq!([0.0, 1.0, 4.9, 5.0, 9.0].map(|value| ecdf.at(value)), [0.0, 0.5, 0.5, 0.75, 1.0]);
        for share in [0.1, 0.5, 0.6, 0.75, 0.99] {
            let value = ecdf.quantile(share).unwrap();
            assert!(ecdf.at(value) >= share && ecdf.at(value - 1e-9) < share);
        }
    }
}
