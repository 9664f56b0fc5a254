//! What commands write to standard output: a table for people, JSON or JSON lines for programs. Logs, progress and
//! errors go to standard error and are not made here. Times are written by `runtime::times`, numbers by `engine::words`.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::{Attribute, Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};
use faultline_engine::job::short_id;
pub(crate) use faultline_engine::words::{count, plural, span};
use faultline_runtime::config::Color;
pub(crate) use faultline_runtime::times::{clock, date_and_clock, short_clock};
use serde::Serialize;

use crate::exit::Failure;

/// Of a terminal that does not say.
const USUAL_WIDTH: u16 = 80;
/// Spaces behind each column.
const GAP: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// One document
    Json,
    /// One object a line
    Jsonl,
}

/// Where a command's data goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) format: Format,
    color: bool,
    terminal: bool,
    /// Nothing but its reader, or a signal, ends it.
    endless: bool,
    /// Columns of the terminal; `None` without a terminal, and everything is written in full.
    width: Option<u16>,
}

impl Output {
    /// Tables are coloured as `--color` says; `auto` means a terminal without `NO_COLOR`.
    pub(crate) fn new(format: Format, color: Color) -> Self {
        let terminal = io::stdout().is_terminal();
        let color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        let width = terminal.then(|| ratatui::crossterm::terminal::size().map_or(USUAL_WIDTH, |(width, _)| width));
        Self { format, color, terminal, endless: false, width }
    }

    /// As on a terminal of so many columns.
    #[cfg(test)]
    pub(crate) fn with_width(self, width: u16) -> Self {
        Self { width: Some(width), ..self }
    }

    /// Whether a person looks at it, so that lines may be written over.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// The same for endless output, which is not one document: JSON comes in lines.
    pub(crate) fn endless(self) -> Self {
        let format = if self.format == Format::Json { Format::Jsonl } else { self.format };
        Self { format, endless: true, ..self }
    }

    /// Writes many values: rows of a table, an array, or a line each.
    pub(crate) fn rows<T: Serialize>(&self, rows: &[T], table: impl FnOnce(&[T]) -> Table) -> Result<(), Failure> {
        match self.format {
            Format::Table => self.table(table(rows)),
            Format::Json => self.text(&json_pretty(&rows)?),
            Format::Jsonl => self.text(&json_lines(rows)?),
        }
    }

    /// Writes rows that continue an earlier table: the same without the header.
    pub(crate) fn more_rows<T: Serialize>(&self, rows: &[T], table: impl FnOnce(&[T]) -> Table) -> Result<(), Failure> {
        match self.format {
            Format::Table => self.text(self.render(table(rows)).split_once('\n').map_or("", |(_header, rest)| rest)),
            Format::Json | Format::Jsonl => self.rows(rows, table),
        }
    }

    /// Writes one value: in words, or as one object.
    pub(crate) fn one<T: Serialize>(&self, value: &T, words: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        match self.format {
            Format::Table => self.text(&words(value)),
            Format::Json => self.text(&json_pretty(value)?),
            Format::Jsonl => self.text(&json_lines(std::slice::from_ref(value))?),
        }
    }

    /// How ids are written: whole where there is room and for programs, with their ends where a table would not fit otherwise.
    pub(crate) fn rows_fitting<T: Serialize>(&self, rows: &[T], table: impl Fn(&[T], Ids) -> Table, drops: &[&str]) -> Result<(), Failure> {
        match self.format {
            Format::Table => self.text(&self.fitting(|ids| table(rows, ids), drops)),
            Format::Json | Format::Jsonl => self.rows(rows, |_| Table::new()),
        }
    }

    /// Renders a table so that it fits the terminal: first with short ids, then without the columns of `drops`, the first of them first, at
    /// last with cells cut off. Without a terminal, all of it.
    pub(crate) fn fitting(&self, table: impl Fn(Ids) -> Table, drops: &[&str]) -> String {
        let Some(width) = self.width.map(usize::from) else { return self.render(table(Ids::Whole)) };
        let fits = |table: &Table| natural_width(table) <= width;
        let mut whole = table(Ids::Whole);
        if fits(&whole) {
            close_the_end(&mut whole);
            return self.render(whole);
        }
        let mut short = table(Ids::Short);
        for title in drops {
            if fits(&short) {
                break;
            }
            hide(&mut short, title);
        }
        close_the_end(&mut short);
        if !fits(&short) {
            for row in short.row_iter_mut() {
                row.max_height(1);
            }
        }
        self.render(short)
    }

