//! Reports of rows that are made up, and what they must say.

use std::collections::BTreeMap;

use super::*;
use crate::tables::{AttemptLine, Contents, Expectation, FaultLine, Group, Input, Manifest, RunHash, Took, Varied, compare};

const POLICIES: [&str; 3] = ["fgd", "best-fit", "first-fit"];
const DAY_MS: u64 = 86_400_000;

struct Made {
    /// Goodput by policy; each seed moves all alike.
    goodput: [f64; 3],
    seeds: u64,
    queue_share: f64,
    offered_load: f64,
    open: f64,
}

const USUAL: Made = Made { goodput: [0.81, 0.78, 0.77], seeds: 10, queue_share: 0.6, offered_load: 0.93, open: 0.0 };

/// A number from 0 to 1 that depends on both.
fn noise(seed: u64, salt: u64) -> f64 {
    (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(salt.wrapping_mul(0xD1B5_4A32_D192_ED03)) >> 40) as f64 / f64::from(1 << 24)
}

fn summary(made: &Made) -> Vec<SummaryLine> {
    let mut lines = Vec::new();
    for (at, policy) in POLICIES.into_iter().enumerate() {
        for seed in 1..=made.seeds {
            if at == 0 {
                for (value, change) in [("10 min", 0.01), ("2 h", -0.05)] {
                    let (policy, tie, metric) = (varied("jobs.checkpoint", value).name, "first".to_owned(), "goodput".to_owned());
                    let value = Some(made.goodput[0] + 0.02 * noise(seed, 0) + change + 0.002 * noise(seed, 5));
                    lines.push(SummaryLine { policy, tie, seed, group: Group::All, of: String::new(), metric, value });
                }
            }
            let mut add = |group, of: &str, metric: &str, value| {
                let (policy, tie, of, metric) = (policy.to_owned(), "first".to_owned(), of.to_owned(), metric.to_owned());
                lines.push(SummaryLine { policy, tie, seed, group, of, metric, value: Some(value) });
            };
            let goodput = made.goodput[at] + 0.02 * noise(seed, 0) + 0.002 * noise(seed, at as u64 + 1);
            let rest = 1.0 - goodput;
            let wait = 3_000.0 * (at as f64 + 1.0) * (1.0 + 0.2 * noise(seed, 7));
            let all = [
                ("goodput", goodput),
                ("occupancy", goodput + 0.1),
                ("ettr", 0.9 - 0.05 * at as f64),
                ("wait_mean_s", wait),
                ("wait_p90_s", 4.0 * wait),
                ("jct_mean_s", wait + 20_000.0),
                ("jct_p90_s", 90_000.0 + wait),
                ("slowdown_mean", 3.0 + at as f64),
                ("lost_gpu_h", 1_234.0 * (at as f64 + 1.0)),
                ("jobs", 1_000.0),
                ("jobs_open", made.open),
                ("preempted", 12.0),
                ("queue_share", made.queue_share),
                ("offered_load", made.offered_load),
            ];
            for (metric, value) in all {
                add(Group::All, "", metric, value);
            }
            let classes = [
                ("productive", 1.0, goodput),
                ("lost", rest, 0.2),
                ("checkpoint", rest, 0.1),
                ("restore", rest, 0.05),
                ("stalled", rest, 0.02),
                ("down", rest, 0.13),
                ("fragmented", rest, 0.2),
                ("stranded", rest, 0.1),
                ("blocked_by_order", rest, 0.1),
                ("no_demand", rest, 0.1),
            ];
            for (class, whole, part) in classes {
                add(Group::Class, class, "share", if class == "productive" { part } else { whole * part });
            }
            for (size, part) in [("below 1", 1.0), ("1", 1.1), ("8", 2.0), ("64 to 511", 4.0)] {
                for (metric, value) in
                    [("jobs", 250.0), ("gpu_h", 5_000.0 * part), ("wait_mean_s", wait * part), ("ettr", 0.95 - 0.1 * part)]
                {
                    add(Group::Size, size, metric, value);
                }
            }
            for user in ["alice", "<b>bob</b>"] {
                add(Group::User, user, "jobs", 500.0);
            }
        }
    }
    lines
}

