//! The short form of `just attack`: see `faultline_tests::attack`.

use std::time::Duration;

use faultline_tests::attack::{self, Settings};
use faultline_tests::cluster::{Cluster, sleep_job};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test]
async fn fifty_thousand_malformed_messages_stop_nobody() {
    let settings = Settings { messages: 50_000, seed: 7, rate: 10_000, jobs: 300, max_growth_mib: 256 };
    let report = attack::run(&settings).await.expect("the attack can be carried out");
    println!("{}", report.table());
    assert!(report.wrong.is_empty(), "{}\n{}", report.table(), report.log_tail);
}

/// Publishes with headers that no client library would write.
async fn publish_raw_headers(cluster: &Cluster, subject: &str, headers: &[u8]) {
    let stream = TcpStream::connect(("127.0.0.1", cluster.server.port())).await.unwrap();
    let mut stream = BufReader::new(stream);
    let head = format!("CONNECT {{\"verbose\":false,\"headers\":true}}\r\nHPUB {subject} {0} {0}\r\n", headers.len());
    stream.write_all(&[head.as_bytes(), headers, b"\r\nPING\r\n"].concat()).await.unwrap();
    let answered = async {
        let mut line = String::new();
        while !line.starts_with("PONG") {
            line.clear();
            assert!(stream.read_line(&mut line).await.unwrap() > 0 && !line.starts_with("-ERR"), "{line}");
        }
    };
    timeout(Duration::from_secs(10), answered).await.expect("the server takes it");
}

/// The client library closes a connection on which it reads such headers, and opens it again.
#[tokio::test]
async fn headers_that_are_no_text_cost_a_reconnect() {
    let mut cluster = Cluster::start(1).await;
    for headers in
        [&b"NATS/1.0\r\nFaultline-Kind: \xff\xfe\r\n\r\n"[..], b"NATS/1.0 abc\r\n\r\n", b"NATS/1.0\r\nno colon\r\n\r\n", b"x\r\n\r\n"]
    {
        for subject in ["node.hb.gpu-node-01", "sched.query", "assign.worker-01", "ctl.worker-01.kill"] {
            publish_raw_headers(&cluster, subject, headers).await;
        }
    }
    let jobs = cluster.submit(&[sleep_job(20), sleep_job(20)]).await;
    cluster.wait_ended(&jobs).await;
    assert!(["scheduler-1", "fault-detector", "worker-01"].into_iter().all(|name| cluster.is_running(name)), "{}", cluster.log_tails());
    cluster.assert_audit_clean();
}

/// It panics on these. A process that is deaf and does not know it would be worse than one that ends and is started again.
#[tokio::test]
async fn headers_that_break_the_client_library_end_the_process() {
    let mut cluster = Cluster::start(1).await;
    publish_raw_headers(&cluster, "assign.worker-01", b"NATS/1.0\r\nFaultline-Kind: a\rb\r\n\r\n").await;
    let ends = async {
        while cluster.is_running("worker-01") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(Duration::from_secs(10), ends).await.is_ok(), "the worker goes on\n{}", cluster.log_tails());
    assert!(!cluster.lines_with("the NATS client broke down").is_empty(), "{}", cluster.log_tails());
}
