//! Logs: info green, warn yellow, error red, debug cyan on a terminal; plain or JSON elsewhere; a rolling file besides.

use std::fmt;
use std::io::IsTerminal;

use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Color, Common, LogFormat};
use crate::times;

/// How many days of log files are kept.
const LOG_FILES_KEPT: usize = 7;

/// Flushes the log file when dropped; keep it until the end of `main`.
#[must_use]
pub struct TelemetryGuard {
    _file: Option<WorkerGuard>,
}

/// Whether what is written to standard error should be coloured.
pub fn use_color(color: Color) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && std::io::stderr().is_terminal(),
    }
}

/// Whether a log filter says something: a lone word that is not a level would be taken for a module, and all else fall silent.
pub(crate) fn check_filter(filter: &str) -> Result<(), String> {
    let wrong = filter
        .split(',')
        .map(str::trim)
        .find(|part| part.is_empty() || !part.contains('=') && part.parse::<tracing::level_filters::LevelFilter>().is_err());
    let reason = match wrong {
        Some(part) => format!("invalid level `{part}`"),
        None => match EnvFilter::try_new(filter) {
            Ok(_) => return Ok(()),
            Err(error) => format!("`{filter}`: {error}"),
        },
    };
    Err(format!("{reason}; write error, warn, info, debug, trace, or module=level pairs"))
}

/// Starts logging to standard error and, with a log folder, to `<service>.<date>.log` in it.
pub fn init(service: &str, common: &Common) -> TelemetryGuard {
    init_with_prefix(service, common, String::new())
}

/// As [`init`], with `prefix` in front of each plain line on standard error.
pub fn init_with_prefix(service: &str, common: &Common, prefix: String) -> TelemetryGuard {
    times::show_utc(common.utc);
    // The client's own news of every connection would bury ours; `--log-level info,async_nats=info` shows them.
    let level = if common.log_level == "info" { "info,async_nats=warn" } else { &common.log_level };
    let filter = || EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let console = match common.log_format {
        LogFormat::Json => tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).boxed(),
        LogFormat::Text => {
            let color = use_color(common.color);
            tracing_subscriber::fmt::layer().with_ansi(color).event_format(Lines { color, prefix }).with_writer(std::io::stderr).boxed()
        }
    };
    let mut guard = None;
    let mut refused = None;
    let file = common.log_dir.as_ref().and_then(|dir| {
        let appender = tracing_appender::rolling::Builder::new()
            .rotation(tracing_appender::rolling::Rotation::DAILY)
            .filename_prefix(service)
            .filename_suffix("log")
            .max_log_files(LOG_FILES_KEPT)
            .build(dir);
        match appender {
            Ok(appender) => {
                let (writer, worker) = tracing_appender::non_blocking(appender);
                guard = Some(worker);
                let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
                Some(match common.log_format {
                    LogFormat::Json => layer.json().flatten_event(true).with_filter(filter()).boxed(),
                    LogFormat::Text => layer.event_format(Lines { color: false, prefix: String::new() }).with_filter(filter()).boxed(),
                })
            }
            Err(error) => {
                refused = Some(error);
                None
            }
        }
    });
    tracing_subscriber::registry().with(file).with(console.with_filter(filter())).init();
    if let (Some(error), Some(dir)) = (refused, &common.log_dir) {
        tracing::warn!(%error, dir = %dir.display(), "no log file: set --log-dir to a folder that can be written");
    }
    TelemetryGuard { _file: guard }
}

/// One line an event: time, level, message and fields, the spans' fields last.
struct Lines {
    color: bool,
    prefix: String,
}

const RESET: &str = "\x1b[0m";

fn ansi(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[36m",
        Level::TRACE => "\x1b[2m",
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        let (on, off) = if self.color { (ansi(level), RESET) } else { ("", "") };
        write!(writer, "{}{} {on}{level:<5}{off} ", self.prefix, times::clock(crate::clock::unix_ms()))?;
        // Fields may carry what a message says, and a line break in one would start a line that looks like another event.
        let mut plain = String::new();
        context.field_format().format_fields(Writer::new(&mut plain), event)?;
        if plain.contains(['\n', '\r']) {
            write!(writer, "{}", plain.replace('\n', "\\n").replace('\r', "\\r"))?;
        } else if self.color {
            context.field_format().format_fields(writer.by_ref(), event)?;
        } else {
            write!(writer, "{plain}")?;
        }
        if let Some(scope) = context.event_scope() {
            for span in scope.from_root() {
                if let Some(fields) = span.extensions().get::<FormattedFields<N>>().filter(|fields| !fields.is_empty()) {
                    write!(writer, " {fields}")?;
                }
            }
        }
        writeln!(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_the_promised_colours() {
        assert_eq!([Level::INFO, Level::WARN, Level::ERROR, Level::DEBUG].map(ansi), ["\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[36m"]);
    }
}
