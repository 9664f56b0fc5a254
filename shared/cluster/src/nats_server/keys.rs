//! The users' nkeys: made once, seeds in files that only their owner reads, public keys in the server's configuration.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use faultline_runtime::clock::random_u128;
use faultline_runtime::credentials;
use nkeys::KeyPair;

/// Where `user`'s seed is kept under a data folder.
pub fn seed_path(data_dir: &Path, user: &str) -> PathBuf {
    data_dir.join("nkeys").join(format!("{user}.nk"))
}

/// The public key of each user; keys that are missing are made.
pub fn ensure<'a>(users: impl Iterator<Item = &'a str>, seed_path: impl Fn(&str) -> PathBuf) -> anyhow::Result<BTreeMap<String, String>> {
    let ensure_one = |user: &str| {
        let path = seed_path(user);
        path.parent().map_or(Ok(()), private_dir)?;
        Ok((user.to_owned(), public_key(&path)?))
    };
    users.map(ensure_one).collect()
}

/// A secret of 256 random bits in hexadecimal digits: the one in the file, or a new one.
pub fn ensure_secret(path: &Path) -> anyhow::Result<String> {
    match std::fs::read_to_string(path) {
        Ok(secret) => Ok(secret.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let secret = format!("{:032x}{:032x}", random_u128(), random_u128());
            write_private(path, &format!("{secret}\n"))?;
            Ok(secret)
        }
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

fn public_key(path: &Path) -> anyhow::Result<String> {
    match std::fs::read_to_string(path) {
        Ok(seed) => {
            credentials::check_mode("nkey", path)?;
            let pair = KeyPair::from_seed(seed.trim());
            let pair = pair.map_err(|error| {
                anyhow::anyhow!("invalid nkey seed in {} ({error}): remove the file, and `up` makes a new one", path.display())
            })?;
            Ok(pair.public_key())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let pair = KeyPair::new_user();
            let seed = pair.seed().map_err(|error| anyhow::anyhow!("making an nkey: {error}"))?;
            write_private(path, &format!("{seed}\n"))?;
            Ok(pair.public_key())
        }
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Makes a folder, and those above it, that only this user enters.
pub fn private_dir(dir: &Path) -> anyhow::Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.and_then(|()| std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)))
        .with_context(|| format!("making the folder {}", dir.display()))
}

/// Writes a file that only this user reads, in one step: a reader sees the old text or the new one.
pub fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        // Left over from a run that was killed here: with its old permissions it could be read by others.
        let _ = std::fs::remove_file(&new);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = |user: &str| seed_path(dir.path(), user);
        let first = ensure(["cli", "worker"].into_iter(), path).unwrap();
        let second = ensure(["cli", "worker", "admin"].into_iter(), path).unwrap();
        assert_eq!(first["cli"], second["cli"]);
        assert_eq!(first["worker"], second["worker"]);
        assert!(second["admin"].starts_with('U'));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&seed_path(dir.path(), "cli")), 0o600);
        assert_eq!(mode(&dir.path().join("nkeys")), 0o700);
    }

    #[test]
    fn a_damaged_seed_is_named() {
        let dir = tempfile::tempdir().unwrap();
        private_dir(&dir.path().join("nkeys")).unwrap();
        write_private(&seed_path(dir.path(), "cli"), "nonsense").unwrap();
        let error = ensure(["cli"].into_iter(), |user| seed_path(dir.path(), user)).unwrap_err().to_string();
        assert!(error.contains("cli.nk"), "{error}");
    }

    #[test]
    fn a_secret_is_drawn_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        let secret = ensure_secret(&one).unwrap();
        assert_eq!(ensure_secret(&one).unwrap(), secret);
        assert_ne!(ensure_secret(&other).unwrap(), secret);
        assert!(secret.len() == 64 && secret.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(std::fs::metadata(&one).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
