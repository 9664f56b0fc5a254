//! A setting is asked for, in force, or refused with a reason, and no surface tells one for the other.

use std::process::{Command, Stdio};

use faultline_tests::http;
use faultline_tests::programs::program;
use faultline_tests::up::{Up, text};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Next to nothing is submitted: the settings are what counts.
const QUIET: &str = "[generator]\nfirst_jobs = 0\nmix = \"sleep=1\"\n";

async fn rest(up: &Up, path: &str) -> Value {
    let status = up.json(&["status"]).expect("it runs");
    let address = status["dashboard_url"].as_str().and_then(|url| url.strip_prefix("http://")?.parse().ok()).expect("an address");
    let (code, body) = http::get(address, path).await.expect("the dashboard answers");
    assert_eq!(code, 200, "{path}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

/// All services, and a generator that has taken its first rate.
async fn generating(args: &[&str]) -> Up {
    let up = Up::start_all_configured(1, &[&["--rate", "0.2"], args].concat(), QUIET).await;
    up.wait_until("the generator answers", async || up.json(&["rate", "get"]).is_some_and(|rate| rate["in_force_per_minute"] == 0.2)).await;
    up
}

#[tokio::test]
async fn a_rate_that_the_generator_refuses_is_not_told_as_set() {
    let up = generating(&[]).await;
    let set = up.json(&["rate", "set", "0.3"]).expect("the generator takes it");
    assert_eq!((&set["in_force_per_minute"], &set["refused"]), (&json!(0.3), &Value::Null));

    let refused = up.faultline(&["rate", "set", "2000", "--unbounded"]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    for part in ["the generator refused the rate", "2000 jobs a minute is outside 0.1 to 50", "--unbounded-rate"] {
        assert!(text(&refused).contains(part), "{}", text(&refused));
    }
    let told = up.faultline(&["rate", "get"]);
    assert!(
        text(&told).contains("2000 jobs a minute, set by cli") && text(&told).contains("the generator keeps to 0.3 jobs a minute"),
        "{}",
        text(&told)
    );
    let top = up.faultline(&["top", "--once"]);
    assert!(text(&top).contains("2000/min asked, 0.3/min in force"), "{}", text(&top));
    let page = rest(&up, "/api/v1/rate").await;
    assert_eq!((&page["jobs_per_minute"], &page["in_force_per_minute"]), (&json!(2000.0), &json!(0.3)));
    assert!(page["refused"].as_str().is_some_and(|reason| reason.contains("outside 0.1 to 50")), "{page}");

    let mix = up.json(&["mix", "set", "sleep=2"]).expect("the generator takes it");
    assert_eq!(mix["in_force"]["sleep"], 2.0);
}

#[tokio::test]
async fn a_load_follows_the_number_of_nodes_and_fills_them() {
    let up = Up::start_all_configured(2, &["--load", "60"], "[generator]\nmix = \"sleep=1\"\n").await;
    let rate_on = async |gpus: u64| {
        let rate = async || up.json(&["rate", "get"]).filter(|rate| rate["in_force_gpus"] == gpus);
        up.wait_until("the generator knows the cluster", async || rate().await.is_some()).await;
        rate().await.and_then(|rate| rate["in_force_per_minute"].as_f64()).expect("a rate")
    };
    let of_two = rate_on(16).await;
    assert!(of_two > 30.0, "{of_two} a minute on 16 GPUs");
    // What would run by then is there at once, and more than a quarter of the GPUs is taken however the jobs were drawn.
    let used_milli = async || up.json(&["top", "--once"]).and_then(|top| top["stats"]["gpu_used_milli"].as_u64()).unwrap_or(0);
    up.wait_until("the cluster is busy", async || used_milli().await > 4_000).await;

    assert!(up.faultline(&["scale", "workers", "3"]).status.success());
    let of_three = rate_on(24).await;
    assert!((of_three / of_two - 1.5).abs() < 0.02, "{of_two}, then {of_three}");
    let set = up.json(&["rate", "load", "30%"]).expect("the generator takes it");
    assert_eq!((&set["load_percent"], &set["in_force_load_percent"]), (&json!(30.0), &json!(30.0)));
    assert!((set["in_force_per_minute"].as_f64().unwrap_or(0.0) / of_three - 0.5).abs() < 0.02, "{set}");
    let told = text(&up.faultline(&["rate", "get"]));
    assert!(told.contains("a load of 30 %: ") && told.contains("on 24 GPUs, set by cli"), "{told}");
    let refused = up.faultline(&["rate", "load", "500"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    let set = up.json(&["rate", "set", "0.5"]).expect("the generator takes it");
    assert_eq!(
        (&set["load_percent"], &set["in_force_load_percent"], &set["in_force_per_minute"]),
        (&Value::Null, &Value::Null, &json!(0.5))
    );
}

#[tokio::test]
async fn what_the_help_offers_for_load_tests_works() {
    let up = generating(&["--unbounded-rate"]).await;
    let set = up.json(&["rate", "set", "60.5", "--unbounded"]).expect("the generator takes it");
    assert_eq!((&set["jobs_per_minute"], &set["in_force_per_minute"]), (&json!(60.5), &json!(60.5)));
    assert_eq!(rest(&up, "/api/v1/rate").await["in_force_per_minute"], 60.5);
}

#[tokio::test]
async fn without_a_generator_a_rate_is_stored_and_not_told_as_set() {
    let up = Up::start(1, &[]).await;
    let set = up.faultline(&["rate", "set", "5"]);
    assert_eq!(set.status.code(), Some(1), "{}", text(&set));
    assert!(text(&set).contains("no generator answered within 3 s: the rate is stored"), "{}", text(&set));
    let told = up.faultline(&["rate", "get"]);
    assert!(text(&told).contains("5 jobs a minute, set by cli") && text(&told).contains("no generator runs"), "{}", text(&told));
}

#[test]
fn up_refuses_settings_with_which_a_service_would_end_before_it_starts_anything() {
    let folder = TempDir::new().expect("a temporary folder");
    std::fs::write(folder.path().join("faultline.toml"), "[scheduler]\nterminal_ttl_s = 60\n[worker]\nslots = 0\n").expect("a file");
    let mut up = Command::new(program("faultline"));
    let refused = up.arg("up").env("NO_COLOR", "1").current_dir(folder.path()).stdin(Stdio::null()).output().expect("faultline starts");
    let said = text(&refused);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    for part in ["settings of [scheduler]", "terminal_ttl_s", "use 180 or more", "settings of [worker]", "slots"] {
        assert!(said.contains(part), "{part} is missing in: {said}");
    }
    assert!(!folder.path().join(".data").exists(), "nothing was started");
}