    /// Renders a table as this output shows it.
    pub(crate) fn render(&self, mut table: Table) -> String {
        if self.color {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        match self.width {
            Some(width) => table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        let is_foul = |cell: &Cell| cell.content().contains(char::is_control);
        for row in table.row_iter_mut() {
            // What a message says stays in its cell: a line break would make it look like a row of ours.
            if row.cell_iter().any(is_foul) {
                let clean = |cell: &Cell| if is_foul(cell) { Cell::new(one_line(&cell.content())) } else { cell.clone() };
                *row = row.cell_iter().map(clean).collect::<Vec<Cell>>().into();
            }
        }
        table.trim_fmt()
    }

    fn table(&self, table: Table) -> Result<(), Failure> {
        self.text(&self.render(table))
    }

    /// Writes text and ends the line. A reader that went away (`faultline jobs | head`) is not a failure: the command goes on to its end, which
    /// decides the exit code. Endless output ends with its reader.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        let text = &*printable(text, self.color && self.format == Format::Table);
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(text.as_bytes()).and_then(|()| if text.ends_with('\n') { Ok(()) } else { stdout.write_all(b"\n") });
        match written.and_then(|()| stdout.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                if self.endless {
                    Err(Failure::ReaderGone)
                } else {
                    Ok(())
                }
            }
            Err(error) => Err(Failure::Failed(anyhow::anyhow!("standard output cannot be written: {error}"))),
        }
    }
}

/// Text as a terminal may have it: what would move the cursor, change its title or turn the writing round is spelled out, as JSON does, so
/// that JSON stays what it is. Line breaks stay, and with `styled` the colours that tables are painted with.
pub(crate) fn printable(text: &str, styled: bool) -> Cow<'_, str> {
    if !text.contains(is_dangerous) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(at) = rest.find(is_dangerous) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let style = if styled { style_length(rest) } else { 0 };
        if style > 0 {
            out.push_str(&rest[..style]);
            rest = &rest[style..];
        } else if let Some(c) = rest.chars().next() {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
            rest = &rest[c.len_utf8()..];
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The same on one line.
pub(crate) fn one_line(text: &str) -> String {
    printable(text, false).replace('\n', "\\n")
}

fn is_dangerous(c: char) -> bool {
    let turns_writing_round = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() && c != '\n' || turns_writing_round
}

/// The bytes of a colour or weight at the start, such as `ESC [ 1 ; 31 m`.
fn style_length(text: &str) -> usize {
    let Some(rest) = text.strip_prefix("\x1b[") else { return 0 };
    let numbers = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b';').count();
    if rest.as_bytes().get(numbers) == Some(&b'm') { "\x1b[".len() + numbers + 1 } else { 0 }
}

fn json_pretty(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(|error| Failure::Failed(error.into()))
}

fn json_lines<T: Serialize>(rows: &[T]) -> Result<String, Failure> {
    let mut text = String::new();
    for row in rows {
        text.push_str(&serde_json::to_string(row).map_err(|error| Failure::Failed(error.into()))?);
        text.push('\n');
    }
    Ok(text)
}

/// A table without lines, its header in bold capitals: easy to read and to cut.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.iter().map(|title| Cell::new(title).add_attribute(Attribute::Bold)));
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP as u16));
    }
    table
}

/// Two columns without a header: what something is.
pub(crate) fn facts(rows: &[(&str, String)]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (name, value) in rows {
        table.add_row([Cell::new(name).add_attribute(Attribute::Bold), Cell::new(value)]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP as u16));
    }
    table
}

/// How a table writes ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ids {
    Whole,
    Short,
}

impl Ids {
    pub(crate) fn write(self, id: impl std::fmt::Display) -> String {
        match self {
            Ids::Whole => id.to_string(),
            Ids::Short => short_id(id),
        }
    }
}

/// The columns that a table takes when nothing is wrapped.
fn natural_width(table: &Table) -> usize {
    let mut table = table.clone();
    table.force_no_tty().set_content_arrangement(ContentArrangement::Disabled);
    table.trim_fmt().lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

/// Behind the last column that is shown no gap is needed: it could make a table that fits wrap.
fn close_the_end(table: &mut Table) {
    let columns: Vec<_> = table.column_iter_mut().collect();
    let shown = columns.into_iter().rev().find(|column| !matches!(column.constraint(), Some(ColumnConstraint::Hidden)));
    if let Some(last) = shown {
        last.set_padding((0, 0));
    }
}

fn hide(table: &mut Table, title: &str) {
    let at = table.header().and_then(|header| header.cell_iter().position(|cell| cell.content() == title));
    if let Some(column) = at.and_then(|at| table.column_mut(at)) {
        column.set_constraint(ColumnConstraint::Hidden);
    }
}

/// A cell whose text stands at the right: figures.
pub(crate) fn figure(text: impl ToString) -> Cell {
    Cell::new(text.to_string()).set_alignment(CellAlignment::Right)
}

/// How good a state is: the same colours as the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Good,
    Busy,
    Doubtful,
    Bad,
    Plain,
}

