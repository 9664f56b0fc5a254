//! The verdict, in words. It says no more than the intervals do.

use faultline_engine::words::plural;

use super::Tables;
use super::words::{chance, difference_in_words, in_words, list, percent};
use crate::tables::{Better, CompareLine, Group, Metric};

/// Below this, a difference is told from chance.
pub(crate) const SIGNIFICANT: f64 = 0.05;
/// A class of lost GPU time that is worth a word.
const WORTH_A_WORD: f64 = 0.01;

/// What came of a set of runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub headline: String,
    pub sentences: Vec<String>,
}

/// Judges by the metric that the experiment names.
pub fn verdict(tables: &Tables) -> Verdict {
    let metric = Metric::named(&tables.manifest.contents.judge).unwrap_or(&crate::tables::METRICS[0]);
    let mut ranked: Vec<(&String, f64)> =
        tables.policies().iter().filter_map(|policy| Some((policy, tables.of_all(policy, metric.name)?))).collect();
    ranked.sort_by(|(_, a), (_, b)| if metric.better == Better::Less { a.total_cmp(b) } else { b.total_cmp(a) });
    let mut sentences = Vec::new();
    let headline = match ranked.as_slice() {
        [] => format!("No run has a value for {}.", metric.title),
        [(policy, value)] => alone(tables, metric, policy, *value),
        [best, second, ..] => {
            let (headline, reason) = between(tables, metric, *best, *second);
            sentences.push(reason);
            sentences.extend(others(tables, metric, &ranked));
            headline
        }
    };
    sentences.extend(ranked.first().and_then(|(policy, _)| where_time_goes(tables, policy)));
    sentences.extend(super::sensitivity::sentence(tables));
    sentences.extend(expectations(tables));
    Verdict { headline, sentences }
}

fn alone(tables: &Tables, metric: &Metric, policy: &str, value: f64) -> String {
    let interval = tables.figure(policy, Group::All, "", metric.name).and_then(|figure| figure.interval);
    let within = interval.map_or_else(String::new, |interval| {
        format!(" (95 % interval {} to {})", in_words(metric, interval.low), in_words(metric, interval.high))
    });
    format!("{policy}: {} is {}{within}.", metric.title, in_words(metric, value))
}

/// The headline and its reason.
fn between(tables: &Tables, metric: &Metric, (best, of_best): (&String, f64), (second, of_second): (&String, f64)) -> (String, String) {
    let superlative = if metric.better == Better::Less { "lowest" } else { "highest" };
    let values = format!("{} against {} for {second}", in_words(metric, of_best), in_words(metric, of_second));
    let Some(line) = line_of(&tables.compare, metric, best, second) else {
        let headline = format!("{best} had the {superlative} {} in a single run: {values}.", metric.title);
        let reason = if tables.manifest.contents.draws {
            "One seed gives no interval, so chance may explain the difference. Use at least 10 seeds."
        } else {
            "Nothing is drawn in this experiment, so that is the difference for this workload. What others would show is not known."
        };
        return (headline, reason.to_owned());
    };
    // The table has `a - b` in the order of the file.
    let [low, high] = if line.a == *best { [line.paired_low, line.paired_high] } else { [-line.paired_high, -line.paired_low] };
    let difference = if line.a == *best { line.difference } else { -line.difference };
    let interval = format!(
        "Difference {} (95 % interval {} to {}, paired over {}, {} after Holm's correction)",
        difference_in_words(metric, difference),
        difference_in_words(metric, low),
        difference_in_words(metric, high),
        plural(line.seeds as u64, "seed"),
        chance(line.holm_p)
    );
    if line.holm_p < SIGNIFICANT {
        return (format!("{best} has the {superlative} {}: {values}.", metric.title), format!("{interval}."));
    }
    let headline = format!("These runs do not tell {best} and {second} apart by {}: {values}.", metric.title);
    (headline, format!("{interval}: the interval includes zero, or chance explains it."))
}

/// Policies behind the first two.
fn others(tables: &Tables, metric: &Metric, ranked: &[(&String, f64)]) -> Option<String> {
    let (best, _) = ranked.first()?;
    let behind: Vec<String> = ranked.get(2..)?.iter().map(|(policy, value)| format!("{policy} {}", in_words(metric, *value))).collect();
    let alike: Vec<String> = ranked[2..]
        .iter()
        .filter(|(policy, _)| line_of(&tables.compare, metric, best, policy).is_some_and(|line| line.holm_p >= SIGNIFICANT))
        .map(|(policy, _)| (*policy).clone())
        .collect();
    let doubt = if alike.is_empty() { String::new() } else { format!("; {} cannot be told from {best} either", list(&alike)) };
    (!behind.is_empty()).then(|| format!("The others: {}{doubt}.", list(&behind)))
}

pub(crate) fn line_of<'a>(compare: &'a [CompareLine], metric: &Metric, one: &str, other: &str) -> Option<&'a CompareLine> {
    compare.iter().find(|line| line.metric == metric.name && ((line.a == one && line.b == other) || (line.a == other && line.b == one)))
}

/// The largest classes in which the best policy's GPU time brought nothing.
fn where_time_goes(tables: &Tables, policy: &str) -> Option<String> {
    let names = super::classes::ALL.iter().map(|class| class.name).filter(|name| *name != "productive");
    let shares = names.filter_map(|name| Some((name, tables.figure(policy, Group::Class, name, "share")?.mean)));
    let mut shares: Vec<(&str, f64)> = shares.filter(|(_, share)| *share >= WORTH_A_WORD).collect();
    shares.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let largest: Vec<String> =
        shares.iter().take(3).map(|(class, share)| format!("{} ({})", super::classes::title(class), percent(*share))).collect();
    (!largest.is_empty()).then(|| format!("With {policy}, most of the GPU time that is not productive is: {}.", list(&largest)))
}

fn expectations(tables: &Tables) -> Option<String> {
    let all = &tables.manifest.contents.expectations;
    let failed: Vec<String> = all.iter().filter(|one| !one.holds).map(|one| format!("`{}`", one.text)).collect();
    match (all.len() as u64, failed.as_slice()) {
        (0, _) => None,
        (1, []) => Some("The expectation holds.".to_owned()),
        (number, []) => Some(format!("All {number} expectations hold.")),
        (number, failed) => Some(format!("{} of {} failed: {}.", failed.len(), plural(number, "expectation"), list(failed))),
    }
}
