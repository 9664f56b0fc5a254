//! Why a job waits, or runs where it does: the words for what the leader and the job's record say in numbers. The command and REST both
//! answer with it.

use faultline_engine::job::{AttemptOutcome, AttemptSummary, JobId};
use faultline_engine::scheduler::{PlaceInLine, Spot, WhyWaiting, WouldFit};
use faultline_engine::words::{agree, count, plural, span};
use serde::Serialize;
use utoipa::ToSchema;

use crate::messages::{JobState, JobView};

/// Why a job waits, or runs where it does.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Explanation {
    pub job: JobId,
    pub name: String,
    pub state: JobState,
    /// For people.
    pub lines: Vec<ExplanationLine>,
    /// Why it still waits; none when it does not, or when no scheduler has taken it yet.
    pub waiting: Option<WhyWaiting>,
    /// The attempt that committed, or else the last one; none when it never ran.
    pub attempt: Option<AttemptSummary>,
}

/// One thing about a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ExplanationLine {
    /// Such as `why not yet`.
    pub about: &'static str,
    pub words: String,
}

impl Explanation {
    /// `now_ms`: the cluster's time.
    pub fn of(job: &JobView, now_ms: u64) -> Self {
        let committed = job.attempts.iter().position(|row| row.outcome == AttemptOutcome::Committed);
        let at = committed.or(job.attempts.len().checked_sub(1));
        let attempt = at.map(|at| &job.attempts[at]);
        let mut lines = vec![line("state", state(job, attempt, now_ms))];
        if job.state == JobState::Queued {
            lines.extend(waiting(job.waiting.as_ref(), now_ms));
        } else if !job.reason.is_empty() {
            lines.push(line("reason", job.reason.clone()));
        }
        if let (Some(at), Some(attempt)) = (at, attempt) {
            let is_over = job.state == JobState::Queued;
            lines.extend(chosen(attempt, if is_over { "why there before" } else { "why here" }));
            let free_since_ms = at.checked_sub(1).and_then(|before| job.attempts[before].ended_at_ms).unwrap_or(job.submitted_at_ms);
            if !is_over {
                lines.push(line("waited", span(attempt.placed_at_ms.saturating_sub(free_since_ms))));
            }
        }
        Self { job: job.id, name: job.name.clone(), state: job.state, lines, waiting: job.waiting.clone(), attempt: attempt.cloned() }
    }
}

fn line(about: &'static str, words: impl Into<String>) -> ExplanationLine {
    ExplanationLine { about, words: words.into() }
}

fn state(job: &JobView, attempt: Option<&AttemptSummary>, now_ms: u64) -> String {
    let place = attempt.map(|row| Spot { node: row.node.clone(), gpus: row.gpus.clone() }.words());
    match (job.state, place, &job.waiting) {
        (JobState::Running, Some(place), _) => {
            let since_ms = attempt.map_or(now_ms, |row| row.started_at_ms.unwrap_or(row.placed_at_ms));
            format!("running on {place}, for {}", span(now_ms.saturating_sub(since_ms)))
        }
        (JobState::Queued, _, Some(why)) => {
            format!("{}, held by this leader for {}", job.state_words(), span(now_ms.saturating_sub(why.since_ms)))
        }
        (JobState::Queued, ..) => job.state_words().to_owned(),
        (_, Some(place), _) => format!("{}; it ran on {place}", job.state_words()),
        (_, None, _) => format!("{}; it never ran", job.state_words()),
    }
}

