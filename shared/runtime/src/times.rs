//! Times for people. One rule for all that Faultline prints: local time with its offset from UTC (the variable `TZ` counts), or UTC where
//! `--utc` asks for it. Messages, JSON and metrics have Unix milliseconds and never come here.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use jiff::tz::TimeZone;

static SHOW_UTC: AtomicBool = AtomicBool::new(false);

/// From now on this process writes times in UTC, or in local time.
pub fn show_utc(utc: bool) {
    SHOW_UTC.store(utc, Ordering::Relaxed);
}

fn zone() -> &'static TimeZone {
    static LOCAL: OnceLock<TimeZone> = OnceLock::new();
    if SHOW_UTC.load(Ordering::Relaxed) {
        return &UTC;
    }
    // Where the system does not say, or names a zone that it has no data of, UTC is what can be told.
    LOCAL.get_or_init(|| TimeZone::try_system().unwrap_or(TimeZone::UTC))
}

static UTC: TimeZone = TimeZone::UTC;

/// The time of day: `10:21:04.123+02:00`, in UTC `08:21:04.123Z`.
pub fn clock(unix_ms: u64) -> String {
    written(unix_ms, zone(), "%H:%M:%S%.3f")
}

/// The time of day without fractions, for what is redrawn all the time: `10:21:04+02:00`.
pub fn short_clock(unix_ms: u64) -> String {
    written(unix_ms, zone(), "%H:%M:%S")
}

/// With the date: `2026-11-30 10:21:04.123+02:00`.
pub fn date_and_clock(unix_ms: u64) -> String {
    written(unix_ms, zone(), "%Y-%m-%d %H:%M:%S%.3f")
}

fn written(unix_ms: u64, zone: &TimeZone, form: &str) -> String {
    let stamp = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    // What a message says may be no time at all.
    let Some(time) = stamp.map(|stamp| stamp.to_zoned_datetime(zone.clone())) else { return format!("{unix_ms} ms") };
    let text = time.strftime(form).to_string();
    if time.offset().is_zero() { format!("{text}Z") } else { format!("{text}{}", time.strftime("%:z")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = "%Y-%m-%d %H:%M:%S%.3f";

    #[test]
    fn a_time_says_its_offset() {
        let at = 1_764_491_464_123; // 2025-11-30, 08:31:04.123 UTC
        let zone = |text: &str| TimeZone::posix(text).unwrap();
        assert_eq!(written(at, &TimeZone::UTC, FULL), "2025-11-30 08:31:04.123Z");
        assert_eq!(written(at, &zone("CET-1CEST,M3.5.0,M10.5.0/3"), FULL), "2025-11-30 09:31:04.123+01:00");
        assert_eq!(written(at, &zone("<-0330>3:30"), FULL), "2025-11-30 05:01:04.123-03:30");
        assert_eq!(written(1_752_000_000_000, &zone("CET-1CEST,M3.5.0,M10.5.0/3"), "%H:%M:%S"), "20:40:00+02:00", "summer");
        assert_eq!(written(3_723_004, &TimeZone::UTC, "%H:%M:%S%.3f"), "01:02:03.004Z");
    }

    #[test]
    fn what_is_no_time_is_told_as_it_is() {
        assert_eq!(written(u64::MAX, &TimeZone::UTC, FULL), format!("{} ms", u64::MAX));
    }
}
