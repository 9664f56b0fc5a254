//! Numbers and durations in sentences. Every crate writes them with these functions, so that they read the same everywhere.

/// A number with its thousands set apart: `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 job`, `2 jobs`, `3 retries`, `4 processes`: the noun is given in the singular.
pub fn plural(number: u64, noun: &str) -> String {
    let number_words = count(number);
    if number == 1 { format!("{number_words} {noun}") } else { format!("{number_words} {}", many(noun)) }
}

/// `1 job a minute`, `0.5 jobs a minute`.
pub fn job_rate(per_minute: f64) -> String {
    format!("{per_minute} {} a minute", if per_minute == 1.0 { "job" } else { "jobs" })
}

/// The word for one where there is one, and the word for many otherwise: `is` and `are`, `runs` and `run`.
pub fn agree<'a>(number: u64, one: &'a str, many: &'a str) -> &'a str {
    if number == 1 { one } else { many }
}

fn many(noun: &str) -> String {
    if let Some(stem) = noun.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'i', 'o', 'u'])) {
        return format!("{stem}ies");
    }
    let hisses = ["s", "x", "ch", "sh"].iter().any(|end| noun.ends_with(end));
    format!("{noun}{}", if hisses { "es" } else { "s" })
}

/// A duration: `850 ms`, `3.2 s`, `4 min 10 s`, `2 h 5 min`, `3 d 4 h`. What is smaller than the last place is cut off.
pub fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", seconds, ms % 1000 / 100),
        60_000..3_600_000 => pair(seconds / 60, "min", seconds % 60, "s"),
        3_600_000..86_400_000 => pair(seconds / 3600, "h", seconds / 60 % 60, "min"),
        _ => pair(seconds / 86_400, "d", seconds / 3600 % 24, "h"),
    }
}

/// A duration that was estimated: as [`span`], rounded to a tenth of a second below a minute and to a second above.
pub fn about(ms: u64) -> String {
    let step = if ms < 60_000 { 100 } else { 1_000 };
    span((ms + step / 2) / step * step)
}

/// A time limit and other lengths that people choose: as [`span`], without a zero after the point, so `30 s` and `1.5 s`.
pub fn limit(ms: u64) -> String {
    match span(ms).strip_suffix(".0 s") {
        Some(seconds) => format!("{seconds} s"),
        None => span(ms),
    }
}

fn pair(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 { format!("{large} {large_unit}") } else { format!("{large} {large_unit} {small} {small_unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_nouns_follow_them() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        let cases = [
            (0, "job", "0 jobs"),
            (1, "job", "1 job"),
            (2_000, "job", "2,000 jobs"),
            (1, "retry", "1 retry"),
            (3, "retry", "3 retries"),
            (2, "day", "2 days"),
            (4, "process", "4 processes"),
            (2, "batch", "2 batches"),
        ];
        for (number, noun, words) in cases {
            assert_eq!(plural(number, noun), words);
        }
        assert_eq!([0.5, 1.0, 2.0].map(job_rate), ["0.5 jobs a minute", "1 job a minute", "2 jobs a minute"]);
        assert_eq!((agree(1, "is", "are"), agree(0, "is", "are"), agree(2, "is", "are")), ("is", "are", "are"));
    }

    #[test]
    fn an_estimate_is_rounded() {
        assert_eq!([7_199_990, 7_200_400, 2_049, 2_050, 59_990].map(about), ["2 h", "2 h", "2.0 s", "2.1 s", "1 min"]);
    }

    #[test]
    fn durations_carry_their_units() {
        // The page's tests read the same file.
        let cases: Vec<(u64, String)> = serde_json::from_str(include_str!("spans.json")).unwrap();
        for (ms, words) in cases {
            assert_eq!(span(ms), words);
        }
        assert_eq!([500, 1_500, 30_000, 90_000].map(limit), ["500 ms", "1.5 s", "30 s", "1 min 30 s"]);
    }
}
