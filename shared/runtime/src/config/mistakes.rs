//! What is wrong with settings, value by value, so that all of it is said at once and in words.

use std::collections::BTreeMap;

use config::{Config, ConfigError, Value, ValueKind};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::origin::Origin;

/// A value that some source gives to a key of the section. A table is the value of one key.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) origin: Origin,
    pub(super) key: String,
    pub(super) value: Value,
}

/// A longer line is shown without its middle.
const LONGEST_LINE: usize = 1000;
const SHOWN_AT_EACH_END: usize = 200;

type Leaves<'a> = BTreeMap<Vec<String>, (&'a Origin, &'a Value)>;

/// Every value that does not fit its key, each on top of nothing but the defaults. Of several values of one key the last counts.
pub(super) fn mistakes<T: Serialize + DeserializeOwned>(defaults: &T, given: &[Given]) -> Vec<String> {
    let mut leaves = Leaves::new();
    for one in given {
        add(vec![one.key.clone()], one, &one.value, &mut leaves);
    }
    let mistake = |(path, (origin, value)): (&Vec<String>, &(&Origin, &Value))| {
        let problem = problem_of(defaults, path, value, origin)?;
        Some(format!("{}: {problem} ({origin})", path.join(".")))
    };
    leaves.iter().filter_map(mistake).collect()
}

fn add<'a>(path: Vec<String>, given: &'a Given, value: &'a Value, leaves: &mut Leaves<'a>) {
    match &value.kind {
        ValueKind::Table(table) if !table.is_empty() => {
            for (key, inner) in table {
                add([path.as_slice(), std::slice::from_ref(key)].concat(), given, inner, leaves);
            }
        }
        _ => drop(leaves.insert(path, (&given.origin, value))),
    }
}

