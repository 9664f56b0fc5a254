//! Whether NATS can write its streams.

use std::path::{Path, PathBuf};

use faultline_cluster::disk;
use faultline_cluster::nats_server::permissions::ADMIN;
use faultline_cluster::nats_server::store::{self, WriteError};

use super::finding::Finding;
use super::local::bytes;
use crate::session::Session;

const CHECK: &str = "writes";
const RESTART: &str = "restart nats-server, which keeps such an error until then; `faultline up` restarts its own by itself";

/// Tries to write each stream, which takes the administrator's key.
pub(super) async fn look(session: &Session) -> Finding {
    let nats = match session.connect_as(ADMIN).await {
        Ok(nats) => nats,
        Err(_) => return Finding::skip(CHECK, "trying takes the key of `admin`: name it with --nkey-file, or its folder with --data-dir"),
    };
    let errors = store::write_errors(&nats).await;
    nats.close().await;
    errors.map_or_else(|| Finding::skip(CHECK, "NATS does not answer what is asked with the key of `admin`"), |errors| finding(&errors))
}

fn finding(errors: &[WriteError]) -> Finding {
    let Some(first) = errors.first() else { return Finding::ok(CHECK, "every stream can be written") };
    let streams: Vec<&str> = errors.iter().map(|error| error.stream.as_str()).collect();
    let streams = streams.join(", ");
    let Some(folder) = folder_here(first) else {
        let remedy = if first.is_disk_full() { format!("free space on the disk of NATS, and {RESTART}") } else { RESTART.to_owned() };
        return Finding::fail(CHECK, format!("NATS cannot write {streams}: {}", first.reason), remedy);
    };
    let (shown, free) = (folder.display(), disk::free(&folder).map_or_else(|_| "unknown space".to_owned(), bytes));
    match first.is_disk_full() {
        true => {
            let found = format!("NATS cannot write to {shown}: disk full ({free} free); streams: {streams}");
            Finding::fail(CHECK, found, format!("free space in {shown}, and {RESTART}"))
        }
        false => Finding::fail(CHECK, format!("NATS cannot write to {shown}: {}; streams: {streams}", first.reason), RESTART),
    }
}

/// The server's store, if it is on this machine.
fn folder_here(error: &WriteError) -> Option<PathBuf> {
    // DIR/jetstream/ACCOUNT/streams/NAME/msgs/1.blk
    error.path()?.ancestors().find(|path| path.ends_with("streams"))?.ancestors().nth(2).filter(|path| path.is_dir()).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    fn error(path: &str) -> WriteError {
        WriteError { stream: "LEASE".into(), reason: format!("write {path}: no space left on device") }
    }

    #[test]
    fn a_full_disk_is_named_with_its_folder_and_what_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("jetstream");
        std::fs::create_dir(&store).unwrap();
        let found = finding(&[error(&format!("{}/APP/streams/KV_LEASE/msgs/1.blk", store.display()))]);
        assert_eq!(found.status, Status::Fail);
        assert!(found.found.starts_with(&format!("NATS cannot write to {}: disk full (", store.display())), "{found:?}");
        assert!(found.remedy.unwrap().contains("restart nats-server"));
    }

    #[test]
    fn a_disk_elsewhere_is_told_in_the_servers_words() {
        let found = finding(&[error("/no/such/folder/APP/streams/JOBS/msgs/1.blk")]);
        assert_eq!(found.found, "NATS cannot write LEASE: write /no/such/folder/APP/streams/JOBS/msgs/1.blk: no space left on device");
        assert_eq!(finding(&[]).status, Status::Ok);
    }
}
