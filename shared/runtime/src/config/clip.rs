//! Texts that quote input, without the middle of what is very long.

/// A longer line is shown without its middle.
const LONGEST_LINE: usize = 1000;
const SHOWN_AT_EACH_END: usize = 200;

/// A text with the middle of its long lines left out. Where a line of a file is quoted with a mark under it and is long, the quotation is left
/// out as a whole.
pub fn clipped(text: &str) -> String {
    let is_long = |line: &str| line.chars().count() > LONGEST_LINE;
    let is_quoted = |line: &str| line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit()).starts_with('|');
    let short = |line: &str| {
        let chars: Vec<char> = line.chars().collect();
        let end = |part: &[char]| part.iter().collect::<String>();
        format!("{} ... {}", end(&chars[..SHOWN_AT_EACH_END]), end(&chars[chars.len() - SHOWN_AT_EACH_END..]))
    };
    let quotes_too_much = text.lines().any(|line| is_long(line) && is_quoted(line));
    let lines = text.lines().filter(|line| !(quotes_too_much && is_quoted(line)));
    lines.map(|line| if is_long(line) { short(line) } else { line.to_owned() }).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_has_an_end() {
        let long = "x".repeat(1 << 20);
        let text = clipped(&format!("error at line 1\n  |\n1 | {long}\n  | {}^\nno such value: {long} in x.toml", " ".repeat(1 << 20)));
        assert!(text.starts_with("error at line 1\nno such value: xxx") && text.ends_with("xxx in x.toml"), "{text}");
        assert!(text.len() < 500, "{}", text.len());
        assert_eq!(clipped("a\nb"), "a\nb");
    }
}
