//! `faultline up` and the commands beside it, with the real NATS server and stand-ins for the services: each is a script that
//! waits for the end of its standard input. Skipped, with a line that says so, where no nats-server binary is to be found.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Generous, for a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);
/// Has no settings, so that none of them is wrong.
const STAND_IN: &str = "#!/bin/sh\nif [ \"$1\" = --print-settings ]; then echo '[]'; exit; fi\nexec cat >/dev/null\n";
const SERVICES: [&str; 5] = ["generator", "scheduler", "worker", "fault-detector", "dashboard"];

/// Calls `look` until it finds something.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    #[allow(clippy::disallowed_methods, reason = "a limit for a real process, nothing is measured")]
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn nats_server_is_there() -> bool {
    let on_path = std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let found = on_path.chain([pinned_dir()]).any(|folder| folder.join("nats-server").is_file());
    if !found {
        println!("SKIPPED: no nats-server on PATH or in .tools");
    }
    found
}

fn pinned_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/nats/bin")
}

/// A folder for one cluster, and the `up` that runs in it.
struct Place {
    dir: tempfile::TempDir,
    ports: [u16; 2],
    up: Option<Child>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(up) = &mut self.up {
            let _ = up.kill();
            let _ = up.wait();
        }
    }
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for service in SERVICES {
            let path = dir.path().join(format!("faultline-{service}"));
            std::fs::write(&path, STAND_IN).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let listeners = [0, 0].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
        let ports = listeners.map(|listener| listener.local_addr().unwrap().port());
        Self { dir, ports, up: None }
    }

    fn faultline(&self, args: &[&str]) -> Command {
        let path = std::env::join_paths(
            std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>()).chain([pinned_dir()]),
        );
        let mut command = Command::new(env!("CARGO_BIN_EXE_faultline"));
        command.args(args).current_dir(self.dir.path()).env("PATH", path.unwrap()).env("FAULTLINE_BIN_DIR", self.dir.path());
        for variable in ["FAULTLINE_NATS_URL", "FAULTLINE_NKEY_FILE", "FAULTLINE_UP_DATA_DIR"] {
            command.env_remove(variable);
        }
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.faultline(args).output().unwrap()
    }

    fn up_args(&self) -> Vec<String> {
        let [nats, dashboard] = self.ports.map(|port| port.to_string());
        ["up", "--workers", "2", "--nats-port", &nats, "--dashboard-port", &dashboard].map(String::from).into()
    }

    fn start(&mut self) {
        let args = self.up_args();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let log = std::fs::File::create(self.dir.path().join("up.log")).unwrap();
        self.up = Some(self.faultline(&args).stderr(log).spawn().unwrap());
        wait_for("all processes run", || {
            let pids = self.pids();
            (pids.len() == 8).then_some(pids)
        });
    }

    fn status(&self) -> Option<Value> {
        let output = self.run(&["status", "-o", "json"]);
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    /// Process by name, of those that run.
    fn pids(&self) -> std::collections::BTreeMap<String, i32> {
        let Some(status) = self.status() else { return Default::default() };
        let services = status["services"].as_array().unwrap().iter();
        services
            .filter_map(|service| Some((service["name"].as_str()?.to_owned(), i32::try_from(service["pid"].as_i64()?).unwrap())))
            .collect()
    }

    fn up_pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(self.up.as_ref().unwrap())
    }

    fn wait_for_up(&mut self) -> std::process::ExitStatus {
        let up = self.up.as_mut().unwrap();
        wait_for("`up` ends", || up.try_wait().unwrap())
    }
}

