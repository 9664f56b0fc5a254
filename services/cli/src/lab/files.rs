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

/// A file that cannot be used is wrong input, also when it is not there.
pub(super) fn unreadable(error: ReadError) -> Failure {
    Failure::Usage(error.to_string())
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
    /// Lines that were put in front of what a person wrote.
    lines_before: usize,
    /// Of its policies, only these; empty for all.
    pub(super) only: Vec<String>,
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
        Ok(Self { folder: path.parent().unwrap_or(Path::new("")).to_owned(), ..Self::new(experiment, Self::read(path)?) })
    }

    /// Paths in it are relative to the folder that the command runs in.
    pub(super) fn new(name: &str, text: String) -> Self {
        Self { name: name.to_owned(), text, folder: PathBuf::new(), lines_before: 0, only: Vec::new() }
    }

    /// The text of a file, with a line in front of it and more behind it. Lines of complaints are the file's, and paths are relative to its folder.
    pub(super) fn around(path: &str, before: &str, behind: impl FnOnce(&str) -> Result<String, Failure>) -> Result<Self, Failure> {
        let written = Self::read(Path::new(path))?;
        let text = format!("{before}\n{written}\n{}", behind(&written)?);
        let folder = Path::new(path).parent().unwrap_or(Path::new("")).to_owned();
        Ok(Self { folder, lines_before: 1, ..Self::new(path, text) })
    }

    fn read(path: &Path) -> Result<String, Failure> {
        let shown = path.display();
        let bytes = read_limited(path, LARGEST_EXPERIMENT).map_err(|why| Failure::Usage(format!("{shown} cannot be read: {why}")))?;
        String::from_utf8(bytes).map_err(|_| Failure::Usage(format!("{shown} cannot be read: it is not UTF-8 text; save it as UTF-8")))
    }

    /// What stands in it, or everything that is wrong with it.
    pub(super) fn file(&self) -> Result<experiment::File, Failure> {
        let mut file = experiment::parse(&self.text).map_err(|problems| self.wrong(problems))?;
        if !self.only.is_empty() {
            file.policy.retain(|name, _| self.only.contains(name));
            file.order.clone_from(&self.only);
        }
        Ok(file)
    }

    /// The experiment with the files that it names, or everything that is wrong with it.
    pub(super) fn load(&self, seeds: Option<experiment::Seeds>) -> Result<Experiment, Failure> {
        let mut file = self.file()?;
        file.run.seeds = seeds.or(file.run.seeds);
        Experiment::load(&file, &self.text, &beside(&self.folder)).map_err(|problems| self.wrong(problems))
    }

    fn wrong(&self, problems: Vec<Problem>) -> Failure {
        let own = |mut problem: Problem| {
            problem.line = problem.line.and_then(|line| line.checked_sub(self.lines_before)).filter(|line| *line > 0);
            format!("{}: {problem}", self.name)
        };
        Failure::Usage(problems.into_iter().map(own).collect::<Vec<_>>().join("\n"))
    }
}
