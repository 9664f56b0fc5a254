//! Draws `top`. State in, cells out: nothing is decided or changed here.

use faultline_engine::job::short_id;
use faultline_engine::node::Health;
use faultline_engine::words::limit;
use faultline_protocol::messages::{JobState, JobView, NodeView};
use faultline_protocol::views::RateView;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Clear, Paragraph, Row, Table};

use super::dialog::Dialog;
use super::list::{Column, JobColumn, List, NodeColumn, health_words, hottest, used_milli};
use super::state::{MOST_JOBS, Mode, Pane, Snapshot, Top};
use crate::commands::nodes::gpus_words;
use crate::output::{Mood, count, short_clock, span};

const HEADER_LINES: u16 = 5;
/// Title and column heads.
const PANE_HEADS: u16 = 2;
/// From this width on there is room for more columns.
const WIDE: u16 = 110;

/// How moods look: without colours, words alone say it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) has_color: bool,
}

impl Look {
    fn style(self, mood: Mood) -> Style {
        let color = match mood {
            Mood::Good => Color::Green,
            Mood::Busy => Color::Cyan,
            Mood::Doubtful => Color::Yellow,
            Mood::Bad => Color::Red,
            Mood::Plain => return Style::new(),
        };
        if self.has_color { Style::new().fg(color) } else { Style::new() }
    }
}

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

/// How many lines show all rows.
pub(crate) fn whole_height(top: &Top) -> u16 {
    let rows = top.shown_nodes().len().max(1) + top.shown_jobs().len().max(1);
    u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(HEADER_LINES + 2 * PANE_HEADS + 1)
}

pub(crate) fn draw(frame: &mut Frame, top: &Top, look: Look, now_ms: u64) {
    let (nodes, jobs) = (top.shown_nodes(), top.shown_jobs());
    let heads = Layout::vertical([Constraint::Length(HEADER_LINES), Constraint::Min(0), Constraint::Length(1)]);
    let [header, body, footer] = heads.areas(frame.area());
    let [upper, lower] =
        Layout::vertical([Constraint::Length(nodes_height(body.height, nodes.len(), jobs.len())), Constraint::Min(0)]).areas(body);
    draw_header(frame, header, top, look, now_ms);
    draw_nodes(frame, upper, top, &nodes, look);
    draw_jobs(frame, lower, top, &jobs, look, now_ms);
    frame.render_widget(Paragraph::new(keys(top)).style(BOLD), footer);
    match &top.mode {
        Mode::Choose(dialog) => draw_dialog(frame, dialog, look),
        Mode::Help => draw_help(frame),
        Mode::Browse | Mode::Filter => {}
    }
}

/// Half for each, unless one needs less.
fn nodes_height(body: u16, nodes: usize, jobs: usize) -> u16 {
    let needs = |rows: usize| u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(PANE_HEADS);
    needs(nodes).min((body / 2).max(body.saturating_sub(needs(jobs).max(PANE_HEADS + 1))))
}

fn keys(top: &Top) -> String {
    match (&top.mode, top.pane) {
        (Mode::Filter, _) => "type to filter   Enter keep   Esc clear".to_owned(),
        (Mode::Choose(_), _) => "press the key of an action   Esc cancels".to_owned(),
        (Mode::Help, _) => "any key goes back".to_owned(),
        (Mode::Browse, Pane::Nodes) => "Tab jobs  </> sort  / filter  k kill  f freeze  d drain  p pause  ? keys  q quit".to_owned(),
        (Mode::Browse, Pane::Jobs) => "Tab nodes  </> sort  r reverse  / filter  c cancel  p pause  ? keys  q quit".to_owned(),
    }
}

fn draw_header(frame: &mut Frame, area: Rect, top: &Top, look: Look, now_ms: u64) {
    let mut lines = match &top.snapshot {
        Some(snapshot) => header_lines(snapshot, top, look),
        None => {
            vec![
                Line::from(format!("faultline top at {}: no scheduler has answered yet", top.server)),
                Line::default(),
                Line::default(),
                Line::default(),
            ]
        }
    };
    lines.push(trouble(top, look, now_ms));
    frame.render_widget(Paragraph::new(lines), area);
}

/// What is asked for, and what of it is not so.
fn rate_words(rate: &RateView) -> String {
    let words = |per_minute: f64, load: Option<f64>| match load {
        Some(percent) if per_minute > 0.0 => format!("load {percent} %, {per_minute}/min"),
        Some(percent) => format!("load {percent} %"),
        None => format!("{per_minute}/min"),
    };
    let asked = words(rate.jobs_per_minute, rate.load_percent);
    match (rate.deviation(), rate.in_force_per_minute) {
        (None, _) => format!("{asked}{}", rate.preset.map(|name| format!(", {name}")).unwrap_or_default()),
        (Some(_), Some(in_force)) => format!("{asked} asked, {} in force", words(in_force, rate.in_force_load_percent)),
        (Some(_), None) => format!("{asked} asked, no generator"),
    }
}

