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
    assert_eq!(code(lab(&["presets", "nothing"]).await), 2);
    for fine in [["check", "llama3"].as_slice(), &["presets"], &["presets", "spares"], &["policies"]] {
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
