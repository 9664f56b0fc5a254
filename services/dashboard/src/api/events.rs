//! Events: pages of them, and a stream that goes on (server-sent events).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use faultline_engine::job::JobRef;
use futures::{Stream, StreamExt};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;

use super::extract::only_one;
use super::params::{EventsParams, Pairs};
use crate::app::App;
use crate::error::{ApiError, ErrorBody};
use crate::session::Leave;
use crate::view::{EventFilter, NumberedEvent};

/// How often a stream looks for more.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Between comments that keep proxies from closing a silent stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events that a stream takes at a time.
const AT_ONCE: usize = 200;
const LAST_EVENT_ID: &str = "last-event-id";

/// A page of events, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventsPage {
    pub(crate) items: Vec<NumberedEvent>,
    /// Ask with `after` set to this for what comes next.
    pub(crate) next_after: u64,
    /// False when events after `after` are no longer here: 20,000 are kept.
    pub(crate) complete: bool,
    /// Which history the numbers count. Send it back with `after`.
    pub(crate) history: String,
    /// True when `after` is of a history that has ended, since the stream EVENTS was made anew or an older copy of it put back. The
    /// items then are the oldest that are here, and `complete` is false.
    pub(crate) began_again: bool,
}

/// Events, oldest first: those after a number, or the newest
///
/// With `Accept: text/event-stream` they come as server-sent events, and those that happen later follow: `id` is the
/// number, `event` the kind, `data` the event as JSON; `Last-Event-ID` stands for `after`. An event `missed` comes first when
/// some are no longer here; its `began_again` is true when the number is of a history that has ended.
#[utoipa::path(get, path = "/api/v1/events", tag = "cluster",
    params(
        ("after" = Option<u64>, Query, description = "only events with a greater number; without it the newest come"),
        ("history" = Option<String>, Query, description = "the history that `after` is of, as the page before told it"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, default 50; of a stream without `after`: how many come at first"),
        ("kind" = Option<String>, Query, description = "such as node_dead"),
        ("level" = Option<String>, Query, description = "this level or worse: debug, info, warn, error"),
        ("until_ms" = Option<u64>, Query, description = "Unix milliseconds: none of later"),
        ("node" = Option<String>, Query), ("job" = Option<String>, Query), ("service" = Option<String>, Query),
        ("Last-Event-ID" = Option<u64>, Header, description = "of a stream: as `after`, and stronger")),
    responses((status = 200, content((EventsPage = "application/json"), (String = "text/event-stream"))), (status = 422, body = ErrorBody),
        (status = 503, body = ErrorBody, description = "64 WebSockets and event streams are open already")))]
pub(crate) async fn events(
    State(app): State<App>,
    Extension(leave): Extension<Leave>,
    headers: HeaderMap,
    pairs: Pairs,
) -> Result<Response, ApiError> {
    let mut params = EventsParams::decode(pairs)?;
    if let Some(job) = &params.filter.job {
        // The history goes further back than the jobs: a part of an id that fits none of them may fit one of its events.
        let only = only_one(job, app.view.read().jobs.ids())?;
        params.filter.job = only.map(JobRef::Whole).or(params.filter.job);
    }
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepts.split(',').any(|kind| kind.trim().starts_with("text/event-stream")) {
        return stream(app, leave, &headers, params);
    }
    let view = app.view.read();
    let began_again = params.after.is_some_and(|after| !view.events.knows(after, params.history.as_deref()));
    let after = if began_again { Some(0) } else { params.after };
    let items = view.events.page(&params.filter, after, params.limit);
    // With a filter a short page means that everything up to now was looked at.
    let seen = if items.len() < params.limit { view.events.last_seq() } else { items.last().map_or(0, |last| last.seq) };
    let complete = !began_again && after.is_none_or(|after| view.events.has_all_after(after));
    let history = view.events.history();
    Ok(Json(EventsPage { items, next_after: seen.max(after.unwrap_or(0)), complete, history, began_again }).into_response())
}

fn stream(app: App, leave: Leave, headers: &HeaderMap, params: EventsParams) -> Result<Response, ApiError> {
    let resumed = match headers.get(LAST_EVENT_ID) {
        Some(value) => {
            let number = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
            Some(number.ok_or_else(|| ApiError::invalid("Last-Event-ID", "must be the number of an event"))?)
        }
        None => params.after,
    };
    let permit = app.stream_permit()?;
    let (waiting, after, missed) = {
        let view = app.view.read();
        match resumed {
            Some(after) if !view.events.knows(after, params.history.as_deref()) => {
                (VecDeque::new(), 0, Some(Missed { after, began_again: true }))
            }
            Some(after) => {
                let missed = (!view.events.has_all_after(after)).then_some(Missed { after, began_again: false });
                (VecDeque::new(), after, missed)
            }
            None => (view.events.page(&params.filter, None, params.limit).into(), view.events.last_seq(), None),
        }
    };
    let events = follow(Follower { app, filter: params.filter, after, waiting, missed, _permit: permit });
    let events = events.take_until(Box::pin(async move { leave.over().await }));
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// What a client is told when it cannot have everything after its number.
#[derive(Debug, Clone, Copy, Serialize)]
struct Missed {
    after: u64,
    began_again: bool,
}

/// One client of the stream.
struct Follower {
    app: App,
    filter: EventFilter,
    /// Everything up to this number was looked at.
    after: u64,
    waiting: VecDeque<NumberedEvent>,
    missed: Option<Missed>,
    _permit: OwnedSemaphorePermit,
}

/// Ends with the dashboard. The next event is taken when the client has taken the one before, so a slow client costs
/// no more than [`AT_ONCE`] events.
fn follow(follower: Follower) -> impl Stream<Item = Result<Event, Infallible>> {
    futures::stream::unfold(follower, async |mut follower| {
        if let Some(missed) = follower.missed.take() {
            let event = Event::default().event("missed").data(serde_json::to_string(&missed).unwrap_or_default());
            return Some((Ok(event), follower));
        }
        loop {
            if let Some(next) = follower.waiting.pop_front() {
                return Some((Ok(as_event(&next)), follower));
            }
            if follower.look() {
                continue;
            }
            tokio::select! {
                () = follower.app.stopping.cancelled() => return None,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    })
}

impl Follower {
    /// Takes what is new; whether there was anything.
    fn look(&mut self) -> bool {
        let view = self.app.view.read();
        self.waiting = view.events.page(&self.filter, Some(self.after), AT_ONCE).into();
        self.after = match self.waiting.back() {
            Some(last) => last.seq,
            // Nothing that is wanted: up to here it was looked at.
            None => view.events.last_seq().max(self.after),
        };
        !self.waiting.is_empty()
    }
}

fn as_event(numbered: &NumberedEvent) -> Event {
    let kind = serde_json::to_value(numbered.event.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default();
    let data = serde_json::to_string(numbered).unwrap_or_default();
    Event::default().id(numbered.seq.to_string()).event(kind).data(data)
}
