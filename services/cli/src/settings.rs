//! `faultline config`: the settings that count, key by key, and where each comes from. Services own their sections, so each program
//! is asked for its own (`--print-settings`), and checks its own.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Subcommand;
use comfy_table::Table;
use faultline_cluster::up::services::bin_dir;
use faultline_cluster::up::settings::UpSettings;
use faultline_runtime::config::{self, CommonArgs, ConfigError, Setting};
use serde::Serialize;
use serde_json::Value;

use crate::exit::Failure;
use crate::options::Options;
use crate::output::{Output, plural, table};
use crate::up_flags::UpFlags;

/// The services by short name, which is the name of the section too.
pub(crate) const SERVICES: [&str; 5] = ["generator", "scheduler", "worker", "fault-detector", "dashboard"];
const OWN_SECTIONS: [&str; 2] = ["common", "up"];

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ConfigCommand {
    /// List every key of every section with its effective value
    Show {
        /// Say where each value comes from: a flag, a variable of the environment, a file, or the default
        #[arg(long)]
        origin: bool,
        /// Only this section, such as worker
        #[arg(long, value_name = "NAME", value_parser = section_name)]
        section: Option<String>,
    },
    /// Read a settings file without using it, and name what is wrong with it; exit code 2 when something is
    Check {
        /// The settings file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

fn section_name(text: &str) -> Result<String, String> {
    let known: Vec<&str> = OWN_SECTIONS.into_iter().chain(SERVICES).collect();
    if known.contains(&text) { Ok(text.to_owned()) } else { Err(format!("use one of {}", known.join(", "))) }
}

pub(crate) fn run(options: &Options, command: &ConfigCommand) -> Result<(), Failure> {
    // No settings are needed to look at settings: those for the output come from flags alone.
    let out = Output::new(options.output, options.common.color.unwrap_or_default());
    match command {
        ConfigCommand::Show { origin, section } => show(options, &out, *origin, section.as_deref()),
        ConfigCommand::Check { file } => check(&out, file),
    }
}

fn show(options: &Options, out: &Output, with_origin: bool, only: Option<&str>) -> Result<(), Failure> {
    let mut settings = Vec::new();
    let mut problems = Vec::new();
    for section in OWN_SECTIONS.into_iter().chain(SERVICES).filter(|section| only.is_none_or(|only| only == *section)) {
        match section_settings(options, section) {
            Ok(rows) => settings.extend(rows),
            Err(problem) => problems.push(problem),
        }
    }
    out.rows(&settings, |settings| settings_table(settings, with_origin))?;
    if problems.is_empty() { Ok(()) } else { Err(Failure::Usage(problems.join("\n"))) }
}

/// Refuses settings with which a service would end at once, before anything is started. A program that is missing is told elsewhere.
pub(crate) fn check_services(options: &Options, bin_dir: &Path) -> Result<(), Failure> {
    let there = SERVICES.into_iter().filter(|service| bin_dir.join(format!("faultline-{service}")).is_file());
    let mut problems: Vec<String> = there.filter_map(|service| section_settings(options, service).err()).collect();
    // A problem of [common] is every service's.
    problems.dedup();
    if problems.is_empty() { Ok(()) } else { Err(Failure::Usage(problems.join("\n"))) }
}

/// What counts for one section; or what is wrong with it.
fn section_settings(options: &Options, section: &str) -> Result<Vec<Setting>, String> {
    match section {
        "common" => options.common.settings().map_err(|error| error.to_string()),
        "up" => {
            let flags = UpFlags { data_dir: options.data_dir.clone(), ..UpFlags::default() };
            let settings: UpSettings = config::load_section(&options.common, "up", &flags).map_err(|error| error.to_string())?;
            settings.validate().map_err(|failure| format!("settings of [up]: {failure}"))?;
            config::section_settings::<UpSettings>(&options.common, "up", &flags).map_err(|error| error.to_string())
        }
        service => ask(service, options.common.config.as_deref()),
    }
}

fn ask(service: &str, file: Option<&Path>) -> Result<Vec<Setting>, String> {
    let program = bin_dir().map_err(|failure| failure.to_string())?.join(format!("faultline-{service}"));
    let mut command = Command::new(&program);
    command.arg("--print-settings");
    // A pipe was read to its end by this process.
    let piped = file.filter(|file| !file.is_file()).map(config::read_file).transpose().map_err(|error| error.to_string())?;
    if let Some(file) = file {
        command.arg("--config").arg(if piped.is_some() { Path::new("/dev/stdin") } else { file });
    }
    let unknown =
        |reason: String| format!("settings of [{service}]: {} cannot be asked ({reason}); `./justw build` builds it", program.display());
    let output = output_of(command, piped.as_deref()).map_err(|error| unknown(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        // With a problem of [common] every program says the same; its own name in front is of no use here.
        let said = said.trim().trim_start_matches("Error: ").trim_start_matches(&format!("faultline-{service}: ")).to_owned();
        return Err(if said.contains('[') { said } else { format!("settings of [{service}]: {said}") });
    }
    serde_json::from_slice(&output.stdout).map_err(|error| unknown(error.to_string()))
}

/// Runs a program with this text as its standard input.
fn output_of(mut command: Command, input: Option<&str>) -> std::io::Result<std::process::Output> {
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let (Some(mut stdin), Some(text)) = (child.stdin.take(), input) {
        match stdin.write_all(text.as_bytes()) {
            // It ended without reading all of it, and has said why.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written?,
        }
    }
    child.wait_with_output()
}

/// `-` for what is not set.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn settings_table(settings: &[Setting], with_origin: bool) -> Table {
    let header: &[&str] = if with_origin { &["SECTION", "KEY", "VALUE", "ORIGIN"] } else { &["SECTION", "KEY", "VALUE"] };
    let mut rows = table(header);
    for setting in settings {
        let mut cells = vec![setting.section.clone(), setting.key.clone(), shown(&setting.value)];
        if with_origin {
            cells.push(setting.origin.to_string());
        }
        rows.add_row(cells);
    }
    rows
}

/// What `config check -o json` prints.
#[derive(Debug, Serialize)]
struct Checked<'a> {
    file: &'a Path,
    ok: bool,
    problems: &'a [String],
}

fn check(out: &Output, file: &Path) -> Result<(), Failure> {
    let problems = problems_of(file);
    out.one(&Checked { file, ok: problems.is_empty(), problems: &problems }, |checked| {
        if checked.ok { format!("{} is fine", file.display()) } else { String::new() }
    })?;
    if problems.is_empty() {
        return Ok(());
    }
    let number = plural(problems.len() as u64, "mistake");
    Err(Failure::Usage(format!("{} has {number}:\n{}", file.display(), problems.join("\n"))))
}

/// What is wrong with a settings file, in words. The environment counts as it would at a start.
pub(crate) fn problems_of(file: &Path) -> Vec<String> {
    let text = match config::read_file(file) {
        Ok(text) => text,
        Err(ConfigError::NoFile(_)) => return vec!["it cannot be read: it does not exist".to_owned()],
        Err(error) => return vec![error.to_string()],
    };
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => return vec![config::clipped(&error.to_string())],
    };
    let mut problems = Vec::new();
    let common = CommonArgs { config: Some(file.to_owned()), ..CommonArgs::default() };
    let options = Options::for_settings(common);
    for section in table.keys() {
        match section_name(section) {
            Ok(section) => problems.extend(section_settings(&options, &section).err().iter().flat_map(|said| one_by_one(said))),
            Err(known) => problems.push(format!("unknown section [{}]: {known}", config::clipped(section))),
        }
    }
    if table.contains_key("common")
        && let Ok(common) = options.common.load()
    {
        problems.extend(common.connection_problems().iter().map(|problem| format!("settings of [common]: {}", config::clipped(problem))));
    }
    problems.sort();
    problems.dedup();
    problems
}

