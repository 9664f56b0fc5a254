//! What shells and `man` read about this command: completions and manual pages, made from the command line's own definition.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use clap::{Arg, Command, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;
use faultline_runtime::shell;

use crate::examples;
use crate::exit::{EXIT_CODES, Failure};

const NAME: &str = "faultline";

/// `faultline completions SHELL`.
pub(crate) fn completions(command: Command, shell: Shell) -> Result<(), Failure> {
    let mut command = without_files(command);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, NAME, &mut script);
    print(&script)
}

/// Shells offer files for a value of which they know nothing; here only paths are files.
fn without_files(command: Command) -> Command {
    let unknown_is_other = |arg: Arg| if arg.get_value_hint() == ValueHint::Unknown { arg.value_hint(ValueHint::Other) } else { arg };
    command.mut_args(unknown_is_other).mut_subcommands(without_files)
}

/// `faultline man`: one page on standard output, or all of them in a folder.
pub(crate) fn pages(command: Command, folder: Option<&Path>) -> Result<(), Failure> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let Some(folder) = folder else { return print(&page(command, "").context("writing the page")?) };
    std::fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    let written = write_pages(&command, "", folder).with_context(|| format!("writing pages into {}", folder.display()))?;
    note!("{written} pages; `man -l {}` shows the first", shell::word(&folder.join(format!("{NAME}.1"))));
    Ok(())
}

fn write_pages(command: &Command, path: &str, folder: &Path) -> std::io::Result<usize> {
    let name = format!("{NAME} {path}").trim_end().replace(' ', "-");
    std::fs::write(folder.join(format!("{name}.1")), page(command.clone(), path)?)?;
    let mut written = 1;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        written += write_pages(below, &examples::path_of(path, below.get_name()), folder)?;
    }
    Ok(written)
}

/// One page. The examples are added here: clap_mangen would fill their lines into one paragraph.
fn page(command: Command, path: &str) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command.after_help(None::<&str>)).render(&mut page)?;
    if let Some(examples) = examples::text(path) {
        let lines = examples.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
        write!(page, ".SH EXAMPLES\n.nf\n{lines}\n.fi\n")?;
    }
    if path.is_empty() {
        writeln!(page, ".SH \"EXIT STATUS\"\n{EXIT_CODES}")?;
    }
    Ok(page)
}

/// A reader that went away (`| head`) is not a failure.
pub(crate) fn print(text: &[u8]) -> Result<(), Failure> {
    match std::io::stdout().lock().write_all(text) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::Failed(error.into())),
        Ok(()) | Err(_) => Ok(()),
    }
}
