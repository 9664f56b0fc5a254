//! Traces of jobs for those who collect them: spans from submit to commit, sent to an OpenTelemetry collector as OTLP over HTTP, in its
//! JSON form (<https://opentelemetry.io/docs/specs/otlp/>). Off unless an endpoint is set. Spans are sent when they are over, by the process
//! that knows their times, so nothing is kept for a job that is under way and a killed process leaves no span open.

use std::sync::Arc;
use std::time::Duration;

use faultline_engine::job::{AttemptId, JobId};
use prometheus::IntCounter;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::clock::random_u128;
use crate::http;

/// Spans that wait to be sent; what does not fit is dropped and counted.
const BUFFERED_SPANS: usize = 8192;
/// Spans in one request.
const BATCH_SPANS: usize = 512;
const SEND_EVERY: Duration = Duration::from_millis(500);
const SEND_LIMIT: Duration = Duration::from_secs(5);
const TRACES_PATH: &str = "/v1/traces";
/// OTLP's numbers.
const SPAN_KIND_INTERNAL: u8 = 1;
const STATUS_OK: u8 = 1;
const STATUS_ERROR: u8 = 2;

/// A span that is over. Times are Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub trace: TraceId,
    pub id: SpanId,
    pub parent: Option<SpanId>,
    pub name: String,
    pub start_ms: u64,
    pub end_ms: u64,
    pub attributes: Vec<(&'static str, String)>,
    /// Why what it tells of did not succeed.
    pub error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(u128);

/// 2^64 divided by it: multiples of this number differ in all of their bits.
const GOLDEN_RATIO: u128 = 0x9e37_79b9_7f4a_7c15;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanId(u64);

impl SpanId {
    pub fn random() -> Self {
        Self(random_u128() as u64 | 1)
    }

    /// The same for every process that tells of this attempt.
    pub fn of_attempt(attempt: AttemptId) -> Self {
        Self(attempt.to_u128() as u64 | 1)
    }
}

/// A job's trace, whose id is the job's own 128 bits, so that either finds the other, and its root span. Every process derives both from the
/// job's id, so that no message between them carries them. In a pack of more jobs, each has the pack's bits with its index mixed into the random ones.
fn of_job(job: JobId) -> (TraceId, SpanId) {
    let slot = if job.is_alone() { 0 } else { u128::from(job.idx()) + 1 };
    let trace = job.pack().to_u128() ^ (slot * GOLDEN_RATIO);
    (TraceId(trace), SpanId((trace as u64) | 1))
}

/// The id of a job's trace as viewers of traces write it.
pub fn id_of(job: JobId) -> String {
    let (TraceId(trace), _) = of_job(job);
    format!("{trace:032x}")
}

/// The same as the header `traceparent` of <https://www.w3.org/TR/trace-context/>, for those who do not know that rule.
pub fn traceparent(job: JobId) -> String {
    let (TraceId(trace), SpanId(root)) = of_job(job);
    format!("00-{trace:032x}-{root:016x}-01")
}

/// Where spans go: nowhere, or to a task that sends them. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Option<Arc<Sender>>);

#[derive(Debug)]
struct Sender {
    spans: mpsc::Sender<ToSender>,
    dropped: IntCounter,
}

enum ToSender {
    Send(Box<Span>),
    /// Send what there is, and say when that is done.
    Flush(oneshot::Sender<()>),
}

/// Why an endpoint is refused.
#[derive(Debug, thiserror::Error)]
#[error("otlp_endpoint: invalid URL `{0}`: use http://HOST:PORT with a collector's OTLP/HTTP port, for example http://127.0.0.1:4318")]
pub struct BadEndpoint(String);

/// `host:port` and the path of an endpoint such as `http://127.0.0.1:4318`.
pub(crate) fn read_endpoint(endpoint: &str) -> Result<(String, String), BadEndpoint> {
    let refuse = || BadEndpoint(endpoint.to_owned());
    let rest = endpoint.strip_prefix("http://").ok_or_else(refuse)?;
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path.trim_end_matches('/')));
    let (host, port) = authority.rsplit_once(':').ok_or_else(refuse)?;
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if host.is_empty() || port.parse::<u16>().is_err() || !is_plain(rest) {
        return Err(refuse());
    }
    Ok((authority.to_owned(), if path.is_empty() { TRACES_PATH.to_owned() } else { format!("/{path}{TRACES_PATH}") }))
}

