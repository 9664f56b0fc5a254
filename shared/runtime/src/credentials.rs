//! What a process proves itself with: the seed of its NATS user, and the certificates of a TLS connection. Secrets that others could
//! read or change are refused, and every error names the setting that it is about and what helps.

use std::path::{Path, PathBuf};

use async_nats::ConnectOptions;

use crate::config::Common;
use crate::shell;

/// Why a file with credentials cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{setting} ({path}): {reason}")]
pub struct CredentialError {
    /// The key in `[common]`; the flag is the same with dashes.
    pub setting: &'static str,
    pub path: String,
    pub reason: String,
}

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// The connection's options with all credentials that are named.
pub(crate) fn apply(mut options: ConnectOptions, common: &Common) -> Result<ConnectOptions, CredentialError> {
    if let Some(path) = &common.nkey_file {
        options = options.nkey(seed("nkey_file", path)?);
    }
    if let Some(path) = &common.tls_ca_file {
        pem("tls_ca_file", path, &read("tls_ca_file", path)?, CERTIFICATE)?;
        options = options.add_root_certificates(path.clone());
    }
    match (&common.tls_cert_file, &common.tls_key_file) {
        (Some(cert), Some(key)) => {
            pem("tls_cert_file", cert, &read("tls_cert_file", cert)?, CERTIFICATE)?;
            pem("tls_key_file", key, &read_secret("tls_key_file", key)?, "PRIVATE KEY-----")?;
            options = options.add_client_certificate(cert.clone(), key.clone());
        }
        (Some(cert), None) => return Err(alone("tls_cert_file", cert, "tls_key_file", "its private key")),
        (None, Some(key)) => return Err(alone("tls_key_file", key, "tls_cert_file", "the certificate of this key")),
        (None, None) => {}
    }
    // With certificates in the settings, a connection must not be unencrypted because a server offers no TLS.
    Ok(if common.names_tls() { options.require_tls(true) } else { options })
}

/// Everything that [`apply`] would refuse, one after the other.
pub(crate) fn problems(common: &Common) -> Vec<String> {
    let Common { nkey_file, tls_ca_file, tls_cert_file, tls_key_file, .. } = common.clone();
    let parts = [
        Common { nkey_file, ..Common::default() },
        Common { tls_ca_file, ..Common::default() },
        Common { tls_cert_file, tls_key_file, ..Common::default() },
    ];
    let refused = parts.iter().filter_map(|part| apply(ConnectOptions::new(), part).err());
    refused.map(|error| error.to_string()).collect()
}

fn alone(setting: &'static str, path: &Path, other: &str, what: &str) -> CredentialError {
    failed(setting, path, format!("{other} must name {what}, too"))
}

fn failed(setting: &'static str, path: &Path, reason: impl Into<String>) -> CredentialError {
    CredentialError { setting, path: path.display().to_string(), reason: reason.into() }
}

fn seed(setting: &'static str, path: &Path) -> Result<String, CredentialError> {
    let text = read_secret(setting, path)?;
    let seed = text.trim();
    // Never say what is in there instead: it may be another secret.
    let is_seed = seed.starts_with("SU") && seed.len() == 58 && seed.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    if !is_seed {
        return Err(failed(
            setting,
            path,
            "it holds no seed of a user's nkey: 58 letters and digits that begin with SU. `faultline nats-config` makes some",
        ));
    }
    Ok(seed.to_owned())
}

