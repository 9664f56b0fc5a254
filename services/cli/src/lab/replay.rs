//! `faultline lab replay`: a trace on the cluster that a file describes, as its policy of today would have run it and as others would. Each is an
//! experiment like those of `run`: the trace as it was, and workloads of its days, drawn anew for each seed, for the interval.

use std::fmt::Write;
use std::path::Path;

use faultline_engine::words::{about, plural};
use faultline_lab::experiment::Seeds;
use faultline_lab::read::Format;
use faultline_lab::report::{Tables, chance, difference_in_words, in_words, warnings};
use faultline_lab::tables::{CompareLine, Metric};
use faultline_planner::{Blocking, OrderName, PolicyName};
use serde::Serialize;

use super::compare::quoted;
use super::files::Text;
use super::run::{Carried, HowFlags, default_folder, play_into};
use crate::exit::Failure;
use crate::interrupt::Interrupts;
use crate::output::{Output, figure, table};

/// The figures that the terminal shows; the report has the others.
const SHOWN: [&str; 8] = ["jct_mean_s", "wait_mean_s", "wait_p90_s", "slowdown_mean", "goodput", "occupancy", "lost_gpu_h", "jobs_open"];
/// With fewer days there is too little to draw from.
const FEWEST_DAYS: u64 = 7;
const DRAWN_SEEDS: Seeds = Seeds { first: 1, last: 10 };
const TODAY: &str = "today";
const DAY_MS: u64 = 86_400_000;
/// Tables that the flags stand for.
const OF_FLAGS: [&str; 5] = ["title", "question", "workload", "run", "expect"];

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ReplayFlags {
    /// Trace of jobs, in any format of `faultline lab formats`
    trace: String,
    #[arg(long, value_name = "FORMAT", help = format!("Its format, when its first line does not show it: {}", Format::ALL.map(Format::as_str).join(", ")))]
    format: Option<Format>,
    /// The cluster: a CSV file of nodes, or a TOML file with an experiment's tables cluster, jobs, faults, queue.NAME, and policy.NAME
    #[arg(long, value_name = "FILE")]
    cluster: String,
    /// The policy of today: one of the cluster's file, or such as best-fit+fifo+easy; when the file has no [policy.today], the live scheduler's: least-loaded+fifo+skip
    #[arg(long, value_name = "POLICY", default_value = TODAY)]
    policy: String,
    /// What is tried instead: a policy of the cluster's file, or what differs from today's: a placement, an order, a way to block, or several joined by +, such as easy or sjf+easy
    #[arg(long, value_name = "CHANGES", value_delimiter = ',', required = true)]
    what_if: Vec<String>,
    /// Metric of the interval; docs/lab.md lists them
    #[arg(long, value_name = "METRIC", default_value = "jct_mean_s")]
    judge: String,
    /// Play the trace as it was, and draw no workloads from its days
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    how: HowFlags,
}

pub(super) async fn run(out: &Output, flags: &ReplayFlags) -> Result<(), Failure> {
    let mut interrupts = Interrupts::listen()?;
    let folder = flags.how.out.clone().unwrap_or_else(|| default_folder(&format!("replay-{}", stem(&flags.trace))));
    let (text, differs) = experiment_of(flags, false)?;
    let draws = text.file()?.draws();
    let seeds = flags.how.seeds.or((!draws).then_some(Seeds { first: 1, last: 1 }));
    let experiment = text.load(seeds)?;
    let (jobs, last_ms) = experiment.trace().map_or((0, 0), |trace| (trace.jobs.len(), trace.jobs.last().map_or(0, |job| job.submit_ms)));
    let days = last_ms / DAY_MS + 1;
    let (nodes, gpus) = (experiment.cluster().machines.len(), experiment.cluster().all_gpu_milli() / 1_000);
    let as_it_was = play_into(experiment, &flags.how, folder.clone(), &mut interrupts).await?;
    let drawn = if flags.once || days < FEWEST_DAYS || as_it_was.is_stopped() {
        None
    } else {
        let experiment = experiment_of(flags, true)?.0.load(flags.how.seeds.or(Some(DRAWN_SEEDS)))?;
        Some(play_into(experiment, &flags.how, folder.join("days"), &mut interrupts).await?)
    };
    let what =
        format!("{} over {} on {} with {}", plural(jobs as u64, "job"), about(last_ms), plural(nodes as u64, "node"), plural(gpus, "GPU"));
    let view = ReplayView::new(flags, what, days, &differs, &as_it_was, drawn.as_ref());
    out.one(&view, |view| words(out, view))?;
    as_it_was.verdict().and_then(|()| drawn.map_or(Ok(()), Carried::verdict))
}