impl Tracer {
    /// Sends to a collector, as the service of this user and process.
    pub fn start(endpoint: Option<&str>, user: &str, process: &str) -> Result<Self, BadEndpoint> {
        let Some(endpoint) = endpoint else { return Ok(Self(None)) };
        let (authority, path) = read_endpoint(endpoint)?;
        let resource = json!({"attributes": [text("service.name", &format!("faultline-{user}")), text("service.instance.id", process)]});
        let (spans, orders) = mpsc::channel(BUFFERED_SPANS);
        let dropped = IntCounter::new("faultline_trace_spans_dropped_total", "Spans that did not reach the collector.")
            .unwrap_or_else(|error| panic!("{error}"));
        tokio::spawn(Exporter { authority, path, resource, dropped: dropped.clone(), failing: false }.run(orders));
        Ok(Self(Some(Arc::new(Sender { spans, dropped }))))
    }

    /// Counts spans that got lost, where there is a collector.
    pub(crate) fn dropped(&self) -> Option<&IntCounter> {
        self.0.as_ref().map(|sender| &sender.dropped)
    }

    /// Tells of spans of a job's trace. Costs nothing without a collector.
    pub fn tell(&self, job: JobId, spans: impl FnOnce(TraceId, SpanId) -> Vec<Span>) {
        let Some(sender) = &self.0 else { return };
        let (trace, root) = of_job(job);
        for span in spans(trace, root) {
            if sender.spans.try_send(ToSender::Send(Box::new(span))).is_err() {
                sender.dropped.inc();
            }
        }
    }

    /// Waits until all spans that were told are sent, or lost.
    pub async fn flush(&self) {
        let Some(sender) = &self.0 else { return };
        let (done, sent) = oneshot::channel();
        if sender.spans.send(ToSender::Flush(done)).await.is_ok() {
            let _ = sent.await;
        }
    }
}

struct Exporter {
    authority: String,
    path: String,
    resource: Value,
    dropped: IntCounter,
    failing: bool,
}

