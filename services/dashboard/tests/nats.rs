//! The whole dashboard on a real nats-server, with messages that the test sends itself.

mod support;

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use faultline_dashboard::{Settings, StartError, open, serve};
use faultline_engine::job::AttemptId;
use faultline_protocol::messages::{Asked, ClusterEvent, EventKind, Level, RateSetting, RunningBrief};
use faultline_protocol::{streams, subjects};
use faultline_runtime::connect::{Nats, kv_get};
use faultline_runtime::events::EventSink;
use faultline_runtime::metrics::Metrics;
use faultline_runtime::shutdown::Shutdown;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

struct Dashboard {
    address: SocketAddr,
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<Result<(), StartError>>,
}

impl Dashboard {
    async fn start(nats: Nats) -> Self {
        Self::start_with(nats, Settings::default()).await
    }

    async fn start_with(nats: Nats, settings: Settings) -> Self {
        let door = open(&Settings { port: 0, ..settings }).await.unwrap();
        let (address, shutdown) = (door.address(), Shutdown::manual());
        let task = tokio::spawn(serve(door, nats, shutdown.clone(), Metrics::new("dashboard", "dashboard")));
        Self { address, shutdown, task }
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let answer = exchange(self.address, &request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> Value {
        self.send("GET", path, "").await.1
    }

    /// Asks again until the answer is as wanted; a dashboard is a little behind.
    async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut answer = Value::Null;
        for _ in 0..400 {
            answer = self.get(path).await;
            if wanted(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{path} did not come to what was wanted: {answer:#}");
    }

    async fn stop(self) {
        self.shutdown.stop();
        self.task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn the_view_is_rebuilt_and_follows() {
    let Some((server, nats)) = support::start().await else { return };
    let (early, late) = (support::new_job(), support::new_job());
    let early_seq = support::open_job(&nats, early, "early").await;
    support::commit_job(&nats, early, "early", early_seq).await;
    let sink = EventSink::new(&nats, "detector");
    sink.send(ClusterEvent { node: Some("gpu-node-01".into()), ..sink.event(Level::Warn, EventKind::NodeDead, "silent") }).await;

    let dashboard = Dashboard::start(support::connect(&server.url, "dashboard").await).await;
    let job = dashboard.until(&format!("/api/v1/jobs/{early}"), |job| job["state"] == "committed").await;
    assert_eq!((&job["source"], &job["attempts"][1]["node"]), (&json!("record"), &json!("gpu-node-02")));
    let page =
        dashboard.until("/api/v1/events?kind=node_dead", |page| page["items"].as_array().is_some_and(|items| !items.is_empty())).await;
    let seq = page["items"][0]["seq"].as_u64().unwrap();

    let late_seq = support::open_job(&nats, late, "late").await;
    dashboard.until("/api/v1/jobs?state=queued", |page| page["items"][0]["name"] == "late").await;
    let brief = RunningBrief { attempt: AttemptId::new(1, 1), job: late, progress_permille: 300, epoch: 7 };
    support::beat(&nats, "gpu-node-01", 1, vec![brief]).await;
    dashboard.until("/api/v1/jobs?node=gpu-node-01&state=running", |page| page["items"][0]["progress_permille"] == 300).await;
    support::commit_job(&nats, late, "late", late_seq).await;
    dashboard
        .until("/api/v1/jobs?state=committed&attempts_min=2", |page| page["items"].as_array().is_some_and(|items| items.len() == 2))
        .await;
    sink.send(ClusterEvent { node: Some("gpu-node-01".into()), ..sink.event(Level::Info, EventKind::NodeRecovered, "back") }).await;
    dashboard.until(&format!("/api/v1/events?after={seq}"), |page| page["items"][0]["kind"] == "node_recovered").await;
    dashboard.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_counted_and_stops_nothing() {
    let Some((server, nats)) = support::start().await else { return };
    let dashboard = Dashboard::start(support::connect(&server.url, "dashboard").await).await;
    support::keep_beating(&nats, "gpu-node-01");
    dashboard.until("/api/v1/nodes", |page| page["total"] == 1).await;
    for subject in ["node.hb.x", "node.bye.x", "node.verdict.x", "job.res.x", "job.ev.x"] {
        nats.client.publish(subject, "\u{1}\u{2}not a message".into()).await.unwrap();
    }
    nats.bucket(streams::KV_CONTROL).await.unwrap().put(streams::KEY_RATE, "rubbish".into()).await.unwrap();
    dashboard.until("/api/v1/stats", |stats| stats["undecodable_messages"].as_u64() >= Some(6)).await;
    support::keep_beating(&nats, "gpu-node-02");
    dashboard.until("/api/v1/nodes", |page| page["total"] == 2).await;
    dashboard.stop().await;
}

#[tokio::test]
async fn orders_reach_the_cluster() {
    let Some((server, nats)) = support::start().await else { return };
    let dashboard = Dashboard::start(support::connect(&server.url, "dashboard").await).await;
    support::keep_beating(&nats, "gpu-node-01");
    dashboard.until("/api/v1/nodes/gpu-node-01", |node| node["health"] == "alive").await;

    assert_eq!(dashboard.send("PUT", "/api/v1/rate", r#"{"preset":"MAXIMUM"}"#).await.0, 202, "no generator runs");
    let control = nats.bucket(streams::KV_CONTROL).await.unwrap();
    assert_eq!(kv_get::<RateSetting>(&control, streams::KEY_RATE).await.unwrap().unwrap().asked, Asked::Rate(50.0));
    assert_eq!(dashboard.send("POST", "/api/v1/nodes/gpu-node-01/drain", "").await.0, 200);
    assert!(control.get(subjects::drain_key("gpu-node-01")).await.unwrap().is_some());
    assert_eq!(dashboard.send("POST", "/api/v1/nodes/gpu-node-01/undrain", "").await.0, 200);
    assert!(control.get(subjects::drain_key("gpu-node-01")).await.unwrap().is_none());

    let (status, answer) = dashboard.send("POST", "/api/v1/jobs", r#"{"kind":"matrix","size":64,"count":300}"#).await;
    assert_eq!((status, &answer["submitted"]), (201, &json!(300)));
    let mut jobs = nats.jetstream.get_stream(streams::JOBS).await.unwrap();
    assert_eq!(jobs.info().await.unwrap().state.messages, 300);
    dashboard.until("/api/v1/stats", |stats| stats["jobs_in_memory"] == 300).await;
    let (status, answer) = dashboard.send("POST", &format!("/api/v1/jobs/{}/cancel", answer["ids"][0].as_str().unwrap()), "").await;
    assert_eq!((status, &answer["error"]["code"]), (503, &json!("no_scheduler")));
    dashboard.stop().await;
}

#[tokio::test]
async fn a_silent_scheduler_is_said_and_so_is_its_return() {
    let Some((server, nats)) = support::start().await else { return };
    let leader = support::fake_leader(nats.clone()).await;
    let dashboard = Dashboard::start(support::connect(&server.url, "dashboard").await).await;
    dashboard.until("/api/v1/stats", |stats| stats["running"] == 41 && stats.get("stale_since_ms").is_none()).await;
    leader.abort();
    let stats = dashboard.until("/api/v1/stats", |stats| stats["stale_since_ms"].is_u64()).await;
    assert_eq!((&stats["running"], &stats["leader"]), (&json!(0), &json!("scheduler-1")));
    let _second = support::fake_leader(nats).await;
    dashboard.until("/healthz", |health| health["status"] == "ok").await;
    dashboard.stop().await;
}

#[tokio::test]
async fn a_websocket_gets_the_state_and_foreign_pages_do_not() {
    let Some((server, nats)) = support::start().await else { return };
    let dashboard = Dashboard::start(support::connect(&server.url, "dashboard").await).await;
    let url = format!("ws://{}/api/v1/ws", dashboard.address);
    let (mut socket, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
    support::keep_beating(&nats, "gpu-node-01");
    let (mut last, mut seen, mut index) = (0, false, 0);
    while !seen {
        let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("the WebSocket ended") };
        let told: Value = serde_json::from_str(&text).unwrap();
        let seq = told["seq"].as_u64().unwrap();
        if last == 0 {
            assert_eq!((&told["type"], &told["state"]["nodes"]), (&json!("hello"), &json!([])));
            index = told["state"]["node_index"].as_u64().unwrap();
        } else {
            assert_eq!((&told["type"], seq), (&json!("delta"), last + 1));
            index = told["node_index"].as_u64().unwrap_or(index);
        }
        last = seq;
        seen = told["nodes"]["changed"][0]["node"] == "gpu-node-01";
        let Some(Ok(Message::Binary(frame))) = socket.next().await else { panic!("telemetry follows each text message") };
        let number = |at: usize| u64::from(u32::from_le_bytes(frame[at..at + 4].try_into().unwrap()));
        assert_eq!((frame[0], number(4), number(8)), (1, seq, index));
        if seen {
            // 62 % busy, 9,000 of 24,576 MiB, 61 degrees, alive, nothing runs.
            assert_eq!((number(12), &frame[16..]), (1, &[124, 73, 61, 0, 0][..]));
        }
    }
    let mut foreign = url.as_str().into_client_request().unwrap();
    foreign.headers_mut().insert("Origin", "http://evil.example".parse().unwrap());
    match tokio_tungstenite::connect_async(foreign).await {
        Err(SocketError::Http(answer)) => assert_eq!(answer.status(), 403),
        other => panic!("a foreign page was let in: {other:?}"),
    }
    let mut others = Vec::new();
    for _ in 1..64 {
        others.push(tokio_tungstenite::connect_async(&url).await.unwrap().0);
    }
    match tokio_tungstenite::connect_async(&url).await {
        Err(SocketError::Http(answer)) => assert_eq!(answer.status(), 503),
        other => panic!("a 65th WebSocket was let in: {other:?}"),
    }
    others[0].send(Message::Close(None)).await.unwrap();
    dashboard.until("/api/v1/stats", |stats| stats["streams_open"] == 63).await;
    // Stopping says goodbye to those that are open.
    let waiting = tokio::spawn(async move {
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() {
                return true;
            }
        }
        false
    });
    dashboard.stop().await;
    assert!(waiting.await.unwrap());
}

#[tokio::test]
async fn a_session_opens_a_websocket_for_its_own_page_and_closes_it_when_it_ends() {
    let Some((server, _nats)) = support::start().await else { return };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"a-token-of-some-length\n").unwrap();
    let settings = Settings { token_file: Some(file.path().to_owned()), ..Settings::default() };
    let dashboard = Dashboard::start_with(support::connect(&server.url, "dashboard").await, settings).await;
    let address = dashboard.address;

    let sign_in = r#"{"token":"a-token-of-some-length"}"#;
    let head = format!("Host: {address}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}", sign_in.len());
    let answer = exchange(address, &format!("POST /api/v1/session HTTP/1.1\r\n{head}\r\n\r\n{sign_in}")).await;
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap().split(';').next().unwrap().to_owned();

    let request = |pairs: &[(&'static str, &str)]| {
        let mut request = format!("ws://{address}/api/v1/ws").as_str().into_client_request().unwrap();
        pairs.iter().for_each(|(name, value)| drop(request.headers_mut().insert(*name, value.parse().unwrap())));
        tokio_tungstenite::connect_async(request)
    };
    let origin = format!("http://{address}");
    let refused = [
        (request(&[]).await, 401),
        (request(&[("Cookie", &cookie)]).await, 403),
        (request(&[("Cookie", &cookie), ("Origin", "http://evil.example")]).await, 403),
        (request(&[("Cookie", "faultline_session=1"), ("Origin", &origin)]).await, 401),
    ];
    for (answer, status) in refused {
        match answer {
            Err(SocketError::Http(answer)) => assert_eq!(answer.status(), status),
            other => panic!("it was let in: {other:?}"),
        }
    }
    let (mut socket, _) = request(&[("Cookie", &cookie), ("Origin", &origin)]).await.unwrap();
    assert!(matches!(socket.next().await, Some(Ok(Message::Text(_)))));
    let (_by_token, _) = request(&[("Authorization", "Bearer a-token-of-some-length")]).await.unwrap();

    exchange(address, &format!("DELETE /api/v1/session HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nCookie: {cookie}\r\n\r\n"))
        .await;
    let last = loop {
        match socket.next().await {
            Some(Ok(Message::Close(frame))) => break frame.unwrap(),
            Some(Ok(_)) => {}
            other => panic!("no goodbye: {other:?}"),
        }
    };
    assert_eq!(last.reason.as_str(), "signed out");
    dashboard.stop().await;
}

/// Another user of this machine, with what it sends on its way: needs root, `setpriv` and `curl`.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn another_user_of_this_machine_gets_nothing_without_the_token() {
    use std::process::Command;

    const USER: &str = "54321";
    let curl = |user: &[&str], args: &[String]| {
        let words = [user, &["curl", "--silent", "--max-time", "10", "--output", "/dev/null", "--write-out", "%{http_code}"]].concat();
        let output = Command::new(words[0]).args(&words[1..]).args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let other = ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", "--"];
    if !Command::new(other[0]).args(&other[1..]).arg("true").status().is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: this user may not become another one");
        return;
    }
    let Some((server, _nats)) = support::start().await else { return };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"a-token-of-some-length\n").unwrap();
    let settings = Settings { local_token_file: Some(file.path().to_owned()), ..Settings::default() };
    let dashboard = Dashboard::start_with(support::connect(&server.url, "dashboard").await, settings).await;
    let url = |path: &str| format!("http://{}{path}", dashboard.address);
    let with = |path: &str, more: &[&str]| [&[url(path)][..], &more.iter().map(|&word| word.to_owned()).collect::<Vec<_>>()].concat();
    let Some(own) = tokio::task::block_in_place(|| curl(&[], &with("/api/v1/rate", &[]))) else {
        eprintln!("SKIPPED: there is no curl");
        return;
    };
    assert_eq!(own, "200", "the user who runs it needs no token");
    let rate = ["-X", "PUT", "-H", "Content-Type: application/json", "-d", r#"{"jobs_per_minute":3}"#];
    let token = ["-H", "Authorization: Bearer a-token-of-some-length"];
    for (user, path, more, status) in [
        (&other[..], "/api/v1/rate", &[][..], "401"),
        (&other, "/api/v1/rate", &rate, "401"),
        (&other, "/api/v1/nodes/gpu-node-01/kill", &["-X", "POST"], "401"),
        (&other, "/api/v1/rate", &token, "200"),
        (&other, "/api/v1/rate", &["-H", "X-Forwarded-For: 127.0.0.1"], "401"),
        (&other, "/healthz", &[], "200"),
        (&[], "/api/v1/rate", &["-H", "X-Forwarded-For: 10.0.0.1"], "401"),
        (&[], "/api/v1/rate", &["-H", "Sec-Fetch-Site: cross-site", "-X", "PUT"], "403"),
    ] {
        let answered = tokio::task::block_in_place(|| curl(user, &with(path, more)));
        assert_eq!(answered.as_deref(), Some(status), "{user:?} {path} {more:?}");
    }
    dashboard.stop().await;
}

#[tokio::test]
async fn one_address_cannot_take_all_connections() {
    let Some((server, _nats)) = support::start().await else { return };
    let dashboard = Dashboard::start(support::connect(&server.url, "dashboard").await).await;
    let mut held = Vec::new();
    for _ in 0..128 {
        held.push(TcpStream::connect(dashboard.address).await.unwrap());
    }
    let mut late = TcpStream::connect(dashboard.address).await.unwrap();
    // It is accepted by the system, and closed without an answer.
    assert!(matches!(late.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    drop(held);
    let mut answer = String::new();
    while answer.is_empty() {
        let mut stream = TcpStream::connect(dashboard.address).await.unwrap();
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", dashboard.address);
        // While the places are being given back this one too is closed.
        if stream.write_all(request.as_bytes()).await.is_err() || stream.read_to_string(&mut answer).await.is_err() {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    dashboard.stop().await;
}

/// Sends a request and gives the whole answer.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Reads on until the text holds `wanted`.
async fn read_until(stream: &mut TcpStream, text: &mut String, wanted: &str) {
    let mut buffer = [0; 4096];
    while !text.contains(wanted) {
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut buffer))
            .await
            .unwrap_or_else(|_| panic!("no {wanted} in {text}"));
        let read = read.unwrap();
        assert!(read > 0, "the stream ended: {text}");
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
}

#[tokio::test]
async fn what_happened_is_streamed_drawn_and_read_back() {
    let Some((server, nats)) = support::start().await else { return };
    let sink = EventSink::new(&nats, "scheduler-1");
    let job = support::new_job();
    let about =
        |kind, node: &str| ClusterEvent { node: Some(node.into()), job: Some(job), ..sink.event(Level::Warn, kind, "told by a test") };
    let (first, second) = (AttemptId::new(1, 1), AttemptId::new(2, 1));
    sink.send(ClusterEvent { attempt: Some(first), ..about(EventKind::JobPlaced, "gpu-node-01") }).await;
    sink.send(ClusterEvent { job: None, ..about(EventKind::NodeGone, "gpu-node-01") }).await;
    sink.send(ClusterEvent { attempt: Some(first), ..about(EventKind::AttemptLost, "gpu-node-01") }).await;

    let dashboard = Dashboard::start(support::connect(&server.url, "dashboard").await).await;
    let page = dashboard.until("/api/v1/events?kind=attempt_lost", |page| page["items"][0]["seq"].is_u64()).await;
    let mut stream = TcpStream::connect(dashboard.address).await.unwrap();
    let request = format!(
        "GET /api/v1/events?kind=job_placed HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\nLast-Event-ID: {}\r\n\r\n",
        dashboard.address, page["items"][0]["seq"]
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    read_until(&mut stream, &mut text, "content-type: text/event-stream").await;
    sink.send(ClusterEvent { attempt: Some(second), ..about(EventKind::JobPlaced, "gpu-node-02") }).await;
    read_until(&mut stream, &mut text, "event: job_placed").await;
    read_until(&mut stream, &mut text, "gpu-node-02").await;
    assert!(!text.contains("attempt_lost") && !text.contains("gpu-node-01"), "it goes on where the client was: {text}");

    let timeline = dashboard.until("/api/v1/timeline?affected=true", |timeline| timeline["bars"][0]["next_attempt"].is_string()).await;
    assert_eq!((&timeline["bars"][0]["outcome"], &timeline["bars"][0]["next_attempt"]), (&json!("lost"), &json!(second.to_string())));
    assert_eq!((&timeline["verdicts"][0]["health"], &timeline["nodes"]), (&json!("gone"), &json!(["gpu-node-01"])));
    let trace = dashboard.get("/api/v1/timeline/trace.json").await;
    let phases: Vec<&str> = trace["traceEvents"].as_array().unwrap().iter().map(|event| event["ph"].as_str().unwrap()).collect();
    assert!(["M", "X", "s", "f"].iter().all(|phase| phases.contains(phase)), "{phases:?}");

    let open_seq = support::open_job(&nats, job, "told").await;
    support::commit_job(&nats, job, "told", open_seq).await;
    let detail = dashboard.until(&format!("/api/v1/jobs/{job}"), |job| job["state"] == "committed").await;
    let told: Vec<(&str, &Value)> =
        detail["messages"].as_array().unwrap().iter().map(|message| (message["stream"].as_str().unwrap(), &message["body"])).collect();
    assert_eq!(told.iter().map(|(stream, _)| *stream).collect::<Vec<_>>(), ["EVENTS", "EVENTS", "EVENTS", "RESULTS"], "{detail:#}");
    assert_eq!((&told[1].1["events"][0]["kind"], &told[3].1["result"]), (&json!("attempt_lost"), &json!("checked")));
    let messaging = dashboard.get("/api/v1/messaging").await;
    let events = messaging["streams"].as_array().unwrap().iter().find(|stream| stream["name"] == "EVENTS").unwrap();
    assert_eq!((&events["messages"], &events["command"]), (&json!(4), &json!("nats stream info EVENTS")));
    assert_eq!(events["consumers"][0]["is_durable"], false, "the dashboard reads it");
    assert_eq!(dashboard.get("/api/v1/chaos").await["available"], false);
    drop(stream);
    dashboard.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = open(&Settings { port, ..Settings::default() }).await.unwrap_err().to_string();
    assert!(error.contains(&port.to_string()) && error.contains("--port"), "{error}");
}
