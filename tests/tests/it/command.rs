//! The command as a person uses it: `doctor`, `top`, `config`, `completions`, `man`, on a cluster of its own or without any.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use async_nats::jetstream;
use faultline_protocol::streams;
use faultline_tests::cluster::program;
use faultline_tests::nats::free_port;
use faultline_tests::up::{Up, text};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// `faultline ARGS` in a folder where nothing runs.
fn faultline(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(program("faultline"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FAULTLINE_")) {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1").current_dir(folder).args(args).stdin(Stdio::null()).output().expect("faultline starts")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(output)))
}

/// `doctor`'s finding of one check: its status, and what it found.
fn finding(report: &Value, check: &str) -> (String, String) {
    let checks = report["checks"].as_array().expect("checks");
    let found = checks.iter().find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("no check {check} in {report}"));
    let word = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    assert!(!matches!(word("status").as_str(), "fail" | "warn") || !word("remedy").is_empty(), "no remedy: {found}");
    (word("status"), word("found"))
}

/// `faultline ARGS | head` that has ended already.
fn without_reader(folder: &Path, args: &[&str]) -> Option<i32> {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = Command::new(program("faultline"));
    let status =
        command.env("NO_COLOR", "1").current_dir(folder).args(args).stdin(Stdio::null()).stdout(writer).stderr(Stdio::null()).status();
    status.expect("faultline starts").code()
}

#[test]
fn a_check_that_fails_says_so_also_when_nobody_reads_its_output() {
    let folder = TempDir::new().unwrap();
    let port = free_port().to_string();
    let url = format!("nats://127.0.0.1:{port}");
    let doctor = ["doctor", "--nats-url", &url];
    let read = faultline(folder.path(), &doctor).status.code();
    assert!(read.is_some_and(|code| code > 0), "no NATS is there: {read:?}");
    assert_eq!(without_reader(folder.path(), &doctor), read);
    assert_eq!(without_reader(folder.path(), &["faults"]), Some(0));
}

#[tokio::test]
async fn doctor_finds_nothing_wrong_and_then_names_whatever_is_broken() {
    let up = Up::start(2, &[]).await;
    let doctor = |more: &[&str]| {
        let output = up.faultline(&[&["doctor", "-o", "json"], more].concat());
        (output.status.code(), json(&output))
    };
    let (code, report) = doctor(&[]);
    assert_eq!((code, &report["ok"]), (Some(0), &Value::Bool(true)), "{report:#}");
    for check in ["settings", "programs", "keys", "data folder", "nats", "nats-server", "ports", "server version"] {
        assert_eq!(finding(&report, check).0, "ok", "{report:#}");
    }
    for check in ["accounts", "jetstream", "clock", "streams"] {
        assert_eq!(finding(&report, check).0, "ok", "{report:#}");
    }
    assert!(finding(&report, "leader").1.contains("2 of 2 nodes alive"), "{report:#}");
    assert!(finding(&report, "services").1.contains("2 worker"), "{report:#}");

    // Another server's key: everything that needs no NATS is still looked at.
    let other = TempDir::new().unwrap();
    assert!(faultline(other.path(), &["nats-config"]).status.success());
    let key = other.path().join("nats/nkeys/cli.nk").display().to_string();
    let (code, report) = doctor(&["--nkey-file", &key]);
    assert_eq!((code, finding(&report, "nats").0.as_str()), (Some(3), "fail"), "{report:#}");
    assert_eq!((finding(&report, "streams").0.as_str(), finding(&report, "data folder").0.as_str()), ("skip", "ok"));

    // Changed by hand: a consumer is gone, and EVENTS forgets sooner.
    let jetstream = jetstream::new(up.admin().await);
    let mut events = jetstream.get_stream(streams::EVENTS).await.unwrap().cached_info().config.clone();
    events.max_age = Duration::from_secs(1800);
    jetstream.update_stream(&events).await.unwrap();
    let (code, report) = doctor(&[]);
    let (status, found) = finding(&report, "streams");
    assert_eq!((code, status.as_str(), found.as_str()), (Some(5), "fail", "stream EVENTS: max_age is 30 min, needed is 1 h"));
    events.max_age = Duration::from_secs(3600);
    jetstream.update_stream(&events).await.unwrap();
    // `up` puts a consumer back by itself, on a busy machine before doctor has looked.
    let jobs = jetstream.get_stream(streams::JOBS).await.unwrap();
    let (mut code, mut report) = (Some(0), Value::Null);
    for _ in 0..5 {
        jobs.delete_consumer("sched-low").await.unwrap();
        (code, report) = doctor(&[]);
        if code == Some(5) {
            break;
        }
    }
    assert_eq!((code, finding(&report, "streams")), (Some(5), ("fail".into(), "missing: consumer JOBS/sched-low".into())));
    assert!(up.faultline(&["setup"]).status.success(), "setup puts it back");

    // No scheduler leads.
    for name in ["scheduler-1", "scheduler-2"] {
        assert!(up.faultline(&["kill", name, "--signal", "stop"]).status.success());
    }
    sleep(Duration::from_secs(3)).await;
    let (code, report) = doctor(&[]);
    assert_eq!((code, finding(&report, "leader").0.as_str()), (Some(5), "fail"), "{report:#}");
    for name in ["scheduler-1", "scheduler-2"] {
        assert!(up.faultline(&["kill", name, "--signal", "cont"]).status.success());
    }
}

