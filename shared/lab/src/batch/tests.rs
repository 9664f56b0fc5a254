use super::*;
use crate::experiment::parse;

const SMALL: &str = r#"
title = "Order on a small cluster"
[cluster]
[[cluster.nodes]]
count = 8
gpus = 8
[workload.generator]
jobs = 300
load = 0.9
users = 4
queues = 2
gpus = { 1 = 0.6, 4 = 0.2, 8 = 0.15, 16 = 0.05 }
[jobs]
checkpoint = "30 min"
restore = "2 min"
[faults]
per_node_day = 0.2
repair = "4 h"
[policy.fifo]
placement = "best-fit"
blocking = "strict"
[policy.sjf]
placement = "best-fit"
order = "sjf"
[policy.sparing]
placement = "best-fit"
spares = 1
[policy.sparing.jobs]
checkpoint = "10 min"
[run]
seeds = "1..8"
warm_up = "6 h"
[expect]
that = ["diff(fifo, sjf).wait_mean_s > 0", "goodput.fifo >= 0.1"]
"#;

fn loaded(text: &str) -> Experiment {
    let file = parse(text).unwrap_or_else(|problems| panic!("{problems:?}"));
    Experiment::load(&file, text, &|path| Err(format!("no {path}"))).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn played(experiment: &Experiment, threads: usize) -> Vec<Played> {
    let all = Mutex::new(Vec::new());
    play(experiment, threads, &AtomicBool::new(false), &|run| all.lock().unwrap().push(run)).unwrap();
    all.into_inner().unwrap()
}

#[test]
fn the_same_inputs_give_the_same_hash_on_any_number_of_threads() {
    let experiment = loaded(SMALL);
    let first = folder(&experiment, played(&experiment, 1), Took { wall_ms: 1, jobs: 1 });
    let again = folder(&loaded(SMALL), played(&experiment, 3), Took { wall_ms: 9, jobs: 3 });
    assert_eq!(first.tables.manifest.hash, again.tables.manifest.hash);
    assert!(first.tables.manifest.contents.complete);
    let other = loaded(&SMALL.replace("\"1..8\"", "\"1..2\""));
    assert_ne!(folder(&other, played(&other, 2), Took::default()).tables.manifest.hash, first.tables.manifest.hash);
}

/// What was resolved is an experiment again, and gives the same runs.
#[test]
fn a_run_is_repeated_from_its_folder() {
    let experiment = loaded(SMALL);
    let made = folder(&experiment, played(&experiment, 2), Took::default());
    let again = loaded(&made.tables.manifest.contents.experiment);
    let hashes = |folder: &Folder| {
        let mut runs = folder.tables.manifest.contents.runs.clone();
        runs.sort_by(|a, b| (&a.policy, a.seed).cmp(&(&b.policy, b.seed)));
        runs
    };
    assert_eq!(hashes(&folder(&again, played(&again, 2), Took::default())), hashes(&made));
}

#[test]
fn a_folder_is_read_as_it_was_written() {
    let experiment = loaded(SMALL);
    let made = folder(&experiment, played(&experiment, 2), Took::default());
    let read = |name: &str| {
        made.files.iter().find(|(file, _)| *file == name).map(|(_, bytes)| bytes.clone()).ok_or_else(|| "it is not there".to_owned())
    };
    let tables = read_folder(&read).unwrap();
    assert_eq!(report::html(&tables), report::html(&made.tables));
    let changed = |name: &str| if name == "summary.csv" { Ok(b"policy\n".to_vec()) } else { read(name) };
    assert_eq!(read_folder(&changed).unwrap_err(), InvalidFolder::Changed { file: "summary.csv" });
    let gone = read_folder(&|_| Err("it is not there".to_owned())).unwrap_err().to_string();
    assert!(gone.starts_with("manifest.json cannot be read: it is not there; name a folder"), "{gone}");
}

/// Another policy changes no arrival and no fault, and the figures add up.
#[test]
fn runs_of_one_seed_share_what_is_drawn_and_sum_to_the_capacity() {
    let experiment = loaded(SMALL);
    let made = folder(&experiment, played(&experiment, 2), Took::default());
    let of = |policy: &str| -> Vec<(u64, u64)> {
        made.tables.jobs.iter().filter(|line| line.policy == policy).map(|line| (line.submit_ms, line.gpu_milli)).collect()
    };
    assert!(of("fifo").len() == 300 && of("fifo") == of("sjf") && of("fifo") == of("sparing"));
    for run in &made.tables.manifest.contents.runs {
        let shares = made.tables.summary.iter().filter(|line| line.policy == run.policy && line.seed == run.seed && line.metric == "share");
        let sum: f64 = shares.filter_map(|line| line.value).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{run:?}: {sum}");
    }
    let expectations = &made.tables.manifest.contents.expectations;
    assert_eq!(expectations.iter().map(|one| one.holds).collect::<Vec<_>>(), [true, true], "{expectations:?}");
    if let Some(path) = std::env::var_os("FAULTLINE_LAB_RUN_REPORT") {
        std::fs::write(path, report::html(&made.tables)).unwrap();
    }
}

#[test]
fn what_was_stopped_keeps_what_is_there() {
    let experiment = loaded(SMALL);
    let (stop, all) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    play(&experiment, 1, &stop, &|run| {
        let mut all = all.lock().unwrap();
        all.push(run);
        stop.store(all.len() == 4, Ordering::Relaxed);
    })
    .unwrap();
    let made = folder(&experiment, all.into_inner().unwrap(), Took::default());
    assert_eq!(made.tables.manifest.contents.runs.len(), 4);
    assert!(!made.tables.manifest.contents.complete);
    let warning = &report::warnings(&made.tables)[0];
    assert!(warning.contains("was stopped") && warning.contains("over the 1 seed that all policies with a run have"), "{warning}");
    let of_first = |policy: &str| {
        let mut lines = made.tables.summary.iter().filter(|line| line.policy == policy && line.metric == "goodput");
        lines.find(|line| line.seed == 1).and_then(|line| line.value)
    };
    for policy in made.tables.policies() {
        assert_eq!(made.tables.of_all(policy, "goodput"), of_first(policy), "{policy}: the second seed has run with one policy only");
    }
}
