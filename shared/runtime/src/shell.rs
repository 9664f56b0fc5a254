//! Commands that people paste: every path in one is written by this function.

use std::path::Path;

/// A path as one word of a shell: as it is where that is safe, else in quotation marks.
pub fn word(path: &Path) -> String {
    let text = path.to_string_lossy();
    // A leading `-` would be taken for a flag.
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(is_safe) {
        return text.into_owned();
    }
    let quoted = format!("'{}'", text.replace('\'', r"'\''"));
    if text.starts_with('-') { format!("./{quoted}") } else { quoted }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_back_the_path() {
        for path in ["/var/lib/fault line", "a'b", "$(touch x)", "`x`", "*", "a\"b", "back\\slash", "münchen", "-rf", "a\nb", "~", "a;b"] {
            let script = format!("printf %s {}", word(Path::new(path)));
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            let read = String::from_utf8(output.stdout).unwrap();
            assert_eq!(read.strip_prefix("./").unwrap_or(&read), path, "{script}");
        }
        for path in [".data/nkeys/cli.nk", "/srv/a-b_c", "C:=x"] {
            assert_eq!(word(Path::new(path)), path, "nothing to quote");
        }
    }
}