#[test]
fn without_a_server_doctor_says_so_and_looks_at_all_the_rest() {
    let folder = TempDir::new().unwrap();
    let url = format!("nats://me:secret@127.0.0.1:{}", free_port());
    let output = faultline(folder.path(), &["doctor", "-o", "json", "--nats-url", &url]);
    let report = json(&output);
    assert_eq!((output.status.code(), finding(&report, "nats").0.as_str()), (Some(3), "fail"));
    assert!(!text(&output).contains("secret"), "{}", text(&output));
    assert_eq!((finding(&report, "data folder").0.as_str(), finding(&report, "leader").0.as_str()), ("ok", "skip"));
    // Settings that cannot be read are one finding among others.
    std::fs::write(folder.path().join("faultline.toml"), "[up]\nworker_number = 3\n").unwrap();
    let report = json(&faultline(folder.path(), &["doctor", "-o", "json", "--nats-url", &url]));
    assert!(matches!(finding(&report, "settings"), (status, found) if status == "fail" && found.contains("worker_number")));
}

#[tokio::test]
async fn top_shows_one_picture_for_scripts_and_gives_the_terminal_back() {
    let up = Up::start(2, &[]).await;
    let refused = up.faultline(&["top"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused).contains("--once"), "{}", text(&refused));
    let picture = text(&up.faultline(&["top", "--once"]));
    for part in ["scheduler-", "2 alive", "gpu-node-01", "gpu-node-02", "worker-02"] {
        assert!(picture.contains(part), "{part} is missing in\n{picture}");
    }
    assert!(!picture.contains('\x1b'), "{picture:?}");
    let figures = up.json(&["top", "--once"]).expect("JSON");
    assert_eq!((figures["stats"]["nodes_alive"].as_u64(), figures["nodes"].as_array().map(Vec::len)), (Some(2), Some(2)));

    for signal in ["-TERM", "-QUIT", "-HUP"] {
        gives_the_terminal_back(&up, signal).await;
    }
}

/// In a terminal made by script(1): a signal ends it in order.
async fn gives_the_terminal_back(up: &Up, signal: &str) {
    let out = up.folder().join(format!("screen{signal}"));
    let shell = format!("stty rows 24 cols 80; echo $$ >pid; exec {} top", program("faultline").display());
    let mut terminal = match Command::new("script")
        .args(["-qefc", &shell, &out.display().to_string()])
        .current_dir(up.folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
    {
        Ok(terminal) => terminal,
        Err(error) => return println!("SKIPPED: no script(1) here, {error}"),
    };
    let screen = || String::from_utf8_lossy(&std::fs::read(&out).unwrap_or_default()).into_owned();
    up.wait_until("top draws", async || screen().contains("gpu-node-02")).await;
    let pid = std::fs::read_to_string(up.folder().join("pid")).unwrap();
    assert!(Command::new("kill").args([signal, pid.trim()]).status().unwrap().success());
    let deadline = Instant::now() + Duration::from_secs(10);
    let status = loop {
        match terminal.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() > deadline => panic!("top does not end on {signal}: {}", screen()),
            None => sleep(Duration::from_millis(50)).await,
        }
    };
    let shown = screen();
    assert!(status.success(), "{signal}: {status}: {shown}");
    let (on, off) = (shown.find("\x1b[?1049h"), shown.rfind("\x1b[?1049l"));
    assert!(on.is_some() && on < off, "{signal}: the first screen is back: {shown:?}");
}

