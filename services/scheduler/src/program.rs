//! The policy program on NATS: requests go out, and what comes of them goes to the engine. Nothing waits for it.

use std::time::Duration;

use async_nats::RequestErrorKind;
use faultline_engine::scheduler::{Durations, Heard, ProgramNews, ProgramStanding, ProgramState, Question};
use faultline_engine::words::limit;
use faultline_protocol::messages::{EventKind, Level, policy};
use faultline_protocol::subjects;
use faultline_runtime::connection::Connection;
use faultline_runtime::events::EventSink;
use faultline_runtime::metrics::{Family, Kind, Readings};
use faultline_runtime::wire::Post;
use tokio::sync::mpsc;

use crate::intake::Input;

/// Set by the NATS services API when a handler fails.
const HEADER_SERVICE_ERROR: &str = "Nats-Service-Error";

/// Sends a request and tells the leader's loop what came of it.
pub(crate) async fn ask(nats: Connection, question: Box<Question>, inputs: mpsc::Sender<Input>) {
    let number = question.number;
    let heard = request(&nats, *question).await.map_or_else(Heard::Nothing, Heard::Answer);
    // The receiver is gone when the term is over.
    let _ = inputs.send(Input::Answered { number, heard }).await;
}

async fn request(nats: &Connection, question: Question) -> Result<String, String> {
    let subject = subjects::policy(&question.program);
    let most = nats.most_bytes();
    if question.lines.len() > most {
        return Err(format!("a request takes {} bytes, more than the {most} that the NATS server allows", question.lines.len()));
    }
    let headers = Some(policy::request_headers(&question));
    let post = Post { subject: subject.as_str().into(), reply: None, headers, body: question.lines.into() };
    let answer = nats.request(post, Some(Duration::from_millis(question.answer_within_ms))).await.map_err(|(kind, reason)| match kind {
        RequestErrorKind::NoResponders => format!("no program listens on {subject}"),
        RequestErrorKind::TimedOut => format!("no answer within {}", limit(question.answer_within_ms)),
        _ => format!("it could not be asked: {reason}"),
    })?;
    match answer.headers.as_ref().and_then(|headers| headers.get(HEADER_SERVICE_ERROR)) {
        Some(error) => Err(format!("it says: {error}")),
        None => policy::read_answer(&answer.payload),
    }
}

const fn family(name: &'static str, kind: Kind, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, help, kind, labels }
}

pub(crate) const FAMILIES: [Family; 6] = [
    family(
        "faultline_policy_program_decides",
        Kind::Gauge,
        &[],
        "1 while the policy program decides, 0 while a built-in policy does instead.",
    ),
    family("faultline_policy_program_requests_total", Kind::Counter, &[], "Requests to the policy program."),
    family(
        "faultline_policy_program_failures_total",
        Kind::Counter,
        &[],
        "Requests that the policy program did not answer, or not in a way that can be used.",
    ),
    family("faultline_policy_program_answers_total", Kind::Counter, &["outcome"], "Answers about single tasks, by what came of them."),
    family(
        "faultline_policy_fallback_placements_total",
        Kind::Counter,
        &[],
        "Tasks that the built-in policy placed in place of the program.",
    ),
    family("faultline_policy_program_answer_seconds", Kind::Histogram, &[], "From a request to the policy program to its answer."),
];

pub(crate) fn tell_metrics(program: &ProgramStanding, durations: &Durations, out: &mut Readings<'_>) {
    out.put("faultline_policy_program_decides", &[], if program.state == ProgramState::Silent { 0.0 } else { 1.0 });
    for (name, value) in [
        ("faultline_policy_program_requests_total", program.requests),
        ("faultline_policy_program_failures_total", program.failures),
        ("faultline_policy_fallback_placements_total", program.placed_by_fallback),
    ] {
        out.put(name, &[], value as f64);
    }
    for (outcome, value) in
        [("placed", program.placed), ("left_waiting", program.left_waiting), ("late", program.late), ("wrong", program.wrong)]
    {
        out.put("faultline_policy_program_answers_total", &[outcome], value as f64);
    }
    out.put_durations("faultline_policy_program_answer_seconds", &[], durations);
}

/// For the log, and for the history where it changes who decides.
pub(crate) async fn tell(events: &EventSink, news: &ProgramNews) {
    let (level, kind) = match news {
        ProgramNews::Decides { .. } => {
            tracing::info!("{news}");
            (Level::Info, EventKind::PolicyRecovered)
        }
        ProgramNews::Silent { .. } => {
            tracing::warn!("{news}");
            (Level::Warn, EventKind::PolicyFailed)
        }
        ProgramNews::Wrong { .. } => return tracing::warn!("{news}"),
    };
    events.send(events.event(level, kind, news.to_string())).await;
}
