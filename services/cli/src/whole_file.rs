//! Files that a command writes for its user: whole or not at all.

use std::fs::Permissions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;

use crate::exit::Failure;

/// As every program creates files: the process's mask takes away from it.
const MODE: u32 = 0o666;

/// Writes it under another name beside `path` and renames it, so that a full disk leaves what was there. A device or a pipe is written to.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let written = match std::fs::metadata(path) {
        Ok(known) if !known.is_file() => std::fs::write(path, bytes),
        _ => replace(path, bytes),
    };
    if let Err(error) = &written
        && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::IsADirectory)
    {
        return Err(Failure::Usage(format!("writing {} failed: {error}; name another file with --out", path.display())));
    }
    Ok(written.with_context(|| format!("writing {} failed", path.display()))?)
}

fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".faultline-").permissions(Permissions::from_mode(MODE)).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_replaced_whole_or_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it");
        for text in ["one", "another"] {
            write(&path, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left there");
        assert!(matches!(write(&folder.path().join("no/such/folder"), b"x"), Err(Failure::Usage(said)) if said.contains("--out")));
        assert!(write(Path::new("/dev/full"), b"x").is_err() && Path::new("/dev/full").exists(), "a device is written to, not replaced");
        write(Path::new("/dev/null"), b"x").unwrap();
    }
}
