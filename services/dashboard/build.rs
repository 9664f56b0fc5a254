//! Puts the built page into the program: `web/dist` becomes a table of byte arrays, with the compressed forms that lie beside the files.
//! Without a built page the table is empty, and the service says how to get one.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or_else(|| io::Error::other("not run by cargo"))?);
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("not run by cargo"))?);
    let dist = manifest.join("web/dist");
    // The folder is in the repository, so that cargo has something to watch before anything is built.
    println!("cargo::rerun-if-changed=web/dist");

    let mut files = Vec::new();
    if dist.join("index.html").is_file() {
        collect(&dist, &dist, &mut files)?;
    }
    files.sort();
    let mut table = String::from("pub(super) static FILES: &[File] = &[\n");
    // Copies, since a build of the page may replace the originals before the compiler reads them.
    let copies = out.join("page");
    for path in files {
        entry(&mut table, &dist, &copies, &path)?;
    }
    table.push_str("];\n");
    fs::write(out.join("page_files.rs"), table)
}

/// Everything that is served under a name of its own, relative to `dist`.
fn collect(dist: &Path, folder: &Path, files: &mut Vec<String>) -> io::Result<()> {
    for found in fs::read_dir(folder)? {
        let path = found?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            collect(dist, &path, files)?;
        } else if !name.starts_with('.') && kind(name).is_some() {
            let relative = path.strip_prefix(dist).map_err(io::Error::other)?;
            files.push(relative.to_string_lossy().replace('\\', "/"));
        }
    }
    Ok(())
}

/// What a file is, by the end of its name. Compressed forms have no kind of their own.
fn kind(name: &str) -> Option<&'static str> {
    Some(match name.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "woff2" => "font/woff2",
        _ => return None,
    })
}

fn entry(table: &mut String, dist: &Path, copies: &Path, path: &str) -> io::Result<()> {
    let copy = |ending: &str| -> io::Result<Option<PathBuf>> {
        let (from, to) = (dist.join(format!("{path}{ending}")), copies.join(format!("{path}{ending}")));
        if !from.is_file() {
            return Ok(None);
        }
        fs::create_dir_all(to.parent().unwrap_or(copies))?;
        fs::copy(from, &to)?;
        Ok(Some(to))
    };
    let plain = copy("")?.ok_or_else(|| io::Error::other(format!("{path} has vanished: build again")))?;
    let included = |file: Option<PathBuf>| file.map_or("None".into(), |file| format!("Some(include_bytes!({file:?}))"));
    let mut hasher = DefaultHasher::new();
    fs::read(&plain)?.hash(&mut hasher);
    writeln!(
        table,
        "    File {{ path: {path:?}, kind: {:?}, tag: \"{:016x}\", plain: include_bytes!({plain:?}), brotli: {}, gzip: {} }},",
        kind(path).unwrap_or("application/octet-stream"),
        hasher.finish(),
        included(copy(".br")?),
        included(copy(".gz")?),
    )
    .map_err(io::Error::other)
}
