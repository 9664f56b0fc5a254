//! `faultline top`: nodes and jobs live in a terminal. `state` decides, `draw` shows; here are the terminal, the clock and NATS.

mod dialog;
mod draw;
mod list;
#[cfg(test)]
pub(crate) mod samples;
mod state;

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use faultline_client::{Leader, settings};
use faultline_cluster::up::who;
use faultline_engine::fault::{FaultOrderKind, FaultWish};
use faultline_protocol::messages::CancelOutcome;
use faultline_protocol::views::{DrainView, RateView};
use faultline_runtime::clock::{ms, unix_ms};
use faultline_runtime::config::{Color, without_secrets};
use faultline_runtime::connect::Nats;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::commands::link::Link;
use crate::commands::{faults, nodes, parse};
use crate::exit::Failure;
use crate::interrupt::Interrupts;
use crate::local::kill;
use crate::output::Format;
use crate::session::Session;
use dialog::Order;
use draw::Look;
use state::{Effect, Input, Key, MOST_JOBS, Snapshot, Top};

/// How soon the end of `top` is noticed by the thread that reads keys.
const KEY_WAIT: Duration = Duration::from_millis(100);
/// Ages on the screen go on, and a lost connection shows, at least so often.
const REDRAW_EVERY: Duration = Duration::from_millis(500);
const INPUTS_WAITING: usize = 256;
/// As what the orders of this screen are signed.
const COMMAND: &str = "faultline top";
/// The width of a picture that goes to no terminal.
const ONCE_WIDTH: u16 = 120;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TopFlags {
    /// How often to refresh, 100ms to 1h
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// Print all rows once as plain text, and exit
    #[arg(long)]
    once: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    match parse::duration(text)? {
        length if (Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&length) => Ok(length),
        _ => Err("the interval is 100ms to 1h".to_owned()),
    }
}

pub(crate) async fn run(session: &Session, flags: &TopFlags) -> Result<(), Failure> {
    let has_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if !flags.once && !has_terminal {
        return Err(Failure::Usage("`faultline top` needs a terminal: without one, --once prints a single picture".into()));
    }
    if !flags.once && session.format != Format::Table {
        return Err(Failure::Usage("--output json and jsonl go with --once".into()));
    }
    let link = Link::open(session).await?;
    let server = without_secrets(&session.common_for("cli").nats_url);
    let top = Top::new(u64::try_from(flags.interval.as_millis()).unwrap_or(u64::MAX), server);
    let done = if flags.once { once(&link, top).await } else { live(session, &link.nats, top).await };
    link.nats.close().await;
    done
}

/// One look at everything.
async fn look(nats: &Nats) -> Result<Snapshot, Failure> {
    let (stats, nodes, jobs) =
        tokio::join!(Leader::of(nats).stats(), Leader::of(nats).nodes(), Leader::of(nats).oldest_active_jobs(MOST_JOBS));
    let (setting, said) = settings::rate(nats).await?;
    let rate = RateView::new(setting.as_ref(), said.as_ref());
    Ok(Snapshot { at_ms: unix_ms(), stats: stats?, rate, nodes: nodes?, jobs: jobs? })
}

async fn once(link: &Link, mut top: Top) -> Result<(), Failure> {
    let snapshot = look(&link.nats).await?;
    if link.out.format != Format::Table {
        return link.out.one(&snapshot, |_| String::new());
    }
    let now_ms = snapshot.at_ms;
    top.handle(Input::Looked(Ok(Box::new(snapshot))), now_ms);
    let width =
        if link.out.is_terminal() { ratatui::crossterm::terminal::size().map_or(ONCE_WIDTH, |(width, _)| width) } else { ONCE_WIDTH };
    let shown = picture(&top, width, draw::whole_height(&top), now_ms);
    // The last line names keys, which cannot be pressed here.
    link.out.text(shown.rsplit_once('\n').map_or(shown.as_str(), |(rows, _keys)| rows))
}

