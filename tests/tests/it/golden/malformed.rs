//! Every decoder and every subject parser against bytes that no sender meant: noise, golden files cut short, flipped, spliced and nested, sizes
//! that no body could keep, other kinds and versions. Nothing panics, memory stays bounded, an error says what is wrong, and whatever
//! does decode is encoded to the same bytes from then on.

use async_nats::HeaderMap;
use faultline_engine::job::{JobId, Priority};
use faultline_protocol::codec::{DecodeError, HEADER_KIND, HEADER_VERSION, MAX_BODY_BYTES};
use faultline_protocol::subjects;
use faultline_tests::proc;
use proptest::prelude::*;

use super::samples::{self, Sample};

/// MessagePack heads that promise more than any body has: arrays, maps, texts, bytes, extensions.
const PROMISES: [&[u8]; 8] = [
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x01",
    b"\xdc\xff\xff",
    b"\xde\xff\xff",
    b"\xda\xff\xff",
];
/// How much further the process may grow while all of it is decoded.
const GROWTH_LIMIT_KIB: u64 = 256 * 1024;

fn headers_of(kind: &str, version: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HEADER_KIND, kind);
    headers.insert(HEADER_VERSION, version);
    headers
}

/// Decodes as the message of `sample`; what can be read must be stable, what cannot must say why.
fn check(sample: &Sample, body: &[u8]) -> Result<(), TestCaseError> {
    let headers = headers_of(sample.kind, "1");
    match sample.rewritten(Some(&headers), body) {
        Ok(written) => {
            let again = sample.rewritten(Some(&headers), &written);
            prop_assert_eq!(again.as_ref(), Ok(&written), "{} is not stable", sample.name);
        }
        Err(error @ (DecodeError::Body { .. } | DecodeError::TooLarge { .. })) => {
            let text = error.to_string();
            prop_assert!(text.contains(sample.kind) || text.contains("bytes"), "{}", text);
            prop_assert!(text.chars().count() < 500 && !text.chars().any(char::is_control), "{:?}", text);
        }
        Err(other) => prop_assert!(false, "{}: {}", sample.name, other),
    }
    Ok(())
}

fn check_all(body: &[u8]) -> Result<(), TestCaseError> {
    samples::all().iter().try_for_each(|sample| check(sample, body))
}

/// One change of a golden file.
#[derive(Debug, Clone)]
enum Damage {
    CutAt(prop::sample::Index),
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Promise(prop::sample::Index, usize),
    Repeat(prop::sample::Index, prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        any::<prop::sample::Index>().prop_map(Damage::CutAt),
        (any::<prop::sample::Index>(), 1..=255u8).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (any::<prop::sample::Index>(), 0..PROMISES.len()).prop_map(|(at, which)| Damage::Promise(at, which)),
        (any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(|(from, to)| Damage::Repeat(from, to)),
    ]
}

fn damaged(mut body: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        if body.is_empty() {
            break;
        }
        match damage {
            Damage::CutAt(at) => body.truncate(at.index(body.len())),
            Damage::Flip(at, bits) => {
                let at = at.index(body.len());
                body[at] ^= bits;
            }
            Damage::Insert(at, bytes) => {
                let at = at.index(body.len());
                body.splice(at..at, bytes.iter().copied());
            }
            Damage::Promise(at, which) => {
                let at = at.index(body.len());
                let end = (at + PROMISES[*which].len()).min(body.len());
                body.splice(at..end, PROMISES[*which].iter().copied());
            }
            Damage::Repeat(from, to) => {
                let (from, to) = (from.index(body.len()), to.index(body.len()));
                let part = body[from.min(to)..from.max(to)].to_vec();
                body.splice(from..from, part);
            }
        }
    }
    body
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn noise_panics_no_decoder(body in prop::collection::vec(any::<u8>(), 0..400)) {
        check_all(&body)?;
    }

    #[test]
    fn damaged_messages_panic_no_decoder_and_what_is_read_is_stable(damages in prop::collection::vec(damage(), 1..5)) {
        for sample in samples::all() {
            check(&sample, &damaged(sample.encoded.clone(), &damages))?;
        }
    }

