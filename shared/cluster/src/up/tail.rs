//! The last lines of each process's log as `up` reads them, for those who see neither its terminal nor its files. Bounded for each process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use faultline_protocol::messages::{Level, LogLine, MAX_LOG_LINE_BYTES, MAX_LOG_LINES};

use super::history::NATS;

/// Of one process, beside [`MAX_LOG_LINES`].
const MAX_BYTES: usize = 32 * 1024;
/// Stands where a line was cut.
const CUT: &str = "…";

/// Takes lines from everywhere.
#[derive(Debug, Default)]
pub(crate) struct Tail(Mutex<BTreeMap<String, Kept>>);

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<LogLine>,
    bytes: usize,
}

/// How many lines of warnings and errors are kept of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Complaints {
    pub(crate) warnings: u32,
    pub(crate) errors: u32,
}

impl Tail {
    pub(crate) fn push(&self, process: &str, text: &str, at_ms: u64) {
        let (level, text) = read(process, text);
        if text.is_empty() {
            return;
        }
        let mut all = self.locked();
        let kept = all.entry(process.to_owned()).or_default();
        kept.bytes += text.len();
        kept.lines.push_back(LogLine { process: process.to_owned(), at_ms, level, text });
        while kept.lines.len() > MAX_LOG_LINES as usize || kept.bytes > MAX_BYTES {
            let Some(oldest) = kept.lines.pop_front() else { break };
            kept.bytes -= oldest.text.len();
        }
    }

    /// The newest lines, oldest first: of one process or of all, of a level and worse or of all. A line without a level, such as those of
    /// a panic, belongs to the worst.
    pub(crate) fn newest(&self, process: Option<&str>, level: Option<Level>, most: usize) -> Vec<LogLine> {
        let all = self.locked();
        let wanted = |line: &&LogLine| line.level.unwrap_or(Level::Error) >= level.unwrap_or(Level::Debug);
        let of_process = all.iter().filter(|(name, _)| process.is_none_or(|only| only == name.as_str()));
        let mut lines: Vec<&LogLine> = of_process.flat_map(|(_, kept)| kept.lines.iter().rev().filter(wanted).take(most)).collect();
        lines.sort_by_key(|line| line.at_ms);
        lines.iter().skip(lines.len().saturating_sub(most)).map(|&line| line.clone()).collect()
    }

