//! `faultline demo`: plays the demo on a cluster of its own, opens its page, and shows in the terminal what happens.

use std::io::{IsTerminal, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use faultline_cluster::demo::run::{self, DemoReport, DemoSettings, Shown};
use faultline_cluster::demo::{Caption, Wish};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use tokio::sync::mpsc;

use crate::commands::parse;
use crate::exit::Failure;
use crate::interrupt::Interrupts;
use crate::output::{Output, plural};
use crate::session::Session;

/// Where people expect the page; another port when this one is taken.
const USUAL_PORT: u16 = 8080;
/// How soon the end of the demo is noticed by the thread that reads keys.
const KEY_WAIT: Duration = Duration::from_millis(100);
const WISHES_WAITING: usize = 16;
const KEYS: &str = "Enter or space: next scene   R: again   K: kill a worker, when it is your turn   Q: end";

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DemoFlags {
    /// Simulated nodes, two in each rack and process
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = even_nodes)]
    nodes: u32,
    /// How long each scene lasts; it also waits until all is well again
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = parse::positive_duration)]
    scene: Duration,
    /// Open no browser; the address is printed
    #[arg(long)]
    no_browser: bool,
    /// Serve no page, take no keys, and end after the last scene: for scripts and tests
    #[arg(long)]
    pub(crate) headless: bool,
}

fn even_nodes(text: &str) -> Result<u32, String> {
    let nodes: u32 = text.parse().map_err(|_| "an even number from 4 to 256".to_owned())?;
    if (4..=256).contains(&nodes) && nodes.is_multiple_of(2) { Ok(nodes) } else { Err("an even number from 4 to 256".to_owned()) }
}

pub(crate) async fn run(session: &Session, flags: &DemoFlags) -> Result<(), Failure> {
    let mut interrupts = Interrupts::listen_for_terminal()?;
    let settings = DemoSettings { nodes: flags.nodes, scene: flags.scene, headless: flags.headless, dashboard_port: free_page_port()? };
    note!("starting {} of a throwaway cluster", plural(flags.nodes.into(), "node"));
    let cluster = tokio::select! {
        started = run::start(&settings) => started?,
        () = interrupts.next() => return Err(stopped()),
    };
    if let Some(url) = cluster.dashboard_url().filter(|_| !flags.headless) {
        let opened = !flags.no_browser && open(url);
        note!("{}: {url}", if opened { "opened in the browser" } else { "open in a browser" });
    }
    let (wishes, mut wished) = mpsc::channel(WISHES_WAITING);
    let is_interactive = !flags.headless && std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let keys = is_interactive.then(|| Keys::start(wishes.clone())).transpose()?;
    let mut screen = Screen { is_raw: keys.is_some(), has_counter: false };
    if keys.is_some() {
        screen.line(KEYS);
    }
    let played = {
        let mut tell = |shown| screen.show(shown);
        let mut playing = std::pin::pin!(run::run(&settings, &cluster, &mut wished, &mut tell));
        // The first Ctrl-C ends the demo, and the books are checked all the same; a second one interrupts that too.
        let mut may_conclude = !flags.headless;
        loop {
            tokio::select! {
                played = &mut playing => break played.map_err(Failure::from),
                () = interrupts.next() => {
                    if !std::mem::take(&mut may_conclude) || wishes.try_send(Wish::Quit).is_err() {
                        break Err(stopped());
                    }
                }
            }
        }
    };
    screen.end();
    drop(keys);
    note!("stopping");
    cluster.stop().await;
    let report = played?;
    Output::new(session.format, session.common.color).one(&report, summary)?;
    verdict(&report)
}

fn stopped() -> Failure {
    Failure::Failed(anyhow::anyhow!("interrupted; everything was stopped"))
}

fn summary(report: &DemoReport) -> String {
    let killed = if report.killed.is_empty() { "nothing".to_owned() } else { report.killed.join(", ") };
    let jobs = plural(report.jobs_interrupted.into(), "job");
    let audit = if report.audit.ok { "every job is accounted for" } else { "not every job is accounted for" };
    format!(
        "killed {killed}: {}, {jobs} interrupted, {} moved\naudit: {audit}, {} lost, {} ended twice",
        plural(report.incidents.into(), "incident"),
        report.jobs_moved,
        report.audit.figures.vanished,
        report.audit.figures.duplicates,
    )
}

