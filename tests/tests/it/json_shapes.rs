//! The shapes of what `-o json` prints, pinned in a file, and compared with what the REST API answers about the same cluster: every field that
//! the command prints is there under the same name and with the same type.
//!
//! `FAULTLINE_UPDATE_GOLDEN=1` writes the file anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use faultline_tests::up::{Up, text};
use serde_json::{Map, Value, json};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("shapes.json")
}

/// Values become the names of their types; of a list, what its entries have in common stays: one entry that has all of their fields.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) => "bool".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "text".into(),
        Value::Array(items) => Value::Array(items.iter().map(shape).reduce(merge).into_iter().collect()),
        Value::Object(fields) => Value::Object(fields.iter().map(|(key, value)| (key.clone(), shape(value))).collect()),
    }
}

fn merge(one: Value, other: Value) -> Value {
    match (one, other) {
        (Value::Null, known) | (known, Value::Null) => known,
        (Value::Array(one), Value::Array(other)) => Value::Array(one.into_iter().chain(other).reduce(merge).into_iter().collect()),
        (Value::Object(mut one), Value::Object(other)) => {
            for (key, value) in other {
                let before = one.remove(&key).unwrap_or(Value::Null);
                one.insert(key, merge(before, value));
            }
            Value::Object(one)
        }
        (one, _) => one,
    }
}

/// What `other` lacks of `one`, or has with another type; what is null or an empty list in either says nothing.
fn missing(one: &Value, other: &Value, path: &str, found: &mut Vec<String>) {
    match (one, other) {
        (Value::Null, _) | (_, Value::Null) => {}
        (Value::Array(one), Value::Array(other)) => {
            if let (Some(one), Some(other)) = (one.first(), other.first()) {
                missing(one, other, &format!("{path}[]"), found);
            }
        }
        (Value::Object(one), Value::Object(other)) => {
            for (key, value) in one {
                match other.get(key) {
                    Some(same) => missing(value, same, &format!("{path}.{key}"), found),
                    None => found.push(format!("{path}.{key} is missing")),
                }
            }
        }
        (one, other) if one == other => {}
        (one, other) => found.push(format!("{path} is {one} here and {other} there")),
    }
}