fn problem_of<T: Serialize + DeserializeOwned>(defaults: &T, path: &[String], value: &Value, origin: &Origin) -> Option<String> {
    let is_text = matches!(value.kind, ValueKind::String(_));
    // A file has numbers and texts of its own, and its reader would make 18446744073709551615 of the number 1e99, and a text of a 5.
    // A key that is no plain word would be read as a path.
    if (matches!(origin, Origin::File(_)) && !is_text) || !path.iter().all(|key| is_plain(key)) {
        return strictly(defaults, path, value).err();
    }
    let error = leniently(defaults, path, value).err()?;
    // Of a name that is not on the list, only the strict reader tells the list.
    let is_name = error.contains("variant constructor");
    Some(if is_name { strictly(defaults, path, value).err().unwrap_or(error) } else { error })
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// As the settings are read in the end: a text may stand for a number.
fn leniently<T: Serialize + DeserializeOwned>(defaults: &T, path: &[String], value: &Value) -> Result<(), String> {
    let read = || {
        let builder = Config::builder().add_source(Config::try_from(defaults)?);
        builder.set_override(path.join("."), value.clone())?.build()?.try_deserialize::<T>()
    };
    read().map(drop).map_err(words)
}

/// The error without the key and the source, which are said anyway.
fn words(error: ConfigError) -> String {
    match error {
        ConfigError::Type { unexpected, expected, .. } => format!("{unexpected} is not what is expected: {expected}"),
        ConfigError::At { error, .. } => words(*error),
        other => other.to_string(),
    }
}

/// Takes every value for what it is.
fn strictly<T: Serialize + DeserializeOwned>(defaults: &T, path: &[String], value: &Value) -> Result<(), String> {
    let value = match value.kind {
        // Which JSON does not have, but a file does.
        ValueKind::Float(number) if !number.is_finite() => f64::MAX.into(),
        _ => value.clone().try_deserialize::<serde_json::Value>().unwrap_or_default(),
    };
    let mut whole = serde_json::to_value(defaults).unwrap_or_default();
    let mut at = &mut whole;
    for key in path {
        if !at.is_object() {
            *at = serde_json::json!({});
        }
        at = &mut at[key.as_str()];
    }
    *at = value;
    serde_json::from_value::<T>(whole).map(drop).map_err(|error| plain(&error.to_string()))
}

/// The words of serde for people who do not write Rust.
fn plain(message: &str) -> String {
    let message = message.replacen("unknown variant ", "there is no ", 1);
    let Some((found, expected)) = message.rsplit_once(", expected ") else { return message };
    let expected = match expected {
        "u8" | "u16" | "u32" => {
            let most = match expected {
                "u8" => u64::from(u8::MAX),
                "u16" => u64::from(u16::MAX),
                _ => u64::from(u32::MAX),
            };
            format!("a whole number from 0 to {most}")
        }
        "u64" | "usize" => "a whole number that is not negative".to_owned(),
        "i64" | "i32" => "a whole number".to_owned(),
        "f64" | "f32" => "a number".to_owned(),
        "a string" | "string" => "a text in quotation marks".to_owned(),
        "a boolean" => "true or false".to_owned(),
        other => other.to_owned(),
    };
    format!("{found}, expected {expected}")
}

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
    use serde::Deserialize;

    use super::super::Color;
    use super::*;

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        workers: u32,
        rate: f64,
        url: String,
        seed: Option<u64>,
        color: Color,
        inner: Inner,
    }

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        aging_ms: u64,
    }

    fn of(origin: &Origin, key: &str, value: impl Into<Value>) -> Vec<String> {
        mistakes(&Sample::default(), &[Given { origin: origin.clone(), key: key.to_owned(), value: value.into() }])
    }

    fn table(key: &str, value: impl Into<Value>) -> Value {
        Value::new(None, ValueKind::Table([(key.to_owned(), value.into())].into()))
    }

    #[test]
    fn a_value_of_a_file_is_taken_for_what_it_is() {
        let file = Origin::File("x.toml".into());
        for (key, value, words) in [
            ("inner", table("aging_ms", 1e99), "inner.aging_ms: invalid type: floating point `1e+99`, expected a whole number that is"),
            ("seed", Value::from(1.5), "seed: invalid type: floating point `1.5`"),
            ("workers", f64::INFINITY.into(), "workers: "),
            ("workers", (-1).into(), "workers: invalid value: integer `-1`, expected a whole number from 0 to 4294967295 (file x.toml)"),
            ("url", 5.into(), "url: invalid type: integer `5`, expected a text in quotation marks"),
            ("inner", 5.into(), "inner: "),
            ("workers", "eight".into(), "workers: string \"eight\" is not what is expected: an integer"),
            ("color", "red".into(), "color: there is no `red`, expected one of `auto`, `always`, `never` (file x.toml)"),
            ("bogus", 1.into(), "bogus: unknown field `bogus`, expected one of `workers`"),
            ("a b.c", "x".into(), "a b.c: unknown field `a b.c`"),
            ("inner", table("b", 1), "inner.b: unknown field `b`, expected `aging_ms`"),
        ] {
            let found = of(&file, key, value);
            assert!(found.len() == 1 && found[0].starts_with(words), "{key}: {found:?}");
        }
        for (key, value) in [
            ("rate", Value::from(1)),
            ("rate", f64::INFINITY.into()),
            ("seed", 3.into()),
            ("workers", "8".into()),
            ("color", "never".into()),
        ] {
            assert_eq!(of(&file, key, value), Vec::<String>::new(), "{key}");
        }
    }

    #[test]
    fn a_variable_is_always_text_and_hides_what_a_file_says() {
        let variable = Origin::Environment("FAULTLINE_X".into());
        assert_eq!(of(&variable, "workers", "8"), Vec::<String>::new());
        assert!(of(&variable, "color", "red")[0].ends_with("`never` (environment FAULTLINE_X)"));
        let given = |origin: &Origin, value: Value| Given { origin: origin.clone(), key: "workers".to_owned(), value };
        let both = [given(&Origin::File("x.toml".into()), 1.5.into()), given(&variable, "8".into())];
        assert_eq!(mistakes(&Sample::default(), &both), Vec::<String>::new());
    }

    #[test]
    fn what_is_quoted_has_an_end() {
        let long = "x".repeat(1 << 20);
        let text = clipped(&format!("error at line 1\n  |\n1 | {long}\n  | {}^\nno such value: {long} in x.toml", " ".repeat(1 << 20)));
        assert!(text.starts_with("error at line 1\nno such value: xxx") && text.ends_with("xxx in x.toml"), "{text}");
        assert!(text.len() < 500, "{}", text.len());
        assert_eq!(clipped("a\nb"), "a\nb");
    }
}
