//! Recordings of terms: what the leader was told and what it decided, one JSON line a call, for `faultline lab replay-decisions`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use anyhow::Context;
use faultline_engine::scheduler::flight::{Entry, Header, VERSION, line};
use faultline_engine::scheduler::{Action, Call, Scheduler};
use serde::Serialize;

use crate::settings::Settings;

/// Lines that wait for the disk. A leader does not wait for it: when this many wait, the recording ends.
const WAITING_LINES: usize = 1 << 14;
const FLUSH_AFTER: Duration = Duration::from_millis(200);

/// A recording under way, or none.
pub(crate) struct Flight(Option<Recording>);

struct Recording {
    path: PathBuf,
    lines: SyncSender<Vec<u8>>,
    left_bytes: u64,
}

impl Flight {
    /// Begins to record the term if the settings name a folder. A folder that cannot be written to costs the recording only.
    pub(crate) fn begin(settings: &Settings, seed: u64, epoch: u64, began_ms: u64) -> Self {
        let Some(folder) = &settings.record_decisions else { return Self(None) };
        let (scheduler, policy, config) = (settings.name.clone(), settings.built_in_policy(), settings.engine.clone());
        let program = settings.policy.program().map(str::to_owned);
        let header = Header { version: VERSION, scheduler, policy, program, seed, epoch, began_ms, config };
        match Recording::begin(folder, settings.record_decisions_mib << 20, &header) {
            Ok(recording) => {
                tracing::info!(file = %recording.path.display(), "what this leader decides is recorded");
                Self(Some(recording))
            }
            Err(error) => {
                tracing::warn!(folder = %folder.display(), error = format!("{error:#}"), "what this leader decides is not recorded");
                Self(None)
            }
        }
    }

    /// Tells the scheduler, and writes down what and what it decided.
    pub(crate) fn call(&mut self, scheduler: &mut Scheduler, call: Call, at_ms: u64) -> Vec<Action> {
        let Some(recording) = &mut self.0 else { return scheduler.call(call, at_ms) };
        let actions = scheduler.call(call.clone(), at_ms);
        let entry = Entry { at_ms, call, decided: actions.iter().map(line).collect() };
        if let Err(error) = recording.write(&entry) {
            tracing::warn!(file = %recording.path.display(), error = format!("{error:#}"), "the recording of this leader's decisions ends");
            self.0 = None;
        }
        actions
    }
}

impl Recording {
    fn begin(folder: &Path, most_bytes: u64, header: &Header) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let taken = taken_bytes(folder).with_context(|| format!("reading {}", folder.display()))?;
        let left_bytes = most_bytes.saturating_sub(taken);
        anyhow::ensure!(
            left_bytes > 0,
            "its recordings take {taken} bytes, as many as are allowed: remove some or raise record_decisions_mib"
        );
        let (path, file) = new_file(folder, header)?;
        let (lines, waiting) = sync_channel::<Vec<u8>>(WAITING_LINES);
        let name = path.clone();
        let write = move || {
            if let Err(error) = write_lines(file, &waiting) {
                tracing::warn!(file = %name.display(), %error, "the recording of this leader's decisions ends");
            }
        };
        std::thread::Builder::new().name("decisions".into()).spawn(write).context("starting its thread")?;
        let mut recording = Self { path, lines, left_bytes };
        recording.write(header)?;
        Ok(recording)
    }

    fn write(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.left_bytes =
            self.left_bytes.checked_sub(line.len() as u64).context("the folder has as much as record_decisions_mib allows")?;
        self.lines.try_send(line).map_err(|error| match error {
            TrySendError::Full(_) => anyhow::anyhow!("the disk is slower than the leader"),
            TrySendError::Disconnected(_) => anyhow::anyhow!("it could not be written"),
        })
    }
}

/// A file of this term's own: terms of other stores have the same epochs.
fn new_file(folder: &Path, header: &Header) -> anyhow::Result<(PathBuf, File)> {
    let mut number = 1;
    loop {
        let path = folder.join(format!("{}-{}-{number}.jsonl", header.scheduler, header.epoch));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error).with_context(|| format!("creating {}", path.display())),
        }
    }
}

fn taken_bytes(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for file in fs::read_dir(folder)? {
        let file = file?;
        if file.path().extension().is_some_and(|extension| extension == "jsonl") {
            bytes += file.metadata()?.len();
        }
    }
    Ok(bytes)
}

/// Until the term ends.
fn write_lines(file: File, waiting: &std::sync::mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    loop {
        match waiting.recv_timeout(FLUSH_AFTER) {
            Ok(line) => file.write_all(&line)?,
            Err(RecvTimeoutError::Timeout) => file.flush()?,
            Err(RecvTimeoutError::Disconnected) => return file.flush(),
        }
    }
}
