//! What can be said without NATS: settings, programs, keys, folders, ports.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use faultline_cluster::disk;
use faultline_cluster::nats_server::find;
use faultline_cluster::up::services::bin_dir;
use faultline_cluster::up::settings::UpSettings;
use faultline_cluster::up::state;
use faultline_runtime::config::{self, DEFAULT_CONFIG_FILE};
use faultline_runtime::credentials::check_mode;
use faultline_runtime::shell;
use rustix::fs::{Access, access};

use super::finding::Finding;
use crate::options::Options;
use crate::session::Session;
use crate::settings::SERVICES;
use crate::up_flags::UpFlags;

/// `up` writes to it all the time.
const LITTLE_SPACE: u64 = 1 << 30;
const TOO_LITTLE_SPACE: u64 = 100 << 20;
/// The dashboard's page is built with it.
const OLDEST_NODE: u32 = 20;

pub(super) fn settings_are_read(options: &Options) -> Finding {
    let file = options.common.config.clone().unwrap_or_else(|| DEFAULT_CONFIG_FILE.into());
    if !file.is_file() {
        return Finding::ok("settings", format!("no {DEFAULT_CONFIG_FILE} here: using defaults, environment, and flags"));
    }
    let problems = crate::settings::problems_of(&file);
    if problems.is_empty() {
        return Finding::ok("settings", format!("{} is read", file.display()));
    }
    Finding::fail(
        "settings",
        problems.join("; "),
        format!("correct {}; `faultline config show` shows the effective settings", file.display()),
    )
}

/// The services beside this program.
pub(super) fn programs() -> Finding {
    let Ok(dir) = bin_dir() else {
        return Finding::fail("programs", "this program's own folder cannot be found", "start it by its whole path");
    };
    let missing: Vec<String> = SERVICES.iter().map(|name| format!("faultline-{name}")).filter(|name| !dir.join(name).is_file()).collect();
    if missing.is_empty() {
        return Finding::ok("programs", format!("all {} services are in {}", SERVICES.len(), dir.display()));
    }
    Finding::warn(
        "programs",
        format!("not in {}: {}", dir.display(), missing.join(", ")),
        "`./justw build` builds them; `up` needs all of them",
    )
}

/// Other users must not be able to read the keys.
pub(super) fn keys(session: &Session) -> Finding {
    let folder = session.data_dir.join("nkeys");
    let entries = std::fs::read_dir(&folder);
    if let Err(error) = &entries
        && error.kind() == ErrorKind::PermissionDenied
        && session.common.nkey_file.is_none()
    {
        let remedy = "run this as the folder's owner, or name another one with --data-dir, or a key with --nkey-file";
        return Finding::fail("keys", format!("this user may not read {}", folder.display()), remedy).for_up(session.nats_is_external);
    }
    let mut files: Vec<PathBuf> = entries
        .map(|entries| entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "nk")).collect())
        .unwrap_or_default();
    files.extend(session.common.nkey_file.clone());
    files.sort();
    files.dedup();
    if files.is_empty() {
        return Finding::skip("keys", format!("none in {}: `faultline up` makes them at its first start", folder.display()));
    }
    let mut unreadable = Vec::new();
    let mut open: Vec<&Path> = Vec::new();
    for path in &files {
        match std::fs::metadata(path) {
            Err(error) => unreadable.push(format!("{}: {error}", path.display())),
            Ok(_) if check_mode("nkey_file", path).is_err() => open.push(path),
            Ok(_) if access(path, Access::READ_OK).is_err() => unreadable.push(format!("{}: not readable for this user", path.display())),
            Ok(_) => {}
        }
    }
    if !unreadable.is_empty() {
        return Finding::fail("keys", unreadable.join("; "), "name another file with --nkey-file, or run as the user who owns it");
    }
    if !open.is_empty() {
        return Finding::fail(
            "keys",
            format!("other users may read or change {}", open.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")),
            format!("chmod 600 {}", open.iter().map(|path| shell::word(path)).collect::<Vec<_>>().join(" ")),
        );
    }
    Finding::ok("keys", format!("{}, closed to other users", crate::output::plural(files.len() as u64, "file")))
}

/// Whether `up` could write there, and how much.
pub(super) fn data_folder(folder: &Path) -> Finding {
    let check = "data folder";
    let shown = folder.display();
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    // The nearest folder that exists: what is missing below it will be made there.
    let Some(existing) = whole.ancestors().find(|path| path.exists()) else {
        return Finding::fail(check, format!("{shown} leads nowhere"), "name another with --data-dir");
    };
    if !existing.is_dir() {
        return Finding::fail(check, format!("{} is not a folder", existing.display()), "name another with --data-dir");
    }
    if access(existing, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let remedy = "give this user the right to write there, or name another with --data-dir";
        return Finding::fail(check, format!("{} cannot be written", existing.display()), remedy);
    }
    let free = match disk::free(existing) {
        Ok(free) => free,
        Err(error) => return Finding::warn(check, format!("the space in {shown} cannot be asked for: {error}"), "look at it with df"),
    };
    let found = format!("{shown}{} can be written, {} free", if existing == whole { "" } else { " (not made yet)" }, bytes(free));
    match free {
        0..TOO_LITTLE_SPACE => {
            Finding::fail(check, found, "JetStream stops when the disk is full: make room, or name another with --data-dir")
        }
        TOO_LITTLE_SPACE..LITTLE_SPACE => Finding::warn(check, found, "make room, or name another with --data-dir"),
        LITTLE_SPACE.. => Finding::ok(check, found),
    }
}

