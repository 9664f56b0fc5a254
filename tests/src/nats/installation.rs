//! The accounts, users and keys of a real installation, as `faultline nats-config` writes them. A client without a key is the
//! administrator, so that a test can do what it needs; the services have their own keys.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::programs::program;

/// A configuration and the folder with its keys.
#[derive(Debug)]
pub struct Installation {
    folder: TempDir,
    config: String,
}

impl Installation {
    /// # Panics
    /// When `faultline` is not built, or does not write what is expected of it.
    pub(super) fn write() -> Installation {
        let folder = TempDir::new().expect("a temporary folder");
        let written = Command::new(program("faultline"))
            .args(["nats-config", "--store-dir", "/data", "--out"])
            .arg(folder.path())
            .output()
            .expect("faultline starts");
        assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
        let config = std::fs::read_to_string(String::from_utf8_lossy(&written.stdout).trim()).expect("the configuration is there");
        assert!(config.contains("\"/data/jetstream\""), "the test server puts its data elsewhere:\n{config}");
        let admin = config.split("  ADMIN {").nth(1).and_then(|account| account.split("nkey: ").nth(1));
        let admin = admin.and_then(|rest| rest.split_whitespace().next()).expect("the administrator has a key");
        let config = format!("{}\nno_auth_user: {admin}\n", config.replace("\"/data/jetstream\"", "\"/data\""));
        Installation { folder, config }
    }

    pub(super) fn config(&self) -> &str {
        &self.config
    }

    /// Where `nkeys` lies, as in the data folder of `faultline up`.
    pub fn data_dir(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The file with a user's key.
    pub fn key(&self, user: &str) -> PathBuf {
        self.folder.path().join("nkeys").join(format!("{user}.nk"))
    }
}
