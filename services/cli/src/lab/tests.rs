use std::path::{Path, PathBuf};

use faultline_runtime::config::Color;

use super::*;
use crate::output::Format;

const SMALL: &str = r#"
title = "Small"
[[cluster.nodes]]
count = 4
gpus = 4
[workload.generator]
jobs = 40
load = 0.8
[policy.best-fit]
[policy.first-fit]
[run]
seeds = "1..2"
[expect]
that = ["goodput.best-fit > 1 %"]
"#;

fn written(folder: &Path, text: &str) -> String {
    let path = folder.join("small.toml");
    std::fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

/// As if typed behind `faultline lab`.
async fn lab(words: &[&str]) -> Result<(), Failure> {
    let command = LabCommand::augment_subcommands(clap::Command::new("lab"));
    let matches = command.try_get_matches_from(std::iter::once(&"lab").chain(words)).unwrap();
    let command = <LabCommand as clap::FromArgMatches>::from_arg_matches(&matches).unwrap();
    run(&Output::new(Format::Table, Color::Never), &command).await
}

fn code(result: Result<(), Failure>) -> u8 {
    result.map_or_else(|failure| failure.code(), |()| 0)
}

#[tokio::test]
async fn a_run_leaves_a_folder_from_which_its_report_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let (experiment, out) = (written(folder.path(), SMALL), folder.path().join("made").to_string_lossy().into_owned());
    lab(&["run", &experiment, "--out", &out, "--jobs", "2"]).await.unwrap();
    let mut files: Vec<PathBuf> = std::fs::read_dir(&out).unwrap().map(|file| file.unwrap().file_name().into()).collect();
    files.sort();
    let expected = ["attempts.csv", "compare.csv", "faults.csv", "jobs.csv", "manifest.json", "report.html", "summary.csv", "usage.csv"];
    assert_eq!(files, expected.map(PathBuf::from));
    let report = Path::new(&out).join("report.html");
    let first = std::fs::read(&report).unwrap();
    std::fs::remove_file(&report).unwrap();
    lab(&["report", &out]).await.unwrap();
    assert_eq!(std::fs::read(&report).unwrap(), first);
    std::fs::write(Path::new(&out).join("jobs.csv"), "policy\n").unwrap();
    let failure = lab(&["report", &out]).await.unwrap_err();
    assert!(failure.code() == 2 && failure.to_string().contains("jobs.csv differs from what the manifest says"), "{failure}");
}

#[tokio::test]
async fn exit_codes_tell_results_from_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("made").to_string_lossy().into_owned();
    let fails = written(folder.path(), &SMALL.replace("> 1 %", "> 99 %"));
    let failure = lab(&["run", &fails, "--out", &out]).await.unwrap_err();
    assert!(failure.code() == 5 && failure.to_string() == "failed expectations: goodput.best-fit > 99 %", "{failure}");
    let wrong = written(folder.path(), &SMALL.replace("load = 0.8", "load = -1.0\nlooad = 2"));
    let failure = lab(&["check", &wrong]).await.unwrap_err();
    assert!(
        failure.code() == 2 && failure.to_string().contains("small.toml: line 9: workload.generator.looad: unknown field"),
        "{failure}"
    );
    assert_eq!(code(lab(&["run", "no-such-experiment"]).await), 2);
    assert_eq!(code(lab(&["report", "/no/such/folder"]).await), 2);
    assert_eq!(code(lab(&["repro", "hbd", "--traces", "/no/such/folder"]).await), 2);
    assert_eq!(code(lab(&["repro", "nothing"]).await), 2);
    assert_eq!(code(lab(&["import", "/no/such/jobs.csv"]).await), 2);
    assert_eq!(code(lab(&["replay-decisions", "/no/such/recording"]).await), 2);
    for (flag, value, twice) in
        [("--policies", "fgd,fgd", "fgd"), ("--policies", "fgd+sjf,fgd,fgd+sjf", "fgd+sjf"), ("--tie", "first,first", "first")]
    {
        let others = if flag == "--tie" { ["--policies", "fgd"] } else { ["--tie", "first"] };
        let failure =
            lab(&[["compare", "--trace", "t.csv", "--gpu-nodes", "2", flag, value].as_slice(), &others].concat()).await.unwrap_err();
        let expected = format!("{flag} has {twice} twice, and a policy differs from itself by nothing: leave one out");
        assert_eq!((failure.code(), failure.to_string()), (2, expected));
    }
    assert_eq!(code(lab(&["presets", "nothing"]).await), 2);
    for fine in [["check", "llama3"].as_slice(), &["presets"], &["presets", "spares"], &["policies"], &["formats"]] {
        assert_eq!(code(lab(fine).await), 0, "{fine:?}");
    }
}

/// A trace from a folder beside the experiment, and nodes and jobs from flags.
#[tokio::test]
async fn traces_are_looked_for_beside_the_experiment_and_compared_from_flags() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..30).map(|at| format!("{},{},2\n", at * 60, 600 + at * 30)).collect();
    std::fs::write(folder.path().join("jobs.csv"), format!("timestamp,duration,num_gpus\n{rows}")).unwrap();
    let text = SMALL.replace("[workload.generator]\njobs = 40\nload = 0.8", "[workload]\nfile = \"jobs.csv\"");
    let experiment = written(folder.path(), &text);
    lab(&["check", &experiment]).await.unwrap();
    let trace = folder.path().join("jobs.csv").to_string_lossy().into_owned();
    lab(&["import", &trace, "--gpus", "16"]).await.unwrap();
    let out = folder.path().join("made").to_string_lossy().into_owned();
    lab(&["compare", "--trace", &trace, "--gpu-nodes", "2", "--policies", "best-fit+sjf,random", "--seeds", "1..2", "--out", &out])
        .await
        .unwrap();
    let manifest = std::fs::read_to_string(Path::new(&out).join("manifest.json")).unwrap();
    assert!(manifest.contains("best-fit+sjf+random") && manifest.contains("30 of 30 rows used"), "{manifest}");
    let missing = written(folder.path(), &text.replace("jobs.csv", "gone.csv"));
    let failure = lab(&["check", &missing]).await.unwrap_err().to_string();
    assert!(failure.ends_with("workload.file: gone.csv cannot be read: the file does not exist; check the path"), "{failure}");
}