/// The id of a job that is submitted with these flags.
fn submit(up: &Up, flags: &[&str]) -> String {
    let done = up.json(&[&["submit"], flags].concat()).unwrap_or_else(|| panic!("{flags:?} is not taken"));
    done["jobs"][0]["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn what_was_submitted_is_shown_in_every_state_and_can_be_submitted_again() {
    let up = Up::start(1, &[]).await;
    // The built-in kind itself takes no parameters but its own.
    let tag = ["--param-text", "tag=42", "--param", "build=007", "--max-retries", "5"];
    let ended = submit(&up, &[&["--kind", "sleep:tagged", "--duration", "10ms", "--wait"], &tag[..]].concat());
    let whole_node = [&["--kind", "sleep:tagged", "--duration", "10m", "--gpus", "8"], &tag[..]].concat();
    let (running, waiting) = (submit(&up, &whole_node), submit(&up, &whole_node));
    let job = |id: &str| up.json(&["job", id]).unwrap_or_else(|| panic!("{}", text(&up.faultline(&["job", id]))));
    let assert_told = |id: &str, state: &str| {
        let job = job(id);
        let told = &job["submission"];
        assert_eq!(
            (&job["state"], &told["params"]["tag"], &told["params"]["build"]),
            (&state.into(), &"42".into(), &"007".into()),
            "{job:#}"
        );
        assert_eq!((&told["max_retries"], &told["timeout_ms"].is_u64()), (&5.into(), &true), "{job:#}");
        assert_eq!(job["demand"], told["demand"]);
        assert!(told["origin"]["by"].as_str().unwrap().starts_with("command, user "), "{job:#}");
    };
    up.wait_until("the first of them runs", async || job(&running)["state"] == "running").await;
    for (id, state) in [(&ended, "committed"), (&running, "running"), (&waiting, "queued")] {
        assert_told(id, state);
        let shown = text(&up.faultline(&["job", &id[id.len() - 9..]]));
        for part in ["submitted by  command, user ", "build=\"007\", ", "tag=\"42\"", "5 retries", id.as_str()] {
            assert!(shown.contains(part), "{part} is missing in\n{shown}");
        }
    }

    let again = up.json(&["resubmit", &waiting[waiting.len() - 10..], "--priority", "urgent"]).expect("it is taken");
    let second = again["id"].as_str().unwrap().to_owned();
    assert_eq!((&again["resubmitted_from"], &job(&second)["priority"]), (&waiting.as_str().into(), &"urgent".into()));
    assert_eq!(job(&second)["submission"]["origin"]["resubmitted_from"], waiting.as_str());
    assert_eq!(job(&second)["submission"]["params"], job(&waiting)["submission"]["params"]);

    // Before a leader has pulled it, its message in the queue tells.
    for name in ["scheduler-1", "scheduler-2"] {
        assert!(up.faultline(&["kill", name, "--signal", "stop"]).status.success());
    }
    let unpulled = submit(&up, &whole_node);
    assert_told(&unpulled, "queued");
    for name in ["scheduler-1", "scheduler-2"] {
        assert!(up.faultline(&["kill", name, "--signal", "cont"]).status.success());
    }
    up.wait_until("it is cancelled", async || up.faultline(&["cancel", &unpulled[unpulled.len() - 9..]]).status.success()).await;
    assert_told(&unpulled, "cancelled");

    let unknown = up.faultline(&["job", "ZZZZZZZZZ"]);
    assert_eq!(unknown.status.code(), Some(4));
    assert!(text(&unknown).contains("begins or ends with ZZZZZZZZZ"), "{}", text(&unknown));
    let refused = up.faultline(&["submit", "--kind", "sleep", "--param", "id=99999999999999999999"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused).contains("--param") && text(&refused).contains("--param-text id=99999999999999999999"), "{}", text(&refused));
    let misspelt = up.faultline(&["submit", "--kind", "matrix", "--param", "sizes=5"]);
    assert_eq!(misspelt.status.code(), Some(2));
    assert!(text(&misspelt).contains("--param: unknown parameter `sizes` of a matrix job: use size, seed, hold_ms"), "{}", text(&misspelt));
    let doubted = up.faultline(&["submit", "--kind", "sleep", "--model", "H200"]);
    assert_eq!(doubted.status.code(), Some(0));
    assert!(text(&doubted).contains("warning: --model: no node has the GPU model H200; there are "), "{}", text(&doubted));
}

/// The example's lines, each as a setting: those that show a default, and those that show an example.
fn example() -> (String, Vec<(String, String)>) {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/faultline.toml.example")).unwrap();
    let (mut defaults, mut keys, mut section) = (String::new(), Vec::new(), String::new());
    for line in text.lines() {
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            section = header.0.to_owned();
            defaults.push_str(&format!("[{section}]\n"));
        }
        let Some((key, rest)) = line.strip_prefix("# ").and_then(|line| line.split_once(" = ")) else { continue };
        if key.contains(' ') {
            continue;
        }
        keys.push((section.clone(), key.to_owned()));
        if !rest.split_once('#').is_some_and(|(_, comment)| comment.trim().starts_with("example")) {
            defaults.push_str(&format!("{key} = {rest}\n"));
        }
    }
    (defaults, keys)
}

