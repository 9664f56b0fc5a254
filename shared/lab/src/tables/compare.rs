//! Every two policies of a set of runs, metric by metric.

use std::collections::BTreeMap;

use super::metric::{Better, METRICS};
use super::rows::{CompareLine, Group, SummaryLine};
use crate::statistics::{Difference, holm, mean, paired, unpaired};

/// Pairs in the order of `policies`. A metric is compared over the seeds for which both policies have it; with fewer than two there is no line.
pub fn compare(policies: &[String], summary: &[SummaryLine]) -> Vec<CompareLine> {
    let mut values: BTreeMap<(&str, &str), BTreeMap<u64, f64>> = BTreeMap::new();
    for line in summary.iter().filter(|line| line.group == Group::All) {
        if let Some(value) = line.value {
            values.entry((&line.metric, &line.policy)).or_default().insert(line.seed, value);
        }
    }
    let mut lines = Vec::new();
    for metric in METRICS.iter().filter(|metric| metric.better != Better::Neither) {
        let family_at = lines.len();
        for (at, a) in policies.iter().enumerate() {
            for b in &policies[at + 1..] {
                let [of_a, of_b] = [a, b].map(|policy| values.get(&(metric.name, policy.as_str())));
                lines.extend(of_a.zip(of_b).and_then(|(of_a, of_b)| pair(metric.name, (a, of_a), (b, of_b))));
            }
        }
        let family: &mut [CompareLine] = &mut lines[family_at..];
        let adjusted = holm(&family.iter().map(|line| line.paired_p).collect::<Vec<_>>());
        for (line, holm_p) in family.iter_mut().zip(adjusted) {
            line.holm_p = holm_p;
        }
    }
    lines
}

fn pair(metric: &str, (a, of_a): (&str, &BTreeMap<u64, f64>), (b, of_b): (&str, &BTreeMap<u64, f64>)) -> Option<CompareLine> {
    let both = of_a.iter().filter_map(|(seed, value)| Some((*value, *of_b.get(seed)?)));
    let (of_a, of_b): (Vec<f64>, Vec<f64>) = both.unzip();
    let Difference { interval: paired, p: paired_p } = paired(&of_a, &of_b)?;
    let Difference { interval: unpaired, p: unpaired_p } = unpaired(&of_a, &of_b)?;
    Some(CompareLine {
        metric: metric.to_owned(),
        a: a.to_owned(),
        b: b.to_owned(),
        seeds: of_a.len(),
        mean_a: mean(&of_a),
        mean_b: mean(&of_b),
        difference: paired.mean,
        paired_low: paired.low,
        paired_high: paired.high,
        paired_p,
        holm_p: paired_p,
        unpaired_low: unpaired.low,
        unpaired_high: unpaired.high,
        unpaired_p,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(policy: &str, seed: u64, metric: &str, value: Option<f64>) -> SummaryLine {
        let (policy, metric) = (policy.to_owned(), metric.to_owned());
        SummaryLine { policy, tie: "first".to_owned(), seed, group: Group::All, of: String::new(), metric, value }
    }

    #[test]
    fn pairs_share_their_seeds_and_are_corrected_within_a_metric() {
        let goodput =
            |policy, values: [f64; 3]| values.into_iter().zip(1..).map(move |(value, seed)| line(policy, seed, "goodput", Some(value)));
        let mut summary: Vec<SummaryLine> =
            goodput("a", [0.90, 0.91, 0.95]).chain(goodput("b", [0.80, 0.80, 0.86])).chain(goodput("c", [0.90, 0.92, 0.94])).collect();
        // Only one seed of `jct_p99_s` is known for both, and what only describes the run is not compared.
        summary.extend([line("a", 1, "jct_p99_s", None), line("a", 2, "jct_p99_s", Some(1.0)), line("b", 2, "jct_p99_s", Some(2.0))]);
        summary.extend([line("a", 1, "offered_load", Some(1.0)), line("b", 1, "offered_load", Some(1.0))]);
        let policies = ["a", "b", "c"].map(str::to_owned);
        let lines = compare(&policies, &summary);
        assert_eq!(lines.iter().map(|line| format!("{}-{}", line.a, line.b)).collect::<Vec<_>>(), ["a-b", "a-c", "b-c"]);
        let first = &lines[0];
        // Differences 0.10, 0.11, 0.09: mean 0.1, standard error 0.01 / sqrt 3, quantile 4.30265.
        assert!(
            (first.difference - 0.1).abs() < 1e-12 && (first.paired_high - 0.1 - 4.30265 * 0.01 / 3f64.sqrt()).abs() < 1e-6,
            "{first:?}"
        );
        assert!(first.unpaired_high - first.unpaired_low > first.paired_high - first.paired_low, "these seeds move both alike");
        let smallest = lines.iter().map(|line| line.paired_p).fold(1.0, f64::min);
        let least = lines.iter().min_by(|a, b| a.paired_p.total_cmp(&b.paired_p)).unwrap();
        assert!((least.holm_p - 3.0 * smallest).abs() < 1e-12, "{lines:?}");
        assert!(lines.iter().all(|line| line.seeds == 3));
    }
}