fn usage(classes: &[String]) -> Vec<UsageLine> {
    let mut lines = Vec::new();
    for (at, policy) in POLICIES.into_iter().enumerate() {
        for stretch in 0..120u64 {
            let work = 60.0 + 30.0 * (stretch as f64 / 9.0).sin();
            let gpu_ms = classes.iter().map(|class| match class.as_str() {
                "productive" => work,
                "lost" => 3.0 + 10.0 * noise(stretch, 3),
                "down" => {
                    if stretch > 50 && stretch < 60 {
                        8.0
                    } else {
                        1.0
                    }
                }
                "fragmented" => 5.0,
                _ => 100.0 - work,
            });
            let (from_ms, to_ms) = (stretch * DAY_MS / 4, (stretch + 1) * DAY_MS / 4);
            let waiting = (40.0 * (at as f64 + 1.0) * noise(stretch, at as u64)).round();
            lines.push(UsageLine { policy: policy.to_owned(), seed: 1, from_ms, to_ms, waiting, running: 10.0, gpu_ms: gpu_ms.collect() });
        }
    }
    lines
}

/// One without anything particular.
pub(super) fn job() -> JobLine {
    jobs(0.0).remove(0)
}

fn jobs(open: f64) -> Vec<JobLine> {
    let mut lines = Vec::new();
    for (at, policy) in POLICIES.into_iter().enumerate() {
        for job in 0..1_000u64 {
            let wait_ms = (1_000.0 * (12.0 * noise(job, 11)).exp() * (at as f64 + 1.0)) as u64;
            let run_ms = (1_000.0 * (4.0 + 8.0 * noise(job, 12)).exp()) as u64;
            let submit_ms = job * 100_000;
            let is_open = (job as f64) < open;
            lines.push(JobLine {
                policy: policy.to_owned(),
                seed: 1,
                job: job.to_string(),
                user: "alice".to_owned(),
                queue: String::new(),
                tasks: 1,
                gpu_milli: 1_000,
                counts: true,
                submit_ms,
                first_start_ms: (!is_open).then_some(submit_ms + wait_ms),
                end_ms: (!is_open).then_some(submit_ms + wait_ms + run_ms),
                end: if is_open { "open" } else { "committed" }.to_owned(),
                attempts: 1,
                interrupted: 0,
                preempted: 0,
                wait_ms,
                run_ms,
                productive_ms: run_ms,
                lost_ms: 0,
                checkpoint_ms: 0,
                restore_ms: 0,
                stalled_ms: 0,
            });
        }
    }
    lines
}

fn varied(field: &str, value: &str) -> Varied {
    let name = format!("fgd, {field} {value}");
    Varied { name, policy: "fgd".to_owned(), field: field.to_owned(), value: value.to_owned(), usual: "30 min".to_owned() }
}

/// Two nodes, on which attempts follow each other and one is ended by a fault.
fn sample() -> Sample {
    let (mut attempts, mut faults) = (Vec::new(), Vec::new());
    for policy in POLICIES {
        for (job, (start_ms, end_ms, end)) in [(0, 400, "done"), (100, 300, "fault"), (450, 900, "done")].into_iter().enumerate() {
            let (policy, job, end, nodes) = (policy.to_owned(), job.to_string(), end.to_owned(), "0 3".to_owned());
            let culprit = (end == "fault").then_some(3);
            attempts.push(AttemptLine { policy, seed: 1, job, attempt: 1, start_ms, end_ms: Some(end_ms), end, tasks: 2, nodes, culprit });
        }
        let (policy, origin) = (policy.to_owned(), "node".to_owned());
        faults.push(FaultLine {
            policy,
            seed: 1,
            node: 3,
            from_ms: 295,
            seen_ms: Some(300),
            until_ms: None,
            origin,
            extent: "node".to_owned(),
            interrupted: 1,
        });
    }
    Sample::of(&attempts, &faults)
}