fn verdict(report: &DemoReport) -> Result<(), Failure> {
    if !report.audit.ok {
        return Err(Failure::CheckFailed("demo: not every job is accounted for; the summary says what is missing".to_owned()));
    }
    if report.recovered {
        return Ok(());
    }
    Err(Failure::CheckFailed(format!("demo: not recovered at the end: {}; `--scene` makes the scenes longer", report.ongoing.join("; "))))
}

fn free_page_port() -> Result<u16, Failure> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
    let address = bind(USUAL_PORT).or_else(|_| bind(0)).context("finding a free port for the page")?;
    Ok(address.port())
}

/// Whether a browser was told to open the page.
fn open(url: &str) -> bool {
    let has_display = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    let mut browser = Command::new("xdg-open");
    browser.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    has_display && browser.spawn().is_ok()
}

/// What is shown in the terminal: captions, and below them a counter that is drawn again in place.
struct Screen {
    /// Keys arrive one by one: the terminal then begins no line by itself.
    is_raw: bool,
    has_counter: bool,
}

impl Screen {
    fn line(&mut self, text: &str) {
        self.end_counter();
        self.write(&format!("{text}{}", self.line_end()));
    }

    fn show(&mut self, shown: Shown) {
        match shown {
            Shown::Scene { number, of, caption: Caption { title, text } } => {
                self.line("");
                self.line(&format!("{number} of {of}  {title}"));
                self.line(&format!("        {text}"));
            }
            Shown::Counts(counts) => {
                let words = format!("        {}", counts.words());
                if self.is_raw {
                    self.write(&format!("\r\x1b[2K{words}"));
                    self.has_counter = true;
                } else {
                    self.line(&words);
                }
            }
            Shown::Trouble(reason) => self.line(&format!("        {reason}")),
        }
    }

    fn end(&mut self) {
        self.end_counter();
    }

    fn end_counter(&mut self) {
        if std::mem::take(&mut self.has_counter) {
            self.write(self.line_end());
        }
    }

    fn line_end(&self) -> &'static str {
        if self.is_raw { "\r\n" } else { "\n" }
    }

    /// A closed standard error must not cause a panic.
    fn write(&self, text: &str) {
        let mut out = std::io::stderr();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

/// The thread that reads keys; it ends with the value, and the terminal is as before.
struct Keys {
    is_over: Arc<AtomicBool>,
}

impl Keys {
    fn start(wishes: mpsc::Sender<Wish>) -> Result<Self, Failure> {
        enable_raw_mode().context("setting up the terminal")?;
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                match event::poll(KEY_WAIT) {
                    Ok(false) => {}
                    Ok(true) => {
                        let wish = event::read().ok().and_then(|event| wish_of(&event));
                        if wish.is_some_and(|wish| wishes.blocking_send(wish).is_err()) {
                            return;
                        }
                    }
                    Err(_) => return,
                }
            }
        });
        Ok(Self { is_over })
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = disable_raw_mode();
    }
}

fn wish_of(event: &Event) -> Option<Wish> {
    let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) = event else { return None };
    match code {
        KeyCode::Char('c' | 'd') if modifiers.contains(KeyModifiers::CONTROL) => Some(Wish::Quit),
        KeyCode::Enter | KeyCode::Char(' ') => Some(Wish::Next),
        KeyCode::Char('r' | 'R') => Some(Wish::Again),
        KeyCode::Char('k' | 'K') => Some(Wish::Kill),
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => Some(Wish::Quit),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_wishes() {
        let press = |code, modifiers| wish_of(&Event::Key(KeyEvent::new(code, modifiers)));
        let plain = |code| press(code, KeyModifiers::NONE);
        assert_eq!(plain(KeyCode::Enter), Some(Wish::Next));
        assert_eq!(plain(KeyCode::Char(' ')), Some(Wish::Next));
        assert_eq!(press(KeyCode::Char('K'), KeyModifiers::SHIFT), Some(Wish::Kill));
        assert_eq!(plain(KeyCode::Char('r')), Some(Wish::Again));
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Wish::Quit));
        assert_eq!((plain(KeyCode::Char('c')), plain(KeyCode::Tab)), (None, None));
    }

    #[test]
    fn racks_have_two_nodes() {
        assert_eq!(even_nodes("64"), Ok(64));
        for text in ["0", "2", "7", "258", "-4", "many"] {
            assert!(even_nodes(text).is_err(), "{text}");
        }
    }
}
