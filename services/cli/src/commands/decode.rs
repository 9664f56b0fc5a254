//! `decode`: MessagePack on standard input to JSON on standard output, for `nats sub --translate`. Knows no message
//! type: whatever is well-formed is shown. What is not shown one to one: bytes become hexadecimal text, numbers that
//! JSON lacks become text, and the keys of a map become text.

use std::io::Read;

use rmpv::Value;
use serde_json::{Map, Number, json};

use crate::exit::Failure;
use crate::output::Output;

/// Four times the largest message; a value in memory takes up to 40 times its bytes.
const MAX_INPUT_BYTES: u64 = 4 << 20;
/// Our own messages are at most eight deep; deeper input could exhaust the stack of a JSON reader.
const MAX_DEPTH: usize = 100;

/// Reads standard input to its end and writes each value as one line.
pub(crate) fn run(output: &Output) -> Result<(), Failure> {
    let mut input = Vec::new();
    let read = std::io::stdin().lock().take(MAX_INPUT_BYTES + 1).read_to_end(&mut input);
    read.map_err(|error| Failure::Failed(anyhow::anyhow!("standard input cannot be read: {error}")))?;
    if input.len() as u64 > MAX_INPUT_BYTES {
        return Err(Failure::Failed(anyhow::anyhow!("more than {} MiB on standard input", MAX_INPUT_BYTES >> 20)));
    }
    let (text, problem) = to_lines(&input);
    // What could be decoded is shown even when its neighbour is broken.
    output.text(&text)?;
    match problem {
        None => Ok(()),
        Some(problem) => Err(Failure::Failed(anyhow::anyhow!(problem))),
    }
}

/// One line of JSON for each value, and what stopped the reading, if anything did.
fn to_lines(input: &[u8]) -> (String, Option<String>) {
    let mut text = String::new();
    let mut rest = input;
    while !rest.is_empty() {
        let at = input.len() - rest.len();
        match rmpv::decode::read_value_with_max_depth(&mut rest, MAX_DEPTH) {
            Ok(value) => {
                text.push_str(&to_json(value).to_string());
                text.push('\n');
            }
            Err(error) => return (text, Some(explain(&error, at, input.len()))),
        }
    }
    (text, None)
}

fn explain(error: &rmpv::decode::Error, at: usize, size: usize) -> String {
    use rmpv::decode::Error;
    match error {
        Error::DepthLimitExceeded => format!("the value at byte {at} is nested deeper than {MAX_DEPTH}: not a message of Faultline"),
        Error::InvalidMarkerRead(_) | Error::InvalidDataRead(_) => {
            format!("invalid MessagePack: the value that starts at byte {at} of {size} is truncated or malformed")
        }
    }
}

fn to_json(value: Value) -> serde_json::Value {
    match value {
        Value::Nil => serde_json::Value::Null,
        Value::Boolean(flag) => json!(flag),
        Value::Integer(number) => match (number.as_u64(), number.as_i64()) {
            (Some(positive), _) => json!(positive),
            (None, Some(negative)) => json!(negative),
            (None, None) => json!(number.to_string()),
        },
        Value::F32(number) => real(f64::from(number)),
        Value::F64(number) => real(number),
        Value::String(text) => match text.as_str() {
            Some(text) => json!(text),
            None => json!(hex(text.as_bytes())),
        },
        Value::Binary(bytes) => json!(hex(&bytes)),
        Value::Array(items) => serde_json::Value::Array(items.into_iter().map(to_json).collect()),
        Value::Map(entries) => {
            let mut object = Map::new();
            for (key, value) in entries {
                let key = match to_json(key) {
                    serde_json::Value::String(text) => text,
                    other => other.to_string(),
                };
                object.insert(key, to_json(value));
            }
            serde_json::Value::Object(object)
        }
        Value::Ext(kind, bytes) => json!({ "ext_type": kind, "hex": hex(&bytes) }),
    }
}

fn real(number: f64) -> serde_json::Value {
    Number::from_f64(number).map_or_else(|| json!(number.to_string()), serde_json::Value::Number)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(values: &[Value]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for value in values {
            rmpv::encode::write_value(&mut bytes, value).unwrap();
        }
        bytes
    }

    #[test]
    fn a_message_becomes_an_object() {
        let marker = faultline_protocol::messages::RateSetting {
            asked: faultline_protocol::messages::Asked::Rate(2.5),
            set_by: "cli".into(),
            at_ms: 7,
        };
        let (text, problem) = to_lines(&faultline_protocol::codec::encode(&marker));
        assert_eq!(text, "{\"at_ms\":7,\"jobs_per_minute\":2.5,\"set_by\":\"cli\"}\n");
        assert_eq!(problem, None);
    }

    #[test]
    fn what_json_lacks_becomes_text() {
        let odd = Value::Map(vec![
            (Value::from(1), Value::Binary(vec![0, 255])),
            (Value::Nil, Value::Ext(5, vec![1])),
            (Value::from("nan"), Value::F64(f64::NAN)),
            (Value::from("big"), Value::from(u64::MAX)),
        ]);
        let (text, _) = to_lines(&encode(&[odd]));
        assert_eq!(text, "{\"1\":\"00ff\",\"big\":18446744073709551615,\"nan\":\"NaN\",\"null\":{\"ext_type\":5,\"hex\":\"01\"}}\n");
    }

    #[test]
    fn several_values_are_a_line_each() {
        assert_eq!(to_lines(&encode(&[Value::from(1), Value::from("two")])).0, "1\n\"two\"\n");
        assert_eq!(to_lines(&[]), (String::new(), None));
    }

    #[test]
    fn broken_input_is_explained_after_what_was_whole() {
        let (text, problem) = to_lines(&[0x01, 0xdb, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(text, "1\n");
        assert!(problem.unwrap().contains("byte 1 of 6"));
        assert!(to_lines(&[0x91; 5000]).1.unwrap().contains("deeper than 100"));
    }

    proptest::proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let (text, _) = to_lines(&bytes);
            for line in text.lines() {
                proptest::prop_assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{}", line);
            }
        }
    }
}
