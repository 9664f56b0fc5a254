//! Figures over the same seeds: a mean over seeds that another policy does not have would differ by the luck of those seeds.

use std::collections::BTreeMap;

use super::rows::{Group, SummaryLine};

/// A metric of a group by policy and seed, for the seeds at which every policy that has the metric at all has it.
pub(crate) fn over_shared_seeds<'a>(
    summary: &'a [SummaryLine],
    group: Group,
    of: &str,
    metric: &str,
) -> BTreeMap<&'a str, BTreeMap<u64, f64>> {
    let mut by_policy: BTreeMap<&str, BTreeMap<u64, f64>> = BTreeMap::new();
    for line in summary.iter().filter(|line| line.group == group && line.metric == metric && line.of == of) {
        if let Some(value) = line.value {
            by_policy.entry(&line.policy).or_default().insert(line.seed, value);
        }
    }
    let everywhere = |seed: &u64| by_policy.values().all(|values| values.contains_key(seed));
    let shared: Vec<u64> = by_policy.values().next().into_iter().flat_map(BTreeMap::keys).copied().filter(everywhere).collect();
    for values in by_policy.values_mut() {
        values.retain(|seed, _| shared.binary_search(seed).is_ok());
    }
    by_policy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(policy: &str, seed: u64, value: Option<f64>) -> SummaryLine {
        let (policy, metric) = (policy.to_owned(), "goodput".to_owned());
        SummaryLine { policy, tie: "first".to_owned(), seed, group: Group::All, of: String::new(), metric, value }
    }

    #[test]
    fn a_seed_counts_when_every_policy_with_the_metric_has_it() {
        let summary =
            [line("a", 1, Some(1.0)), line("a", 2, Some(2.0)), line("a", 3, Some(3.0)), line("b", 2, Some(5.0)), line("b", 3, None)];
        let shared = over_shared_seeds(&summary, Group::All, "", "goodput");
        assert_eq!(shared["a"], BTreeMap::from([(2, 2.0)]));
        assert_eq!(shared["b"], BTreeMap::from([(2, 5.0)]));
        let alone = over_shared_seeds(&summary[..3], Group::All, "", "goodput");
        assert_eq!(alone["a"].len(), 3, "a policy without any value takes none from the others");
    }
}