fn assert_within(what: &str, one: &Value, other: &Value) {
    let mut found = Vec::new();
    missing(one, other, what, &mut found);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// One answer of the dashboard, which must be a success.
fn rest(port: u16, method: &str, path: &str, body: &str) -> Value {
    let (status, answer) = faultline_tests::rest::rest(port, method, path, body);
    assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
    answer
}

#[tokio::test]
async fn json_has_the_pinned_shapes_and_rest_has_the_same_fields() {
    // The generator answers what is set, and submits next to nothing.
    let up = Up::start_all_configured(2, &["--rate", "0.1"], "[generator]\nfirst_jobs = 0\nmix = \"sleep=1\"\n").await;
    let port = up.dashboard_port().await;
    let submitted = up.json(&["submit", "--kind", "sleep", "--duration", "50ms", "--count", "2", "--wait"]).expect("jobs commit");
    let id = submitted["jobs"][0]["id"].as_str().expect("an id").to_owned();
    let [long, other] = [(), ()].map(|()| {
        let submitted = up.json(&["submit", "--kind", "sleep", "--duration", "10m"]).expect("a job is taken");
        submitted["jobs"][0]["id"].as_str().expect("an id").to_owned()
    });
    let failed = up.faultline(&["submit", "--kind", "dream"]);
    assert_eq!(failed.status.code(), Some(2), "{}", text(&failed));
    assert!(text(&failed).contains("no node runs `dream` jobs; they run "), "{}", text(&failed));

    let commands: &[(&str, &[&str])] = &[
        ("jobs", &["jobs"]),
        ("job", &["job", &id]),
        ("explain", &["explain", &id]),
        ("would-fit", &["would-fit", "--gpus", "0.2", "--count", "3"]),
        ("resubmit", &["resubmit", &id]),
        ("nodes", &["nodes"]),
        ("node", &["node", "gpu-node-01"]),
        ("events", &["events", "--kind", "node_joined"]),
        ("rate set", &["rate", "set", "0.5"]),
        ("rate get", &["rate", "get"]),
        ("drain", &["drain", "gpu-node-02"]),
        ("undrain", &["undrain", "gpu-node-02"]),
        ("cancel", &["cancel", &long]),
        ("fault", &["fault", "gpu-node-02", "slow", "--for", "100ms"]),
        ("faults", &["faults"]),
        ("chaos ls", &["chaos", "ls"]),
        ("chaos metrics", &["chaos", "metrics"]),
        ("scenario ls", &["scenario", "ls"]),
        ("scenario check", &["scenario", "check", "partition"]),
        ("status", &["status"]),
        ("audit", &["audit"]),
        ("doctor", &["doctor"]),
        ("config show", &["config", "show"]),
        ("top --once", &["top", "--once"]),
    ];
    let mut shapes: BTreeMap<&str, Value> = BTreeMap::from([("submit --wait", shape(&submitted))]);
    for (name, args) in commands {
        let printed = up.json(args).unwrap_or_else(|| panic!("{name}: {}", text(&up.faultline(args))));
        shapes.insert(name, shape(&printed));
    }
    compare_with_rest(port, &id, &other, &shapes);

    let found = serde_json::to_value(&shapes).expect("JSON");
    if std::env::var_os("FAULTLINE_UPDATE_GOLDEN").is_some() {
        std::fs::write(golden(), format!("{}\n", serde_json::to_string_pretty(&found).expect("JSON"))).expect("the file is written");
    }
    let pinned: Value = serde_json::from_str(&std::fs::read_to_string(golden()).unwrap_or_else(|_| "{}".into())).expect("JSON");
    let names = |value: &Value| value.as_object().map(Map::len);
    assert_eq!(names(&pinned), names(&found), "FAULTLINE_UPDATE_GOLDEN=1 writes tests/shapes.json anew");
    assert_within("pinned", &pinned, &found);
    assert_within("printed", &found, &pinned);
}

/// Each pair: what the command prints, and where REST says the same.
fn compare_with_rest(port: u16, id: &str, to_cancel: &str, shapes: &BTreeMap<&str, Value>) {
    let get = |path: &str| rest(port, "GET", path, "");
    let first = |page: Value| json!([page["items"][0]]);
    let pairs = [
        ("jobs", first(get("jobs"))),
        ("job", get(&format!("jobs/{id}"))),
        ("explain", get(&format!("jobs/{id}/explain"))),
        ("would-fit", get("would-fit?gpus=0.2&count=3")),
        (
            "resubmit",
            json!({"open_seq": 1, "id": id, "resubmitted_from": rest(port, "POST", &format!("jobs/{id}/resubmit"), "")["resubmitted_from"]}),
        ),
        ("nodes", first(get("nodes"))),
        ("node", get("nodes/gpu-node-01")),
        ("events", first(get("events?kind=node_joined"))),
        ("rate set", rest(port, "PUT", "rate", r#"{"jobs_per_minute":0.5}"#)),
        ("rate get", get("rate")),
        ("drain", rest(port, "POST", "nodes/gpu-node-02/drain", r#"{"reason":"x"}"#)),
        ("undrain", rest(port, "POST", "nodes/gpu-node-02/undrain", "")),
        ("fault", rest(port, "POST", "nodes/gpu-node-02/fault", r#"{"kind":"slow","for_ms":100}"#)),
        ("cancel", json!([rest(port, "POST", &format!("jobs/{to_cancel}/cancel"), "")])),
    ];
    for (name, answer) in pairs {
        assert_within(name, &shapes[name], &shape(&answer));
    }
    assert_within("top --once: stats", &shapes["top --once"]["stats"], &shape(&get("stats")));
}