fn header_lines(snapshot: &Snapshot, top: &Top, look: Look) -> Vec<Line<'static>> {
    let stats = &snapshot.stats;
    let leads = span(snapshot.at_ms.saturating_sub(stats.leader_since_ms));
    let rate = rate_words(&snapshot.rate);
    let commits = top.commits_per_s.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}/s"));
    let name = |text: &'static str| Span::styled(text, BOLD);
    vec![
        Line::from(vec![
            name("leader "),
            format!("{} for {leads}, epoch {}   ", stats.leader, stats.epoch).into(),
            name("rate "),
            rate.into(),
        ]),
        Line::from(vec![
            name("nodes  "),
            format!(
                "{} alive, {} suspect, {} gone, {} dead, {} draining   ",
                stats.nodes_alive, stats.nodes_suspect, stats.nodes_gone, stats.nodes_dead, stats.nodes_draining
            )
            .into(),
            name("GPUs "),
            format!("{}.{} of {}", stats.gpu_used_milli / 1000, stats.gpu_used_milli % 1000 / 100, stats.gpus_total).into(),
        ]),
        Line::from(vec![
            name("jobs   "),
            format!(
                "{} queued, {} running, {} committed, {} given up",
                count(stats.queued_in_stream + stats.queued_held),
                count(stats.running),
                count(stats.ledger.committed),
                count(stats.ledger.dead)
            )
            .into(),
            lost_words(stats.ledger.vanished, look),
            "   ".into(),
            name("commits "),
            commits.into(),
        ]),
        Line::from(vec![
            name("attempts "),
            format!("{} interrupted by their nodes, {} failed", count(stats.requeued_total), count(stats.retried_total)).into(),
        ]),
    ]
}

/// Jobs whose message left JOBS before they had ended: there must be none, so nothing is said of none.
fn lost_words(lost: u64, look: Look) -> Span<'static> {
    match lost {
        0 => "".into(),
        lost => Span::styled(format!(", {} lost", count(lost)), look.style(Mood::Bad)),
    }
}

/// The line that says what is wrong, or what was done, or how often is looked.
fn trouble(top: &Top, look: Look, now_ms: u64) -> Line<'static> {
    let since = |ms: u64| format!("since {} ({})", short_clock(ms), span(now_ms.saturating_sub(ms)));
    if let Some(since_ms) = top.silent_since_ms {
        let silence = span(now_ms.saturating_sub(since_ms));
        let text = format!("NATS has not answered for {silence}: no job is placed or committed until it does");
        return Line::styled(text, look.style(Mood::Bad).add_modifier(Modifier::BOLD));
    }
    if let Some(note) = top.note(now_ms) {
        return Line::styled(note.text.clone(), look.style(if note.is_bad { Mood::Bad } else { Mood::Good }));
    }
    if let Some((since_ms, reason)) = &top.unanswered {
        return Line::styled(format!("{reason}, {}", since(*since_ms)), look.style(Mood::Bad));
    }
    if top.is_paused {
        return Line::styled("paused: p resumes", look.style(Mood::Doubtful));
    }
    Line::from(format!("{}, every {}", short_clock(now_ms), limit(top.interval_ms)))
}

/// `nodes, 3 of 8 with "dead"`.
fn title<C: Column>(what: &str, list: &List<C>, shown: usize, all: usize, is_active: bool, is_writing: bool) -> Line<'static> {
    let number = match (list.filter.as_str(), is_writing) {
        ("", false) => all.to_string(),
        (filter, true) => format!("{shown} of {all} with \"{filter}_\""),
        (filter, false) => format!("{shown} of {all} with \"{filter}\""),
    };
    let order = if list.is_descending { "descending" } else { "ascending" };
    let text = format!(" {what}: {number}, by {}, {order} ", list.column.title().to_lowercase());
    Line::styled(text, if is_active { BOLD.add_modifier(Modifier::REVERSED) } else { BOLD })
}

/// The part of the rows that is on the screen: the selected one in its middle, but for both ends.
fn window(rows: usize, selected: usize, height: usize) -> std::ops::Range<usize> {
    let start = selected.saturating_sub(height / 2).min(rows.saturating_sub(height));
    start..rows.min(start + height)
}