/// Children lead process groups of their own, so this also sees what they had started.
fn wait_until_gone(pids: impl IntoIterator<Item = i32>) {
    for pid in pids {
        let group = rustix::process::Pid::from_raw(pid).unwrap();
        wait_for("a process group ends", || rustix::process::test_kill_process_group(group).is_err().then_some(()));
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn runs_scales_restarts_and_stops_without_a_trace() {
    if !nats_server_is_there() {
        return;
    }
    let mut place = Place::new();
    place.start();
    let status = place.status().unwrap();
    assert_eq!(status["nats_reachable"], true);
    assert!(status["counts"]["jobs_open"].is_null(), "a stand-in leads nothing, so there is no leader to count: {status}");

    let args = place.up_args();
    let second = place.run(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(second.status.code(), Some(1));
    assert!(stderr(&second).contains("already runs on the data folder"), "{}", stderr(&second));

    assert!(place.run(&["scale", "workers", "4"]).status.success());
    assert!(place.pids().contains_key("worker-04") || wait_for("worker-04", || place.pids().remove("worker-04")) > 0);
    // One that is frozen hears that it shall stop when it goes on, not after the 35 s that a stuck one gets.
    assert!(place.run(&["kill", "worker-04", "--signal", "stop"]).status.success());
    #[allow(clippy::disallowed_methods, reason = "a limit for a real process, nothing is measured")]
    let asked = Instant::now();
    assert!(place.run(&["scale", "workers", "1"]).status.success());
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    assert!(!place.pids().contains_key("worker-02"));

    let before = place.pids();
    for name in ["nats", "worker-01"] {
        assert!(place.run(&["kill", name]).status.success());
        wait_for("a killed process comes back", || place.pids().get(name).is_some_and(|pid| *pid != before[name]).then_some(()));
    }
    assert_eq!(place.run(&["kill", "nobody"]).status.code(), Some(4));
    wait_for("NATS answers again", || (place.status()?["nats_reachable"] == true).then_some(()));

    let pids = place.pids();
    let down = place.run(&["down"]);
    assert!(down.status.success(), "{}", stderr(&down));
    assert!(place.wait_for_up().success());
    wait_until_gone(pids.into_values());
    assert_eq!(place.run(&["status"]).status.code(), Some(4));
    assert!(place.run(&["down"]).status.success());
}

#[test]
fn a_kill_9_leaves_no_process_and_the_next_up_runs_on_the_same_data() {
    if !nats_server_is_there() {
        return;
    }
    let mut place = Place::new();
    place.start();
    let pids = place.pids();
    rustix::process::kill_process(place.up_pid(), rustix::process::Signal::KILL).unwrap();
    assert!(!place.wait_for_up().success());
    // At once: the ports may still be held by children that are about to notice.
    place.start();
    wait_until_gone(pids.into_values());
    rustix::process::kill_process(place.up_pid(), rustix::process::Signal::INT).unwrap();
    assert!(place.wait_for_up().success());
}

#[test]
fn a_port_in_use_is_named_with_its_flag_before_anything_starts() {
    if !nats_server_is_there() {
        return;
    }
    let place = Place::new();
    let holder = TcpListener::bind(("127.0.0.1", place.ports[1])).unwrap();
    let args = place.up_args();
    let refused = place.run(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    assert!(said.contains(&place.ports[1].to_string()) && said.contains("--dashboard-port"), "{said}");
    assert!(!place.dir.path().join(".data/jetstream").exists());
    drop(holder);
}

#[test]
fn every_service_has_a_link_that_can_be_broken_and_what_was_done_is_in_the_history() {
    if !nats_server_is_there() {
        return;
    }
    let mut place = Place::new();
    place.start();
    let links = |place: &Place| -> Vec<Value> {
        let output = place.run(&["link", "-o", "json"]);
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let of = |place: &Place, name: &str| links(place).into_iter().find(|link| link["service"] == name);
    let names: Vec<Value> = links(&place).into_iter().map(|link| link["service"].clone()).collect();
    let wanted = ["dashboard", "fault-detector", "generator", "scheduler-1", "scheduler-2", "worker-01", "worker-02"];
    assert_eq!(names, wanted, "NATS itself has none");

    assert!(place.run(&["link", "worker-01,all-schedulers", "stall"]).status.success());
    assert!(place.run(&["link", "worker-01", "delay", "50ms"]).status.success());
    let broken = of(&place, "worker-01").unwrap();
    assert_eq!((&broken["conditions"]["state"], &broken["conditions"]["delay_ms"]), (&"stalled".into(), &50.into()));
    assert_eq!(of(&place, "worker-02").unwrap()["conditions"]["state"], "open");
    let pid = place.pids()["worker-01"];
    assert!(place.run(&["kill", "worker-01"]).status.success());
    wait_for("another process", || place.pids().get("worker-01").is_some_and(|now| *now != pid).then_some(()));
    assert_eq!(of(&place, "worker-01").unwrap()["address"], broken["address"], "it comes back to the link that it had");
    assert!(place.run(&["link", "worker-01", "heal"]).status.success());

    for (args, code, word) in [
        (&["link", "nats", "stall"][..], 4, "worker-02"),
        (&["link", "worker-01", "loss", "100%"], 2, "loss_percent"),
        (&["link", "worker-01", "limit", "fast"], 2, "100KiB/s"),
    ] {
        let refused = place.run(args);
        assert_eq!(refused.status.code(), Some(code), "{args:?}");
        assert!(stderr(&refused).contains(word), "{args:?}: {}", stderr(&refused));
    }

    let faults = || {
        let output = place.run(&["events", "--limit", "50", "-o", "json"]);
        let events: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        // The kill above is in the history, too.
        let of_link = |event: &Value| event["fault"]["target"] == "worker-01" && event["fault"]["depth"] == "network";
        let of_worker = events.into_iter().filter(of_link);
        of_worker.map(|event| (event["kind"].as_str().unwrap().to_owned(), event["fault"].clone())).collect::<Vec<_>>()
    };
    let mut faults = wait_for("the history of the link", || Some(faults()).filter(|faults| faults.len() == 4));
    faults.sort_by_key(|(kind, fault)| (fault["id"].as_str().unwrap().to_owned(), kind.clone()));
    let kinds: Vec<&str> = faults.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["fault_began", "fault_ended", "fault_began", "fault_ended"]);
    for pair in faults.chunks(2) {
        assert_eq!((&pair[0].1["kind"], &pair[0].1["depth"]), (&"partition".into(), &"network".into()));
        assert!(pair[1].1["until_ms"].as_u64() >= pair[0].1["from_ms"].as_u64());
    }

    assert!(place.run(&["scale", "workers", "1"]).status.success());
    assert!(of(&place, "worker-02").is_none(), "its link went with it");
}
