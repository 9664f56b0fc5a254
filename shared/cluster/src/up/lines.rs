//! The children's log lines, each with its service's name in front, on standard error. A terminal that is held up must not
//! hold up a service: lines that cannot be written in time are dropped and counted.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use faultline_runtime::clock::unix_ms;
use faultline_runtime::config::LogFormat;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::{mpsc, oneshot};

use super::history::{NATS, OWN_NAME};
use super::tail::Tail;

const LINES_WAITING: usize = 8192;
const FLUSH_LIMIT: Duration = Duration::from_millis(300);
/// The longest name of a service that there is, so that a later one does not shift the column.
const NAME_WIDTH: usize = "fault-detector".len();

/// How lines are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) color: bool,
    pub(crate) format: LogFormat,
    /// Also the NATS server's chatter.
    pub(crate) verbose: bool,
    /// Of services only what is wrong; their log files have the rest.
    pub(crate) quiet: bool,
}

/// Takes lines from everywhere. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    sender: mpsc::Sender<String>,
    dropped: Arc<AtomicU64>,
    look: Look,
    tail: Arc<Tail>,
}

/// Says when everything has been written.
pub(crate) struct Written(oneshot::Receiver<()>);

impl Written {
    /// Waits for the last lines, not for ever. All [`Lines`] must be gone.
    pub(crate) async fn wait(self) {
        let _ = tokio::time::timeout(FLUSH_LIMIT, self.0).await;
    }
}

impl Lines {
    pub(crate) fn start(look: Look) -> (Self, Written) {
        let (sender, mut receiver) = mpsc::channel::<String>(LINES_WAITING);
        let (written, wait) = oneshot::channel();
        // A thread of its own: writing to a terminal may block.
        std::thread::spawn(move || {
            while let Some(line) = receiver.blocking_recv() {
                let _ = std::io::stderr().lock().write_all(line.as_bytes());
            }
            let _ = written.send(());
        });
        (Self { sender, dropped: Arc::default(), look, tail: Arc::default() }, Written(wait))
    }

    /// The last lines of each process.
    pub(crate) fn tail(&self) -> Arc<Tail> {
        Arc::clone(&self.tail)
    }

