//! Settings: flag > `FAULTLINE_*` environment > `faultline.toml` > default. Where each value came from is remembered, so that
//! `faultline config show` can say it.

mod clip;
mod common;
mod environment;
mod error;
mod layers;
mod origin;
mod reader;

use std::net::SocketAddr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use clip::clipped;
pub use common::{COMMON_HEADING, Color, Common, CommonArgs, DEFAULT_NATS_URL, LogFormat};
pub use error::ConfigError;
pub use layers::{DEFAULT_CONFIG_FILE, read_file};
use layers::{Variables, layered};
use origin::Origins;
pub use origin::{Origin, Setting, without_secrets};

use crate::connect::{self, ConnectError};
use crate::{credentials, trace};

/// Of all OpenTelemetry programs.
const OTLP_VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The largest seed that can be handed on as a setting, which holds signed whole numbers.
pub const MAX_SEED: u64 = i64::MAX as u64;

/// A seed on a command line.
pub fn seed(text: &str) -> Result<u64, String> {
    let fits = text.trim().parse::<u64>().ok().filter(|seed| *seed <= MAX_SEED);
    fits.ok_or_else(|| format!("a seed is a whole number from 0 to {MAX_SEED}"))
}

impl CommonArgs {
    /// The common settings: `[common]` of the file, and variables such as `FAULTLINE_NATS_URL`.
    pub fn load(&self) -> Result<Common, ConfigError> {
        self.load_with_origins().map(|(common, _)| common)
    }

    /// As [`CommonArgs::load`], key by key with where each value comes from.
    pub fn settings(&self) -> Result<Vec<Setting>, ConfigError> {
        let (common, origins) = self.load_with_origins()?;
        Ok(origins.settings("common", &common))
    }

    fn load_with_origins(&self) -> Result<(Common, Origins), ConfigError> {
        let mut environment = common_variables();
        environment.push(("otlp_endpoint".to_owned(), OTLP_VARIABLE.to_owned()));
        let known: Vec<String> = environment.iter().map(|(_, variable)| variable.clone()).collect();
        let variables = Variables { wanted: environment, mistakes: environment::unknown(None, &known, std::env::vars_os()) };
        let (mut common, origins): (Common, _) = layered(self.config.as_deref(), "common", &[], &Common::default(), variables, self)?;
        common.stop_with_parent = self.stop_with_parent;
        let endpoint = common.otlp_endpoint.as_deref().map_or(Ok(()), |endpoint| trace::read_endpoint(endpoint).map(drop));
        let filter = crate::telemetry::check_filter(&common.log_level).map_err(|reason| format!("log_level: {reason}"));
        let reasons: Vec<String> = [endpoint.err().map(|error| error.to_string()), filter.err()].into_iter().flatten().collect();
        if reasons.is_empty() { Ok((common, origins)) } else { Err(ConfigError::Invalid { section: "common".into(), reasons }) }
    }
}

impl Common {
    /// What keeps every connection with these settings from being made, whatever server is there.
    pub fn connection_problems(&self) -> Vec<String> {
        let url = connect::servers(&self.nats_url).err().map(|error| match error {
            // A URL may carry a secret, which must not appear in a message about what is wrong with it.
            ConnectError::BadUrl { reason, .. } => ConnectError::BadUrl { url: without_secrets(&self.nats_url), reason }.to_string(),
            other => other.to_string(),
        });
        url.into_iter().chain(credentials::problems(self)).collect()
    }
}

/// The variables of the common settings, but for the one that is not only ours.
fn common_variables() -> Vec<(String, String)> {
    const KEYS: [&str; 10] =
        ["nats_url", "nkey_file", "tls_ca_file", "tls_cert_file", "tls_key_file", "log_level", "log_format", "log_dir", "color", "utc"];
    KEYS.map(|key| (key.to_owned(), format!("FAULTLINE_{}", key.to_uppercase()))).into()
}

/// Variables of the environment that look like settings and that no program reads, in words.
pub fn unheeded_variables() -> Vec<String> {
    let known: Vec<String> = common_variables().into_iter().map(|(_, variable)| variable).collect();
    let names = environment::unheeded(&known, std::env::vars_os()).into_iter();
    names.map(|name| format!("unknown variable {name}: ignored; `faultline config show` lists all settings")).collect()
}

/// The settings of one program: `[section]` of the file, and variables `FAULTLINE_<SECTION>_<KEY>`.
/// `flags` is a struct of options that skips what was not given.
pub fn load_section<T>(args: &CommonArgs, section: &str, flags: &impl Serialize) -> Result<T, ConfigError>
where
    T: Serialize + DeserializeOwned + Default,
{
    section_without(&[], args, section, flags).map(|(settings, _)| settings)
}

/// As [`load_section`], key by key with where each value comes from.
pub fn section_settings<T>(args: &CommonArgs, section: &str, flags: &impl Serialize) -> Result<Vec<Setting>, ConfigError>
where
    T: Serialize + DeserializeOwned + Default,
{
    let (settings, origins) = section_without::<T>(&[], args, section, flags)?;
    Ok(origins.settings(section, &settings))
}

