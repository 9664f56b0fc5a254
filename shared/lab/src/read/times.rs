//! Instants and durations in the ways that traces write them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::table::seconds_ms;

/// An instant in milliseconds since 1970: seconds since then, a date with an offset, or a date without one, which is taken as UTC because a trace
/// does not say where it was made.
pub(super) fn instant_ms(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return seconds_ms(text);
    }
    let timestamp = match text.parse::<Timestamp>() {
        Ok(timestamp) => timestamp,
        Err(_) => TimeZone::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok()?,
    };
    u64::try_from(timestamp.as_millisecond()).ok().filter(|ms| *ms <= 4_000_000_000_000)
}

/// `[days-]hours:minutes:seconds`, `days-hours[:minutes]`, `minutes:seconds`, or `minutes`, as Slurm writes time limits, in milliseconds. Fractions
/// of seconds are cut.
pub(super) fn slurm_ms(text: &str) -> Option<u64> {
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (Some(days.parse::<u32>().ok()?), rest),
        None => (None, text),
    };
    let rest = rest.split('.').next().unwrap_or_default();
    let parts: Vec<u64> = rest.split(':').map(|part| part.parse::<u32>().ok().map(u64::from)).collect::<Option<_>>()?;
    let seconds = match (days, parts.as_slice()) {
        (_, [hours, minutes, seconds]) => hours * 3_600 + minutes * 60 + seconds,
        (Some(_), [hours, minutes]) => hours * 3_600 + minutes * 60,
        (Some(_), [hours]) => hours * 3_600,
        (None, [minutes, seconds]) => minutes * 60 + seconds,
        (None, [minutes]) => minutes * 60,
        _ => return None,
    };
    let seconds = seconds + u64::from(days.unwrap_or(0)) * 86_400;
    (seconds <= 4_000_000_000).then_some(seconds * 1_000)
}