    /// Follows one child's output until it ends.
    pub(crate) fn follow(&self, name: &str, output: impl AsyncRead + Unpin + Send + 'static) {
        let (lines, name) = (self.clone(), name.to_owned());
        tokio::spawn(async move {
            let mut reader = BufReader::new(output);
            let mut bytes = Vec::new();
            while matches!(reader.read_until(b'\n', &mut bytes).await, Ok(read) if read > 0) {
                lines.say(&name, String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']));
                bytes.clear();
            }
        });
    }

    /// What a person looks for in a line.
    pub(crate) fn stand_out(&self, text: &str) -> String {
        if self.look.color { format!("\x1b[1;4m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Keeps one line, and shows it.
    pub(crate) fn say(&self, name: &str, text: &str) {
        self.tail.push(name, text, unix_ms());
        let Some(line) = render(name, text, self.look) else { return };
        if self.sender.try_send(line).is_err() {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            if dropped.is_power_of_two() {
                tracing::warn!(dropped, "log lines dropped: the terminal is too slow");
            }
        }
    }
}

/// The name as it stands before a line.
pub(crate) fn prefix(name: &str, color: bool) -> String {
    let (on, off) = if color { (color_of(name), "\x1b[0m") } else { ("", "") };
    format!("{on}{name:<NAME_WIDTH$} |{off} ")
}

/// One colour a service, none of those that levels have.
fn color_of(name: &str) -> &'static str {
    match name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-') {
        "generator" => "\x1b[35m",
        "scheduler" => "\x1b[34m",
        "worker" => "\x1b[96m",
        "fault-detector" => "\x1b[95m",
        "dashboard" => "\x1b[94m",
        _ => "\x1b[90m",
    }
}

fn render(name: &str, text: &str, look: Look) -> Option<String> {
    if look.quiet && name != OWN_NAME && is_chatter(text) {
        return None;
    }
    let text = if name.starts_with(NATS) { nats_line(text, look)? } else { text.to_owned() };
    Some(match look.format {
        LogFormat::Text => format!("{}{text}\n", prefix(name, look.color)),
        LogFormat::Json => {
            let service = serde_json::Value::from(name);
            match text.strip_prefix('{').filter(|rest| rest.len() > 1 && rest.ends_with('}')) {
                Some(rest) => format!("{{\"service\":{service},{rest}\n"),
                None => format!("{{\"service\":{service},\"message\":{}}}\n", serde_json::Value::from(text)),
            }
        }
    })
}

/// Whether a line of a service's log has a level below WARN: after the time, perhaps coloured.
fn is_chatter(text: &str) -> bool {
    // The codes of colours end with an `m`, and no level has one.
    let plain = |word: &str| word.rsplit_once('m').map_or(word, |(_, level)| level).to_owned();
    let level = text.split_whitespace().nth(1).map(|word| plain(word.trim_end_matches("\x1b[0m")));
    level.is_some_and(|level| ["INFO", "DEBUG", "TRACE"].contains(&level.as_str()))
}

/// `[1234] 2026/01/31 12:00:00.123456 [WRN] text`, as a service would say it. `None` for lines without information.
fn nats_line(text: &str, look: Look) -> Option<String> {
    let Some((before, (tag, message))) = text.split_once(" [").and_then(|(before, rest)| Some((before, rest.split_once("] ")?))) else {
        return Some(text.to_owned());
    };
    let (level, color) = match tag {
        "WRN" => ("WARN ", "\x1b[33m"),
        "ERR" | "FTL" => ("ERROR", "\x1b[31m"),
        "INF" if look.verbose => ("INFO ", "\x1b[32m"),
        "INF" | "DBG" | "TRC" => return None,
        _ => return Some(text.to_owned()),
    };
    let time: String = before.rsplit(' ').next().unwrap_or_default().chars().take("12:00:00.123".len()).collect();
    let (on, off) = if look.color { (color, "\x1b[0m") } else { ("", "") };
    Some(match look.format {
        LogFormat::Text => format!("{time} {on}{level}{off} {message}"),
        LogFormat::Json => serde_json::json!({ "level": level.trim_end(), "message": message }).to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Look = Look { color: false, format: LogFormat::Text, verbose: false, quiet: false };

    #[test]
    fn a_quiet_look_leaves_out_what_is_not_wrong_and_nothing_else() {
        let quiet = Look { quiet: true, ..PLAIN };
        for (name, text, is_shown) in [
            ("worker-01", "07:05:11.022Z INFO  serving /healthz", false),
            ("worker-01", "07:05:11.022Z \x1b[32mINFO \x1b[0m serving /healthz", false),
            ("worker-01", "\x1b[2m07:05:11.022Z\x1b[0m \x1b[34mDEBUG\x1b[0m pulled", false),
            ("worker-01", "07:05:11.022Z WARN  the link to NATS is down", true),
            ("worker-01", "07:05:11.022Z \x1b[31mERROR\x1b[0m INFO is a word here", true),
            ("worker-01", "thread 'main' panicked at src/main.rs:1:1:", true),
            ("up", "07:05:11.022Z INFO  draining workers", true),
        ] {
            assert_eq!(render(name, text, quiet).is_some(), is_shown, "{text}");
            assert!(render(name, text, PLAIN).is_some());
        }
    }

    #[test]
    fn names_stand_in_a_column() {
        assert_eq!(render("worker-01", "hello", PLAIN).unwrap(), "worker-01      | hello\n");
        assert_eq!(render("fault-detector", "hello", PLAIN).unwrap(), "fault-detector | hello\n");
        let coloured = render("worker-01", "hello", Look { color: true, ..PLAIN }).unwrap();
        assert!(coloured.starts_with("\x1b[96mworker-01") && coloured.ends_with("|\x1b[0m hello\n"), "{coloured:?}");
    }

    #[test]
    fn json_lines_stay_json() {
        let look = Look { format: LogFormat::Json, ..PLAIN };
        for (name, text) in [
            ("worker-01", r#"{"level":"INFO","message":"x"}"#),
            ("worker-01", "not \"json\""),
            (NATS, "[1] 2026/01/31 12:00:00.123456 [ERR] y"),
        ] {
            let line: serde_json::Value = serde_json::from_str(&render(name, text, look).unwrap()).unwrap();
            assert_eq!(line["service"], name);
            assert!(line["message"].is_string());
        }
    }

    #[test]
    fn the_nats_server_speaks_up_only_when_something_is_wrong() {
        let warning = "[1234] 2026/01/31 12:00:00.123456 [WRN] slow [disk] here";
        assert_eq!(render(NATS, warning, PLAIN).unwrap(), "nats           | 12:00:00.123 WARN  slow [disk] here\n");
        assert_eq!(render(NATS, "[1234] 2026/01/31 12:00:00.123456 [INF] Listening", PLAIN), None);
        assert!(render(NATS, "nats-server: nats.conf:3: parse error", PLAIN).unwrap().contains("parse error"));
    }
}