/// Where a process answers about itself: the one key that the sections of all services have.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct AdminSettings {
    admin_bind: Option<SocketAddr>,
}

const ADMIN_BIND: &str = "admin_bind";

/// The settings of a service as [`load_section`] has them, and its section's `admin_bind`.
pub fn load_service<T>(
    args: &CommonArgs,
    section: &str,
    admin_bind: Option<SocketAddr>,
    flags: &impl Serialize,
) -> Result<(T, Option<SocketAddr>), ConfigError>
where
    T: Serialize + DeserializeOwned + Default,
{
    let ((own, _), (admin, _)) = own_and_admin(args, section, admin_bind, flags)?;
    Ok((own, admin.admin_bind))
}

/// As [`load_service`], key by key with where each value comes from.
pub fn service_settings<T>(
    args: &CommonArgs,
    section: &str,
    admin_bind: Option<SocketAddr>,
    flags: &impl Serialize,
) -> Result<Vec<Setting>, ConfigError>
where
    T: Serialize + DeserializeOwned + Default,
{
    let ((own, own_origins), (admin, origins)) = own_and_admin::<T>(args, section, admin_bind, flags)?;
    let mut rows = origins.settings(section, &admin);
    rows.extend(own_origins.settings(section, &own));
    Ok(rows)
}

type WithOrigins<T> = (T, Origins);