fn stem(path: &str) -> String {
    Path::new(path).file_stem().map_or_else(|| "trace".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// What a policy differs by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Parts {
    placement: Option<PolicyName>,
    order: Option<OrderName>,
    blocking: Option<Blocking>,
}

impl Parts {
    fn read(text: &str) -> Result<Self, String> {
        let mut parts = Self::default();
        for word in text.split('+') {
            match (word.parse(), word.parse(), word.parse()) {
                (Ok(placement), ..) if parts.placement.is_none() => parts.placement = Some(placement),
                (_, Ok(order), _) if parts.order.is_none() => parts.order = Some(order),
                (.., Ok(blocking)) if parts.blocking.is_none() => parts.blocking = Some(blocking),
                _ => {
                    return Err(format!(
                        "unexpected `{word}`: name a policy of the cluster's file, or one placement, one order, and one way to block at most, from `faultline lab policies`"
                    ));
                }
            }
        }
        Ok(parts)
    }

    /// Today's table with these fields instead of its own.
    fn over(self, today: &toml::Table) -> toml::Table {
        let mut table = today.clone();
        for (field, name) in self.fields() {
            table.insert(field.to_owned(), name.into());
        }
        table
    }

    fn fields(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let Self { placement, order, blocking } = self;
        let fields = [
            ("placement", placement.map(PolicyName::as_str)),
            ("order", order.map(OrderName::as_str)),
            ("blocking", blocking.map(Blocking::as_str)),
        ];
        fields.into_iter().filter_map(|(field, name)| Some((field, name?)))
    }
}

/// The flags as an experiment, and in words what each policy that is tried differs by.
fn experiment_of(flags: &ReplayFlags, days: bool) -> Result<(Text, Vec<String>), Failure> {
    let title = format!("title = {}", quoted(&format!("What if, on {}", flags.trace)));
    let is_table = Path::new(&flags.cluster).extension().is_some_and(|extension| extension == "csv");
    let mut made = None;
    let mut behind = |written: &str, is_elsewhere: bool| -> Result<String, Failure> {
        let (text, only, differs) = tables(flags, written, is_elsewhere, days)?;
        made = Some((only, differs));
        Ok(text)
    };
    let mut text = if is_table {
        let rest = behind("", false)?;
        Text::new(&flags.cluster, format!("{title}\n[cluster]\nfile = {}\n{rest}", quoted(&flags.cluster)))
    } else {
        Text::around(&flags.cluster, &title, |written| behind(written, true))?
    };
    let (only, differs) = made.unwrap_or_default();
    text.only = only;
    Ok((text, differs))
}

/// What the flags add to the cluster's file: the workload, and the policies that it does not have. Then the names of all that are played, and what
/// each but the first differs by.
fn tables(flags: &ReplayFlags, written: &str, is_elsewhere: bool, days: bool) -> Result<(String, Vec<String>, Vec<String>), Failure> {
    // What is no TOML is told with its lines when the whole is loaded.
    let file: toml::Table = toml::from_str(written).unwrap_or_default();
    if let Some(field) = OF_FLAGS.into_iter().find(|field| file.contains_key(*field)) {
        return Err(Failure::Usage(format!("{}: `{field}` is what the flags say: take it out of the cluster's file", flags.cluster)));
    }
    // Paths in the cluster's file are relative to its folder.
    let trace = std::path::absolute(&flags.trace).ok().filter(|_| is_elsewhere).map(|path| path.display().to_string());
    let mut text = format!("\n[workload]\nfile = {}\n", quoted(trace.as_deref().unwrap_or(&flags.trace)));
    let mut line = |words: std::fmt::Arguments| {
        let _ = text.write_fmt(words);
    };
    if let Some(format) = flags.format {
        line(format_args!("format = \"{}\"\n", format.as_str()));
    }
    if days {
        line(format_args!("resample = \"days\"\n"));
    }
    line(format_args!("\n[run]\njudge = {}\n", quoted(&flags.judge)));
    let policies = file.get("policy").and_then(toml::Value::as_table);
    let known = |name: &str| policies.and_then(|policies| policies.get(name)).and_then(toml::Value::as_table);
    let refused = |flag: &str, why: String| Failure::Usage(format!("--{flag}: {why}"));
    let today = match known(&flags.policy) {
        Some(table) => table.clone(),
        None => {
            let parts =
                if flags.policy == TODAY { Parts::default() } else { Parts::read(&flags.policy).map_err(|why| refused("policy", why))? };
            let table = parts.over(&live());
            line(format_args!("\n[policy.\"{}\"]\n{table}", flags.policy));
            table
        }
    };
    let (mut only, mut differs) = (vec![flags.policy.clone()], Vec::new());
    for name in &flags.what_if {
        if only.contains(name) {
            return Err(refused("what-if", format!("{name} is there twice, or is today's policy: name others")));
        }
        let table = match known(name) {
            Some(table) => table.clone(),
            None => {
                let table = Parts::read(name).map_err(|why| refused("what-if", why))?.over(&today);
                line(format_args!("\n[policy.\"{name}\"]\n{table}"));
                table
            }
        };
        differs.push(difference(&today, &table));
        only.push(name.clone());
    }
    Ok((text, only, differs))
}

/// How the live scheduler decides unless something else is set.
fn live() -> toml::Table {
    Parts { placement: Some(PolicyName::default()), order: Some(OrderName::Fifo), blocking: Some(Blocking::Skip) }.over(&toml::Table::new())
}

/// `blocking easy instead of skip`, field by field.
fn difference(today: &toml::Table, other: &toml::Table) -> String {
    let defaults = live();
    let mut fields: Vec<&String> = today.keys().chain(other.keys()).collect();
    fields.sort();
    fields.dedup();
    let value = |table: &toml::Table, field: &String| {
        let value = table.get(field).or_else(|| defaults.get(field));
        value.map_or_else(|| "none".to_owned(), |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    let differing =
        fields.into_iter().map(|field| (field, value(today, field), value(other, field))).filter(|(_, one, other)| one != other);
    let words: Vec<String> = differing.map(|(field, one, other)| format!("{field} {other} instead of {one}")).collect();
    if words.is_empty() { "the same as today's".to_owned() } else { words.join(", ") }
}

/// What came of it.
#[derive(Debug, Serialize)]
struct ReplayView {
    trace: String,
    what: String,
    today: String,
    changes: Vec<ChangeView>,
    /// Runs of each policy of the trace as it was.
    runs_each: usize,
    warnings: Vec<String>,
    /// Why no workloads were drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_drawn: Option<String>,
    reports: Vec<String>,
}

/// One policy instead of today's.
#[derive(Debug, Serialize)]
struct ChangeView {
    policy: String,
    differs: String,
    sentences: Vec<String>,
    figures: Vec<FigureView>,
}

/// Shares from 0 to 1, times in seconds.
#[derive(Debug, Serialize)]
struct FigureView {
    metric: &'static str,
    today: f64,
    what_if: f64,
}

impl ReplayView {
    fn new(flags: &ReplayFlags, what: String, days: u64, differs: &[String], as_it_was: &Carried, drawn: Option<&Carried>) -> Self {
        let today = flags.policy.as_str();
        let tables = &as_it_was.tables;
        let judge = Metric::named(&flags.judge).unwrap_or(&faultline_lab::tables::METRICS[0]);
        let change = |(policy, differs): (&String, &String)| {
            let both = |metric: &str| Some((tables.of_all(today, metric)?, tables.of_all(policy, metric)?));
            let figures = SHOWN.iter().filter_map(|name| Metric::named(name)).filter_map(|metric| {
                let (today, what_if) = both(metric.name)?;
                Some(FigureView { metric: metric.name, today, what_if })
            });
            let first = both(judge.name).map(|(of_today, of_other)| {
                format!(
                    "{} would have been {} instead of {}: {}.",
                    capital(judge.title),
                    in_words(judge, of_other),
                    in_words(judge, of_today),
                    signed(judge, of_other - of_today)
                )
            });
            let interval = drawn.and_then(|drawn| of_days(&drawn.tables, judge, today, policy));
            let sentences = first.into_iter().chain(interval).collect();
            ChangeView { policy: policy.clone(), differs: differs.clone(), sentences, figures: figures.collect() }
        };
        let why_not = if flags.once { "--once was given".to_owned() } else { format!("the trace has only {}", plural(days, "day")) };
        let reports =
            std::iter::once(as_it_was).chain(drawn).map(|one| one.folder.join(faultline_lab::batch::REPORT).display().to_string());
        Self {
            trace: flags.trace.clone(),
            what,
            today: today.to_owned(),
            changes: flags.what_if.iter().zip(differs).map(change).collect(),
            runs_each: tables.manifest.contents.runs.iter().filter(|run| run.policy == today).count(),
            warnings: warnings(tables),
            not_drawn: drawn.is_none().then_some(why_not),
            reports: reports.collect(),
        }
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn signed(metric: &Metric, difference: f64) -> String {
    let words = difference_in_words(metric, difference);
    if difference > 0.0 { format!("+{words}") } else { words }
}

/// The interval over workloads of drawn days.
fn of_days(tables: &Tables, metric: &Metric, today: &str, other: &str) -> Option<String> {
    let is_pair = |line: &&CompareLine| {
        line.metric == metric.name && [&line.a, &line.b].iter().all(|policy| [today, other].contains(&policy.as_str()))
    };
    let line = tables.compare.iter().find(is_pair)?;
    // The table has the difference of the first from the second.
    let sign = if line.a == other { 1.0 } else { -1.0 };
    let mut ends = [sign * line.paired_low, sign * line.paired_high];
    ends.sort_by(f64::total_cmp);
    let meaning = if ends[0] > 0.0 || ends[1] < 0.0 {
        "other weeks like these would show it too"
    } else {
        "it includes zero, so other weeks may show none"
    };
    Some(format!(
        "Over {} of days drawn from the trace: {} (95 % interval {} to {}, paired, {}); {meaning}.",
        plural(line.seeds as u64, "workload"),
        signed(metric, sign * line.difference),
        difference_in_words(metric, ends[0]),
        difference_in_words(metric, ends[1]),
        chance(line.paired_p)
    ))
}

fn words(out: &Output, view: &ReplayView) -> String {
    let mut parts = vec![format!("{}: {}", view.trace, view.what)];
    for change in &view.changes {
        parts.push(format!("What if {} instead of {} ({})?\n{}", change.policy, view.today, change.differs, change.sentences.join("\n")));
        let mut rows = table(&["METRIC", &view.today, &change.policy, "DIFFERENCE"]);
        for FigureView { metric, today, what_if } in &change.figures {
            let Some(metric) = Metric::named(metric) else { continue };
            let cells = [in_words(metric, *today), in_words(metric, *what_if), signed(metric, what_if - today)];
            rows.add_row(std::iter::once(metric.title.into()).chain(cells.map(figure)));
        }
        parts.push(out.render(rows));
    }
    let runs = if view.runs_each == 1 { "one run".to_owned() } else { format!("the mean of {} runs", view.runs_each) };
    let mut notes = vec![format!(
        "The tables are of the trace as it was, {runs} of each policy. Users who would submit less when they wait longer are not in it."
    )];
    notes.extend(
        view.not_drawn
            .iter()
            .map(|why| format!("No other workloads were drawn ({why}), so nothing says how much of a difference is chance.")),
    );
    notes.extend(view.warnings.iter().map(|warning| format!("Read with care: {warning}")));
    notes.push(format!("Reports: {}", view.reports.join(", ")));
    parts.push(notes.join("\n"));
    parts.join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_by_what_differs_from_today() {
        let today = Parts::read("best-fit+strict").unwrap().over(&toml::Table::new());
        let easy = Parts::read("easy").unwrap().over(&today);
        assert_eq!(difference(&today, &easy), "blocking easy instead of strict");
        assert_eq!(
            difference(&live(), &Parts::read("sjf+easy").unwrap().over(&live())),
            "blocking easy instead of skip, order sjf instead of fifo"
        );
        assert_eq!(difference(&live(), &toml::Table::new()), "the same as today's", "what is left out has its default");
        let error = Parts::read("easy+strict").unwrap_err();
        assert!(error.starts_with("unexpected `strict`: name a policy of the cluster's file, or one placement"), "{error}");
    }
}
