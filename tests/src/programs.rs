//! The project's own programs, as the tests start them.

use std::path::PathBuf;

/// The folder with the binaries: that of the running program, or the one above when that is `deps`, as with tests.
fn bin_dir() -> PathBuf {
    let program = std::env::current_exe().expect("a program knows its own path");
    let dir = program.parent().expect("a program lies in a folder");
    if dir.ends_with("deps") { dir.parent().expect("target/<profile>/deps").to_owned() } else { dir.to_owned() }
}

/// Where one of the project's programs lies once it is built.
pub fn path(name: &str) -> PathBuf {
    bin_dir().join(name)
}

/// One of the project's programs.
///
/// # Panics
/// When it is not built: a test without it could only pass by not testing.
pub fn program(name: &str) -> PathBuf {
    let path = path(name);
    assert!(path.is_file(), "{} is missing: build it with `./justw build`, or run the tests with `./justw test`", path.display());
    path
}