/// `4.2 GiB`.
pub(super) fn bytes(number: u64) -> String {
    match number {
        0..1_048_576 => format!("{} KiB", number >> 10),
        1_048_576..1_073_741_824 => format!("{} MiB", number >> 20),
        _ => format!("{:.1} GiB", number as f64 / f64::from(1_u32 << 30)),
    }
}

pub(super) fn nats_server_binary(nats_is_reached: bool) -> Finding {
    match find::nats_server() {
        Ok(found) => Finding::ok("nats-server", format!("{} is {}", found.path.display(), found.version)),
        Err(_) if nats_is_reached => Finding::skip("nats-server", "no program of that name here; NATS runs elsewhere"),
        Err(failure) => {
            let text = failure.to_string();
            let (found, remedy) = text.split_once(". ").unwrap_or((&text, "put one on PATH"));
            let in_one_line: Vec<&str> = remedy.split_whitespace().collect();
            Finding::fail("nats-server", found, in_one_line.join(" "))
        }
    }
}

/// The ports on which `up` would listen: free, or held by the `up` of this data folder.
pub(super) fn ports(options: &Options, session: &Session, nats_is_reached: bool) -> Finding {
    let check = "ports";
    if let Some(pid) = state::holder(&session.data_dir) {
        return Finding::ok(check, format!("held by the `faultline up` that runs here, process {pid}"));
    }
    let flags = UpFlags { data_dir: options.data_dir.clone(), ..UpFlags::default() };
    let Ok(up) = config::load_section::<UpSettings>(&options.common, "up", &flags) else {
        return Finding::skip(check, "the settings of [up] cannot be read");
    };
    let mut wanted: Vec<(u16, &str)> = Vec::new();
    if !session.nats_is_external {
        wanted.extend(up.nats_ports().iter().flat_map(|ports| ports.all()).map(|port| (port, "--nats-port")));
    }
    if !up.no_dashboard {
        wanted.push((up.dashboard_port, "--dashboard-port"));
    }
    let listed = |ports: &[(u16, &str)]| ports.iter().map(|(port, _)| port.to_string()).collect::<Vec<_>>().join(", ");
    let taken: Vec<(u16, &str)> =
        wanted.iter().copied().filter(|&(port, _)| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err()).collect();
    if taken.is_empty() {
        return Finding::ok(check, format!("{} on 127.0.0.1: free", listed(&wanted)));
    }
    let flags: Vec<&str> = taken.iter().map(|&(_, flag)| flag).collect();
    let found = format!("another program listens on {}, or this user may not", listed(&taken));
    let remedy = format!("for `faultline up` here choose others with {}, or stop that program", flags.join(" and "));
    // What listens there may be the very NATS and dashboard that are meant.
    if nats_is_reached { Finding::warn(check, found, remedy) } else { Finding::fail(check, found, remedy) }
}

/// What only the page needs, or its tests.
pub(super) fn optional_programs() -> [Finding; 2] {
    let node = match said_by("node", "--version") {
        None => Finding::skip("Node.js", "not there; only building the dashboard's page needs it"),
        Some(version) => match version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok()) {
            Some(major) if major >= OLDEST_NODE => Finding::ok("Node.js", version),
            _ => Finding::warn("Node.js", version, format!("building the dashboard's page needs {OLDEST_NODE} or newer")),
        },
    };
    let chromium = ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(|name| said_by(name, "--version"));
    let chromium = match chromium {
        Some(version) => Finding::ok("Chromium", version),
        None => Finding::skip("Chromium", "not there; only the browser tests need it"),
    };
    [node, chromium]
}

/// The first line that a program prints.
fn said_by(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::finding::Status;
    use super::*;
    use crate::output::Format;
    use faultline_runtime::config::Common;

    fn session(data_dir: &Path) -> Session {
        Session { common: Common::default(), data_dir: data_dir.to_owned(), format: Format::Table, nats_is_external: false }
    }

    #[test]
    fn a_key_that_others_may_read_is_named_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(keys(&session(dir.path())).status, Status::Skip);
        let key = dir.path().join("nkeys/cli.nk");
        std::fs::create_dir(key.parent().unwrap()).unwrap();
        std::fs::write(&key, "x").unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        let finding = keys(&session(dir.path()));
        assert_eq!(finding.status, Status::Fail);
        assert_eq!(finding.remedy, Some(format!("chmod 600 {}", key.display())));
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(keys(&session(dir.path())).status, Status::Ok);
        let missing = Session { common: Common { nkey_file: Some("no/such.nk".into()), ..Common::default() }, ..session(dir.path()) };
        assert!(keys(&missing).found.contains("no/such.nk"));
    }

    #[test]
    fn a_data_folder_may_still_have_to_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let finding = data_folder(&dir.path().join("a/b"));
        assert!(finding.found.contains("(not made yet)"), "{finding:?}");
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(data_folder(&dir.path().join("file/b")).status, Status::Fail);
    }

    #[test]
    fn sizes_have_their_unit() {
        assert_eq!([2048, 5 << 20, 3 << 29].map(bytes), ["2 KiB", "5 MiB", "1.5 GiB"]);
    }
}
