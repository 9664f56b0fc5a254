//! Where the value of a setting comes from, and settings as a list of keys to be shown. Secrets are not settings, only the paths of
//! their files are; what a URL carries is masked.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What set a value. The strongest one counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "from", content = "name")]
pub enum Origin {
    /// The program itself: it is a default.
    Default,
    /// A settings file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "file {}", path.display()),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag => f.write_str("flag"),
        }
    }
}

/// One key of one section with the value that counts. Keys of a table within the section have its name and a dot before theirs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    pub section: String,
    pub key: String,
    /// Null where nothing is set and there is no default.
    pub value: Value,
    #[serde(flatten)]
    pub origin: Origin,
}

/// By key, where a value was set; those that are missing have their default.
#[derive(Debug, Default)]
pub(super) struct Origins(BTreeMap<String, Origin>);

impl Origins {
    pub(super) fn note(&mut self, key: &str, value: &toml::Value, origin: &Origin) {
        match value {
            toml::Value::Table(table) if !table.is_empty() => {
                table.iter().for_each(|(inner, value)| self.note(&format!("{key}.{inner}"), value, origin));
            }
            _ => drop(self.0.insert(key.to_owned(), origin.clone())),
        }
    }

    /// Where a value was set, or something in it.
    pub(super) fn of(&self, key: &str) -> Option<&Origin> {
        let within = |(name, _): &(&String, &Origin)| name.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
        self.0.get(key).or_else(|| self.0.iter().find(within).map(|(_, origin)| origin))
    }

    /// The settings key by key, in alphabetical order.
    pub(super) fn settings(&self, section: &str, settings: &impl Serialize) -> Vec<Setting> {
        let mut rows = Vec::new();
        // Settings are plain data, which always has a JSON form.
        self.add(section, "", serde_json::to_value(settings).unwrap_or_default(), &mut rows);
        rows
    }

    fn add(&self, section: &str, key: &str, value: Value, rows: &mut Vec<Setting>) {
        if let Value::Object(table) = value {
            for (inner, value) in table {
                let key = if key.is_empty() { inner } else { format!("{key}.{inner}") };
                self.add(section, &key, value, rows);
            }
            return;
        }
        let value = match value {
            Value::String(url) if key.ends_with("nats_url") => Value::String(without_secrets(&url)),
            value => value,
        };
        let origin = self.0.get(key).cloned().unwrap_or(Origin::Default);
        rows.push(Setting { section: section.to_owned(), key: key.to_owned(), value, origin });
    }
}

/// A NATS URL, or several with commas between, without the user, password or token in it.
pub fn without_secrets(urls: &str) -> String {
    let hidden = urls.split(',').map(|url| {
        let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
        let host = rest.rsplit_once('@').map_or_else(|| rest.to_owned(), |(_, host)| format!("***@{host}"));
        if scheme.is_empty() { host } else { format!("{scheme}://{host}") }
    });
    hidden.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_carries_is_masked() {
        assert_eq!(without_secrets("nats://127.0.0.1:4222"), "nats://127.0.0.1:4222");
        assert_eq!(without_secrets("nats://me:pass@a:1,tls://token@b:2, c"), "nats://***@a:1,tls://***@b:2, c");
        assert_eq!(without_secrets("me:p@ss@host"), "***@host");
    }
}
