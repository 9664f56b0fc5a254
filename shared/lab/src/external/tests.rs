//! Programs that answer, and programs that do not.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use faultline_engine::goodput::Class;
use faultline_planner::{DispatchSettings, PolicyName, TaskClass};

use super::*;
use crate::cluster::{Cluster, NodeModel};
use crate::faults::{Detector, Faults};
use crate::setup::Setup;
use crate::workload::{Job, Workload};

/// Jobs of one to eight GPUs on four nodes that fail.
fn setup() -> Setup {
    let classes = [1, 2, 4, 8].map(|gpus| TaskClass { gpus, gpu_milli: 1000, ..TaskClass::default() });
    let job = |number: u64| {
        let work_ms = 300_000 + number * 7_919 % 600_000;
        Job { preemptible: false, ..Job::new(number * 60_000, (number % 4) as u32, work_ms) }
    };
    let workload = Workload {
        jobs: (0..300).map(job).collect(),
        classes: classes.to_vec(),
        queues: vec!["q".into()],
        users: vec!["u".into()],
        names: Vec::new(),
    };
    let mut setup = Setup::new(Cluster::uniform(4, &NodeModel::eight_gpus("H100"), 4, 4), workload, DispatchSettings::default());
    setup.faults = Faults { detector: Detector::PhiAccrual, ..Faults::constant(2.0, 600_000) };
    setup
}

fn with(command: &str) -> Result<crate::outcome::Outcome, crate::InvalidSetup> {
    let mut command: Command = command.parse().unwrap();
    command.answer_within = Duration::from_secs(5);
    crate::run(&Setup { program: Some(command), ..setup() })
}

/// A program in a file of its own.
fn script(text: &str) -> (PathBuf, String) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let name = format!("faultline-policy-{}-{}.py", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
    let command = format!("exec:python3 {}", path.display());
    (path, command)
}

fn failure_of(text: &str) -> String {
    let (path, command) = script(text);
    let error = with(&command).unwrap_err().to_string();
    std::fs::remove_file(&path).unwrap();
    error.replace(&path.display().to_string(), "POLICY")
}

const LOOP: &str = "import json, sys\nfor line in sys.stdin:\n    said = json.loads(line)\n    if said['type'] == 'ask':\n        ";

#[test]
fn the_example_of_the_documentation_decides_as_least_loaded_does() {
    let example = concat!("exec:python3 ", env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/emptiest_node.py");
    let outcome = with(example).unwrap();
    assert_eq!(outcome.violations, []);
    assert!(outcome.faults.len() > 2 && outcome.totals.is_exact(), "{} faults", outcome.faults.len());
    // Jobs ask for GPUs only, so the largest free part is that of the GPUs.
    let mut native = setup();
    native.dispatch.placement.policy = PolicyName::LeastLoaded;
    let native = crate::run(&native).unwrap();
    assert_eq!(outcome.hash, native.hash);
    assert_eq!(outcome.totals.of(Class::Productive), native.totals.of(Class::Productive));
    let mut other = setup();
    other.dispatch.placement.policy = PolicyName::BestFit;
    assert_ne!(crate::run(&other).unwrap().hash, outcome.hash, "it makes a difference");
}

#[test]
fn the_documentation_shows_the_example_as_it_is() {
    let page = include_str!("../../../../docs/policies.md");
    let example = include_str!("../../../../docs/examples/emptiest_node.py");
    assert!(page.contains(example.trim_end()), "docs/policies.md differs from docs/examples/emptiest_node.py");
}

#[test]
fn a_program_may_choose_gpus_and_let_tasks_wait() {
    // It waits with every other question while three nodes or more have room, and otherwise takes the last GPUs that are free.
    let text = format!(
        "{}{}{}{}",
        "import json, sys\ngpus = {}\nfor line in sys.stdin:\n    said = json.loads(line)\n",
        "    for node in said.get('nodes', [said] if said['type'] == 'node' else []):\n        gpus[node['node']] = [gpu['free_milli'] for gpu in node['gpus']]\n",
        "    if said['type'] == 'ask':\n        node = said['fits'][-1]\n        wait = len(said['fits']) > 2 and said['id'] % 2 == 0\n",
        "        free = [at for at, milli in enumerate(gpus[node]) if milli == 1000][-said['task']['gpus']:]\n        print(json.dumps({'id': said['id'], 'node': None if wait else node, 'gpus': free}), flush=True)\n",
    );
    let (path, command) = script(&text);
    let outcome = with(&command).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(outcome.violations, []);
    assert!(outcome.jobs.iter().all(|row| row.end_ms.is_some()));
}

#[test]
fn what_a_program_does_wrong_is_said() {
    let bad = |statement: &str| failure_of(&format!("{LOOP}{statement}\n"));
    assert_eq!(
        bad("print('first', flush=True)"),
        "the policy `python3 POLICY` failed: invalid answer `first`: expected ident at line 1 column 2; answer such as {\"id\": 1, \"node\": 0}"
    );
    assert_eq!(
        bad("print(json.dumps({'id': 7, 'node': 0}), flush=True)"),
        "the policy `python3 POLICY` failed: answer `{\"id\": 7, \"node\": 0}` has the id 7 and not 1; answer each `ask` once, with its id"
    );
    assert_eq!(
        bad("print(json.dumps({'id': said['id'], 'node': 77}), flush=True)"),
        "the policy `python3 POLICY` failed: node 77 was chosen for a task that does not fit there: choose one of `fits`"
    );
    assert!(bad("print(json.dumps({'id': 1, 'nod': 0}), flush=True)").contains("unknown field `nod`"));
    assert!(bad("sys.stdout.buffer.write(b'\\xff\\n'); sys.stdout.flush()").contains("in UTF-8"));
    let ended = bad("sys.exit(3)");
    assert!(
        ended.ends_with("(exit status: 3); see what it wrote on standard error, and let it read until the end of its input"),
        "{ended}"
    );
}

#[test]
fn a_program_that_does_not_answer_is_given_up() {
    let (path, command) = script(&format!("{LOOP}pass\n"));
    let mut command: Command = command.parse().unwrap();
    command.answer_within = Duration::from_millis(300);
    let error = crate::run(&Setup { program: Some(command), ..setup() }).unwrap_err().to_string();
    std::fs::remove_file(&path).unwrap();
    let expected = "no answer to question 1 within 0.3 s; answer each `ask` with one line, and flush standard output after it";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let error = with("exec:no-such-policy --fast").unwrap_err().to_string();
    assert!(error.starts_with("cannot start the policy `no-such-policy --fast`: No such file or directory"), "{error}");
    for text in ["exec:", "exec:  ", "fgd"] {
        let error = text.parse::<Command>().unwrap_err().to_string();
        assert_eq!(error, format!("`{text}` names no program: write `exec:` and the command, such as `exec:python3 my_policy.py`"));
    }
    assert_eq!("exec: python3  a.py".parse::<Command>().unwrap().to_string(), "exec:python3 a.py");
}