    pub(crate) fn complaints(&self, process: &str) -> Complaints {
        let all = self.locked();
        let count = |level| {
            let lines = all.get(process).into_iter().flat_map(|kept| &kept.lines);
            u32::try_from(lines.filter(|line| line.level == Some(level)).count()).unwrap_or(u32::MAX)
        };
        Complaints { warnings: count(Level::Warn), errors: count(Level::Error) }
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line's level, and its text without colors, time, and level, cut to its bound.
fn read(process: &str, line: &str) -> (Option<Level>, String) {
    let plain = without_colors(line);
    let (level, text) = if process.starts_with(NATS) { nats_parts(&plain) } else { parts(&plain) };
    (level, cut(text.trim()))
}

/// `07:05:11.022Z INFO  text`, or a JSON object with a level.
fn parts(line: &str) -> (Option<Level>, &str) {
    if line.starts_with('{') {
        let object = serde_json::from_str::<serde_json::Value>(line).ok();
        return (object.and_then(|object| level_of(object.get("level")?.as_str()?)), line);
    }
    let rest = line.split_once(' ').map_or("", |(_time, rest)| rest.trim_start());
    let (word, text) = rest.split_once(' ').unwrap_or((rest, ""));
    level_of(word).map_or((None, line), |level| (Some(level), text))
}

/// `[1234] 2026/01/31 12:00:00.123456 [WRN] text`.
fn nats_parts(line: &str) -> (Option<Level>, &str) {
    let tagged = line.split_once(" [").and_then(|(_, rest)| rest.split_once("] "));
    tagged.and_then(|(tag, text)| Some((Some(level_of(tag)?), text))).unwrap_or((None, line))
}

fn level_of(word: &str) -> Option<Level> {
    match word {
        "TRACE" | "DEBUG" | "TRC" | "DBG" => Some(Level::Debug),
        "INFO" | "INF" => Some(Level::Info),
        "WARN" | "WRN" => Some(Level::Warn),
        "ERROR" | "ERR" | "FTL" => Some(Level::Error),
        _ => None,
    }
}

/// Without the codes of colors, and without other control characters.
fn without_colors(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, code)) = rest.split_once("\x1b[") {
        text.push_str(before);
        rest = code.split_once('m').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    text.retain(|letter| letter == '\t' || !letter.is_control());
    text
}

fn cut(text: &str) -> String {
    if text.len() <= MAX_LOG_LINE_BYTES {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(MAX_LOG_LINE_BYTES - CUT.len());
    format!("{}{CUT}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_from_all_forms_and_colors_are_gone() {
        for (process, line, level, text) in [
            ("worker-01", "07:05:11.022Z INFO  serving /healthz", Some(Level::Info), "serving /healthz"),
            ("worker-01", "\x1b[2m07:05:11.022Z\x1b[0m \x1b[33mWARN \x1b[0m down", Some(Level::Warn), "down"),
            ("worker-01", "thread 'main' panicked at src/main.rs:1:1:", None, "thread 'main' panicked at src/main.rs:1:1:"),
            ("worker-01", r#"{"level":"ERROR","message":"x"}"#, Some(Level::Error), r#"{"level":"ERROR","message":"x"}"#),
            ("nats", "[1] 2026/01/31 12:00:00.123456 [WRN] slow [disk] here", Some(Level::Warn), "slow [disk] here"),
            ("nats-2", "nats-server: nats.conf:3: parse error", None, "nats-server: nats.conf:3: parse error"),
            ("up", "stopping", None, "stopping"),
        ] {
            assert_eq!(read(process, line), (level, text.to_owned()), "{line}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded_by_lines_and_bytes_and_cut_between_letters() {
        let tail = Tail::default();
        (0..1_000).for_each(|n| tail.push("a", &format!("07:05:11.022Z INFO  line {n}"), n));
        let kept = tail.newest(None, None, 1_000);
        assert_eq!((kept.len(), kept[0].text.as_str(), kept[199].text.as_str()), (200, "line 800", "line 999"));
        (0..300).for_each(|n| tail.push("b", &"ä".repeat(5_000), n));
        let long = tail.newest(Some("b"), None, 1_000);
        assert!(long.iter().all(|line| line.text.len() <= MAX_LOG_LINE_BYTES && line.text.ends_with(CUT)));
        assert!(long.len() > 50 && long.iter().map(|line| line.text.len()).sum::<usize>() <= MAX_BYTES, "{}", long.len());
    }

    #[test]
    fn lines_are_chosen_by_process_and_level_and_the_newest_of_all_are_in_order() {
        let tail = Tail::default();
        for (at_ms, process, level) in [(1, "a", "INFO"), (2, "b", "WARN"), (3, "a", "ERROR"), (4, "b", "DEBUG")] {
            tail.push(process, &format!("07:05:11.022Z {level} x"), at_ms);
        }
        tail.push("a", "thread 'main' panicked", 5);
        let times = |process, level, most| tail.newest(process, level, most).iter().map(|line| line.at_ms).collect::<Vec<_>>();
        assert_eq!(times(None, None, 3), [3, 4, 5]);
        assert_eq!(times(None, Some(Level::Warn), 9), [2, 3, 5]);
        assert_eq!(times(Some("b"), Some(Level::Info), 9), [2]);
        assert_eq!(times(Some("c"), None, 9), [0_u64; 0]);
        assert_eq!(tail.complaints("a"), Complaints { warnings: 0, errors: 1 });
    }
}
