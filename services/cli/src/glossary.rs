//! What the words mean that every surface uses: the table of `docs/glossary.md`, which the page shows too.

use crate::exit::Failure;

const SOURCE: &str = include_str!("../../../docs/glossary.md");
/// Lines of a terminal that is narrow.
const WIDTH: usize = 80;
const INDENT: &str = "    ";

/// The words and their meanings.
fn entries() -> impl Iterator<Item = (&'static str, &'static str)> {
    SOURCE.lines().filter_map(|line| line.strip_prefix("| **")?.strip_suffix(" |")?.split_once("** | "))
}

/// A word a paragraph.
pub(crate) fn text() -> String {
    let paragraph = |(word, meaning): (&str, &str)| format!("{word}\n{}", wrapped(&meaning.replace('`', "")));
    entries().map(paragraph).collect::<Vec<_>>().join("\n")
}

fn wrapped(text: &str) -> String {
    let mut lines = vec![INDENT.to_owned()];
    for word in text.split_whitespace() {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line + 1 + word.chars().count() > WIDTH {
            lines.push(INDENT.to_owned());
        }
        if let Some(line) = lines.last_mut() {
            if line.len() > INDENT.len() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}

/// `faultline glossary`.
pub(crate) fn print() -> Result<(), Failure> {
    crate::manual::print(format!("{}\n", text()).as_bytes())
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn every_row_is_read_and_fits_a_terminal() {
        let rows = SOURCE.lines().filter(|line| line.starts_with("| **")).count();
        assert_eq!((entries().count(), rows), (rows, entries().count()));
        for word in ["job", "attempt", "lost", "interrupted", "given up", "reaction", "recovery", "epoch", "incarnation", "phi"] {
            assert!(entries().any(|(known, meaning)| known == word && meaning.ends_with('.')), "{word}");
        }
        assert!(text().lines().all(|line| line.chars().count() <= WIDTH), "{}", text());
        assert!(text().starts_with("job\n    Work that was submitted."), "{}", text());
    }

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    #[test]
    fn architecture_has_the_same_table() {
        let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
        for line in SOURCE.lines().filter(|line| line.starts_with("| **")) {
            assert!(architecture.lines().any(|other| other == line), "ARCHITECTURE.md lacks the row {line}");
        }
    }

    /// All files below a folder with one of these endings, but for what is built or fetched.
    fn files(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !["node_modules", "dist", "target"].contains(&name.as_str()) {
                files(&path, endings, found);
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }

    /// "Lost" is a job whose end will never come. An attempt that its node took with it is interrupted, on every surface.
    #[test]
    fn no_surface_calls_an_attempt_lost() {
        let mut surfaces = vec![root().join("README.md")];
        for (folder, endings) in [
            ("services/dashboard/web/src", &[".ts", ".tsx"][..]),
            ("docs", &[".md"]),
            ("docker/observability", &[".json", ".yml"]),
            ("services/cli/src/top/pictures", &[".txt"]),
        ] {
            files(&root().join(folder), endings, &mut surfaces);
        }
        let forbidden = [
            "lost attempt",
            "attempts lost",
            "attempt lost",
            "attempt is lost",
            "attempts are lost",
            "attempt was lost",
            "attempts were lost",
        ];
        for path in surfaces {
            let text = std::fs::read_to_string(&path).unwrap().to_lowercase();
            for phrase in forbidden {
                assert!(!text.contains(phrase), "{} says `{phrase}`", path.display());
            }
            if path.extension().is_some_and(|ending| ending == "txt") {
                assert!(!text.contains("lost"), "{}", path.display());
            }
        }
    }
}