/// One column of a pane.
struct Shown<C> {
    title: &'static str,
    width: Constraint,
    is_figure: bool,
    sorts: Option<C>,
}

fn shown<C: Column>(column: C, width: u16, is_figure: bool) -> Shown<C> {
    Shown { title: column.title(), width: Constraint::Length(width), is_figure, sorts: Some(column) }
}

fn text<C>(title: &'static str, width: Constraint) -> Shown<C> {
    Shown { title, width, is_figure: false, sorts: None }
}

struct PaneRows<'a, C> {
    list: &'a List<C>,
    columns: Vec<Shown<C>>,
    /// Rows from first to last, each cell with its mood.
    rows: Vec<Vec<(String, Mood)>>,
    /// Which of them is selected.
    selected: Option<usize>,
}

fn draw_pane<C: Column>(frame: &mut Frame, area: Rect, title: Line<'static>, pane: PaneRows<'_, C>, look: Look) {
    let align = |line: Line<'static>, column: &Shown<C>| if column.is_figure { line.right_aligned() } else { line };
    let heads = pane.columns.iter().map(|column| {
        let is_sorted = column.sorts == Some(pane.list.column);
        let style = if is_sorted { BOLD.add_modifier(Modifier::UNDERLINED) } else { BOLD };
        Cell::from(align(Line::styled(column.title, style), column))
    });
    let rows = pane.rows.into_iter().enumerate().map(|(index, cells)| {
        let cells = cells
            .into_iter()
            .zip(&pane.columns)
            .map(|((text, mood), column)| Cell::from(align(Line::styled(text, look.style(mood)), column)));
        let row = Row::new(cells.collect::<Vec<_>>());
        if pane.selected == Some(index) { row.style(Style::new().add_modifier(Modifier::REVERSED)) } else { row }
    });
    let widths: Vec<Constraint> = pane.columns.iter().map(|column| column.width).collect();
    let table = Table::new(rows.collect::<Vec<_>>(), widths).header(Row::new(heads.collect::<Vec<_>>()));
    frame.render_widget(table.block(Block::new().borders(Borders::TOP).title(title)), area);
}

fn health_mood(node: &NodeView) -> Mood {
    match node.health {
        Health::Alive if node.draining => Mood::Doubtful,
        Health::Alive => Mood::Good,
        Health::Suspect => Mood::Doubtful,
        Health::Gone | Health::Dead => Mood::Bad,
    }
}

fn node_cells(node: &NodeView, is_wide: bool) -> Vec<(String, Mood)> {
    let used = used_milli(node);
    let plain = |text: String| (text, Mood::Plain);
    let mut cells = vec![
        plain(node.spec.node.clone()),
        plain(node.spec.worker.clone()),
        (health_words(node), health_mood(node)),
        plain(format!("{}.{} of {}", used / 1000, used % 1000 / 100, node.spec.gpus.len())),
        plain(node.running.len().to_string()),
        plain(hottest(node).map_or_else(|| "-".to_owned(), |degrees| format!("{degrees:.0} °C"))),
        plain(node.heartbeat_age_ms.map_or_else(|| "none".to_owned(), span)),
    ];
    if is_wide {
        cells.extend([plain(node.spec.rack.clone()), plain(gpus_words(node))]);
    }
    cells
}

fn draw_nodes(frame: &mut Frame, area: Rect, top: &Top, nodes: &[&NodeView], look: Look) {
    let is_wide = area.width >= WIDE;
    let mut columns = vec![
        shown(NodeColumn::Node, 16, false),
        shown(NodeColumn::Worker, 11, false),
        shown(NodeColumn::Health, 17, false),
        shown(NodeColumn::Used, 9, true),
        shown(NodeColumn::Running, 5, true),
        shown(NodeColumn::Hottest, 7, true),
        shown(NodeColumn::Heartbeat, 9, true),
    ];
    if is_wide {
        columns.extend([text("RACK", Constraint::Length(8)), text("GPUS", Constraint::Min(10))]);
    }
    let on_screen = window(nodes.len(), top.nodes.place(), area.height.saturating_sub(PANE_HEADS).into());
    let is_active = top.pane == Pane::Nodes;
    let selected = is_active.then(|| top.nodes.place().saturating_sub(on_screen.start));
    let all = top.snapshot.as_ref().map_or(0, |snapshot| snapshot.nodes.len());
    let title = title("nodes", &top.nodes, nodes.len(), all, is_active, is_active && top.mode == Mode::Filter);
    let rows = nodes[on_screen].iter().map(|node| node_cells(node, is_wide)).collect();
    draw_pane(frame, area, title, PaneRows { list: &top.nodes, columns, rows, selected }, look);
}

