//! What `audit` says: a row for each check, with its figures and what is wrong.

use std::collections::BTreeSet;

use faultline_engine::words::{agree, count, plural};
use serde::Serialize;

use super::check::{Figures, Problem, Verdict};

/// Jobs named under a failed check.
pub(super) const NAMED: usize = 10;

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub check: &'static str,
    pub ok: bool,
    pub figures: String,
    /// The first few that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wrong: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    pub ok: bool,
    /// How often everything was read; more than once when something did not agree at first.
    pub looks: u64,
    #[serde(flatten)]
    pub figures: Figures,
    pub checks: Vec<Check>,
}

impl AuditReport {
    /// That no scheduler works on the jobs, if so; it fails no check.
    pub fn absence(&self) -> Option<String> {
        let waiting = match self.figures.open {
            0 => "new jobs wait".to_owned(),
            open => format!("{} {}", plural(open, "open job"), agree(open, "waits", "wait")),
        };
        (!self.figures.scheduler_answers).then(|| format!("no scheduler answers: {waiting} until one leads"))
    }

    pub(super) fn of(verdict: &Verdict) -> Self {
        let (problems, figures) = (verdict.problems(), &verdict.figures);
        let checks = vec![
            equation(figures, &problems),
            no_job_twice(figures, &problems),
            nothing_missed(figures, &problems),
            no_job_lost(figures, &problems),
            no_store_went_back(&problems),
            open_jobs_are_queued(figures, &problems),
            queued_jobs_have_records(figures, &problems),
            no_invariant_broken(figures, &problems),
        ];
        Self { ok: problems.is_empty(), looks: verdict.looks, figures: figures.clone(), checks }
    }
}

impl Check {
    fn new(check: &'static str, figures: String, problems: &BTreeSet<&Problem>, mut wrong: impl FnMut(&Problem) -> Option<String>) -> Self {
        let mut all: Vec<String> = problems.iter().filter_map(|problem| wrong(problem)).collect();
        let ok = all.is_empty();
        if all.len() > NAMED {
            let more = all.len() - NAMED;
            all.truncate(NAMED);
            all.push(format!("and {} more", count(more as u64)));
        }
        Self { check, ok, figures, wrong: all }
    }
}

/// Each side names what a setback did to it, so that they are equal only when they are. Lost jobs have not ended: the row fails.
fn equation(figures: &Figures, problems: &BTreeSet<&Problem>) -> Check {
    let Figures { lost_with_store, brought_back, .. } = *figures;
    let returned = match figures.returned {
        0 => String::new(),
        jobs => format!("; {} of ended jobs came back when NATS was killed, and will be closed", plural(jobs, "opening")),
    };
    let text = format!(
        "{}{} = {} committed + {} given up + {} cancelled + {} abandoned{}{} + {} open{}{returned}",
        count(figures.submitted),
        if brought_back > 0 { format!(" + {} brought back", count(brought_back)) } else { String::new() },
        count(figures.committed),
        count(figures.dead),
        count(figures.cancelled),
        count(figures.abandoned.saturating_sub(figures.ended_lost)),
        if figures.ended_lost > 0 { format!(" + {} lost", count(figures.ended_lost)) } else { String::new() },
        if figures.missed > 0 { format!(" + {} uncounted", count(figures.missed)) } else { String::new() },
        count(figures.open),
        if lost_with_store > 0 { format!(" + {} lost with the store", count(lost_with_store)) } else { String::new() },
    );
    Check::new("submitted = ended + open", text, problems, |problem| match problem {
        Problem::Equation => Some(format!("the sides differ by {}", count(figures.imbalance().unsigned_abs()))),
        Problem::Restated if lost_with_store > 0 => Some(format!(
            "RESULTS lost the record of {} when it went back, besides those that it brought back: whether they ended is not known",
            plural(lost_with_store, "submitted job")
        )),
        Problem::Restated if brought_back > 0 => Some(format!(
            "RESULTS lost the end of {} when it went back, besides those that it lost as a whole: they run again and end twice",
            plural(brought_back, "counted job")
        )),
        _ => None,
    })
}

fn no_job_twice(figures: &Figures, problems: &BTreeSet<&Problem>) -> Check {
    Check::new("no job ended twice", plural(figures.duplicates, "second end"), problems, |problem| match problem {
        Problem::Duplicates => Some("the ledger counted ends of jobs that had already ended".to_owned()),
        Problem::EndedTwice(job) => Some(job.to_string()),
        _ => None,
    })
}

