//! Finds a nats-server binary that is new enough.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Major, minor and patch number of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

/// The oldest server that Faultline is made for.
pub const OLDEST: Version = Version(2, 12, 0);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Version {
    /// The version in `nats-server: v2.15.1`, `2.12.0-RC.1` and the like.
    pub fn parse(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(|word| {
            let word = word.strip_prefix('v').unwrap_or(word);
            let plain = word.split(['-', '+']).next()?;
            let mut numbers = plain.split('.').map(|number| number.parse().ok());
            let version = Self(numbers.next()??, numbers.next()??, numbers.next().unwrap_or(Some(0))?);
            numbers.next().is_none().then_some(version)
        })
    }
}

/// A binary that can be started.
#[derive(Debug, Clone)]
pub struct ServerBinary {
    pub path: PathBuf,
    pub version: Version,
}

const PINNED: &str = ".tools/nats/bin/nats-server";

/// The binary on PATH, else one that was installed beside this program, else the pinned one beside the current folder or the workspace.
pub fn nats_server() -> Result<ServerBinary, Error> {
    let mut too_old = Vec::new();
    for path in candidates() {
        match version_of(&path) {
            Some(version) if version >= OLDEST => return Ok(ServerBinary { path, version }),
            Some(version) => too_old.push(format!("{} is {version}", path.display())),
            None => too_old.push(format!("{} does not say its version", path.display())),
        }
    }
    let found = if too_old.is_empty() { String::new() } else { format!(" ({})", too_old.join(", ")) };
    Err(Error::Failed(anyhow::anyhow!(
        "no nats-server {OLDEST} or newer was found{found}. Do one of these:\n  \
         1. name a running server: FAULTLINE_NATS_URL=nats://host:4222, or --nats-url\n  \
         2. put nats-server on PATH: https://github.com/nats-io/nats-server/releases\n  \
         3. start with `./justw up`, which installs a pinned one into .tools/"
    )))
}

fn candidates() -> Vec<PathBuf> {
    let on_path = std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let here = std::env::current_dir().ok();
    let program = std::env::current_exe().ok();
    let beside = program.iter().filter_map(|program| program.parent().map(Path::to_owned));
    let workspace = program.iter().flat_map(|program| program.ancestors().skip(1).take(5).map(Path::to_owned));
    let pinned = here.into_iter().chain(workspace).map(|folder| folder.join(PINNED));
    let installed = on_path.chain(beside).map(|folder| folder.join("nats-server"));
    let mut found: Vec<PathBuf> = installed.chain(pinned).filter(|path| path.is_file()).collect();
    found.dedup();
    found
}

fn version_of(path: &Path) -> Option<Version> {
    let output = std::process::Command::new(path).arg("--version").output().ok()?;
    Version::parse(&String::from_utf8_lossy(&output.stdout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_servers_print_them() {
        assert_eq!(Version::parse("nats-server: v2.15.1\n"), Some(Version(2, 15, 1)));
        assert_eq!(Version::parse("2.12.0-RC.1"), Some(Version(2, 12, 0)));
        assert_eq!(Version::parse("nats-server: v2.12"), Some(Version(2, 12, 0)));
        assert_eq!(Version::parse("nats-server: unknown"), None);
        assert_eq!(Version::parse(""), None);
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(Version(2, 9, 25) < OLDEST);
        assert!(Version(2, 12, 0) >= OLDEST);
        assert!(Version(2, 100, 0) > Version(2, 15, 1));
        assert!(Version(3, 0, 0) > OLDEST);
    }
}