impl Exporter {
    async fn run(mut self, mut orders: mpsc::Receiver<ToSender>) {
        let mut ticks = tokio::time::interval(SEND_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut spans: Vec<Span> = Vec::new();
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(ToSender::Send(span)) => spans.push(*span),
                    Some(ToSender::Flush(done)) => {
                        self.send(std::mem::take(&mut spans)).await;
                        let _ = done.send(());
                    }
                    None => return self.send(spans).await,
                },
                _ = ticks.tick() => self.send(std::mem::take(&mut spans)).await,
            }
            if spans.len() >= BATCH_SPANS {
                self.send(std::mem::take(&mut spans)).await;
            }
        }
    }

    async fn send(&mut self, spans: Vec<Span>) {
        if spans.is_empty() {
            return;
        }
        let count = spans.len();
        let body = request(&self.resource, &spans).to_string();
        let answer = http::request(&self.authority, &format!("POST {}", self.path), body.as_bytes(), SEND_LIMIT).await;
        let reason = match answer {
            Ok((200..=299, _)) => None,
            Ok((status, _)) => Some(format!("status {status}")),
            Err(error) => Some(error.to_string()),
        };
        if let Some(reason) = reason {
            self.dropped.inc_by(count as u64);
            if !std::mem::replace(&mut self.failing, true) {
                tracing::warn!(collector = self.authority, reason, "spans cannot be sent: they are dropped until that works");
            }
        } else if std::mem::take(&mut self.failing) {
            tracing::info!(collector = self.authority, "spans are sent again");
        }
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

/// An `ExportTraceServiceRequest` in OTLP's JSON form: ids in hexadecimal, 64-bit numbers as text.
fn request(resource: &Value, spans: &[Span]) -> Value {
    let nanoseconds = |ms: u64| (u128::from(ms) * 1_000_000).to_string();
    let span = |span: &Span| {
        let mut written = json!({
            "traceId": format!("{:032x}", span.trace.0),
            "spanId": format!("{:016x}", span.id.0),
            "name": span.name,
            "kind": SPAN_KIND_INTERNAL,
            "startTimeUnixNano": nanoseconds(span.start_ms),
            "endTimeUnixNano": nanoseconds(span.end_ms.max(span.start_ms)),
            "attributes": span.attributes.iter().map(|(key, value)| text(key, value)).collect::<Vec<_>>(),
            "status": match &span.error {
                None => json!({"code": STATUS_OK}),
                Some(reason) => json!({"code": STATUS_ERROR, "message": reason}),
            },
        });
        if let Some(parent) = span.parent {
            written["parentSpanId"] = format!("{:016x}", parent.0).into();
        }
        written
    };
    let scope = json!({"name": "faultline", "version": env!("CARGO_PKG_VERSION")});
    let spans: Vec<Value> = spans.iter().map(span).collect();
    json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": spans}]}]})
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_job_s_header_names_its_trace() {
        let job = JobId::new(0x018b_cfe5_6800, 7);
        let (trace, root) = of_job(job);
        assert_eq!((trace, root), (TraceId(job.pack().to_u128()), SpanId(7)));
        assert_eq!(traceparent(job), "00-018bcfe5680000000000000000000007-0000000000000007-01");
        assert_eq!(id_of(job), "018bcfe5680000000000000000000007");
        assert_eq!(of_job(JobId::new(1, 8)).1, SpanId(9), "a span's id is never 0");
        let of_pack: BTreeSet<u128> = (0..256).map(|idx| of_job(JobId::of(job.pack(), idx, 256)).0.0).collect();
        assert!(of_pack.len() == 256 && !of_pack.contains(&trace.0), "each job of a pack has a trace of its own");
        assert!(of_pack.iter().all(|bits| bits >> 80 == trace.0 >> 80), "and all begin with the time of the pack");
    }

    #[test]
    fn endpoints_are_read_or_refused_with_the_remedy() {
        assert_eq!(read_endpoint("http://127.0.0.1:4318").unwrap(), ("127.0.0.1:4318".into(), "/v1/traces".into()));
        assert_eq!(read_endpoint("http://collector:4318/otlp/").unwrap(), ("collector:4318".into(), "/otlp/v1/traces".into()));
        for bad in ["", "127.0.0.1:4318", "https://x:4318", "http://:4318", "http://x", "http://x:port", "http://x:1/\r\nHost: y"] {
            let error = read_endpoint(bad).unwrap_err().to_string();
            assert!(error.starts_with("otlp_endpoint") && error.contains("4318"), "{bad}: {error}");
        }
    }

    #[test]
    fn spans_are_written_as_otlp_s_json() {
        let span = Span {
            trace: TraceId(0xab),
            id: SpanId(1),
            parent: Some(SpanId(2)),
            name: "attempt 1".into(),
            start_ms: 5,
            end_ms: 3,
            attributes: vec![("node", "gpu-node-01".into())],
            error: Some("lost".into()),
        };
        let written = request(&json!({}), &[span]);
        let span = &written["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"], format!("{:032x}", 0xab));
        assert_eq!((&span["spanId"], &span["parentSpanId"]), (&"0000000000000001".into(), &"0000000000000002".into()));
        assert_eq!((&span["startTimeUnixNano"], &span["endTimeUnixNano"]), (&"5000000".into(), &"5000000".into()), "never backwards");
        assert_eq!(span["attributes"][0], json!({"key": "node", "value": {"stringValue": "gpu-node-01"}}));
        assert_eq!(span["status"], json!({"code": 2, "message": "lost"}));
    }

    #[tokio::test]
    async fn a_collector_that_is_not_there_costs_spans_and_nothing_else() {
        let tracer = Tracer::start(Some("http://127.0.0.1:1"), "worker", "worker-01").unwrap();
        let job = JobId::new(1, 2);
        tracer.tell(job, |trace, root| {
            let (name, attributes) = ("x".to_owned(), Vec::new());
            vec![Span { trace, id: root, parent: None, name, start_ms: 1, end_ms: 2, attributes, error: None }]
        });
        tracer.flush().await;
        assert_eq!(tracer.dropped().unwrap().get(), 1);
        Tracer::default().tell(job, |_, _| unreachable!("no subscriber"));
    }
}