const PROBLEM: &str = "settings of [";

/// A program says all that is wrong at once; each problem begins a line, and may go on in the next.
fn one_by_one(said: &str) -> Vec<String> {
    let mut problems: Vec<String> = Vec::new();
    for line in config::clipped(said).lines() {
        match problems.last_mut().filter(|_| !line.starts_with(PROBLEM)) {
            Some(problem) => problem.push_str(&format!("\n{line}")),
            None => problems.push(line.to_owned()),
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use faultline_runtime::config::Origin;

    use super::*;

    #[test]
    fn a_row_a_key() {
        let row = |key: &str, value: Value, origin| Setting { section: "up".into(), key: key.into(), value, origin };
        let settings = [
            row("seed", Value::Null, Origin::Default),
            row("faults", "off".into(), Origin::File("faultline.toml".into())),
            row("workers", 4.into(), Origin::Environment("FAULTLINE_UP_WORKERS".into())),
        ];
        let mut rows = settings_table(&settings, true);
        rows.force_no_tty().set_content_arrangement(comfy_table::ContentArrangement::Disabled);
        let expected = "\
SECTION  KEY      VALUE  ORIGIN
up       seed     -      default
up       faults   off    file faultline.toml
up       workers  4      environment FAULTLINE_UP_WORKERS";
        assert_eq!(rows.trim_fmt(), expected);
    }

    #[test]
    fn mistakes_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.toml");
        for (text, part) in [
            ("[common]\nnats_url = 5\n", "nats_url"),
            ("[common]\nnats_url = \"http://me:secret@x\"\n", "`http://***@x`"),
            ("[common]\ntls_cert_file = \"cert.pem\"\n", "tls_key_file must name"),
            ("[common]\nnkey_file = \"no/such.nk\"\n", "nkey_file (no/such.nk)"),
            ("[common]\ncolor = \"red\"\n", "color: unknown value `red`, expected one of `auto`, `always`, `never`"),
            ("[up]\nworker_number = 4\n", "worker_number"),
            ("[up]\nworkers = 100000\n", "workers"),
            ("[common]\nlog_level = \"loud\"\n", "log_level"),
            ("[upp]\nworkers = 4\n", "unknown section [upp]"),
            ("[up\n", "TOML"),
        ] {
            std::fs::write(&file, text).unwrap();
            let problems = problems_of(&file);
            assert!(problems.iter().any(|problem| problem.contains(part)), "{text}: {problems:?}");
        }
        std::fs::write(&file, "[up]\nworkers = \"eight\"\nbogus = 1\nfaults = \"none\"\n[common]\nlog_level = \"loud\"\ncolour = 1\n")
            .unwrap();
        let problems = problems_of(&file);
        for part in
            ["[common]: colour: ", "[up]: bogus: ", "[up]: faults: unknown value `none`", "[up]: workers: invalid type: string \"eight\""]
        {
            assert!(problems.iter().filter(|problem| problem.contains(part)).count() == 1, "{part}: {problems:?}");
        }
        std::fs::write(&file, format!("[up]\nworkers = {}\n", "x".repeat(1 << 20))).unwrap();
        assert!(problems_of(&file)[0].len() < 1000);
        std::fs::write(&file, "[up]\nworkers = 4\n").unwrap();
        assert_eq!(problems_of(&file), Vec::<String>::new());
        assert!(problems_of(&dir.path().join("none.toml"))[0].contains("cannot be read"));
    }
}
