//! Variables of the environment as a source of settings. One that is misspelled, or that cannot be read, must not be passed over in
//! silence: it is refused as an unknown key of a file is.

use std::ffi::OsString;

/// What all settings begin with.
const PREFIX: &str = "FAULTLINE_";
/// The sections of the other programs: each program looks at its own.
const SECTIONS: [&str; 6] = ["UP_", "GENERATOR_", "SCHEDULER_", "WORKER_", "FAULT_DETECTOR_", "DASHBOARD_"];
/// Variables that are not settings of a program: of the tests and scripts, and of the composed cluster in `docker`.
const OTHERS: [&str; 8] = ["TEST_", "WEB", "CHROMIUM", "BIN_DIR", "BINARIES", "HARNESS_", "WRITE_", "UPDATE_"];
const COMPOSED: [&str; 19] = [
    "TAG",
    "GPUS",
    "FAULTS",
    "POLICY",
    "SEED",
    "DETECTOR",
    "IMAGES",
    "DASHBOARD_PORT",
    "PROMETHEUS_PORT",
    "GRAFANA_PORT",
    "NATS_IMAGE",
    "NATS_CONF",
    "NATS_HOSTS",
    "NATS_REPLICAS",
    "BASE_IMAGE",
    "BUILDER_IMAGE",
    "NODE_IMAGE",
    "PROMETHEUS_IMAGE",
    "GRAFANA_IMAGE",
];
/// How many letters may be wrong for a name to be taken for another one, and one in how many at most.
const MAX_SLIPS: usize = 3;
const LETTERS_A_SLIP: usize = 3;

/// A variable as the process has it.
pub(super) type Variable = (OsString, OsString);

/// The value of a variable; empty is how shells and compose files write one that is not set.
pub(super) fn value(name: &str) -> Result<Option<String>, String> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err("the value is not valid UTF-8".to_owned()),
    }
}

/// The mistakes in the variables of one section (`UP`), or without a section in those that every program reads. `known` are the full names.
pub(super) fn unknown(section: Option<&str>, known: &[String], variables: impl Iterator<Item = Variable>) -> Vec<String> {
    let names = meant(section, known, variables).into_iter();
    names.filter_map(|name| mistake(section.is_some(), &name, known)).collect()
}

/// Variables of no section that look like settings, and that nothing reads: they may be meant for another program, and deserve a warning.
pub(super) fn unheeded(known: &[String], variables: impl Iterator<Item = Variable>) -> Vec<String> {
    meant(None, known, variables).into_iter().filter(|name| nearest(name, known).is_none()).collect()
}

fn meant(section: Option<&str>, known: &[String], variables: impl Iterator<Item = Variable>) -> Vec<String> {
    let named = variables.filter(|(_, value)| !value.is_empty()).filter_map(|(name, _)| name.into_string().ok());
    let mut names: Vec<String> = named.filter(|name| is_meant(section, name) && !known.contains(name)).collect();
    names.sort();
    names
}

fn is_meant(section: Option<&str>, name: &str) -> bool {
    let Some(key) = name.strip_prefix(PREFIX) else { return false };
    if COMPOSED.contains(&key) {
        return false;
    }
    match section {
        Some(section) => key.strip_prefix(section).is_some_and(|rest| rest.starts_with('_')),
        None => ![SECTIONS.as_slice(), &OTHERS].concat().iter().any(|other| key.starts_with(other)),
    }
}

/// In a section every unknown name is wrong. Of the others, another program may read some: those that look like a
/// slip of the pen are.
fn mistake(in_section: bool, name: &str, known: &[String]) -> Option<String> {
    match nearest(name, known) {
        Some(near) => Some(format!("unknown setting {name}: did you mean {near}? (environment {name})")),
        None if in_section => Some(format!("unknown setting {name}: `faultline config show` lists all settings (environment {name})")),
        None => None,
    }
}

fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let key = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
    let most = (key(name).chars().count() / LETTERS_A_SLIP).min(MAX_SLIPS);
    let distances = known.iter().map(|other| (distance(&key(name), &key(other)), other.as_str()));
    distances.min().filter(|(slips, _)| *slips <= most).map(|(_, other)| other)
}

/// How many letters have to be put in, left out or changed to make one of the other.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, a) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, b) in right.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn known(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn wrong(section: Option<&str>, known_names: &[&str], names: &[&str]) -> Vec<String> {
        unknown(section, &known(known_names), names.iter().map(|name| (OsString::from(name), OsString::from("3"))))
    }

    #[test]
    fn a_misspelled_setting_is_named_with_what_was_meant() {
        let found = wrong(Some("UP"), &["FAULTLINE_UP_WORKERS", "FAULTLINE_UP_RATE"], &["FAULTLINE_UP_WORKERZ", "FAULTLINE_UP_RATE"]);
        assert_eq!(found, ["unknown setting FAULTLINE_UP_WORKERZ: did you mean FAULTLINE_UP_WORKERS? (environment FAULTLINE_UP_WORKERZ)"]);
        let found = wrong(Some("UP"), &["FAULTLINE_UP_WORKERS"], &["FAULTLINE_UP_SOMETHING_ELSE"]);
        assert!(found[0].contains("`faultline config show` lists"), "{found:?}");
        let found = wrong(None, &["FAULTLINE_NATS_URL", "FAULTLINE_LOG_LEVEL"], &["FAULTLINE_NATS_URI", "FAULTLINE_LOGLEVEL"]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("did you mean FAULTLINE_LOG_LEVEL?") && found[1].contains("did you mean FAULTLINE_NATS_URL?"));
    }

    #[test]
    fn what_others_set_is_left_alone() {
        let common = ["FAULTLINE_NATS_URL", "FAULTLINE_UTC", "FAULTLINE_COLOR"];
        let theirs = [
            "FAULTLINE_TEST_NATS",
            "FAULTLINE_WEB",
            "FAULTLINE_BIN_DIR",
            "FAULTLINE_TAG",
            "FAULTLINE_NATS_IMAGE",
            "FAULTLINE_UP_WORKERZ",
            "FAULTLINE_WORKER_SLOTZ",
            "FAULTLINE_OF_A_FRIEND",
            "PATH",
        ];
        assert_eq!(wrong(None, &common, &theirs), Vec::<String>::new());
        assert_eq!(wrong(Some("DASHBOARD"), &["FAULTLINE_DASHBOARD_BIND"], &["FAULTLINE_DASHBOARD_PORT"]), Vec::<String>::new());
        assert_eq!(wrong(Some("WORKER"), &[], &["FAULTLINE_WORKERS"]), Vec::<String>::new(), "of no section");
        let variables = theirs.iter().map(|name| (OsString::from(name), OsString::from("3")));
        assert_eq!(unheeded(&known(&common), variables), ["FAULTLINE_OF_A_FRIEND"]);
    }

    #[test]
    fn an_empty_variable_is_not_set_and_a_name_that_is_no_text_is_no_name_of_ours() {
        let variables = [
            (OsString::from("FAULTLINE_UP_WORKERZ"), OsString::new()),
            (OsString::from_vec(b"FAULTLINE_UP_\xff".to_vec()), OsString::from("1")),
        ];
        assert_eq!(unknown(Some("UP"), &[], variables.into_iter()), Vec::<String>::new());
    }

    #[test]
    fn slips_are_counted() {
        for (left, right, slips) in
            [("", "", 0), ("abc", "abc", 0), ("abc", "abx", 1), ("abc", "ac", 1), ("ab", "abc", 1), ("abcd", "badc", 3)]
        {
            assert_eq!(distance(left, right), slips, "{left} {right}");
        }
    }
}
