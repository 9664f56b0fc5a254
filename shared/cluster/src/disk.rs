//! How much room there is on a disk.

use std::path::Path;

use rustix::fs::statvfs;

/// Bytes that this user may still write below a folder; of the nearest folder above it that exists.
pub fn free(folder: &Path) -> std::io::Result<u64> {
    let existing = folder.ancestors().find(|path| path.exists()).unwrap_or(folder);
    let space = statvfs(existing)?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}
