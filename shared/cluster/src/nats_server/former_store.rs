//! JetStream's files of an earlier version, in which one account held all streams, and their move into the accounts of today. Nothing
//! is copied: each stream's folder is renamed, which happens as a whole or not at all, so a move that was interrupted goes on at the next
//! start. The server must not run meanwhile.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;
use faultline_engine::words::plural;
use faultline_protocol::streams;

use super::accounts::account_of_stream;
use crate::error::Error;

/// The account that held everything.
const FORMER_ACCOUNT: &str = "APP";

/// The folders of our streams in the former account, below a `store_dir`, in order of their names. A foreign stream stays where
/// it is: the administrator could not name it in an account of today either.
fn former_streams(store_dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let folder = streams_of(store_dir, FORMER_ACCOUNT);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", folder.display())),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
    let mut paths = paths.with_context(|| format!("reading {}", folder.display()))?;
    paths.retain(|path| target(store_dir, path).is_some());
    paths.sort();
    Ok(paths)
}

/// Where the server keeps an account's streams.
fn streams_of(store_dir: &Path, account: &str) -> PathBuf {
    store_dir.join("jetstream").join(account).join("streams")
}

/// Whether a store still has streams of the former account.
pub fn is_former(store_dir: &Path) -> anyhow::Result<bool> {
    Ok(!former_streams(store_dir)?.is_empty())
}

/// Moves the former account's streams into today's accounts and returns how many there were. With nothing to move it does nothing.
pub fn adopt(store_dir: &Path) -> anyhow::Result<usize> {
    let streams = former_streams(store_dir)?;
    let moves: Vec<(PathBuf, PathBuf)> = streams.into_iter().filter_map(|from| Some((from.clone(), target(store_dir, &from)?))).collect();
    // Before anything is moved: an earlier version that ran on a store which had been moved makes its streams anew.
    if let Some((from, to)) = moves.iter().find(|(_, to)| to.exists()) {
        anyhow::bail!(
            "the store holds a stream twice: {} is from an earlier version, {} from this one; move the one that you do not need out of {}",
            from.display(),
            to.display(),
            store_dir.display()
        );
    }
    for (from, to) in &moves {
        let folder = to.parent().unwrap_or(store_dir);
        let carry = || -> std::io::Result<()> {
            std::fs::create_dir_all(folder)?;
            std::fs::rename(from, to)?;
            File::open(folder)?.sync_all()
        };
        carry().with_context(|| format!("moving {} to {}", from.display(), to.display()))?;
    }
    Ok(moves.len())
}

/// Where the folder of one of our streams belongs.
fn target(store_dir: &Path, from: &Path) -> Option<PathBuf> {
    let name = from.file_name()?.to_str()?;
    streams::names().iter().any(|known| known == name).then(|| streams_of(store_dir, account_of_stream(name)).join(name))
}

/// Refuses the store of a member of a cluster: the servers agree on the account of each stream, so moving folders is not enough.
pub fn refuse_former_member(store_dir: &Path) -> Result<(), Error> {
    match former_streams(store_dir)?.len() {
        0 => Ok(()),
        count => Err(Error::Failed(anyhow::anyhow!(
            "the store {} cannot be used: it holds {} of an earlier version, which kept all of them in one account, and those of three servers \
             cannot be moved; start the earlier version on it with --no-generator and let its jobs end (`faultline jobs` then lists none that waits or \
             runs), then start this version on a new folder",
            store_dir.display(),
            plural(count as u64, "stream"),
        ))),
    }
}

/// Refuses a store of an earlier version whose server may run; `--move-store` says that it does not.
pub fn refuse_former(store_dir: &Path) -> Result<(), Error> {
    match former_streams(store_dir)?.len() {
        0 => Ok(()),
        count => Err(Error::Failed(anyhow::anyhow!(
            "no configuration was written: the store {} holds {} of an earlier version, which kept all of them in one account, and the new \
             configuration would hide their jobs; stop the NATS server, repeat this command with --move-store, then start the server",
            store_dir.display(),
            plural(count as u64, "stream"),
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store of an earlier version, with one file in each stream.
    fn former_store(streams: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for stream in streams {
            write_stream(dir.path(), FORMER_ACCOUNT, stream);
        }
        dir
    }

    fn write_stream(store: &Path, account: &str, stream: &str) {
        let folder = streams_of(store, account).join(stream).join("msgs");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("1.blk"), stream).unwrap();
    }

    fn content(store: &Path, account: &str, stream: &str) -> Option<String> {
        std::fs::read_to_string(streams_of(store, account).join(stream).join("msgs/1.blk")).ok()
    }

    #[test]
    fn streams_move_once_to_the_accounts_that_hold_them_now() {
        let dir = former_store(&["JOBS", "RESULTS", "KV_LEASE", "KV_LEDGER"]);
        assert!(is_former(dir.path()).unwrap());
        assert_eq!(adopt(dir.path()).unwrap(), 4);
        for (account, stream) in [("QUEUE", "JOBS"), ("RECORDS", "RESULTS"), ("QUEUE", "KV_LEASE"), ("RECORDS", "KV_LEDGER")] {
            assert_eq!(content(dir.path(), account, stream).as_deref(), Some(stream));
        }
        assert!(!is_former(dir.path()).unwrap());
        assert_eq!(adopt(dir.path()).unwrap(), 0, "there is nothing left to move");
    }

    #[test]
    fn a_move_that_was_interrupted_goes_on() {
        let dir = former_store(&["RESULTS"]);
        write_stream(dir.path(), "QUEUE", "JOBS");
        assert_eq!(adopt(dir.path()).unwrap(), 1);
        assert_eq!(content(dir.path(), "QUEUE", "JOBS").as_deref(), Some("JOBS"));
        assert_eq!(content(dir.path(), "RECORDS", "RESULTS").as_deref(), Some("RESULTS"));
    }

    #[test]
    fn a_new_store_has_nothing_to_move() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(adopt(dir.path()).unwrap(), 0);
        assert!(!dir.path().join("jetstream").exists());
    }

    #[test]
    fn a_stream_that_is_there_twice_is_refused_before_anything_moves() {
        let dir = former_store(&["DEAD", "JOBS"]);
        write_stream(dir.path(), "QUEUE", "JOBS");
        let refused = adopt(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("APP/streams/JOBS") && refused.contains("QUEUE/streams/JOBS"), "{refused}");
        assert_eq!(content(dir.path(), FORMER_ACCOUNT, "DEAD").as_deref(), Some("DEAD"));
    }

    #[test]
    fn a_stream_of_somebody_else_stays() {
        let dir = former_store(&["MINE"]);
        assert!(!is_former(dir.path()).unwrap());
        assert_eq!(adopt(dir.path()).unwrap(), 0);
        assert_eq!(content(dir.path(), FORMER_ACCOUNT, "MINE").as_deref(), Some("MINE"));
    }

    #[test]
    fn stores_of_three_servers_are_refused_with_the_way_out() {
        let dir = former_store(&["JOBS"]);
        let refused = refuse_former_member(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("holds 1 stream of an earlier version") && refused.contains("a new folder"), "{refused}");
        assert!(refuse_former_member(&dir.path().join("none")).is_ok());
    }
}