fn tables(made: &Made) -> Tables {
    let policies = POLICIES.map(str::to_owned).to_vec();
    let summary = summary(made);
    let classes = ["productive", "lost", "down", "fragmented", "no_demand"].map(str::to_owned).to_vec();
    let run = |policy: &&str| {
        (1..=made.seeds).map(|seed| RunHash { policy: (*policy).to_owned(), seed, hash: String::new() }).collect::<Vec<_>>()
    };
    let contents = Contents {
        version: "0.1.0".to_owned(),
        title: "Which policy for my trace".to_owned(),
        question: "Three placements on 400 nodes with faults and checkpoints.".to_owned(),
        judge: "goodput".to_owned(),
        experiment: "[run]\nseeds = \"1..10\"\n".to_owned(),
        inputs: vec![Input { path: "trace.csv".to_owned(), bytes: 123_456, sha256: "ab".repeat(32) }],
        policies: policies.clone(),
        runs: POLICIES.iter().flat_map(run).collect(),
        tables: BTreeMap::new(),
        notes: vec!["trace.csv: 1,000 of 1,100 rows used; 100 dropped: 60 have no end, 40 ask for no GPU.".to_owned()],
        expectations: vec![Expectation { text: "goodput.fgd >= 0.8".to_owned(), holds: true, because: "82.1 %".to_owned() }],
        complete: true,
        draws: true,
        varied: ["10 min", "2 h"].map(|value| varied("jobs.checkpoint", value)).into(),
    };
    Tables {
        compare: compare(&policies, &summary),
        manifest: Manifest::new(contents, Took { wall_ms: 61_000, jobs: 2 }),
        usage: usage(&classes),
        classes,
        summary,
        jobs: jobs(made.open),
        sample: sample(),
    }
}

#[test]
fn the_verdict_says_no_more_than_the_intervals() {
    let clear = verdict(&tables(&USUAL));
    assert!(clear.headline.starts_with("fgd has the highest goodput: 82.") && clear.headline.contains(" for best-fit"), "{clear:?}");
    assert!(clear.sentences[0].contains("paired over 10 seeds, p < 0.001 after Holm"), "{clear:?}");
    assert!(clear.sentences[1].starts_with("The others: first-fit 7"), "{clear:?}");
    assert!(clear.sentences[2].contains("fgd") && clear.sentences[2].contains("lost work"), "{clear:?}");
    let close = verdict(&tables(&Made { goodput: [0.80, 0.80, 0.70], ..USUAL }));
    assert!(close.headline.starts_with("These runs do not tell "), "{close:?}");
    let single = verdict(&tables(&Made { seeds: 1, ..USUAL }));
    assert!(single.headline.starts_with("fgd had the highest goodput in a single run"), "{single:?}");
    assert!(single.sentences[0].contains("at least 10 seeds"), "{single:?}");
}

/// The interval is that of best minus second, whichever of them the file has first.
#[test]
fn the_better_of_two_may_come_second() {
    let tables = tables(&Made { goodput: [0.70, 0.80, 0.60], ..USUAL });
    let judged = verdict(&tables);
    assert!(judged.headline.starts_with("best-fit has"), "{judged:?}");
    let line = &tables.compare[0];
    assert_eq!((line.a.as_str(), line.b.as_str(), line.difference < 0.0), ("fgd", "best-fit", true));
    let low = difference_in_words(crate::tables::Metric::named("goodput").unwrap(), -line.paired_high);
    assert!(judged.sentences[0].contains(&format!("interval {low} to ")), "{judged:?}");
}

#[test]
fn warnings_come_when_the_load_or_the_tail_bends_the_figures() {
    assert_eq!(warnings(&tables(&USUAL)), Vec::<String>::new());
    let of = |made: Made| warnings(&tables(&made));
    assert!(of(Made { queue_share: 0.01, ..USUAL })[0].starts_with("The load is too low"));
    assert!(
        of(Made { offered_load: 1.2, ..USUAL })[0].contains("too high: the jobs ask for more GPU time than the cluster has (fgd 120 %")
    );
    let open = of(Made { open: 30.0, ..USUAL });
    assert!(open[0].contains("fgd 30 of 1,000") && open[1].starts_with("Runs were given up"), "{open:?}");
    assert!(of(Made { seeds: 3, ..USUAL })[0].starts_with("Only 3 seeds"));
    let mut alike = tables(&USUAL);
    alike.manifest.contents.draws = false;
    assert!(warnings(&alike)[0].starts_with("Nothing is drawn in this experiment, so all seeds are alike"));
    let mut stopped = tables(&USUAL);
    stopped.manifest.contents.complete = false;
    assert!(warnings(&stopped)[0].contains("stopped before"));
}