#[test]
fn the_example_settings_are_the_defaults_and_name_every_key() {
    let folder = TempDir::new().unwrap();
    let shown = |args: &[&str]| {
        let output = faultline(folder.path(), &[&["config", "show", "-o", "json"], args].concat());
        assert!(output.status.success(), "{}", text(&output));
        json(&output).as_array().expect("rows").clone()
    };
    let (defaults, keys) = example();
    std::fs::write(folder.path().join("example.toml"), &defaults).unwrap();
    let (without, with) = (shown(&[]), shown(&["--config", "example.toml"]));
    let full_key = |row: &Value| format!("{}.{}", row["section"].as_str().unwrap(), row["key"].as_str().unwrap());
    let mut listed: Vec<String> = keys.iter().map(|(section, key)| format!("{section}.{key}")).collect();
    let mut known: Vec<String> = without.iter().map(full_key).collect();
    listed.sort();
    known.sort();
    assert_eq!(listed, known, "faultline.toml.example names every key there is");
    for (one, other) in without.iter().zip(&with) {
        assert_eq!((full_key(one), &one["value"]), (full_key(other), &other["value"]), "the example's value is the default");
        assert_eq!(one["from"], "default");
    }
    assert!(with.iter().filter(|row| row["from"] == "file").count() > 60, "{with:?}");
    assert!(faultline(folder.path(), &["config", "check", "example.toml"]).status.success());
}

#[test]
fn settings_say_where_they_come_from_and_mistakes_are_named() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("faultline.toml"), "[worker]\nslots = 7\n[common]\nnats_url = \"nats://me:secret@h:1\"\n").unwrap();
    let shown = text(&faultline(folder.path(), &["config", "show", "--origin", "--color", "never"]));
    for line in ["worker          slots                       7", "file faultline.toml", "flag"] {
        assert!(shown.contains(line), "{line} is missing in\n{shown}");
    }
    assert!(!shown.contains("secret") && shown.contains("nats://***@h:1"), "{shown}");
    std::fs::write(folder.path().join("bad.toml"), "[worker]\nslots = 0\n[dashboard]\nprot = 1\n[grid]\n").unwrap();
    let refused = faultline(folder.path(), &["config", "check", "bad.toml"]);
    assert_eq!(refused.status.code(), Some(2));
    for part in ["worker.slots", "prot", "unknown section [grid]", "3 mistakes"] {
        assert!(text(&refused).contains(part), "{part} is missing in {}", text(&refused));
    }
}

