//! Experiments that come with the program: questions that people ask, each with a section in docs/lab.md.

/// An experiment's file, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    pub name: &'static str,
    pub text: &'static str,
}

macro_rules! presets {
    ($($name:literal),*) => { [$(Preset { name: $name, text: include_str!(concat!("../presets/", $name, ".toml")) }),*] };
}

pub const PRESETS: [Preset; 6] = presets!["which-policy", "spares", "checkpoint-interval", "faster-detector", "llama3", "tie-rule"];

impl Preset {
    pub fn named(name: &str) -> Option<Preset> {
        PRESETS.into_iter().find(|preset| preset.name == name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::experiment::{Experiment, parse};

    /// The questions are answered, and no metric is without its formula.
    #[test]
    fn the_document_has_every_preset_and_every_metric() {
        let document = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/lab.md")).unwrap();
        for preset in PRESETS {
            assert!(
                document.contains(&format!("\n`{}`: ", preset.name)) || document.contains(&format!("`{}` asks", preset.name)),
                "{}",
                preset.name
            );
        }
        for metric in crate::tables::METRICS {
            assert!(document.contains(&format!("| `{}` | {} |", metric.name, metric.formula)), "{}: {}", metric.name, metric.formula);
        }
    }

    #[test]
    fn every_file_of_the_folder_is_a_preset_that_can_be_run() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("presets");
        let files: BTreeSet<String> =
            std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(files, PRESETS.iter().map(|preset| format!("{}.toml", preset.name)).collect());
        for preset in PRESETS {
            let file = parse(preset.text).unwrap_or_else(|problems| panic!("{}: {problems:?}", preset.name));
            let experiment = Experiment::load(&file, preset.text, &|path| Err(format!("no {path}"))).unwrap();
            assert!(!file.question.is_empty() && experiment.seeds().len() >= 10, "{}", preset.name);
            for variant in &experiment.variants {
                assert!(!experiment.setup(variant, 1).workload.jobs.is_empty(), "{}: {}", preset.name, variant.name);
            }
        }
    }
}
