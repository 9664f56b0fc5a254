//! The bytes of every version, in files: every reader must understand them for as long as a log may hold them. A missing file is written with
//! `FAULTLINE_WRITE_GOLDEN=1`, one that is there never.

use std::path::Path;

/// The bytes in the file, which are also what is written today.
pub(super) fn same(name: &str, written: &[u8]) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if !path.exists() && std::env::var_os("FAULTLINE_WRITE_GOLDEN").is_some_and(|wish| wish == "1") {
        std::fs::write(&path, written).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let differs_at = written.iter().zip(&golden).take_while(|(new, old)| new == old).count();
    assert!(written == golden, "{name} differs from byte {differs_at} on ({} bytes, {} before)", written.len(), golden.len());
    golden
}