/// The screen as plain text, without what only a live one needs.
fn picture(top: &Top, width: u16, height: u16, now_ms: u64) -> String {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
    let Ok(_) = terminal.draw(|frame| draw::draw(frame, top, Look { has_color: false }, now_ms));
    let buffer = terminal.backend().buffer();
    let lines = buffer.content().chunks(width.max(1).into()).map(|cells| {
        let line: String = cells.iter().map(|cell| cell.symbol()).collect();
        line.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

async fn live(session: &Session, nats: &Nats, top: Top) -> Result<(), Failure> {
    // Before the terminal changes: none of them may arrive before there is a listener.
    let interrupts = Interrupts::listen_for_terminal()?;
    // Sets a panic hook too, so that whatever happens the terminal comes back.
    let mut terminal = ratatui::try_init().context("setting up the terminal")?;
    let done = CancellationToken::new();
    tokio::spawn(nats.clone().keep_asking(done.clone()));
    let outcome = watch(session, nats, top, &mut terminal, interrupts).await;
    done.cancel();
    ratatui::restore();
    outcome
}

async fn watch(
    session: &Session,
    nats: &Nats,
    mut top: Top,
    terminal: &mut ratatui::DefaultTerminal,
    mut interrupts: Interrupts,
) -> Result<(), Failure> {
    let look_of = Look { has_color: has_color(session.common.color) };
    let (inputs, mut heard) = mpsc::channel(INPUTS_WAITING);
    let keys = Keys::start(inputs.clone());
    let mut looks = tokio::time::interval(Duration::from_millis(top.interval_ms));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut redraws = tokio::time::interval(REDRAW_EVERY);
    let mut is_looking = false;
    loop {
        terminal.draw(|frame| draw::draw(frame, &top, look_of, unix_ms())).context("drawing")?;
        let mut effects = tokio::select! {
            () = interrupts.next() => return Ok(()),
            _ = looks.tick() => if top.is_paused { Vec::new() } else { vec![Effect::Look] },
            _ = redraws.tick() => top.handle(Input::Silence(silence(nats)), unix_ms()),
            input = heard.recv() => match input {
                Some(input) => {
                    is_looking &= !matches!(input, Input::Looked(_));
                    top.handle(input, unix_ms())
                }
                None => return Ok(()),
            },
        };
        // Keys come faster than pictures.
        while let Ok(input) = heard.try_recv() {
            is_looking &= !matches!(input, Input::Looked(_));
            effects.extend(top.handle(input, unix_ms()));
        }
        for effect in effects {
            match effect {
                Effect::Quit => {
                    drop(keys);
                    return Ok(());
                }
                Effect::Look if is_looking => {}
                Effect::Look => {
                    is_looking = true;
                    let (nats, inputs) = (nats.clone(), inputs.clone());
                    tokio::spawn(async move {
                        let looked = look(&nats).await.map(Box::new).map_err(|failure| failure.to_string());
                        let _ = inputs.send(Input::Looked(looked)).await;
                    });
                }
                Effect::CarryOut(order) => {
                    let (session, nats, inputs) = (session.clone(), nats.clone(), inputs.clone());
                    tokio::spawn(async move {
                        let done = carry_out(&session, &nats, order).await.map_err(|failure| failure.to_string());
                        let _ = inputs.send(Input::Done(done)).await;
                    });
                }
            }
        }
    }
}

/// For how long NATS has not answered. A connection that is down is noticed before a question was in vain.
fn silence(nats: &Nats) -> Option<u64> {
    let silence = nats.silent_for().or_else(|| (!nats.is_connected()).then_some(Duration::ZERO));
    silence.map(ms)
}

fn has_color(color: Color) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    }
}

async fn drained(nats: &Nats, node: String, draining: bool) -> String {
    let in_force = nodes::is_in_force(nats, &node, draining).await;
    nodes::drain_words(&DrainView { node, draining, in_force, reason: None }, true)
}

/// What came of it, in words.
async fn carry_out(session: &Session, nats: &Nats, order: Order) -> Result<String, Failure> {
    match order {
        Order::Break { node, kind } => order_fault(nats, &node, FaultOrderKind::Break(kind)).await,
        Order::Restore { node } => order_fault(nats, &node, FaultOrderKind::Restore).await,
        Order::Signal { process, signal } => kill::send(session, process, signal, COMMAND).await,
        Order::Drain { node } => {
            nodes::set_draining(nats, &node, String::new(), COMMAND).await?;
            Ok(drained(nats, node, true).await)
        }
        Order::Undrain { node } => {
            nodes::end_draining(nats, &node).await?;
            Ok(drained(nats, node, false).await)
        }
        Order::Cancel { job } => {
            let reply = Leader::of(nats).cancel(&[job], "cli").await?;
            match reply.answers.into_iter().next() {
                Some(answer) if answer.outcome == CancelOutcome::Cancelled => Ok(format!("{job} is cancelled")),
                Some(answer) => Err(Failure::Failed(anyhow::anyhow!("{job} is not cancelled: {}", answer.detail))),
                None => Err(Failure::Failed(anyhow::anyhow!("the scheduler says nothing of {job}"))),
            }
        }
    }
}

async fn order_fault(nats: &Nats, node: &str, kind: FaultOrderKind) -> Result<String, Failure> {
    let view = faultline_client::faults::order(nats, node, &FaultWish::of(kind), &who::me(COMMAND)).await?;
    Ok(faults::in_words(&view))
}

/// The thread that reads the terminal; it ends with the value.
struct Keys {
    is_over: Arc<AtomicBool>,
}

impl Keys {
    fn start(inputs: mpsc::Sender<Input>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let input = match event::poll(KEY_WAIT) {
                    Ok(false) => None,
                    Ok(true) => event::read().ok().and_then(|event| input_of(&event)),
                    // The terminal is gone.
                    Err(_) => Some(Input::Key(Key::Interrupt)),
                };
                if let Some(input) = input
                    && inputs.blocking_send(input).is_err()
                {
                    return;
                }
            }
        });
        Self { is_over }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn input_of(event: &Event) -> Option<Input> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => key_of(*key).map(Input::Key),
        Event::Resize(_, _) => Some(Input::Redraw),
        _ => None,
    }
}

fn key_of(key: KeyEvent) -> Option<Key> {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        // A terminal sends Ctrl-\ as the control character that is called Ctrl-4 here.
        KeyCode::Char('c' | '4' | '\\') if is_control => Some(Key::Interrupt),
        KeyCode::Char(letter) if !is_control => Some(Key::Char(letter)),
        KeyCode::Enter => Some(Key::Enter),
        KeyCode::Esc => Some(Key::Escape),
        KeyCode::Tab | KeyCode::BackTab => Some(Key::Tab),
        KeyCode::Backspace => Some(Key::Backspace),
        KeyCode::Up => Some(Key::Up),
        KeyCode::Down => Some(Key::Down),
        KeyCode::PageUp => Some(Key::PageUp),
        KeyCode::PageDown => Some(Key::PageDown),
        KeyCode::Home => Some(Key::Home),
        KeyCode::End => Some(Key::End),
        _ => None,
    }
}