#[test]
fn a_variable_that_is_misspelled_or_no_text_is_refused_as_a_key_of_a_file_is() {
    use std::os::unix::ffi::OsStrExt;
    let folder = TempDir::new().unwrap();
    let config_show = |name: &str, value: &[u8]| {
        let mut command = Command::new(program("faultline"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FAULTLINE_")) {
            command.env_remove(name);
        }
        command.env(name, std::ffi::OsStr::from_bytes(value)).current_dir(folder.path());
        let output = command.args(["config", "show"]).stdin(Stdio::null()).output().expect("faultline starts");
        (output.status.code(), text(&output))
    };
    for (name, value, part) in [
        ("FAULTLINE_UP_WORKERZ", &b"3"[..], "unknown setting FAULTLINE_UP_WORKERZ: did you mean FAULTLINE_UP_WORKERS?"),
        ("FAULTLINE_WORKER_SLOTZ", b"3", "did you mean FAULTLINE_WORKER_SLOTS?"),
        ("FAULTLINE_NATS_URI", b"nats://h:1", "did you mean FAULTLINE_NATS_URL?"),
        ("FAULTLINE_UP_WORKERS", b"\xff3", "workers: the value is not valid UTF-8 (environment FAULTLINE_UP_WORKERS)"),
    ] {
        let (code, said) = config_show(name, value);
        assert!(code == Some(2) && said.contains(part), "{name}: {code:?}: {said}");
    }
    assert_eq!(config_show("FAULTLINE_UP_WORKERS", b"3").0, Some(0));
    assert_eq!(config_show("FAULTLINE_TEST_NATS", b"process").0, Some(0));
}

#[test]
fn a_settings_file_may_be_a_pipe() {
    let folder = TempDir::new().unwrap();
    let piped = |args: &[&str], settings: &str| {
        let (program, args) = (program("faultline").display().to_string(), args.join(" "));
        let script = format!("printf '{settings}' | {program} {args}");
        Command::new("sh").args(["-c", &script]).current_dir(folder.path()).env("FAULTLINE_NATS_URL", "").output().unwrap()
    };
    let shown = text(&piped(&["config", "show", "--config", "/dev/stdin"], "[up]\\nworkers = 3\\n[worker]\\nslots = 7\\n"));
    for line in ["up              workers                     3", "worker          slots                       7"] {
        assert!(shown.contains(line), "{line} is missing in\n{shown}");
    }
    let refused = text(&piped(&["config", "check", "/dev/stdin"], "[worker]\\nslotz = 7\\n"));
    assert!(refused.contains("1 mistake") && refused.contains("slotz"), "{refused}");
    let folder_given = faultline(folder.path(), &["config", "show", "--config", "/"]);
    assert!(folder_given.status.code() == Some(2) && text(&folder_given).contains("/ cannot be read"), "{}", text(&folder_given));
}

#[test]
fn a_file_with_which_no_program_starts_is_not_fine() {
    let folder = TempDir::new().unwrap();
    let check = |content: &str| {
        std::fs::write(folder.path().join("x.toml"), content).unwrap();
        let output = faultline(folder.path(), &["config", "check", "x.toml"]);
        assert_eq!(output.status.code(), Some(2), "{content}: {}", text(&output));
        text(&output)
    };
    for (content, part) in [
        ("[common]\nnats_url = \"http://x\"\n", "unsupported scheme `http`"),
        ("[common]\ntls_cert_file = \"cert.pem\"\n", "tls_key_file must name"),
        ("[dashboard]\nbind = \"0.0.0.0\"\n", "--token-file"),
        ("[dashboard]\ntoken_file = \"no/such\"\n", "the token file no/such cannot be read"),
        ("[scheduler.engine]\naging_ms = 1e99\n", "engine.aging_ms: "),
        ("[worker]\nfaults = \"x\"\n", "faults: unknown value `x`, expected one of `classroom`"),
    ] {
        let said = check(content);
        assert!(said.contains(part) && said.contains("1 mistake:"), "{part} is missing in {said}");
    }
    let said = check("[common]\nlog_format = \"xml\"\n[worker]\nslots = \"many\"\nbogus = 1\nadmin_bind = \"9100\"\n");
    for part in ["4 mistakes", "[common]: log_format: ", "[worker]: slots: ", "[worker]: bogus: ", "[worker]: admin_bind: "] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
    assert!(check(&format!("[worker]\nname = \"{}\"\n", "x".repeat(1 << 20))).len() < 2000);
    assert!(check(&format!("x = {}\n", "y".repeat(1 << 20))).len() < 2000);
}

/// Runs a checker if this machine has it; says so if not.
fn has(program: &str) -> bool {
    let there = Command::new(program).arg("--version").stdin(Stdio::null()).output().is_ok();
    if !there {
        println!("SKIPPED: no {program} here");
    }
    there
}

#[test]
fn shells_take_the_completions() {
    let folder = TempDir::new().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = faultline(folder.path(), &["completions", shell]);
        assert!(script.status.success() && String::from_utf8_lossy(&script.stdout).contains("undrain"), "{shell}: {}", text(&script));
        // A value that is not a path: bash would list the folder.
        if shell == "bash" {
            let script = String::from_utf8_lossy(&script.stdout);
            let offered = |flag: &str| {
                script.split(&format!("                {flag})")).nth(1).map(|rest| rest[..rest.find(";;").unwrap()].to_owned())
            };
            assert!(!offered("--kind").unwrap().contains("compgen -f"), "{script}");
            assert!(offered("--data-dir").unwrap().contains("compgen -f"), "{script}");
        }
        if ["bash", "zsh", "fish"].contains(&shell) && has(shell) {
            let file = folder.path().join(shell);
            std::fs::write(&file, &script.stdout).unwrap();
            let checked = Command::new(shell).arg("-n").arg(&file).output().unwrap();
            assert!(checked.status.success() && checked.stderr.is_empty(), "{shell}: {}", text(&checked));
        }
    }
}

