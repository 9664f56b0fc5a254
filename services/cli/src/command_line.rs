//! The whole command line: commands by what they need, their examples, and how their help looks.

use clap::builder::StyledStr;
use clap::{CommandFactory, Parser, Subcommand};

use crate::commands::ClusterCommand;
use crate::examples;
use crate::exit::EXIT_CODES;
use crate::local::LocalCommand;
use crate::offline::OfflineCommand;
use crate::options::{self, Options, POINTER};

/// An autonomous GPU cluster that you can break.
#[derive(Debug, Parser)]
#[command(name = "faultline", version, after_help = EXIT_CODES, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// A command, by what it needs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The `up` of this machine.
    #[command(flatten)]
    Local(LocalCommand),
    /// A connection to NATS.
    #[command(flatten)]
    Cluster(ClusterCommand),
    /// Nothing.
    #[command(flatten)]
    Offline(OfflineCommand),
}

/// The commands as the help lists them: what belongs together under a heading, and what is used most first.
const GROUPS: [(&str, &[&str]); 7] = [
    ("Run a cluster", &["demo", "up", "status", "scale", "down"]),
    ("Give it work", &["submit", "jobs", "job", "explain", "cancel", "resubmit", "rate", "mix"]),
    ("Look at it", &["top", "nodes", "node", "incidents", "goodput", "report", "record", "events", "audit"]),
    ("Break it, mend it", &["kill", "link", "fault", "faults", "chaos", "scenario", "drain", "undrain"]),
    ("Plan it", &["would-fit", "what-if", "lab"]),
    ("Set it up", &["doctor", "config", "setup", "nats-config"]),
    ("Help and tools", &["glossary", "options", "completions", "man", "decode"]),
];

/// Everything, with examples: for manual pages and the shells' completions.
pub(crate) fn whole() -> clap::Command {
    /// A negative number is taken for a value, not for an unknown flag: the error then names the flag that it was meant for.
    fn with_negative_numbers(command: clap::Command) -> clap::Command {
        command.allow_negative_numbers(true).mut_subcommands(with_negative_numbers)
    }
    examples::add(with_negative_numbers(Cli::command()))
}

/// The same as people see it: the options of every command stand in one help, to which each other one points.
pub(crate) fn definition() -> clap::Command {
    fn with_pointer(command: clap::Command) -> clap::Command {
        let before = command.get_after_help().map(|text| format!("{text}\n\n")).unwrap_or_default();
        command
            .after_help(format!("{before}{POINTER}"))
            .mut_subcommands(|below| if is_options(&below) { below } else { with_pointer(below) })
    }
    let command = with_pointer(whole())
        .mut_args(|arg| if arg.is_global_set() { arg.hide(true) } else { arg })
        .mut_subcommands(|below| if is_options(&below) { options::of_command(below) } else { below });
    let template = overview(&command);
    command.help_template(template)
}

fn is_options(command: &clap::Command) -> bool {
    command.get_name() == "options"
}

/// The template of the first help: clap knows no headings for commands.
fn overview(command: &clap::Command) -> StyledStr {
    let (styles, mut text) = (command.get_styles().clone(), String::from("{about-with-newline}\n{usage-heading} {usage}\n\n"));
    let width = GROUPS.iter().flat_map(|(_, names)| *names).map(|name| name.len()).max().unwrap_or(0);
    let (header, literal) = (styles.get_header(), styles.get_literal());
    for (heading, names) in GROUPS {
        text.push_str(&format!("{header}{heading}:{header:#}\n"));
        for below in names.iter().filter_map(|name| command.find_subcommand(name)) {
            let about = below.get_about().map(ToString::to_string).unwrap_or_default();
            // What comes behind is in the command's own help.
            let short = about.split([';', ':']).next().unwrap_or_default();
            text.push_str(&format!("  {literal}{:<width$}{literal:#}  {short}\n", below.get_name()));
        }
        text.push('\n');
    }
    text.push_str(&format!("{header}Options:{header:#}\n{{options}}{{after-help}}"));
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_stands_under_one_heading() {
        let command = definition();
        let mut listed: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        let mut there: Vec<&str> = command.get_subcommands().filter(|below| !below.is_hide_set()).map(clap::Command::get_name).collect();
        listed.sort_unstable();
        there.sort_unstable();
        assert_eq!(listed, there);
        let help = definition().render_help().to_string();
        assert!(help.find("submit ").unwrap() < help.find("audit ").unwrap(), "{help}");
    }

    #[test]
    fn the_options_of_every_command_stand_in_one_help() {
        let mut command = definition();
        command.build();
        for below in command.get_subcommands_mut().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
            let help = below.render_long_help().to_string();
            let is_options = below.get_name() == "options";
            assert_eq!(help.contains("--otlp-endpoint"), is_options, "{help}");
            assert_eq!(help.trim_end().ends_with(POINTER), !is_options, "{help}");
        }
        assert!(whole().render_long_help().to_string().contains("--otlp-endpoint"));
    }
}
