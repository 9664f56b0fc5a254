//! The sources of a section, one over the other: the defaults, the file, the environment, the flags.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::environment;
use super::error::ConfigError;
use super::origin::{Origin, Origins};
use super::reader::Reader;

/// The file that is read when it is there and no other is named.
pub const DEFAULT_CONFIG_FILE: &str = "faultline.toml";

/// What the environment has to do with a section: keys with their variables, and what is wrong with other variables of the section.
pub(super) struct Variables {
    pub(super) wanted: Vec<(String, String)>,
    pub(super) mistakes: Vec<String>,
}

/// What the sources add up to.
struct Layers {
    values: Table,
    origins: Origins,
}

impl Layers {
    fn add(&mut self, key: &str, value: Value, origin: &Origin) {
        self.origins.note(key, &value, origin);
        put(&mut self.values, key, value);
    }
}

/// Puts a value in the place of another one; tables become one.
fn put(table: &mut Table, key: &str, value: Value) {
    match (table.get_mut(key), value) {
        (Some(Value::Table(known)), Value::Table(more)) => more.into_iter().for_each(|(key, value)| put(known, &key, value)),
        (_, value) => drop(table.insert(key.to_owned(), value)),
    }
}

/// The section without the keys of the file that other programs read.
pub(super) fn layered<T>(
    file: Option<&Path>,
    section: &str,
    others: &[&str],
    defaults: &T,
    variables: Variables,
    flags: &impl Serialize,
) -> Result<(T, Origins), ConfigError>
where
    T: Serialize + DeserializeOwned,
{
    let invalid = |reasons: Vec<String>| ConfigError::Invalid { section: section.to_owned(), reasons };
    let table = |values: Result<Table, toml::ser::Error>| values.map_err(|error| invalid(vec![error.to_string()]));
    let mut layers = Layers { values: table(Table::try_from(defaults))?, origins: Origins::default() };
    let file = SettingsFile::read(file)?;
    for (key, value) in file.section(section).map_err(|reason| invalid(vec![reason]))? {
        if !others.contains(&key.as_str()) {
            layers.add(&key, value, &Origin::File(file.path.clone()));
        }
    }
    let mut mistakes = variables.mistakes;
    for (key, variable) in &variables.wanted {
        match environment::value(variable) {
            Ok(None) => {}
            Ok(Some(value)) => layers.add(key, Value::String(value), &Origin::Environment(variable.clone())),
            Err(problem) => mistakes.push(format!("{key}: {problem} ({})", Origin::Environment(variable.clone()))),
        }
    }
    for (key, value) in table(Table::try_from(flags))? {
        layers.add(&key, value, &Origin::Flag);
    }
    match read(layers.values, |path| source(path, section, &layers.origins, &file)) {
        Ok(settings) if mistakes.is_empty() => Ok((settings, layers.origins)),
        Ok(_) => Err(invalid(mistakes)),
        Err(more) => Err(invalid([mistakes, more].concat())),
    }
}

/// The settings, or all that is wrong with them: what does not fit is said and taken out, until the rest fits.
fn read<T: DeserializeOwned>(mut values: Table, source: impl Fn(&[String]) -> String) -> Result<T, Vec<String>> {
    let mut mistakes = Vec::new();
    loop {
        let whole = Value::Table(values);
        let error = match serde_path_to_error::deserialize(Reader(&whole)) {
            Ok(settings) if mistakes.is_empty() => return Ok(settings),
            Ok(_) => break,
            Err(error) => error,
        };
        let path: Vec<String> = error.path().iter().filter_map(key_of).collect();
        mistakes.push(format!("{}: {}{}", path.join("."), error.inner(), source(&path)));
        let Value::Table(mut rest) = whole else { break };
        if !take_out(&mut rest, &path) {
            break;
        }
        values = rest;
    }
    mistakes.sort();
    Err(mistakes)
}

fn key_of(segment: &Segment) -> Option<String> {
    match segment {
        Segment::Map { key } => Some(key.clone()),
        Segment::Seq { .. } | Segment::Enum { .. } | Segment::Unknown => None,
    }
}

fn take_out(table: &mut Table, path: &[String]) -> bool {
    match path {
        [] => false,
        [key] => table.remove(key).is_some(),
        [key, rest @ ..] => table.get_mut(key).and_then(Value::as_table_mut).is_some_and(|inner| take_out(inner, rest)),
    }
}