#[test]
fn every_command_has_a_manual_page_that_renders_without_warnings() {
    let folder = TempDir::new().unwrap();
    let written = faultline(folder.path(), &["man", "--out", "pages"]);
    assert!(written.status.success(), "{}", text(&written));
    let pages: Vec<_> = std::fs::read_dir(folder.path().join("pages")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let page = std::fs::read_to_string(folder.path().join("pages/faultline-scenario-run.1")).expect("a page of a command below another");
    assert!(page.contains(".SH EXAMPLES\n.nf\n  faultline scenario run rack"), "{page}");
    assert!(!pages.iter().any(|page| page.to_string_lossy().contains("guard")), "what is hidden has none");
    let main = faultline(folder.path(), &["man"]).stdout;
    assert_eq!(main, std::fs::read(folder.path().join("pages/faultline.1")).unwrap());
    if has("groff") {
        for page in &pages {
            let rendered = Command::new("groff").args(["-man", "-Tutf8", "-ww", "-b"]).arg(page).output().unwrap();
            assert!(
                rendered.status.success() && rendered.stderr.is_empty(),
                "{}: {}",
                page.display(),
                String::from_utf8_lossy(&rendered.stderr)
            );
        }
    }
    assert!(pages.len() > 40, "{} pages", pages.len());
}

#[tokio::test]
async fn a_new_leader_tells_the_counts_of_the_one_before() {
    let up = Up::start(1, &[]).await;
    up.json(&["submit", "--kind", "sleep", "--duration", "50ms", "--count", "5", "--wait"]).expect("jobs commit");
    let committed = || up.json(&["status"]).and_then(|status| status["counts"]["jobs_committed"].as_u64());
    up.wait_until("the ledger has the jobs", async || committed() == Some(5)).await;
    let epoch = || up.json(&["top", "--once"]).map(|top| (top["stats"]["epoch"].clone(), top["stats"]["leader"].clone()));
    let before = epoch().expect("a leader answers");
    assert!(up.faultline(&["kill", before.1.as_str().expect("a name")]).status.success());
    up.wait_until("another term has begun", async || epoch().is_some_and(|now| now.0 != before.0)).await;
    up.wait_until("it tells the counts of before", async || committed() == Some(5)).await;
}