fn read(setting: &'static str, path: &Path) -> Result<String, CredentialError> {
    let bytes = std::fs::read(path).map_err(|error| failed(setting, path, format!("it cannot be read: {error}")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads a file that only its owner may read. A group may read it, since that is how containers share keys.
fn read_secret(setting: &'static str, path: &Path) -> Result<String, CredentialError> {
    check_mode(setting, path)?;
    read(setting, path)
}

/// Refuses a file with a secret that others than its owner, and at most its group, can read.
#[cfg(unix)]
pub fn check_mode(setting: &'static str, path: &Path) -> Result<(), CredentialError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = std::fs::metadata(path).map_err(|error| failed(setting, path, format!("it cannot be read: {error}")))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o027 != 0 {
        let reason = format!("others may read or change this secret (mode {mode:04o}): chmod 600 {}", shell::word(path));
        return Err(failed(setting, path, reason));
    }
    Ok(())
}

#[cfg(not(unix))]
pub fn check_mode(_: &'static str, _: &Path) -> Result<(), CredentialError> {
    Ok(())
}

fn pem(setting: &'static str, path: &Path, text: &str, begins: &str) -> Result<(), CredentialError> {
    if text.contains(begins) {
        return Ok(());
    }
    Err(failed(setting, path, format!("it holds no PEM block `{begins}`")))
}

impl Common {
    /// Whether any certificate is named.
    pub fn names_tls(&self) -> bool {
        self.tls_files().next().is_some()
    }

    /// The flags and files of the certificates that are named, for a child's command line.
    pub fn tls_files(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let named =
            [("--tls-ca-file", &self.tls_ca_file), ("--tls-cert-file", &self.tls_cert_file), ("--tls-key-file", &self.tls_key_file)];
        named.into_iter().filter_map(|(flag, file)| Some((flag, file.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const SEED: &str = "SUAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\n";

    fn file(dir: &tempfile::TempDir, name: &str, text: &str, mode: u32) -> Option<PathBuf> {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        Some(path)
    }

    fn refusal(common: &Common) -> String {
        apply(ConnectOptions::new(), common).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_secret_that_others_may_read_or_change_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (mode, is_fine) in [(0o600, true), (0o400, true), (0o440, true), (0o644, false), (0o604, false), (0o660, false), (0o602, false)]
        {
            let common = Common { nkey_file: file(&dir, "user.nk", SEED, mode), ..Common::default() };
            let applied = apply(ConnectOptions::new(), &common).map(|_| ());
            assert_eq!(applied.is_ok(), is_fine, "{mode:o}: {applied:?}");
            if let Err(error) = applied {
                let text = error.to_string();
                assert!(text.contains("nkey_file") && text.contains("chmod 600") && !text.contains(SEED), "{text}");
            }
        }
        let (cert, key) = (file(&dir, "cert.pem", CERTIFICATE, 0o644), file(&dir, "key.pem", KEY, 0o644));
        assert!(refusal(&Common { tls_cert_file: cert, tls_key_file: key, ..Common::default() }).starts_with("tls_key_file ("));
    }

    #[test]
    fn a_file_that_is_missing_or_something_else_is_named_with_its_setting() {
        let dir = tempfile::tempdir().unwrap();
        let cert = file(&dir, "cert.pem", CERTIFICATE, 0o644);
        let key = file(&dir, "key.pem", KEY, 0o600);
        let nothing = Some(dir.path().join("nothing.pem"));
        let other = file(&dir, "other", "something else", 0o600);
        let with = Common::default;
        for (common, words) in [
            (Common { nkey_file: nothing.clone(), ..with() }, ["nkey_file", "cannot be read"]),
            (Common { nkey_file: other.clone(), ..with() }, ["nkey_file", "holds no seed"]),
            (Common { tls_ca_file: nothing.clone(), ..with() }, ["tls_ca_file", "cannot be read"]),
            (Common { tls_ca_file: key.clone(), ..with() }, ["tls_ca_file", "BEGIN CERTIFICATE"]),
            (Common { tls_cert_file: cert.clone(), ..with() }, ["tls_cert_file", "tls_key_file must name"]),
            (Common { tls_key_file: key.clone(), ..with() }, ["tls_key_file", "tls_cert_file must name"]),
            (Common { tls_cert_file: cert.clone(), tls_key_file: nothing, ..with() }, ["tls_key_file", "cannot be read"]),
            (Common { tls_cert_file: cert.clone(), tls_key_file: other.clone(), ..with() }, ["tls_key_file", "PRIVATE KEY"]),
            (Common { tls_cert_file: other, tls_key_file: key.clone(), ..with() }, ["tls_cert_file", "BEGIN CERTIFICATE"]),
        ] {
            let text = refusal(&common);
            assert!(words.iter().all(|word| text.contains(word)), "{words:?}: {text}");
        }
        let bad = Common { nkey_file: Some(dir.path().join("nothing.nk")), tls_cert_file: cert.clone(), ..with() };
        assert!(matches!(&problems(&bad)[..], [one, other] if one.contains("nkey_file") && other.contains("tls_key_file must name")));
        let right = Common { tls_ca_file: cert.clone(), tls_cert_file: cert, tls_key_file: key, ..with() };
        assert!(apply(ConnectOptions::new(), &right).is_ok() && right.names_tls() && !with().names_tls());
    }
}
