//! Scrapes, Prometheus' own judgement of them, and the metrics that queries name.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What follows neither a metric nor a function in the queries that we ship.
const KEYWORDS: [&str; 7] = ["and", "by", "ignoring", "on", "or", "unless", "without"];

/// `promtool ARGS` with something on its standard input. `None` where there is no promtool.
pub fn promtool(args: &[&str], folder: &Path, input: &str) -> Option<Output> {
    let started =
        Command::new("promtool").args(args).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("promtool does not start: {error}"),
    };
    // It reads all of its input before it says anything.
    child.stdin.take().expect("it was piped").write_all(input.as_bytes()).expect("promtool reads");
    Some(child.wait_with_output().expect("promtool ends"))
}

/// The samples of a scrape in the text format: values by name and labels as they are written.
pub fn samples(scrape: &str) -> BTreeMap<&str, f64> {
    let sample = |line: &'_ str| -> (usize, f64) {
        let at = line.rfind(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        (at, line[at + 1..].parse().unwrap_or_else(|_| panic!("no number: {line}")))
    };
    let lines = scrape.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| (&line[..sample(line).0], sample(line).1)).collect()
}

/// The names of all samples of a scrape.
pub fn names(scrape: &str) -> BTreeSet<String> {
    samples(scrape).keys().map(|sample| sample.split('{').next().unwrap_or_default().to_owned()).collect()
}

/// The metrics that a PromQL query names: what is neither a function, nor a keyword, nor inside of braces, brackets, quotes or a list of
/// labels.
pub fn metrics_of(query: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = query;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric() || c == '_' || "{[\"".contains(c)) {
        rest = &rest[start..];
        if rest.starts_with(|c: char| c.is_ascii_digit()) {
            // A number such as 1e3.
            rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.');
            continue;
        }
        let closing = match rest.as_bytes()[0] {
            b'{' => Some('}'),
            b'[' => Some(']'),
            b'"' => Some('"'),
            _ => None,
        };
        if let Some(closing) = closing {
            rest = rest[1..].split_once(closing).map_or("", |(_, after)| after);
            continue;
        }
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        if KEYWORDS.contains(&word) {
            if let Some(labels) = after.trim_start().strip_prefix('(').filter(|_| !["and", "or", "unless"].contains(&word)) {
                rest = labels.split_once(')').map_or("", |(_, after)| after);
            }
        } else if !["(", "by (", "without ("].iter().any(|what| after.trim_start().starts_with(what)) {
            found.insert(word.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_name_their_metrics_and_nothing_else() {
        let of = |query| metrics_of(query).into_iter().collect::<Vec<_>>();
        assert_eq!(of(r#"sum by (le) (rate(a_bucket{end="by_me"}[5m])) / on (x) max(b) > 1e3 and c"#), ["a_bucket", "b", "c"]);
        assert_eq!(of("(sum(a) or vector(0)) == 0"), ["a"]);
        assert_eq!(of("topk(10, DCGM_FI_DEV_GPU_UTIL)"), ["DCGM_FI_DEV_GPU_UTIL"]);
    }

    #[test]
    fn a_scrape_is_read_sample_by_sample() {
        let scrape = "# HELP a Words.\n# TYPE a gauge\na{x=\"1 2\"} 3.5\nb_total 7\n";
        assert_eq!(samples(scrape), BTreeMap::from([("a{x=\"1 2\"}", 3.5), ("b_total", 7.0)]));
        assert_eq!(names(scrape).into_iter().collect::<Vec<_>>(), ["a", "b_total"]);
    }
}
