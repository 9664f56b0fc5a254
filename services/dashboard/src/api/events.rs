//! Events: pages of them, and a stream that goes on (server-sent events).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::{Stream, StreamExt};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;

use super::error::{ApiError, ErrorBody};
use super::params::{EventsParams, Pairs};
use crate::app::App;
use crate::session::Leave;
use crate::socket::stream_permit;
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
}

/// Events, oldest first: those after a number, or the newest
///
/// With `Accept: text/event-stream` they come as server-sent events, and those that happen later follow: `id` is the
/// number, `event` the kind, `data` the event as JSON; `Last-Event-ID` stands for `after`. An event `missed` comes first when
/// some are no longer here.
#[utoipa::path(get, path = "/api/v1/events", tag = "cluster",
    params(
        ("after" = Option<u64>, Query, description = "only events with a greater number; without it the newest come"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, default 50; of a stream without `after`: how many come at first"),
        ("kind" = Option<String>, Query, description = "such as node_dead"),
        ("level" = Option<String>, Query, description = "this level or worse: debug, info, warn, error"),
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
    let params = EventsParams::decode(pairs)?;
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepts.split(',').any(|kind| kind.trim().starts_with("text/event-stream")) {
        return stream(app, leave, &headers, params);
    }
    let view = app.view.read();
    let items = view.events.page(&params.filter, params.after, params.limit);
    // With a filter a short page means that everything up to now was looked at.
    let seen = if items.len() < params.limit { view.events.last_seq() } else { items.last().map_or(0, |last| last.seq) };
    let complete = params.after.is_none_or(|after| view.events.has_all_after(after));
    Ok(Json(EventsPage { items, next_after: seen.max(params.after.unwrap_or(0)), complete }).into_response())
}

fn stream(app: App, leave: Leave, headers: &HeaderMap, params: EventsParams) -> Result<Response, ApiError> {
    let resumed = match headers.get(LAST_EVENT_ID) {
        Some(value) => {
            let number = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
            Some(number.ok_or_else(|| ApiError::invalid("Last-Event-ID", "must be the number of an event"))?)
        }
        None => params.after,
    };
    let permit = stream_permit(&app)?;
    let (waiting, after, missed) = {
        let view = app.view.read();
        match resumed {
            Some(after) => (VecDeque::new(), after, !view.events.has_all_after(after)),
            None => (view.events.page(&params.filter, None, params.limit).into(), view.events.last_seq(), false),
        }
    };
    let events = follow(Follower { app, filter: params.filter, after, waiting, missed, _permit: permit });
    let events = events.take_until(Box::pin(async move { leave.over().await }));
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// One client of the stream.
struct Follower {
    app: App,
    filter: EventFilter,
    /// Everything up to this number was looked at.
    after: u64,
    waiting: VecDeque<NumberedEvent>,
    missed: bool,
    _permit: OwnedSemaphorePermit,
}

/// Ends with the dashboard. The next event is taken when the client has taken the one before, so a slow client costs
/// no more than [`AT_ONCE`] events.
fn follow(follower: Follower) -> impl Stream<Item = Result<Event, Infallible>> {
    futures::stream::unfold(follower, async |mut follower| {
        if std::mem::take(&mut follower.missed) {
            let event = Event::default().event("missed").data(format!("{{\"after\":{}}}", follower.after));
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
