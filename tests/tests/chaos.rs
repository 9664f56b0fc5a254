//! Two minutes of the chaos suite: see `faultline_tests::chaos`. The same by hand, and longer: `just chaos --minutes 5`.

use std::process::{Command, Stdio};

use faultline_tests::cluster::program;

#[test]
fn two_minutes_of_chaos_lose_nothing_and_commit_nothing_twice() {
    let run = Command::new(program("chaos")).args(["--minutes", "2"]).stdin(Stdio::null()).output().expect("the chaos suite starts");
    let (line, log) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "the chaos suite failed ({}):\n{log}\n{line}", run.status);
    let figures: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
    assert_eq!(
        (figures["lost"].as_u64(), figures["twice"].as_u64(), figures["violations"].as_u64()),
        (Some(0), Some(0), Some(0)),
        "{line}"
    );
    assert!(figures["jobs"].as_u64() >= Some(8_000) && figures["kills"].as_u64() >= Some(12), "{line}");
    println!("{log}");
}
