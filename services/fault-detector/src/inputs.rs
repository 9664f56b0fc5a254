//! Reads what arrives, and refuses what cannot be meant. Nothing is decided here.

use async_nats::Message;
use faultline_engine::job::is_token;
use faultline_engine::node::NodeSpec;
use faultline_protocol::codec;
use faultline_protocol::messages::{Goodbye, Heartbeat, NodeRegistration};
use faultline_protocol::subjects;
use serde::Deserialize;

pub(crate) fn heartbeat(message: &Message) -> Result<Heartbeat, String> {
    let beat: Heartbeat = codec::decode_plain(subjects::HEARTBEAT_ALL, message).map_err(|error| error.to_string())?;
    check_names(&message.subject, &subjects::heartbeat(&beat.node), &beat.node, &beat.worker)?;
    Ok(beat)
}

pub(crate) fn goodbye(message: &Message) -> Result<Goodbye, String> {
    let bye: Goodbye = codec::decode_plain(subjects::GOODBYE_ALL, message).map_err(|error| error.to_string())?;
    check_names(&message.subject, &subjects::goodbye(&bye.node), &bye.node, &bye.worker)?;
    Ok(bye)
}

pub(crate) fn registration(key: &str, body: &[u8]) -> Result<NodeSpec, String> {
    let spec = codec::decode_body::<NodeRegistration>(body).map_err(|error| error.to_string())?.spec;
    check_names(key, &spec.node, &spec.node, &spec.worker)?;
    Ok(spec)
}

/// A node speaks for itself alone.
fn check_names(from: &str, expected: &str, node: &str, worker: &str) -> Result<(), String> {
    let clip = |text: &str| text.chars().take(64).collect::<String>();
    if !is_token(node) || !is_token(worker) {
        return Err(format!("invalid name `{}` or `{}`: use 1 to 64 letters, digits, `-`, or `_`", clip(node), clip(worker)));
    }
    if from != expected {
        return Err(format!("it is about `{node}`, which belongs to {expected}"));
    }
    Ok(())
}

/// The server's news that a client came or went (`$SYS.ACCOUNT.<account>.CONNECT` and `.DISCONNECT`), as far as it matters here.
#[derive(Debug, Deserialize)]
pub(crate) struct SystemEvent {
    pub(crate) client: ClientInfo,
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ClientInfo {
    /// The connection's name; a worker's is its own. Empty for those who have none.
    #[serde(default)]
    pub(crate) name: String,
}

impl SystemEvent {
    pub(crate) fn decode(body: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(body).map_err(|error| error.to_string())
    }

    /// Why the client went, in the server's words.
    pub(crate) fn reason(&self) -> &str {
        if self.reason.is_empty() { "no reason given" } else { &self.reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message<M: codec::Message>(subject: &str, body: &M) -> Message {
        let payload = codec::encode(body);
        Message {
            subject: subject.into(),
            reply: None,
            length: payload.len(),
            payload,
            headers: Some(codec::headers_for::<M>()),
            status: None,
            description: None,
        }
    }

    fn bye(node: &str) -> Goodbye {
        Goodbye { node: node.into(), worker: "worker-01".into(), incarnation: 3, reason: "scaled down".into() }
    }

    #[test]
    fn a_node_speaks_for_itself_alone() {
        assert_eq!(goodbye(&message("node.bye.gpu-node-01", &bye("gpu-node-01"))).unwrap().incarnation, 3);
        assert!(goodbye(&message("node.bye.gpu-node-02", &bye("gpu-node-01"))).unwrap_err().contains("node.bye.gpu-node-01"));
        assert!(goodbye(&message("node.bye.a_b", &bye("a.b"))).unwrap_err().contains("invalid name"));
    }

    #[test]
    fn garbage_is_refused_with_a_reason() {
        let mut garbled = message("node.hb.gpu-node-01", &bye("gpu-node-01"));
        assert!(heartbeat(&garbled).unwrap_err().contains("goodbye"));
        garbled.headers = None;
        assert!(heartbeat(&garbled).unwrap_err().contains("missing"));
        assert!(registration("gpu-node-01", b"\xc1").is_err());
        assert!(SystemEvent::decode(b"{").is_err());
    }

    #[test]
    fn the_servers_news_are_read() {
        let news = br#"{"type":"io.nats.server.advisory.v1.client_disconnect","id":"x","timestamp":"2026-01-01T00:00:00Z","server":{"name":"faultline"},
            "client":{"start":"2026-01-01T00:00:00Z","host":"127.0.0.1","id":7,"acc":"APP","user":"UABC","name":"worker-01","lang":"rust"},
            "sent":{"msgs":1,"bytes":2},"received":{"msgs":3,"bytes":4},"reason":"Client Closed"}"#;
        let event = SystemEvent::decode(news).unwrap();
        assert_eq!((event.client.name.as_str(), event.reason()), ("worker-01", "Client Closed"));
        let nameless = SystemEvent::decode(br#"{"client":{"id":1}}"#).unwrap();
        assert_eq!((nameless.client.name.as_str(), nameless.reason()), ("", "no reason given"));
    }

    // `Message` holds what the server sent, so any bytes may be in it.
    #[test]
    fn no_input_panics() {
        for body in [&b""[..], b"\xff\xff\xff\xff", b"\x81\xa4node", &[0x91; 64]] {
            assert!(registration("x", body).is_err() && SystemEvent::decode(body).is_err());
        }
    }
}
