//! The wire, pinned: a file with the bytes of every message as version 1 wrote it. A changed message for which these
//! files no longer say the same breaks every running cluster's upgrade: raise the version and keep reading the old one instead.
//! A field that all builds can do without may go: the file of the builds that wrote it is kept under another name, as `former`.
//!
//! A new message gets its file with `FAULTLINE_WRITE_GOLDEN=1`, which writes missing files and never touches one that is there.

mod malformed;
mod samples;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use samples::Sample;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn golden(sample: &Sample) -> Vec<u8> {
    let path = folder().join(format!("{}.v1.msgpack", sample.name));
    if !path.exists() && std::env::var_os("FAULTLINE_WRITE_GOLDEN").is_some_and(|wish| wish == "1") {
        std::fs::write(&path, &sample.encoded).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; a new message's file is written with FAULTLINE_WRITE_GOLDEN=1", path.display()))
}

#[test]
fn every_file_decodes_to_what_it_was_written_from() {
    for sample in samples::all() {
        match sample.is_read_from(&golden(&sample)) {
            Ok(same) => assert!(same, "{} decodes to another value", sample.name),
            Err(error) => panic!("{} cannot be read any more: {error}", sample.name),
        }
    }
}

#[test]
fn every_message_is_encoded_to_the_same_bytes_as_ever() {
    for sample in samples::all().into_iter().filter(|sample| sample.version == 1 && !sample.is_former) {
        let (written, golden) = (&sample.encoded, golden(&sample));
        let differs_at = written.iter().zip(&golden).take_while(|(new, old)| new == old).count();
        assert!(
            *written == golden,
            "{} is encoded differently from byte {differs_at} on ({} bytes, {} before)",
            sample.name,
            written.len(),
            golden.len()
        );
    }
}

#[test]
fn a_message_from_a_newer_build_with_a_field_that_is_not_known_decodes() {
    for sample in samples::all() {
        let golden = golden(&sample);
        let Some(newer) = with_unknown_field(&sample, &golden) else {
            assert!(sample.kind.starts_with("query"), "{} is not a map", sample.name);
            continue;
        };
        match sample.is_read_from(&newer) {
            Ok(same) => assert!(same, "{} with another field decodes to another value", sample.name),
            Err(error) => panic!("{} with another field cannot be read: {error}", sample.name),
        }
    }
}

/// The sources say which kinds there are: a list in a test would be forgotten.
#[test]
fn every_kind_of_the_protocol_has_a_file() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/protocol/src/messages");
    let mut kinds = BTreeSet::new();
    for file in std::fs::read_dir(&sources).expect("the protocol's sources lie beside the tests") {
        let text = std::fs::read_to_string(file.expect("a folder entry").path()).expect("a source file is text");
        kinds.extend(
            text.lines()
                .filter_map(|line| Some(line.trim().strip_prefix("message!(")?.strip_suffix("\");")?.split_once(", \"")?.1.to_owned())),
        );
    }
    let sampled: BTreeSet<String> = samples::all().into_iter().map(|sample| sample.kind.to_owned()).collect();
    assert_eq!(kinds, sampled, "on the left what the protocol has, on the right what samples.rs has");
    for kind in &kinds {
        assert!(folder().join(format!("{kind}.v1.msgpack")).is_file(), "{kind} has no file");
    }
}

#[test]
fn no_file_is_left_of_a_message_that_is_gone() {
    let known: BTreeSet<String> = samples::all().into_iter().map(|sample| format!("{}.v1.msgpack", sample.name)).collect();
    for entry in std::fs::read_dir(folder()).expect("tests/golden is there") {
        let name = entry.expect("a folder entry").file_name().to_string_lossy().into_owned();
        assert!(known.contains(&name), "tests/golden/{name} is read by no test: a peer may still send it");
    }
}

/// The same map with one more entry at its end; of an enum's variant, the map inside. `None` where there is no map.
fn with_unknown_field(sample: &Sample, body: &[u8]) -> Option<Vec<u8>> {
    // A variant with fields is a map of one entry: its name as a short text, then its fields.
    let at = if !["query", "query-reply", "chaos-reply", "kill-reply"].contains(&sample.kind) {
        0
    } else if body[0] == 0x81 {
        2 + usize::from(body[1] & 0x1f)
    } else {
        return None;
    };
    let (entries, head) = match body[at] {
        0xde => (u16::from_be_bytes([body[at + 1], body[at + 2]]), 3),
        short if short & 0xf0 == 0x80 => (u16::from(short & 0x0f), 1),
        _ => return None,
    };
    let mut newer = body[..at].to_vec();
    newer.push(0xde);
    newer.extend((entries + 1).to_be_bytes());
    newer.extend(&body[at + head..]);
    // "from_the_future": [1, {"deep": nil}]
    newer.extend(b"\xaffrom_the_future\x92\x01\x81\xa4deep\xc0");
    Some(newer)
}
