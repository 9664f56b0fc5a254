//! Files of experiments: where they are, and what is said of those that cannot be read.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use faultline_lab::experiment::{self, Experiment, Problem};
use faultline_lab::presets::{PRESETS, Preset};
use faultline_lab::read::ReadError;

use crate::exit::Failure;

/// An experiment is written by hand.
const LARGEST_EXPERIMENT: u64 = 256 << 10;
/// A trace of ten million jobs.
const LARGEST_INPUT: u64 = 1 << 30;

pub(super) fn unreadable(error: ReadError) -> Failure {
    match error {
        ReadError::NotFound { .. } => Failure::NotFound(error.to_string()),
        other => Failure::Usage(other.to_string()),
    }
}

/// The whole of a file, or why not, as part of a sentence.
pub(super) fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
    match opened {
        Err(error) if error.kind() == ErrorKind::NotFound => Err("the file does not exist; check the path".to_owned()),
        Err(error) => Err(format!("{error}; name a file that you may read")),
        Ok(_) if bytes.len() as u64 > limit => Err(format!("it is larger than {} MiB; split it, or leave out columns", limit >> 20)),
        Ok(_) => Ok(bytes),
    }
}

/// Reads what an experiment or a result names, beside a folder.
pub(super) fn beside(folder: &Path) -> impl Fn(&str) -> Result<Vec<u8>, String> {
    move |path| read_limited(&folder.join(path), LARGEST_INPUT)
}

/// An experiment's text, what to call it, and the folder that its paths are relative to.
pub(super) struct Text {
    pub(super) name: String,
    pub(super) text: String,
    folder: PathBuf,
}

impl Text {
    /// By name, or from a file.
    pub(super) fn find(experiment: &str) -> Result<Self, Failure> {
        let path = Path::new(experiment);
        if let Some(preset) = Preset::named(experiment).filter(|_| !path.is_file()) {
            return Ok(Self::new(preset.name, preset.text.to_owned()));
        }
        if !path.exists() {
            let known = PRESETS.map(|preset| preset.name).join(", ");
            return Err(Failure::Usage(format!("unknown experiment {experiment}: name a file, or one of {known}")));
        }
        let bytes = read_limited(path, LARGEST_EXPERIMENT).map_err(|why| Failure::Usage(format!("{experiment} cannot be read: {why}")))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Failure::Usage(format!("{experiment} cannot be read: it is not UTF-8 text; save it as UTF-8")))?;
        Ok(Self { folder: path.parent().unwrap_or(Path::new("")).to_owned(), ..Self::new(experiment, text) })
    }

    /// Paths in it are relative to the folder that the command runs in.
    pub(super) fn new(name: &str, text: String) -> Self {
        Self { name: name.to_owned(), text, folder: PathBuf::new() }
    }

    /// The experiment, or everything that is wrong with it.
    pub(super) fn load(&self, seeds: Option<experiment::Seeds>) -> Result<Experiment, Failure> {
        let wrong = |problems: Vec<Problem>| {
            let lines: Vec<String> = problems.iter().map(|problem| format!("{}: {problem}", self.name)).collect();
            Failure::Usage(lines.join("\n"))
        };
        let mut file = experiment::parse(&self.text).map_err(wrong)?;
        file.run.seeds = seeds.or(file.run.seeds);
        Experiment::load(&file, &self.text, &beside(&self.folder)).map_err(wrong)
    }
}