fn job_cells(job: &JobView, is_wide: bool, now_ms: u64) -> Vec<(String, Mood)> {
    let plain = |text: String| (text, Mood::Plain);
    let state = match job.state {
        JobState::Running => (format!("running {} %", job.progress_permille / 10), Mood::Busy),
        // The words of the glossary are wider than the column.
        JobState::Queued if job.waits_for_retry() => ("awaits retry".to_owned(), Mood::Plain),
        _ => (job.state_words().to_owned(), Mood::Plain),
    };
    let failed = (job.failures.to_string(), if job.failures > 0 { Mood::Doubtful } else { Mood::Plain });
    let mut cells = vec![
        plain(if is_wide { job.id.to_string() } else { short_id(job.id) }),
        plain(job.kind.clone()),
        plain(job.priority.to_string()),
        state,
        plain(job.node.clone().unwrap_or_else(|| "-".to_owned())),
        plain(job.attempts.len().to_string()),
        failed,
        plain(span(now_ms.saturating_sub(job.submitted_at_ms))),
    ];
    if is_wide {
        let waits = job.waiting.as_ref().filter(|_| job.state == JobState::Queued).map(|waiting| waiting.summary.clone());
        cells.push(plain(waits.unwrap_or_else(|| job.name.clone())));
    }
    cells
}

fn draw_jobs(frame: &mut Frame, area: Rect, top: &Top, jobs: &[&JobView], look: Look, now_ms: u64) {
    let is_wide = area.width >= WIDE;
    let mut columns = vec![
        text("ID", Constraint::Min(8)),
        shown(JobColumn::Kind, 8, false),
        shown(JobColumn::Priority, 8, false),
        shown(JobColumn::State, 13, false),
        shown(JobColumn::Node, 12, false),
        shown(JobColumn::Attempts, 5, true),
        shown(JobColumn::Failures, 6, true),
        shown(JobColumn::Age, 10, true),
    ];
    if is_wide {
        columns[0].width = Constraint::Length(26);
        columns.push(text("NAME, OR WHY IT WAITS", Constraint::Min(12)));
    }
    let on_screen = window(jobs.len(), top.jobs.place(), area.height.saturating_sub(PANE_HEADS).into());
    let is_active = top.pane == Pane::Jobs;
    let selected = is_active.then(|| top.jobs.place().saturating_sub(on_screen.start));
    let all = top.snapshot.as_ref().map_or(0, |snapshot| snapshot.jobs.len());
    let what = if all >= MOST_JOBS { "the oldest jobs" } else { "jobs" };
    let title = title(what, &top.jobs, jobs.len(), all, is_active, is_active && top.mode == Mode::Filter);
    let rows = jobs[on_screen].iter().map(|job| job_cells(job, is_wide, now_ms)).collect();
    draw_pane(frame, area, title, PaneRows { list: &top.jobs, columns, rows, selected }, look);
}

/// In the middle of the screen, over everything else.
fn popup(frame: &mut Frame, title: String, lines: Vec<Line<'static>>) {
    let area = frame.area();
    let widest = lines.iter().map(Line::width).max().unwrap_or(0).max(title.chars().count() + 2);
    let width = u16::try_from(widest + 4).unwrap_or(u16::MAX).min(area.width);
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX).min(area.height);
    let place = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    let block = Block::new().borders(Borders::ALL).title(Line::styled(format!(" {title} "), BOLD));
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(lines).block(block), place);
}

fn draw_dialog(frame: &mut Frame, dialog: &Dialog, look: Look) {
    let mut lines: Vec<Line> = dialog.choices.iter().map(|choice| Line::from(format!(" {}  {}", choice.letter, choice.text))).collect();
    lines.push(Line::styled(" Esc  nothing", look.style(Mood::Good)));
    popup(frame, dialog.question.clone(), lines);
}

const HELP: [&str; 15] = [
    " Up Down PgUp PgDn Home End  select",
    " Tab        nodes, jobs",
    " < > or s   sort by another column (underlined)",
    " r          reverse the order",
    " /          filter by text: name, worker, state, kind, model, rack",
    " Esc        no filter",
    " p, space   pause",
    "",
    " k          kill the node, or the process that hosts it",
    " f          freeze or resume it, or end its faults",
    " d          drain, undrain",
    " c          cancel a job (jobs)",
    "",
    " Each asks first. Processes: only where `faultline up` runs.",
    " q, Ctrl-C  quit",
];

fn draw_help(frame: &mut Frame) {
    popup(frame, "Keys".to_owned(), HELP.map(Line::from).to_vec());
}

#[cfg(test)]
#[path = "draw_tests.rs"]
mod tests;