    #[test]
    fn one_kind_is_never_read_as_another(from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(), version in "\\PC{0,12}") {
        let all = samples::all();
        let (from, to) = (&all[from.index(all.len())], &all[to.index(all.len())]);
        let read = to.rewritten(Some(&headers_of(from.kind, "1")), &from.encoded);
        if from.kind == to.kind {
            prop_assert!(read.is_ok());
        } else {
            let is_refused = matches!(read, Err(DecodeError::Kind { .. }));
            prop_assert!(is_refused, "{:?}", read);
        }
        let read = to.rewritten(Some(&headers_of(to.kind, &version)), &to.encoded);
        prop_assert_eq!(read.is_ok(), version.parse() == Ok(1), "version {}", version);
        let is_refused = matches!(to.rewritten(None, &to.encoded), Err(DecodeError::NoKind { .. }));
        prop_assert!(is_refused, "without headers");
    }

    #[test]
    fn no_subject_parser_panics_and_what_it_reads_it_would_write(text in "\\PC{0,120}", tokens in prop::collection::vec("[-_a-z0-9*>$.\u{0}\r\n é]{0,12}", 0..8)) {
        let known = ["job", "q", "res", "done", "ctl", "drain", "$JS", "ACK", "JOBS", "kill", "all"];
        for subject in [text.clone(), tokens.join("."), known.join("."), format!("job.q.{text}"), format!("job.res.{text}"), format!("ctl.{text}"), format!("drain.{text}")] {
            if let Some(job) = subjects::queued_job_id(&subject) {
                prop_assert_eq!(subjects::queued_job_id(&subjects::queue(Priority::High, "x", job)), Some(job));
            }
            if let Some(job) = subjects::result_job_id(&subject) {
                prop_assert_eq!(subjects::result_job_id(&subjects::result(job)), Some(job));
            }
            if let Some(node) = subjects::drained_node(&subject) {
                prop_assert_eq!(subjects::drain_key(node), subject.clone());
            }
            if let Some(verb) = subjects::ControlVerb::of_subject(&subject) {
                prop_assert!(subject.ends_with(verb.as_str()));
            }
            if subjects::is_ack(&subject) {
                prop_assert!(subject.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*' && byte != b'>'));
            }
            prop_assert_eq!(subjects::matches(&subject, &subject), true);
            // However strange a name is, what is built from it has the tokens that it is meant to have.
            for (built, dots) in [
                (subjects::heartbeat(&subject), 2),
                (subjects::goodbye(&subject), 2),
                (subjects::verdict(&subject), 2),
                (subjects::node_event(&subject), 2),
                (subjects::fault_event(&subject), 2),
                (subjects::dead(&subject), 2),
                (subjects::chaos_progress(&subject), 2),
                (subjects::assign(&subject), 1),
                (subjects::drain_key(&subject), 1),
                (subjects::inbox_prefix(&subject), 0),
                (subjects::ctl(&subject, subjects::ControlVerb::Kill), 2),
            ] {
                prop_assert_eq!(built.matches('.').count(), dots, "{}", built);
                prop_assert!(built.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)), "{}", built);
            }
        }
    }

    #[test]
    fn ids_are_read_back_as_they_were_written(text in "\\PC{0,40}", number in any::<u128>()) {
        if let Ok(job) = text.parse::<JobId>() {
            prop_assert_eq!(job.to_string().parse::<JobId>(), Ok(job));
        }
        let job = JobId::new((number >> 80) as u64, number);
        prop_assert_eq!(job.to_string().parse::<JobId>(), Ok(job));
    }
}

/// What this process has at most had of address space so far.
fn peak_kib() -> Option<u64> {
    proc::kib("self", "VmPeak")
}

#[test]
fn promises_and_nesting_take_no_memory() {
    let before = peak_kib();
    let mut bodies: Vec<Vec<u8>> = PROMISES.iter().map(|promise| promise.to_vec()).collect();
    for head in [0x91, 0x81, 0x9f, 0x8f, 0xc7] {
        bodies.push(vec![head; MAX_BODY_BYTES]);
    }
    bodies.push([b"\x81\xa1a".repeat(100_000), vec![0xc0]].concat());
    bodies.push(vec![0; MAX_BODY_BYTES + 1]);
    for body in &bodies {
        check_all(body).unwrap_or_else(|error| panic!("{error}"));
    }
    // Where a list or a map is awaited, too.
    for sample in samples::all() {
        for at in 0..sample.encoded.len() {
            for promise in PROMISES {
                let body = [&sample.encoded[..at], promise, &sample.encoded[at..]].concat();
                check(&sample, &body).unwrap_or_else(|error| panic!("{error}"));
            }
        }
    }
    match (before, peak_kib()) {
        (Some(before), Some(after)) => assert!(after - before < GROWTH_LIMIT_KIB, "grew from {before} KiB to {after} KiB"),
        _ => println!("SKIPPED: how much memory that took, /proc/self/status does not tell here"),
    }
}
