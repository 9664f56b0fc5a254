//! Subjects of the next protocol (docs/log-of-ends.md): packs of jobs, and the log of ends. No service uses them yet.

use faultline_engine::ends::{Gen, PackTicket};
use faultline_engine::job::{PackId, Priority, is_token};

use super::token;

/// What submitters publish packs to.
pub const PACK_ALL: &str = "job.q.>";
/// What JOBS stores, whatever the generation.
pub const STORED_PACK_ALL: &str = "job.g.>";
/// What the log of ends takes.
pub const END_ALL: &str = "job.end.>";
/// Where leaders write, and nobody else may. Not a name that a worker could have: theirs are behind `w`.
pub const END_LEADER: &str = "job.end.leader";
/// Where workers write; does not match [`END_LEADER`].
pub const END_WORKERS: &str = "job.end.w.*";
/// How many of some packs have ended: a request to the leader.
pub const SCHED_ENDS: &str = "sched.ends";

/// Where a worker appends what has ended.
pub fn end_of(worker: &str) -> String {
    format!("job.end.w.{}", token(worker))
}

/// Whether an entry came from where only leaders write; none when nobody may write there.
pub fn is_leaders_end(subject: &str) -> Option<bool> {
    if subject == END_LEADER {
        return Some(true);
    }
    subject.strip_prefix("job.end.w.").filter(|worker| is_token(worker)).map(|_| false)
}

/// `job.q.<priority>.<class>.<count>.<pack>`, as a submitter publishes it.
pub fn pack(priority: Priority, class: &str, count: u16, pack: PackId) -> String {
    format!("job.q.{priority}.{}.{count}.{pack}", token(class))
}

/// What the server makes of the subject of a pack, with this generation: the `destination` of the transform whose `source` is [`PACK_ALL`].
pub fn pack_destination(r#gen: Gen) -> String {
    format!("job.g.{gen}.>")
}

/// The generation of JOBS, from the `destination` of its transform.
pub fn generation_of(destination: &str) -> Option<Gen> {
    destination.strip_prefix("job.g.")?.strip_suffix(".>")?.parse().ok()
}

/// What the consumer of one generation and priority filters on.
pub fn pack_filter(r#gen: Gen, priority: Priority) -> String {
    format!("job.g.{gen}.{priority}.>")
}

/// Where one pack waits, whatever its generation, priority, class, and count.
pub fn pack_any(pack: PackId) -> String {
    format!("job.g.*.*.*.*.{pack}")
}

/// What the subject of a stored pack says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredPack {
    pub r#gen: Gen,
    /// None when one of them cannot be read: then the pack has to be given up, under the name of its ticket.
    pub named: Option<(PackId, u16)>,
}

/// Reads `job.g.<gen>.<priority>.<class>.<count>.<pack>`. None when it has no generation, so that no ticket can be made.
pub fn stored_pack(subject: &str) -> Option<StoredPack> {
    let mut tokens = subject.strip_prefix("job.g.")?.split('.');
    let r#gen = tokens.next()?.parse().ok()?;
    let rest: Vec<&str> = tokens.collect();
    let named = match rest[..] {
        [_, _, count, pack] => count_of(count).and_then(|count| Some((pack.parse().ok()?, count))),
        _ => None,
    };
    Some(StoredPack { r#gen, named })
}

/// Only one text names a count.
fn count_of(text: &str) -> Option<u16> {
    text.parse().ok().filter(|count: &u16| count.to_string() == text)
}

/// What JetStream says of a delivery, in its ack subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveredPack<'a> {
    pub consumer: &'a str,
    /// How often it was delivered, this time included.
    pub deliveries: u64,
    pub stream_seq: u64,
    pub consumer_seq: u64,
    /// When the server stored it, in nanoseconds since 1970.
    pub stored_ns: u64,
    /// How many more wait for this consumer.
    pub pending: u64,
}

impl DeliveredPack<'_> {
    /// The ticket of this message, in the generation of its subject.
    pub fn ticket(&self, r#gen: Gen) -> PackTicket {
        PackTicket { r#gen, seq: self.stream_seq, ts: self.stored_ns }
    }
}

/// Reads `$JS.ACK.<stream>.<consumer>.<deliveries>.<seq>.<consumer seq>.<time>.<pending>`. A server that names domain and account puts two tokens
/// more in front, and one behind.
pub fn delivered_pack(ack_subject: &str) -> Option<DeliveredPack<'_>> {
    let tokens: Vec<&str> = ack_subject.strip_prefix("$JS.ACK.")?.split('.').collect();
    let (consumer, numbers) = match tokens[..] {
        [_, consumer, deliveries, seq, consumer_seq, time, pending] => (consumer, [deliveries, seq, consumer_seq, time, pending]),
        [_, _, _, consumer, deliveries, seq, consumer_seq, time, pending, ..] => (consumer, [deliveries, seq, consumer_seq, time, pending]),
        _ => return None,
    };
    let mut read = [0; 5];
    for (number, text) in read.iter_mut().zip(numbers) {
        *number = text.parse().ok()?;
    }
    let [deliveries, stream_seq, consumer_seq, stored_ns, pending] = read;
    Some(DeliveredPack { consumer, deliveries, stream_seq, consumer_seq, stored_ns, pending })
}