/// Both parts of a service's section, or what is wrong with either.
fn own_and_admin<T>(
    args: &CommonArgs,
    section: &str,
    admin_bind: Option<SocketAddr>,
    flags: &impl Serialize,
) -> Result<(WithOrigins<T>, WithOrigins<AdminSettings>), ConfigError>
where
    T: Serialize + DeserializeOwned + Default,
{
    match (section_without(&[ADMIN_BIND], args, section, flags), load_admin(args, section, admin_bind)) {
        (Ok(own), Ok(admin)) => Ok((own, admin)),
        (Err(ConfigError::Invalid { section, mut reasons }), Err(ConfigError::Invalid { reasons: more, .. })) => {
            reasons.extend(more);
            reasons.dedup();
            Err(ConfigError::Invalid { section, reasons })
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

fn load_admin(args: &CommonArgs, section: &str, flag: Option<SocketAddr>) -> Result<(AdminSettings, Origins), ConfigError> {
    let variables = Variables { wanted: vec![(ADMIN_BIND.to_owned(), variable(section, ADMIN_BIND))], mistakes: Vec::new() };
    // What was not given must not hide what was set elsewhere.
    let given: std::collections::BTreeMap<&str, String> = flag.iter().map(|address| (ADMIN_BIND, address.to_string())).collect();
    // The file's section has keys of the service, too: they are checked with its own.
    layered(args.config.as_deref(), section, &[], &AdminSettings::default(), variables, &given)
}

fn variable(section: &str, key: &str) -> String {
    format!("FAULTLINE_{}_{}", section_word(section), key.to_uppercase())
}

/// A section's name as it stands in variables.
fn section_word(section: &str) -> String {
    section.replace('-', "_").to_uppercase()
}

/// A section of the file without the keys that other programs read.
fn section_without<T>(others: &[&str], args: &CommonArgs, section: &str, flags: &impl Serialize) -> Result<(T, Origins), ConfigError>
where
    T: Serialize + DeserializeOwned + Default,
{
    let defaults = T::default();
    let wanted: Vec<(String, String)> =
        keys_of(&defaults, section)?.into_iter().map(|key| (key.clone(), variable(section, &key))).collect();
    let others_names = others.iter().map(|key| variable(section, key));
    let known: Vec<String> = wanted.iter().map(|(_, variable)| variable.clone()).chain(others_names).collect();
    let mistakes = environment::unknown(Some(&section_word(section)), &known, std::env::vars_os());
    layered(args.config.as_deref(), section, others, &defaults, Variables { wanted, mistakes }, flags)
}

/// The keys of a section. JSON has those without a value, too.
fn keys_of(defaults: &impl Serialize, section: &str) -> Result<Vec<String>, ConfigError> {
    match serde_json::to_value(defaults) {
        Ok(serde_json::Value::Object(table)) => Ok(table.into_iter().map(|(key, _)| key).collect()),
        Ok(other) => Err(ConfigError::Invalid { section: section.to_owned(), reasons: vec![format!("{other} has no keys")] }),
        Err(error) => Err(ConfigError::Invalid { section: section.to_owned(), reasons: vec![error.to_string()] }),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        rate: f64,
        name: String,
        seed: Option<u64>,
    }

    impl Default for Sample {
        fn default() -> Self {
            Self { rate: 2.0, name: "x".into(), seed: None }
        }
    }

    #[derive(Serialize)]
    struct Flags {
        #[serde(skip_serializing_if = "Option::is_none")]
        rate: Option<f64>,
    }

    fn args(text: &str) -> (tempfile::NamedTempFile, CommonArgs) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let args = CommonArgs { config: Some(file.path().to_owned()), ..CommonArgs::default() };
        (file, args)
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_beats_the_default() {
        let (_file, args) = args("[sample]\nrate = 7.5\nname = \"from the file\"\nseed = 3\n[other]\nx = 1\n");
        let sample: Sample = load_section(&args, "sample", &Flags { rate: None }).unwrap();
        assert_eq!(sample, Sample { rate: 7.5, name: "from the file".into(), seed: Some(3) });
        let sample: Sample = load_section(&args, "sample", &Flags { rate: Some(9.0) }).unwrap();
        assert!((sample.rate - 9.0).abs() < f64::EPSILON);
    }

    #[test]
    fn errors_name_the_section_and_the_key() {
        let (_file, with_typo) = args("[sample]\nrrate = 7.5\n");
        let error = load_section::<Sample>(&with_typo, "sample", &Flags { rate: None }).unwrap_err().to_string();
        assert!(error.contains("[sample]") && error.contains("rrate"), "{error}");
        let missing = CommonArgs { config: Some("no/such.toml".into()), ..CommonArgs::default() };
        assert!(matches!(missing.load(), Err(ConfigError::NoFile(_))));
    }

    #[test]
    fn the_admin_address_is_beside_a_service_s_own_settings_and_in_no_other_section() {
        let (_file, args) = args("[sample]\nrate = 7.5\nadmin_bind = \"127.0.0.1:9100\"\n");
        let load = |flag: Option<&str>| {
            load_service::<Sample>(&args, "sample", flag.map(|flag| flag.parse().unwrap()), &Flags { rate: None }).unwrap()
        };
        let (sample, bind) = load(None);
        assert_eq!((sample.name.as_str(), bind.unwrap().port()), ("x", 9100));
        assert_eq!(load(Some("[::1]:7")).1.unwrap().to_string(), "[::1]:7", "a flag beats the file");
        let error = load_section::<Sample>(&args, "sample", &Flags { rate: None }).unwrap_err().to_string();
        assert!(error.contains("admin_bind"), "{error}");
        let (_file, args) = super::tests::args("[sample]\nadmin_bind = \"9100\"\n");
        let error = load_service::<Sample>(&args, "sample", None, &Flags { rate: None }).unwrap_err().to_string();
        assert!(error.contains("[sample]") && error.contains("admin_bind"), "{error}");
    }

    #[test]
    fn a_log_level_that_would_silence_everything_is_refused() {
        for (level, is_fine) in [
            ("debug", true),
            ("info,async_nats=warn", true),
            ("faultline_worker=trace", true),
            ("loud", false),
            ("a=loud", false),
            ("", false),
        ] {
            let (_file, args) = args(&format!("[common]\nlog_level = \"{level}\"\n"));
            let loaded = args.load();
            assert_eq!(loaded.is_ok(), is_fine, "{level}: {loaded:?}");
        }
    }

    #[test]
    fn a_seed_that_no_setting_could_hold_is_refused() {
        assert_eq!((seed("0"), seed("9223372036854775807")), (Ok(0), Ok(MAX_SEED)));
        for text in ["9223372036854775808", "99999999999999999999999", "-1", "1.5", ""] {
            assert!(seed(text).unwrap_err().contains("0 to 9223372036854775807"), "{text}");
        }
        let (_file, args) = args("");
        let flags = std::collections::BTreeMap::from([("seed", MAX_SEED)]);
        assert_eq!(load_section::<Sample>(&args, "sample", &flags).unwrap().seed, Some(MAX_SEED));
    }

    #[test]
    fn common_settings_have_defaults() {
        let (_file, args) = args("");
        assert_eq!(args.load().unwrap().log_level, "info");
    }

    #[test]
    fn every_value_knows_where_it_comes_from() {
        #[derive(Debug, Default, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Outer {
            nats_url: String,
            seed: Option<u64>,
            inner: Inner,
        }
        #[derive(Debug, Default, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Inner {
            a_ms: u64,
            b_ms: u64,
        }
        let text = "[outer]\nadmin_bind = \"127.0.0.1:9\"\nnats_url = \"nats://me:secret@host:1\"\n[outer.inner]\nb_ms = 7\n";
        let (file, args) = args(text);
        let flags = std::collections::BTreeMap::from([("seed", 3)]);
        let settings = service_settings::<Outer>(&args, "outer", None, &flags).unwrap();
        let shown: Vec<_> =
            settings.iter().map(|setting| (setting.key.as_str(), setting.value.to_string(), setting.origin.clone())).collect();
        let file = Origin::File(file.path().to_owned());
        let expected = [
            ("admin_bind", "\"127.0.0.1:9\"".to_owned(), file.clone()),
            ("inner.a_ms", "0".to_owned(), Origin::Default),
            ("inner.b_ms", "7".to_owned(), file.clone()),
            ("nats_url", "\"nats://***@host:1\"".to_owned(), file),
            ("seed", "3".to_owned(), Origin::Flag),
        ];
        assert_eq!(shown, expected);
        let flag = "127.0.0.1:10".parse().unwrap();
        assert_eq!(service_settings::<Outer>(&args, "outer", Some(flag), &flags).unwrap()[0].origin, Origin::Flag);
    }
}