/// A cell in the colour of its mood.
pub(crate) fn mood(text: impl ToString, mood: Mood) -> Cell {
    use comfy_table::Color as Ink;
    let cell = Cell::new(text.to_string());
    match mood {
        Mood::Good => cell.fg(Ink::DarkGreen),
        Mood::Busy => cell.fg(Ink::DarkCyan),
        Mood::Doubtful => cell.fg(Ink::DarkYellow),
        Mood::Bad => cell.fg(Ink::DarkRed),
        Mood::Plain => cell,
    }
}

/// How long ago something was: `3.2 s ago`. Clocks of two machines differ a little, so the future is `now`.
pub(crate) fn ago(now_ms: u64, then_ms: u64) -> String {
    match now_ms.checked_sub(then_ms) {
        None | Some(0) => "now".to_owned(),
        Some(elapsed) => format!("{} ago", span(elapsed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(format: Format) -> Output {
        Output { format, color: false, terminal: false, endless: false, width: None }
    }

    #[test]
    fn nothing_that_a_message_says_steers_the_terminal() {
        assert_eq!(printable("gpu-algebra, münchen\n", false), "gpu-algebra, münchen\n");
        assert_eq!(printable("a\x1b]0;owned\x07b\r\u{9b}2J\u{202e}", false), "a\\u001b]0;owned\\u0007b\\u000d\\u009b2J\\u202e");
        assert_eq!(printable("\x1b[1;31mred\x1b[0m \x1b[2J", true), "\x1b[1;31mred\x1b[0m \\u001b[2J");
        assert_eq!(printable("\x1b[31m", false), "\\u001b[31m");
        let json = format!("{{\"name\":\"{}\"}}", "x\u{9b}\x7f");
        let read: serde_json::Value = serde_json::from_str(&printable(&json, false)).unwrap();
        assert_eq!(read["name"], "x\u{9b}\x7f", "JSON stays JSON");
    }

    #[test]
    fn a_cell_stays_in_its_row() {
        let mut rows = table(&["ID", "NAME"]);
        rows.add_row(["01", "harmless\n02  forged\x1b[2J"]);
        let text = plain(Format::Table).render(rows);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("harmless\\n02  forged\\u001b[2J"), "{text}");
    }

    #[test]
    fn ages_carry_their_unit() {
        assert_eq!(ago(10_000, 6_800), "3.2 s ago");
        assert_eq!(ago(10_000, 10_500), "now");
    }

    #[test]
    fn a_table_is_plain_columns() {
        let mut table = table(&["NAME", "AGE"]);
        table.add_row(vec![Cell::new("a"), figure("10 s")]);
        table.add_row(vec![mood("longer", Mood::Bad), figure("1 s")]);
        assert_eq!(plain(Format::Table).render(table), "NAME    AGE\na       10 s\nlonger   1 s");
        let text = plain(Format::Table).render(facts(&[("id", "1".into()), ("state", "dead".into())]));
        assert_eq!(text, "id     1\nstate  dead");
    }

    #[test]
    fn a_table_fits_the_terminal_by_importance() {
        let make = |ids: Ids| {
            let mut rows = table(&["ID", "NAME", "KIND", "TOOK"]);
            rows.add_row([ids.write("01M8NRP1V0QQQM1FBTTF2P0ABC"), "gpu-algebra".into(), "matrix".into(), "3.2 s".into()]);
            rows
        };
        let shown = |width: Option<u16>| Output { width, ..plain(Format::Table) }.fitting(make, &["TOOK", "KIND"]);
        assert_eq!(shown(None).lines().next(), Some("ID                          NAME         KIND    TOOK"));
        assert_eq!(shown(Some(80)), shown(None), "there is room");
        assert_eq!(shown(Some(38)), "ID          NAME         KIND    TOOK\n…TTF2P0ABC  gpu-algebra  matrix  3.2 s");
        assert_eq!(shown(Some(37)), "ID          NAME         KIND\n…TTF2P0ABC  gpu-algebra  matrix");
        assert_eq!(shown(Some(30)), "ID          NAME\n…TTF2P0ABC  gpu-algebra");
        let cut = shown(Some(22));
        assert!(cut.lines().count() == 2 && cut.lines().all(|line| line.chars().count() <= 22), "{cut}");
    }

    #[test]
    fn colour_only_where_it_is_wanted() {
        let make = || {
            let mut table = table(&["STATE"]);
            table.add_row(vec![mood("dead", Mood::Bad)]);
            table
        };
        assert!(!plain(Format::Table).render(make()).contains('\x1b'));
        let coloured = Output { color: true, ..plain(Format::Table) };
        assert!(coloured.render(make()).contains("\x1b["));
    }

    #[test]
    fn lines_of_json_are_one_object_each() {
        assert_eq!(json_lines(&[1, 2]).unwrap(), "1\n2\n");
        assert_eq!(json_pretty(&[1, 2]).unwrap(), "[\n  1,\n  2\n]");
    }
}