/// What expired uncounted is reported and is not a failure: those jobs have ended, and nothing tells how.
fn nothing_missed(figures: &Figures, problems: &BTreeSet<&Problem>) -> Check {
    let through = format!("ledger up to {} of {}", count(figures.ledger_through), count(figures.last_seq));
    let missed = match figures.missed {
        0 => String::new(),
        missed => format!("the records of {} expired before they were counted: neither lost nor proven; ", plural(missed, "ended job")),
    };
    let text = format!("{missed}{} unexplained; {through}", count(figures.gaps));
    Check::new("every end was counted", text, problems, |problem| match problem {
        Problem::Gap => Some("sequences of RESULTS that are neither an opening nor an end: records were deleted".to_owned()),
        Problem::Unreadable(what) => Some(what.clone()),
        Problem::Restated if figures.forgotten > 0 => {
            let messages = plural(figures.forgotten, "message");
            Some(format!("RESULTS lost {messages} before they were counted: openings and ends of jobs that are in no sum"))
        }
        _ => None,
    })
}

fn no_job_lost(figures: &Figures, problems: &BTreeSet<&Problem>) -> Check {
    let text = format!("{} left JOBS before the job had ended", plural(figures.vanished, "message"));
    Check::new("no queued job is lost", text, problems, |problem| match problem {
        Problem::Vanished => {
            Some("messages were removed from JOBS: by a purge, by hand, by an older copy, or by a damaged disk".to_owned())
        }
        Problem::Lost(job) => Some(format!("{job} was queued and has lost its message")),
        Problem::MaybeLost(job) => Some(format!("{job} may be one of those that lost their message, or was never queued")),
        Problem::Restated if figures.lost_with_store + figures.forgotten > 0 => {
            Some("RESULTS went back: whether the jobs that it lost had been queued is not known".to_owned())
        }
        _ => None,
    })
}

fn no_store_went_back(problems: &BTreeSet<&Problem>) -> Check {
    let told = |problem: &Problem| match problem {
        Problem::StoreWentBack(what) => Some(what.clone()),
        _ => None,
    };
    let count = problems.iter().filter(|problem| told(problem).is_some()).count() as u64;
    Check::new("no stream went back", plural(count, "setback"), problems, told)
}

fn open_jobs_are_queued(figures: &Figures, problems: &BTreeSet<&Problem>) -> Check {
    let young = if figures.young > 0 { format!(", {} being submitted", count(figures.young)) } else { String::new() };
    let never = match figures.never_queued {
        0 => String::new(),
        never => format!(", {} never queued: a leader will abandon them", count(never)),
    };
    let text = format!("{} open{young}{never}", count(figures.open));
    Check::new("every open job that was queued is in JOBS", text, problems, |problem| match problem {
        Problem::Orphan(job) => Some(format!("{job} is open and in no queue")),
        Problem::Vanished if figures.open_lost > 0 => Some(format!("{} no message in JOBS", plural_has(figures.open_lost))),
        _ => None,
    })
}

/// `1 open job has`, `2 open jobs have`.
fn plural_has(jobs: u64) -> String {
    format!("{} {}", plural(jobs, "open job"), agree(jobs, "has", "have"))
}

fn queued_jobs_have_records(figures: &Figures, problems: &BTreeSet<&Problem>) -> Check {
    let waiting = match (figures.waiting_for_ack, figures.scheduler_answers) {
        (0, _) => String::new(),
        (ended, true) => format!(", {} ended and not yet acknowledged", count(ended)),
        (ended, false) => {
            format!(", {} ended and not yet acknowledged: no scheduler answers now, and the next one acknowledges them", count(ended))
        }
    };
    Check::new("every job in JOBS is open", format!("{} in JOBS{waiting}", count(figures.queued)), problems, |problem| match problem {
        Problem::NoRecord(job) => Some(format!("{job} has no record in RESULTS")),
        Problem::NotAcknowledged(job) => Some(format!("{job} ended long ago and is still queued")),
        Problem::NoJob(subject) => Some(format!("{subject} names no job")),
        _ => None,
    })
}

fn no_invariant_broken(figures: &Figures, problems: &BTreeSet<&Problem>) -> Check {
    let text = format!("{} in the last hour", plural(figures.violations, "violation"));
    Check::new("the schedulers' invariants held", text, problems, |problem| match problem {
        Problem::Violation(what) => Some(what.clone()),
        _ => None,
    })
}
