//! A tiny OpenTelemetry collector: takes OTLP over HTTP in its JSON form, and keeps the spans.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// It ends with the test's runtime.
pub struct Collector {
    pub address: SocketAddr,
    spans: Spans,
}

type Spans = Arc<Mutex<Vec<Value>>>;

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("it is bound");
        let spans = Spans::default();
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&spans));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, spans }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` would be.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The spans of one trace, in the order of their start; each with the service that told it as `service`.
    pub fn trace(&self, trace_id: &str) -> Vec<Value> {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        let mut of_it: Vec<Value> = spans.iter().filter(|span| span["traceId"] == trace_id).cloned().collect();
        of_it.sort_by_key(|span| span["startTimeUnixNano"].as_str().and_then(|text| text.parse::<u128>().ok()));
        of_it
    }
}

async fn take(State(spans): State<Spans>, Json(request): Json<Value>) -> Json<Value> {
    let mut kept = spans.lock().unwrap_or_else(PoisonError::into_inner);
    for resource in request["resourceSpans"].as_array().into_iter().flatten() {
        let service = &resource["resource"]["attributes"][0]["value"]["stringValue"];
        for scope in resource["scopeSpans"].as_array().into_iter().flatten() {
            for span in scope["spans"].as_array().into_iter().flatten() {
                let mut span = span.clone();
                span["service"] = service.clone();
                kept.push(span);
            }
        }
    }
    Json(json!({}))
}