#[test]
fn one_file_has_everything_and_needs_nothing() {
    let made = tables(&USUAL);
    let page = html(&made);
    for outside in ["http:", "https:", "<script", "<link", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    for title in [
        "Where the GPU time went",
        "Differences in goodput",
        "Jobs that wait",
        "Completion time",
        "ETTR by size",
        "Fragmentation",
        "Allocation against demand",
        "What ran where with best-fit",
        "What the goodput of fgd depends on",
        "By user",
        "Make it again",
    ] {
        assert!(page.contains(title), "{title}");
    }
    assert!(page.contains(&made.manifest.hash) && page.contains("100 dropped: 60 have no end"));
    assert!(page.contains("&lt;b&gt;bob&lt;/b&gt;") && !page.contains("<b>bob"), "names of a trace stay text");
    assert!(!page.contains("NaN") && !page.contains("inf "), "a figure could not be told");
    assert!(page.len() < 500_000, "{} bytes", page.len());
    let order = ["<h1>", "class=\"verdict\"", "Side by side", "Assumptions"].map(|mark| page.find(mark).unwrap());
    assert!(order.is_sorted(), "{order:?}");
    if let Some(path) = std::env::var_os("FAULTLINE_LAB_REPORT") {
        std::fs::write(path, &page).unwrap();
    }
}

#[test]
fn a_report_of_little_is_still_a_page() {
    let mut little = tables(&Made { seeds: 1, ..USUAL });
    little.jobs.clear();
    little.usage.clear();
    little.compare.clear();
    little.sample = Sample::default();
    little.manifest.contents.varied.clear();
    let page = html(&little);
    assert!(page.contains("Side by side") && !page.contains("NaN"));
    little.summary.clear();
    assert!(html(&little).contains("No run has a value for goodput."));
}

#[test]
fn every_class_of_the_accounting_is_drawn() {
    let mut drawn: Vec<&str> = super::classes::ALL.iter().map(|class| class.name).collect();
    let mut known: Vec<&str> = faultline_engine::goodput::Class::ALL.into_iter().map(faultline_engine::goodput::Class::as_str).collect();
    drawn.sort_unstable();
    known.sort_unstable();
    assert_eq!(drawn, known);
}

#[test]
fn what_matters_most_comes_first() {
    let mut made = tables(&USUAL);
    let told = verdict(&made).sentences.join(" ");
    let expected = "Of what was varied, the goodput of fgd moves most with jobs.checkpoint: 2 h instead of 30 min changes it by -5";
    assert!(told.contains(expected) && told.contains(" points (95 % interval -5"), "{told}");
    let effects = sensitivity::effects(&made);
    assert!(effects.len() == 1 && effects[0].1.len() == 2 && effects[0].1[0].mean > 0.0, "10 min is better");
    made.manifest.contents.varied.push(varied("spares", "9"));
    assert_eq!(sensitivity::effects(&made).len(), 1, "what has no run is left out");
}

/// Of many nodes, those with faults; of a long run, the time around a fault.
#[test]
fn a_sample_shows_faults_and_not_too_much() {
    let (policy, end) = ("a".to_owned(), "done".to_owned());
    let attempt = |number: u64| AttemptLine {
        policy: policy.clone(),
        seed: 1,
        job: number.to_string(),
        attempt: 1,
        start_ms: number * 10,
        end_ms: Some(number * 10 + 50),
        end: end.clone(),
        tasks: 1,
        nodes: (number % 40).to_string(),
        culprit: None,
    };
    let attempts: Vec<AttemptLine> = (0..4_000).map(attempt).collect();
    let fault = FaultLine {
        policy: policy.clone(),
        seed: 1,
        node: 33,
        from_ms: 30_005,
        seen_ms: None,
        until_ms: Some(30_900),
        origin: "node".to_owned(),
        extent: "node".to_owned(),
        interrupted: 2,
    };
    let sample = Sample::of(&attempts, std::slice::from_ref(&fault));
    assert!(sample.nodes.len() == 14 && sample.nodes.contains(&33), "{:?}", sample.nodes);
    assert!(sample.from_ms < fault.from_ms && fault.from_ms < sample.to_ms, "{} to {}", sample.from_ms, sample.to_ms);
    assert!((200..=300).contains(&sample.attempts.len()) && sample.faults == [fault], "{}", sample.attempts.len());
    assert!(Sample::of(&[], &[]).attempts.is_empty());
}
