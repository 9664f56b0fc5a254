//! Where tests find public traces: they are too large, or without a license, to be kept here.

use std::path::{Path, PathBuf};

/// A file below `FAULTLINE_TRACES`, `shared/traces` of the checkout, where `just traces` puts it, or `shared/traces` beside the checkout. A test without
/// its file says so, and passes.
pub(crate) fn find(file: &str) -> Option<PathBuf> {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("FAULTLINE_TRACES").map(PathBuf::from);
    let folders = [crate_folder.join("../traces"), crate_folder.join("../../../shared/traces")];
    let found = named.into_iter().chain(folders).map(|folder| folder.join(file)).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: {file} is not there; `just traces` fetches what may be fetched, FAULTLINE_TRACES names a folder that has it");
    }
    found
}