#[cfg(test)]
mod tests {
    use super::super::{ack_of, matches};
    use super::*;

    const GEN: Gen = Gen(0xa1);

    fn id() -> PackId {
        "01M8NRP1V0QQQM1FBTTF2P0ABC".parse().unwrap()
    }

    fn stored(subject: &str) -> String {
        subject.replacen("job.q.", pack_destination(GEN).trim_end_matches('>'), 1)
    }

    #[test]
    fn a_pack_is_named_by_the_subject_that_the_server_stores() {
        let published = pack(Priority::High, "sleep", 256, id());
        assert_eq!(published, "job.q.high.sleep.256.01M8NRP1V0QQQM1FBTTF2P0ABC");
        let subject = stored(&published);
        assert_eq!(subject, "job.g.00000000000000a1.high.sleep.256.01M8NRP1V0QQQM1FBTTF2P0ABC");
        assert_eq!(stored_pack(&subject), Some(StoredPack { r#gen: GEN, named: Some((id(), 256)) }));
        assert_eq!(generation_of(&pack_destination(GEN)), Some(GEN));
        assert!(matches(&pack_filter(GEN, Priority::High), &subject) && matches(&pack_any(id()), &subject));
        assert!(!matches(&pack_filter(Gen(1), Priority::High), &subject) && !matches(&pack_filter(GEN, Priority::Low), &subject));
        assert!(matches(PACK_ALL, &published) && !matches(PACK_ALL, &subject) && matches(STORED_PACK_ALL, &subject));
    }

    #[test]
    fn what_no_pack_is_called_has_a_generation_or_nothing() {
        for odd in [
            "high.sleep.x.01M8NRP1V0QQQM1FBTTF2P0ABC",
            "high.sleep.01.01M8NRP1V0QQQM1FBTTF2P0ABC",
            "high.sleep.4.nonsense",
            "high",
            "a.b.c.d.e",
        ] {
            let read = stored_pack(&format!("job.g.00000000000000a1.{odd}"));
            assert_eq!(read, Some(StoredPack { r#gen: GEN, named: None }), "{odd}");
        }
        for none in ["", "job.g", "job.g.a1.high.sleep.1.01M8NRP1V0QQQM1FBTTF2P0ABC", "job.q.high.sleep.1.01M8NRP1V0QQQM1FBTTF2P0ABC"] {
            assert_eq!(stored_pack(none), None, "{none}");
        }
        assert_eq!([generation_of("job.g.>"), generation_of("job.g.00000000000000a1"), generation_of("job.q.>")], [None; 3]);
    }

    #[test]
    fn no_worker_writes_where_leaders_decide() {
        for worker in ["worker-01", "leader", "w", "a.b", "*", ">", ""] {
            let subject = end_of(worker);
            assert_eq!(is_leaders_end(&subject), Some(false), "{worker}");
            assert!(matches(END_WORKERS, &subject) && matches(END_ALL, &subject) && subject != END_LEADER, "{worker}");
        }
        assert!(matches(END_ALL, END_LEADER) && !matches(END_WORKERS, END_LEADER));
        assert_eq!(is_leaders_end(END_LEADER), Some(true));
        assert_eq!([is_leaders_end("job.end.w"), is_leaders_end("job.end.w.a.b"), is_leaders_end("job.end.worker-01")], [None; 3]);
    }

    #[test]
    fn a_ticket_is_in_the_ack_subject() {
        let expected = DeliveredPack {
            consumer: "sched-high-00000000000000a1",
            deliveries: 3,
            stream_seq: 17,
            consumer_seq: 21,
            stored_ns: 1_700_000_000_123_456_789,
            pending: 4,
        };
        for subject in [
            "$JS.ACK.JOBS.sched-high-00000000000000a1.3.17.21.1700000000123456789.4",
            "$JS.ACK._.hash.JOBS.sched-high-00000000000000a1.3.17.21.1700000000123456789.4.random",
        ] {
            assert_eq!(delivered_pack(subject), Some(expected), "{subject}");
        }
        assert_eq!(expected.ticket(GEN), PackTicket { r#gen: GEN, seq: 17, ts: 1_700_000_000_123_456_789 });
        assert_eq!(delivered_pack(&ack_of("JOBS", "c", 17, 21)).map(|made| (made.stream_seq, made.consumer_seq)), Some((17, 21)));
        for none in ["", "$JS.ACK.JOBS.c.1.2.3", "$JS.ACK.JOBS.c.1.x.3.4.5", "$JS.ACK.JOBS.c.1.-2.3.4.5", "job.q.high"] {
            assert_eq!(delivered_pack(none), None, "{none}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_parser_panics(text in ".{0,80}") {
            let _ = (stored_pack(&text), generation_of(&text), delivered_pack(&text), is_leaders_end(&text));
        }
    }
}
