use super::*;
use crate::setup::Handover;

fn no_file(name: &str) -> Result<Vec<u8>, String> {
    Err(format!("no {name}"))
}

fn default() -> File {
    parse(DEFAULT, &no_file).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn problems(text: &str) -> Vec<String> {
    parse(text, &no_file).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let text = r#"title = "wrong"
[cluster]
workers = 0
policy = "psychic"
[workload]
jobs = 10
gpus = { "9" = 1 }
duration = ["9 s", "2 s"]
[faults.kills]
count = 3
within = ["1 s", "2 s"]
down = ["1 ms", "2 s"]
"#;
    assert!(problems(text)[0].starts_with("line 4: cluster.policy: unknown variant `psychic`"), "{:?}", problems(text));
    let told = problems(&text.replace("policy = \"psychic\"\n", ""));
    let starts = [
        "line 3: cluster.workers: 0 is out of range: write 1 to 64",
        "line 5: workload.jobs: drawn jobs need `within`; add it",
        "line 6: workload.gpus.9: 9 GPUs are on no node: the largest has 0",
        "line 7: workload.duration: the shorter one comes first",
        "line 9: faults.kills.count: each worker is killed at most once",
        "line 11: faults.kills.down: 1 ms is out of range: write 1 s to 10 min",
    ];
    assert_eq!(told.len(), starts.len(), "{told:?}");
    assert!(starts.iter().zip(&told).all(|(start, told)| told.starts_with(start)), "{told:?}");
    let both =
        "title = \"b\"\n[cluster]\nworkers = 1\n[workload]\njobs = 1\n[[workload.job]]\nat = \"1 s\"\nduration = \"2 s\"\ngpus = 1.5\n";
    let told = problems(both);
    assert!(
        told[0].starts_with("line 5: workload.jobs: drawn jobs need `within`") && told[3].starts_with("line 6: workload.job: only one of"),
        "{told:?}"
    );
    assert!(told[4].starts_with("line 9: workload.job.0.gpus: invalid"), "{told:?}");
    assert!(problems("title = \"n\"\n[cluster]\nworkers = 1\n[workload]\n")[0].contains("nothing given"));
}

#[test]
fn a_trace_is_compressed_into_minutes_and_gangs_are_refused() {
    let text = "title = \"t\"\n[cluster]\nworkers = 1\n[workload]\nfile = \"jobs.csv\"\nscale = 0.001\n";
    let rows = "submit_s,duration_s,gpu_milli,tasks\n0,7200,500,1\n3600,1800,4000,1\n";
    let file = parse(text, &|_| Ok(rows.into())).unwrap();
    let plan = Plan::draw(&file, 1).unwrap();
    let jobs: Vec<(u64, u64, u32)> = plan.jobs.iter().map(|job| (job.at_ms, job.duration_ms, job.gpu_milli)).collect();
    assert_eq!(jobs, [(0, 7_200, 500), (3_600, 1_800, 4_000)]);
    let wrong = |text: &str, rows: &str| parse(text, &|_| Ok(rows.into())).unwrap_err()[0].to_string();
    assert!(wrong(text, &rows.replace("4000,1", "4000,2")).starts_with("line 5: workload.file: jobs.csv has a job of 2 tasks"));
    assert!(
        wrong(&text.replace("0.001", "1"), rows).contains("a job comes at 0 ms and runs 2 h"),
        "{}",
        wrong(&text.replace("0.001", "1"), rows)
    );
    assert!(wrong(text, "submit_s,duration_s,gpu_milli\n0,60,16000\n").contains("16 GPUs are on no node: the largest has 8"));
    assert!(problems(text)[0].contains("workload.file: jobs.csv cannot be read: no jobs.csv"));
}

#[test]
fn the_seed_decides_the_plan_and_events_are_kept_apart() {
    let file = default();
    let plan = Plan::draw(&file, 1).unwrap();
    assert_eq!(plan, Plan::draw(&file, 1).unwrap());
    assert_ne!(plan.jobs, Plan::draw(&file, 2).unwrap().jobs);
    for seed in file.seeds().all() {
        let plan = Plan::draw(&file, seed).unwrap();
        assert!(plan.is_spaced && plan.quiet(&file).unwrap().is_spaced, "seed {seed}");
        assert_eq!((plan.jobs.len(), plan.kills.len()), (110, 3));
        // What takes ten milliseconds longer changes no decision.
        let at = plan.instants(&file);
        let placements = |start_ms, end_ms| play(&file, &plan, &at, Handover { start_ms, end_ms }).unwrap().placements;
        let (fast, slow) = (placements(5, 10), placements(8, 17));
        assert!(fast.len() == slow.len() && fast.iter().zip(&slow).all(|(fast, slow)| fast.is_same(slow)), "seed {seed}");
    }
    let dense = parse(&DEFAULT.replace("120 ms", "30 s"), &no_file).unwrap();
    assert!(!Plan { jobs: plan.jobs[..3].to_vec(), ..plan }.quiet(&dense).unwrap().jobs.is_empty());
}

/// Both sides of every seed, from the lab.
fn pairs() -> Vec<Pair> {
    let file = default();
    let pair = |seed| {
        let plan = Plan::draw(&file, seed).unwrap();
        let instants = Instants { window_ms: Some(90_000), ..plan.instants(&file) };
        let seen = play(&file, &plan, &instants, Handover::default()).unwrap();
        Pair { seed, live: seen.clone(), virtual_: seen }
    };
    [1, 2].map(pair).to_vec()
}

fn differing(quiet: Option<&Pair>, runs: &[Pair]) -> Vec<String> {
    let judged = judge(quiet, runs, true);
    let rows = judged.rows.into_iter().filter(|row| row.verdict == Verdict::Differs);
    rows.map(|row| row.figure).collect()
}

#[test]
fn equal_sides_agree_and_each_planted_difference_is_found() {
    let same = pairs();
    assert!(same[0].live.recovery_ms.len() > 1 && same[0].live.detection_ms == [120; 3] && same[0].live.unreleased.is_empty());
    assert_eq!(differing(Some(&same[0]), &same), [""; 0]);
    let found = |change: fn(&mut Seen), expected: &[&str]| {
        let mut planted = same.clone();
        planted.iter_mut().for_each(|pair| change(&mut pair.live));
        let found = differing(Some(&planted[0]), &planted);
        assert!(found.len() == expected.len() && found.iter().zip(expected).all(|(found, start)| found.starts_with(start)), "{found:?}");
    };
    found(|live| live.placements.swap(3, 4), &["placements without faults"]);
    found(|live| _ = live.placements.pop(), &["placements without faults"]);
    found(|live| live.jobs[7].committed = false, &["jobs committed"]);
    found(
        |live| {
            let job = live.jobs.iter_mut().find(|job| job.interrupted == 0).unwrap();
            job.attempts += 1;
        },
        &["attempts of jobs"],
    );
    found(|live| live.unreleased.push("gpu-node-01 holds 1 GPU".to_owned()), &["held when all"]);
    found(|live| live.jobs.iter_mut().for_each(|job| job.end_ms = job.end_ms.map(|ms| ms + 400)), &["completion time"]);
    found(|live| live.jobs.iter_mut().for_each(|job| job.end_ms = job.end_ms.map(|ms| ms + 1_500)), &["makespan", "completion time"]);
    found(|live| live.jobs[5].end_ms = None, &["makespan", "completion time"]);
    found(|live| live.detection_ms.iter_mut().for_each(|ms| *ms += 301), &["detection"]);
    found(|live| live.detection_ms.clear(), &["detection"]);
    found(|live| live.recovery_ms.iter_mut().for_each(|ms| *ms += 501), &["recovery"]);
    let shifted = |live: &mut Seen| {
        let classes = live.classes.as_mut().unwrap();
        *classes.get_mut("productive").unwrap() -= 0.011;
        *classes.get_mut("lost").unwrap() += 0.011;
    };
    found(shifted, &["productive of capacity", "lost of capacity"]);
    found(|live| live.classes = None, &["classes of GPU time"]);
}

#[test]
fn what_is_not_compared_is_said() {
    let runs = pairs();
    let judged = judge(None, &runs, true);
    let skipped: Vec<&Row> = judged.rows.iter().filter(|row| row.verdict == Verdict::NotCompared).collect();
    assert!(skipped.len() == 1 && skipped[0].figure == "placements without faults, in order" && !skipped[0].notes.is_empty());
}