/// Where the value of a key comes from, in words.
fn source(path: &[String], section: &str, origins: &Origins, file: &SettingsFile) -> String {
    let Some(origin) = origins.of(&path.join(".")) else { return String::new() };
    match (origin, file.line_of(section, path)) {
        (Origin::File(_), Some(line)) => format!(" ({origin}, line {line})"),
        _ => format!(" ({origin})"),
    }
}

/// A settings file; empty when there is none.
struct SettingsFile {
    path: PathBuf,
    text: String,
}

impl SettingsFile {
    fn read(named: Option<&Path>) -> Result<Self, ConfigError> {
        let path = named.unwrap_or(Path::new(DEFAULT_CONFIG_FILE)).to_owned();
        let text = if named.is_some() || path.is_file() { read_file(&path)? } else { String::new() };
        Ok(Self { path, text })
    }

    fn section(&self, section: &str) -> Result<Table, String> {
        let origin = Origin::File(self.path.clone());
        let mut whole: Table = self.text.parse().map_err(|error| format!("{error}({origin})"))?;
        match whole.remove(section) {
            None => Ok(Table::new()),
            Some(Value::Table(table)) => Ok(table),
            Some(other) => Err(format!("invalid type: {}, expected a table: write [{section}] ({origin})", other.type_str())),
        }
    }

    /// The line with the last key of a path that the file has, from 1.
    fn line_of(&self, section: &str, path: &[String]) -> Option<usize> {
        let whole = DeTable::parse(&self.text).ok()?;
        let (mut table, mut at) = (whole.get_ref(), None);
        for name in std::iter::once(section).chain(path.iter().map(String::as_str)) {
            let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == name) else { break };
            at = Some(key.span().start);
            match value.get_ref() {
                DeValue::Table(inner) => table = inner,
                _ => break,
            }
        }
        at.map(|at| self.text[..at].matches('\n').count() + 1)
    }
}

/// The text of a settings file, or of a pipe that stands for one.
pub fn read_file(path: &Path) -> Result<String, ConfigError> {
    if !path.is_file() {
        return piped(path);
    }
    std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable { path: path.to_owned(), reason: error.to_string() })
}