/// Cut in the middle of a line, a recording replays up to there, and is not called the same.
#[tokio::test]
async fn a_recording_that_was_cut_is_not_called_the_same() {
    use faultline_engine::scheduler::flight::{Entry, Header, VERSION};
    use faultline_engine::scheduler::{Call, PolicyName, SchedulerConfig};
    let folder = tempfile::tempdir().unwrap();
    let config = SchedulerConfig::default();
    let header = Header {
        version: VERSION,
        scheduler: "scheduler-1".into(),
        policy: PolicyName::Random,
        seed: 1,
        epoch: 3,
        began_ms: 0,
        program: None,
        config,
    };
    let entry = Entry { at_ms: 5, call: Call::Advance { cluster_ms: 1_000 }, decided: Vec::new() };
    let lines = [serde_json::to_string(&header).unwrap(), serde_json::to_string(&entry).unwrap(), serde_json::to_string(&entry).unwrap()];
    let whole = lines.map(|line| line + "\n").concat();
    let path = folder.path().join("scheduler-1-3-1.jsonl");
    let name = path.to_string_lossy().into_owned();
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(code(lab(&["replay-decisions", &name]).await), 0);
    std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    let failure = lab(&["replay-decisions", &name]).await.unwrap_err();
    assert!(failure.code() == 5 && failure.to_string().contains("the recording ends in the middle of a line"), "{failure}");
}

/// Today's policy and another on a trace: as it was, and over days that are drawn from it.
#[tokio::test]
async fn a_trace_is_replayed_with_todays_policy_and_with_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let rows: String = (0..160u64)
        .map(|job| format!("{},{},{},16000\n", job * 4_500, 3_000 + job % 7 * 9_000, if job % 5 == 0 { 8_000 } else { 2_000 }))
        .collect();
    std::fs::write(path("jobs.csv"), format!("submit_s,duration_s,gpu_milli,cpu_milli\n{rows}")).unwrap();
    std::fs::write(path("nodes.csv"), "name,gpus\na,8\nb,8\n").unwrap();
    let cluster = "[cluster]\nfile = \"nodes.csv\"\n[policy.today]\nplacement = \"best-fit\"\nblocking = \"strict\"\n[policy.never]\norder = \"sjf\"\n";
    std::fs::write(path("cluster.toml"), cluster).unwrap();
    let replay = |cluster: String, more: &[&str]| {
        let words: Vec<String> = ["replay", &path("jobs.csv"), "--cluster", &cluster, "--out", &path("made")].map(str::to_owned).into();
        words.into_iter().chain(more.iter().map(|word| (*word).to_owned())).collect::<Vec<String>>()
    };
    let run = async |words: Vec<String>| lab(&words.iter().map(String::as_str).collect::<Vec<_>>()).await;
    run(replay(path("cluster.toml"), &["--what-if", "easy,sjf+easy"])).await.unwrap();
    let manifest = |name: &str| std::fs::read_to_string(folder.path().join(name).join("manifest.json")).unwrap();
    let (as_it_was, days) = (manifest("made"), manifest("made/days"));
    assert_eq!(
        (as_it_was.matches("\"seed\": ").count(), days.matches("\"seed\": ").count()),
        (3, 30),
        "one run each, and ten of drawn days"
    );
    assert!(as_it_was.contains("sjf+easy") && !as_it_was.contains("never"), "{as_it_was}");
    assert!(days.contains("resample = \\\"days\\\"") && as_it_was.contains("resample = \\\"off\\\""));
    // Nodes as a table, and what the live scheduler does as today's policy.
    run(replay(path("nodes.csv"), &["--what-if", "easy", "--once"])).await.unwrap();
    let wrong = async |cluster: String, more: &[&str]| run(replay(cluster, more)).await.unwrap_err();
    let unknown = wrong(path("cluster.toml"), &["--what-if", "faster"]).await;
    assert!(
        unknown.code() == 2 && unknown.to_string().starts_with("--what-if: unexpected `faster`: name a policy of the cluster's file"),
        "{unknown}"
    );
    assert!(wrong(path("cluster.toml"), &["--what-if", "today"]).await.to_string().contains("is today's policy"));
    std::fs::write(path("wrong.toml"), cluster.replace("\"strict\"", "\"strictly\"")).unwrap();
    let line = wrong(path("wrong.toml"), &["--what-if", "easy"]).await.to_string();
    assert!(line.contains("wrong.toml: line 5: policy.today.blocking: "), "{line}");
    std::fs::write(path("wrong.toml"), format!("{cluster}[workload]\nfile = \"other.csv\"\n")).unwrap();
    assert!(
        wrong(path("wrong.toml"), &["--what-if", "easy"])
            .await
            .to_string()
            .ends_with("`workload` is what the flags say: take it out of the cluster's file")
    );
}