fn waiting(why: Option<&WhyWaiting>, now_ms: u64) -> Vec<ExplanationLine> {
    let Some(WhyWaiting { summary, place, .. }) = why else {
        let words = "not known: no leading scheduler holds it now. It waits in the queue until one takes it, or its submitter died before it queued it";
        return vec![line("why not yet", words)];
    };
    let mut lines = vec![line("why not yet", summary.clone())];
    let Some(place) = place else { return lines };
    lines.push(line("order", order(place)));
    if place.stands_aside && place.able > 0 {
        let words = format!(
            "until a node has room for it; jobs behind it go ahead when they fit, and {} been placed since this leader has held it",
            match place.placed_meanwhile {
                0 => "none has".to_owned(),
                placed => format!("{} {}", count(placed), agree(placed, "has", "have")),
            }
        );
        lines.push(line("stands aside", words));
    }
    match place.given_up_at_ms {
        Some(at_ms) => {
            let words = format!(
                "in {}: no node could ever run it. A node that can, and comes before, changes that",
                span(at_ms.saturating_sub(now_ms))
            );
            lines.push(line("given up", words));
        }
        None if place.nodes > 0 => {
            let words =
                format!("{} of {} could run it if they were open and empty", count(place.able.into()), plural(place.nodes.into(), "node"));
            lines.push(line("possible on", words));
        }
        None => {}
    }
    lines
}

/// Such as `place 14 of 31: 13 jobs go before it, 4 of them ask for the same`.
fn order(place: &PlaceInLine) -> String {
    let (at, all) = (count(place.ahead + 1), count(place.waiting));
    match place.ahead {
        0 => format!("place {at} of {all}: it is tried first"),
        1 => {
            let asks = if place.ahead_alike == 1 { "the same" } else { "something else" };
            format!("place {at} of {all}: 1 job goes before it, which asks for {asks}")
        }
        ahead => {
            let alike = match place.ahead_alike {
                0 => "none of them asks for the same".to_owned(),
                alike => format!("{} of them {} for the same", count(alike), agree(alike, "asks", "ask")),
            };
            format!("place {at} of {all}: {} {} before it, {alike}", plural(ahead, "job"), agree(ahead, "goes", "go"))
        }
    }
}

/// Why an attempt got its node. A row of an earlier version has the words alone.
fn chosen(attempt: &AttemptSummary, about: &'static str) -> Vec<ExplanationLine> {
    let why = attempt.why_words();
    let mut lines = Vec::new();
    if !why.is_empty() {
        lines.push(line(about, why));
    }
    lines.extend(attempt.choice.as_ref().map(|choice| line("runner-up", choice.runner_up_words())));
    lines
}

/// What would become of jobs that were submitted now, in words.
pub fn would_fit_lines(answer: &WouldFit) -> Vec<ExplanationLine> {
    let mut lines = vec![line("answer", answer.summary.clone())];
    if answer.spots.len() > 1 {
        lines.push(line("where", by_node(&answer.spots)));
    }
    if let Some(choice) = &answer.choice {
        // One choice is kept, that of the first job: each one that is placed changes the nodes for the next.
        let of_first = |words: String| if answer.spots.len() > 1 { format!("the first: {words}") } else { words };
        lines.push(line("why there", of_first(choice.words())));
        lines.push(line("runner-up", of_first(choice.runner_up_words())));
    }
    if answer.nodes > 0 {
        let able = count(answer.able.into());
        lines.push(line("possible on", format!("{able} of {}, if open and empty", plural(answer.nodes.into(), "node"))));
    }
    lines
}

/// `3 to gpu-node-01, 2 to gpu-node-02`, the first that would get one first.
fn by_node(spots: &[Spot]) -> String {
    const SHOWN: usize = 8;
    let mut counts: Vec<(&str, u64)> = Vec::new();
    for spot in spots {
        match counts.iter_mut().find(|(node, _)| *node == spot.node) {
            Some((_, jobs)) => *jobs += 1,
            None => counts.push((&spot.node, 1)),
        }
    }
    let mut words: Vec<String> = counts.iter().take(SHOWN).map(|(node, jobs)| format!("{} to {node}", count(*jobs))).collect();
    let rest = &counts[counts.len().min(SHOWN)..];
    if !rest.is_empty() {
        let jobs: u64 = rest.iter().map(|(_, jobs)| jobs).sum();
        words.push(format!("{} to {}", count(jobs), plural(rest.len() as u64, "other node")));
    }
    words.join(", ")
}

#[cfg(test)]
#[path = "explanation_tests.rs"]
mod tests;