/// What a pipe says, such as `--config <(...)` of a shell. It can be read once, and every section is looked up in it: the text is kept.
fn piped(path: &Path) -> Result<String, ConfigError> {
    static READ: Mutex<BTreeMap<PathBuf, String>> = Mutex::new(BTreeMap::new());
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(text) = read.get(path) {
        return Ok(text.clone());
    }
    let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => ConfigError::NoFile(path.to_owned()),
        _ => ConfigError::Unreadable { path: path.to_owned(), reason: error.to_string() },
    })?;
    read.insert(path.to_owned(), text.clone());
    Ok(text)
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
        utc: bool,
        seed: Option<u64>,
        color: Color,
        inner: Inner,
    }

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        aging_ms: u64,
    }

    /// The mistakes of what sources say, one over the other.
    fn of(given: &[(&Origin, &str, Value)]) -> Vec<String> {
        let mut layers = Layers { values: Table::try_from(Sample::default()).unwrap(), origins: Origins::default() };
        given.iter().for_each(|(origin, key, value)| layers.add(key, value.clone(), origin));
        let file = SettingsFile { path: PathBuf::new(), text: String::new() };
        read::<Sample>(layers.values, |path| source(path, "sample", &layers.origins, &file)).err().unwrap_or_default()
    }

    fn table(key: &str, value: impl Into<Value>) -> Value {
        Value::Table(Table::from_iter([(key.to_owned(), value.into())]))
    }

    #[test]
    fn a_value_of_a_file_is_taken_for_what_it_is() {
        let file = Origin::File("x.toml".into());
        for (key, value, words) in [
            ("inner", table("aging_ms", 1e99), "inner.aging_ms: invalid type: floating point `1e99`, expected a whole number that is"),
            ("seed", Value::from(1.5), "seed: invalid type: floating point `1.5`"),
            ("workers", f64::INFINITY.into(), "workers: "),
            ("workers", (-1).into(), "workers: invalid value: integer `-1`, expected a whole number from 0 to 4294967295 (file x.toml)"),
            ("workers", table("a", 1), "workers: invalid type: map, expected a whole number from 0 to 4294967295 (file x.toml)"),
            ("url", 5.into(), "url: invalid type: integer `5`, expected a text in quotation marks"),
            ("inner", 5.into(), "inner: invalid type: integer `5`, expected a table"),
            ("workers", "eight".into(), "workers: invalid type: string \"eight\", expected a whole number from 0 to"),
            ("color", "red".into(), "color: unknown value `red`, expected one of `auto`, `always`, `never` (file x.toml)"),
            ("color", 1.into(), "color: invalid type: integer `1`, expected one of `auto`, `always`, `never` (file x.toml)"),
            ("bogus", 1.into(), "bogus: unknown field `bogus`, expected one of `workers`"),
            ("a b.c", "x".into(), "a b.c: unknown field `a b.c`"),
            ("inner", table("b", 1), "inner.b: unknown field `b`, expected `aging_ms`"),
            ("utc", 1.into(), "utc: invalid type: integer `1`, expected true or false"),
        ] {
            let found = of(&[(&file, key, value)]);
            assert!(found.len() == 1 && found[0].starts_with(words), "{key}: {found:?}");
        }
        for (key, value) in [
            ("rate", Value::from(1)),
            ("rate", f64::INFINITY.into()),
            ("seed", 3.into()),
            ("workers", "8".into()),
            ("color", "never".into()),
        ] {
            assert_eq!(of(&[(&file, key, value)]), Vec::<String>::new(), "{key}");
        }
    }

    #[test]
    fn a_variable_is_always_text_and_hides_what_a_file_says() {
        let (file, variable) = (Origin::File("x.toml".into()), Origin::Environment("FAULTLINE_X".into()));
        for (key, value) in [("workers", "8"), ("rate", "1e3"), ("utc", "1"), ("utc", "Off"), ("url", "5"), ("seed", "0")] {
            assert_eq!(of(&[(&variable, key, value.into())]), Vec::<String>::new(), "{key}");
        }
        assert!(of(&[(&variable, "color", "red".into())])[0].ends_with("`never` (environment FAULTLINE_X)"));
        let both = [(&file, "workers", 1.5.into()), (&variable, "workers", "8".into())];
        assert_eq!(of(&both), Vec::<String>::new());
    }

    #[test]
    fn all_mistakes_are_told_at_once_with_their_lines() {
        let text = "[other]\nseed = 1\n[sample]\nworkers = -1\nbogus = 1\n[sample.inner]\naging_ms = true\n";
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let flags = BTreeMap::from([("rate", "fast")]);
        let variables = Variables { wanted: Vec::new(), mistakes: vec!["of a variable".to_owned()] };
        let refused = layered(Some(file.path()), "sample", &[], &Sample::default(), variables, &flags).map(drop).unwrap_err().to_string();
        let name = file.path().display();
        let begins = [
            "of a variable".to_owned(),
            format!(
                "bogus: unknown field `bogus`, expected one of `workers`, `rate`, `url`, `utc`, `seed`, `color`, `inner` (file {name}, line 5)"
            ),
            format!("inner.aging_ms: invalid type: boolean `true`, expected a whole number that is not negative (file {name}, line 7)"),
            "rate: invalid type: string \"fast\", expected a number (flag)".to_owned(),
            format!("workers: invalid value: integer `-1`, expected a whole number from 0 to 4294967295 (file {name}, line 4)"),
        ];
        assert_eq!(refused, begins.map(|reason| format!("settings of [sample]: {reason}")).join("\n"));
    }

    #[test]
    fn a_file_that_is_no_toml_says_where() {
        for (text, part) in [("[sample]\nworkers = = 1\n", "line 2, column 11"), ("sample = 5\n", "expected a table: write [sample]")] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            let variables = Variables { wanted: Vec::new(), mistakes: Vec::new() };
            let flags = BTreeMap::<&str, &str>::new();
            let refused =
                layered(Some(file.path()), "sample", &[], &Sample::default(), variables, &flags).map(drop).unwrap_err().to_string();
            assert!(refused.contains(part) && refused.contains(&file.path().display().to_string()), "{refused}");
        }
    }
}
