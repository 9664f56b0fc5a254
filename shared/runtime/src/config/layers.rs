//! The sources of a section, one over the other: the file, the environment, the flags.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::mistakes::{Given, mistakes};
use super::origin::{Origin, Origins};
use super::{ConfigError, DEFAULT_CONFIG_FILE, invalid};

/// The section without the keys of the file that somebody else reads.
pub(super) fn layered<T>(
    file: Option<&Path>,
    section: &str,
    others: &[&str],
    defaults: &T,
    environment: &[(String, String)],
    flags: &impl Serialize,
) -> Result<(T, Origins), ConfigError>
where
    T: Serialize + DeserializeOwned,
{
    let invalid = |error: config::ConfigError| invalid(section, &error);
    let mut given = from_file(file, section, others)?;
    for (key, variable) in environment {
        // An empty variable is how shells and compose files write one that is not set.
        if let Some(value) = std::env::var(variable).ok().filter(|value| !value.is_empty()) {
            let value = config::Value::new(Some(variable), config::ValueKind::String(value));
            given.push(Given { origin: Origin::Environment(variable.clone()), key: key.clone(), value });
        }
    }
    let from_flags =
        config::Config::try_from(flags).and_then(|c| c.try_deserialize::<BTreeMap<String, config::Value>>()).map_err(invalid)?;
    given.extend(from_flags.into_iter().map(|(key, value)| Given { origin: Origin::Flag, key, value }));
    let mistakes = mistakes(defaults, &given);
    if !mistakes.is_empty() {
        return Err(ConfigError::Invalid { section: section.to_owned(), reasons: mistakes });
    }

    let mut builder = config::Config::builder().add_source(config::Config::try_from(defaults).map_err(invalid)?);
    let mut origins = Origins::default();
    for Given { origin, key, value } in given {
        origins.note(&key, &value, &origin);
        builder = builder.set_override(key, value).map_err(invalid)?;
    }
    Ok((builder.build().and_then(config::Config::try_deserialize).map_err(invalid)?, origins))
}

fn from_file(file: Option<&Path>, section: &str, others: &[&str]) -> Result<Vec<Given>, ConfigError> {
    let invalid = |error: config::ConfigError| invalid(section, &error);
    let path = file.unwrap_or(Path::new(DEFAULT_CONFIG_FILE));
    if file.is_some() && !path.is_file() {
        return Err(ConfigError::NoFile(path.to_owned()));
    }
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let whole = config::Config::builder().add_source(config::File::from(path).format(config::FileFormat::Toml)).build().map_err(invalid)?;
    match whole.get_table(section) {
        Ok(table) => {
            let own = table.into_iter().filter(|(key, _)| !others.contains(&key.as_str()));
            Ok(own.map(|(key, value)| Given { origin: Origin::File(path.to_owned()), key, value }).collect())
        }
        Err(config::ConfigError::NotFound(_)) => Ok(Vec::new()),
        Err(error) => Err(invalid(error)),
    }
}
