//! The border around each user. A reply subject, a deliver subject and an answer reach what the account they come from imports, and
//! nothing else, whatever they name. So each user has an account of its own, and the streams live in two accounts without users. What
//! crosses a border follows from the rows of [`super::permissions`]; the syntax of the file is the business of `config`.

use std::collections::BTreeSet;

use faultline_protocol::{streams, subjects};

use super::permissions::{ADMIN, ROWS, Row};

/// Holds the work queue, and what must not be reached through a consumer. Only the administrator may make a consumer here: the server
/// delivers to any subject that it hears itself, among them the one that resets the scheduler's consumers.
pub const QUEUE: &str = "QUEUE";
/// Holds everything that is read through consumers.
pub const RECORDS: &str = "RECORDS";
pub const SYSTEM: &str = "SYS";

/// The streams of [`QUEUE`]; all others live in [`RECORDS`].
const QUEUE_STREAMS: [&str; 4] = [streams::JOBS, streams::ADVISORY, "KV_LEASE", "KV_CLAIMS"];

/// Requests that a service answers, rather than a stream. What is in neither group is published without an answer.
const ANSWERED: [&str; 10] = [
    subjects::SCHED_QUERY,
    subjects::SCHED_CANCEL,
    "ctl.*.ping",
    subjects::CHAOS_KILL,
    subjects::CHAOS_RUN,
    subjects::CHAOS_ABORT,
    subjects::CHAOS_LIST,
    subjects::UP_PROCESSES,
    subjects::POLICY_ALL,
    // Answered with a receipt where the executor asks for one.
    subjects::EXEC_REPLY_ALL,
];

/// The server drops its note of a request with many answers so long after the last one. Where no pause within the answers is that long,
/// this bounds the memory that a flood of requests takes; the server's own limit is 2 minutes.
const QUIET: &str = "5s";

/// How messages cross.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Published by the exporter, without an answer: a stream export.
    Told,
    /// Asked by the importer, answered once by the exporter: a service export.
    Asked,
    /// The same with any number of answers.
    AskedForMany {
        /// See `QUIET`.
        quiet: Option<&'static str>,
    },
}

/// Something that `from` exports to `to`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Crossing {
    pub kind: Kind,
    pub subject: String,
    pub from: String,
    pub to: String,
    /// The subject in the importer's account, where it is another one.
    pub renamed: Option<&'static str>,
}

impl Crossing {
    fn new(kind: Kind, subject: impl Into<String>, from: impl Into<String>, to: impl Into<String>) -> Self {
        Self { kind, subject: subject.into(), from: from.into(), to: to.into(), renamed: None }
    }
}

/// The account of a user.
pub fn account_of(user: &str) -> String {
    user.to_uppercase().replace('-', "_")
}

/// The account that holds a stream.
pub fn account_of_stream(stream: &str) -> &'static str {
    if QUEUE_STREAMS.contains(&stream) { QUEUE } else { RECORDS }
}

/// Every stream, those of the buckets included, with its subjects.
fn all_streams() -> Vec<(String, Vec<String>)> {
    let streams = streams::stream_configs(streams::Provision::default()).into_iter().map(|config| (config.name, config.subjects));
    let buckets = streams::bucket_configs(streams::Provision::default()).into_iter().map(|config| config.bucket);
    streams.chain(buckets.map(|bucket| (format!("KV_{bucket}"), vec![format!("$KV.{bucket}.>")]))).collect()
}

/// What becomes of a message that a user publishes.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// A stream's account takes it: it is stored there, or asks JetStream.
    Stream(&'static str),
    Answered,
    Told,
    /// It stays in the user's own account.
    Own,
}

/// Whether a message could match both.
fn overlap(left: &str, right: &str) -> bool {
    subjects::matches(left, right) || subjects::matches(right, left)
}

fn way(user: &str, subject: &str) -> Way {
    if subject == "$JS.API.INFO" {
        return Way::Stream(RECORDS);
    }
    if subject.starts_with("$JS.") {
        let names = streams::names();
        let stream = subject.split('.').find(|&token| names.iter().any(|name| name == token));
        return Way::Stream(account_of_stream(stream.unwrap_or_else(|| panic!("{subject} names no stream of ours"))));
    }
    if let Some((stream, _)) = all_streams().iter().find(|(_, filters)| filters.iter().any(|filter| overlap(filter, subject))) {
        return Way::Stream(account_of_stream(stream));
    }
    match subject {
        _ if subject.starts_with("$SYS.") || subject == subjects::service_ping(user) => Way::Own,
        _ if subject.starts_with("$SRV.") || ANSWERED.contains(&subject) => Way::Answered,
        _ => Way::Told,
    }
}

/// One answer or many.
fn asked(subject: &str) -> Kind {
    let tokens: Vec<&str> = subject.split('.').collect();
    match tokens.as_slice() {
        ["$SRV", ..] | ["$JS", "API", "DIRECT", "GET", _] => Kind::AskedForMany { quiet: Some(QUIET) },
        // A pull may wait for longer than that.
        ["$JS", "API", "CONSUMER", "MSG" | "*", "NEXT" | "*", _, "*"] => Kind::AskedForMany { quiet: None },
        _ => Kind::Asked,
    }
}

/// Everything that crosses a border.
pub fn crossings() -> BTreeSet<Crossing> {
    let mut crossings: BTreeSet<Crossing> = ROWS.iter().flat_map(crossings_of).collect();
    crossings.extend(crossings_of_admin());
    // The moment a worker dies its connection ends: the fastest hint there is.
    let detector = account_of("fault-detector");
    for (event, name) in [("CONNECT", subjects::SYSTEM_CONNECT), ("DISCONNECT", subjects::SYSTEM_DISCONNECT)] {
        let subject = format!("$SYS.ACCOUNT.{}.{event}", account_of("worker"));
        crossings.insert(Crossing { renamed: Some(name), ..Crossing::new(Kind::Told, subject, SYSTEM, &*detector) });
    }
    crossings
}

/// Other users that hear this.
fn hearers<'a>(user: &'a str, subject: &'a str) -> impl Iterator<Item = String> + 'a {
    let hears = move |row: &&Row| row.user != user && row.subscribe_allowed().iter().any(|filter| subjects::matches(filter, subject));
    ROWS.iter().filter(hears).map(|row| account_of(row.user))
}

fn crossings_of(row: &Row) -> Vec<Crossing> {
    let own = account_of(row.user);
    // An account without JetStream that does not import this asks the system account, whose answer is that JetStream is off.
    let mut crossings = vec![Crossing::new(Kind::Asked, "$JS.API.INFO", RECORDS, &*own)];
    for subject in row.publish_allowed() {
        match way(row.user, &subject) {
            Way::Stream(account) => crossings.push(Crossing::new(asked(&subject), subject, account, &*own)),
            Way::Answered => {
                crossings.extend(hearers(row.user, &subject).map(|answers| Crossing::new(asked(&subject), &*subject, answers, &*own)));
            }
            Way::Told => crossings.extend(hearers(row.user, &subject).map(|hears| Crossing::new(Kind::Told, &*subject, &*own, hears))),
            Way::Own => {}
        }
    }
    if row.subscribe.contains(&subjects::DONE_ALL) {
        crossings.push(Crossing::new(Kind::Told, subjects::DONE_ALL, RECORDS, &*own));
    }
    if !row.follow_buckets.is_empty() {
        // Watches are pushed there.
        crossings.push(Crossing::new(Kind::Told, format!("{}.>", subjects::inbox_prefix(row.user)), RECORDS, &*own));
    }
    crossings
}

/// The administrator hears and says what any service does, and has JetStream's whole API, stream by stream.
fn crossings_of_admin() -> Vec<Crossing> {
    let own = account_of(ADMIN);
    let mut crossings = Vec::new();
    for row in &ROWS {
        let account = account_of(row.user);
        // An account that asks all others would pass the question on to them.
        if !row.publish.contains(&"$SRV.INFO") {
            crossings.push(Crossing::new(asked("$SRV.>"), "$SRV.>", &*account, &*own));
        }
        for subject in row.publish_allowed().into_iter().filter(|subject| !subject.starts_with("$JS.")) {
            match way(row.user, &subject) {
                Way::Stream(stored_in) => {
                    crossings.push(Crossing::new(Kind::Asked, &*subject, stored_in, &*own));
                    // What crosses as a request is not told on by the account that it arrives in.
                    crossings.push(Crossing::new(Kind::Told, subject, &*account, &*own));
                }
                Way::Answered if subject.starts_with("$SRV.") => {}
                Way::Answered => {
                    crossings.extend(hearers(ADMIN, &subject).map(|answers| Crossing::new(Kind::Asked, &*subject, answers, &*own)))
                }
                Way::Told => {
                    crossings.extend(hearers(ADMIN, &subject).map(|hears| Crossing::new(Kind::Told, &*subject, &*own, hears)));
                    crossings.push(Crossing::new(Kind::Told, subject, &*account, &*own));
                }
                Way::Own => {}
            }
        }
    }
    // Lists cannot be merged: those of one account it is.
    for subject in ["$JS.API.INFO", "$JS.API.STREAM.LIST", "$JS.API.STREAM.NAMES"] {
        crossings.push(Crossing::new(Kind::Asked, subject, RECORDS, &*own));
    }
    for stream in streams::names() {
        let account = account_of_stream(&stream);
        crossings.extend(whole_api(&stream).map(|subject| Crossing::new(asked(&subject), subject, account, &*own)));
    }
    crossings.push(Crossing::new(Kind::Told, subjects::DONE_ALL, RECORDS, &*own));
    for account in [QUEUE, RECORDS] {
        crossings.push(Crossing::new(Kind::Told, "$JS.EVENT.ADVISORY.>", account, &*own));
        // Clients of other makers have this prefix unless they are told another one.
        for prefix in ["_INBOX", &subjects::inbox_prefix(ADMIN)] {
            crossings.push(Crossing::new(Kind::Told, format!("{prefix}.>"), account, &*own));
        }
    }
    crossings
}

/// All of JetStream's API that names a stream. No two of these overlap, else the server would be asked twice.
fn whole_api(stream: &str) -> [String; 9] {
    [
        format!("$JS.API.STREAM.*.{stream}"),
        format!("$JS.API.STREAM.*.*.{stream}"),
        format!("$JS.API.CONSUMER.*.{stream}"),
        format!("$JS.API.CONSUMER.*.{stream}.>"),
        format!("$JS.API.CONSUMER.*.*.{stream}.*"),
        format!("$JS.API.DIRECT.GET.{stream}"),
        format!("$JS.API.DIRECT.GET.{stream}.>"),
        format!("$JS.ACK.{stream}.>"),
        format!("$JS.FC.{stream}.>"),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::permissions::users;
    use super::*;

    /// Whether one message could match both patterns.
    fn collide(left: &str, right: &str) -> bool {
        let (mut left, mut right) = (left.split('.'), right.split('.'));
        loop {
            match (left.next(), right.next()) {
                (Some(">"), Some(_)) | (Some(_), Some(">")) | (None, None) => return true,
                (Some(one), Some(other)) if one == "*" || other == "*" || one == other => {}
                _ => return false,
            }
        }
    }

    #[test]
    fn the_streams_accounts_hear_only_what_is_asked_of_them() {
        assert!(crossings().iter().all(|crossing| crossing.to != QUEUE && crossing.to != RECORDS));
        assert!(
            crossings().iter().all(|crossing| crossing.from != QUEUE || crossing.kind != Kind::Told || crossing.to == account_of(ADMIN))
        );
    }

    #[test]
    fn only_the_administrator_makes_consumers_beside_the_queue() {
        for crossing in crossings().into_iter().filter(|crossing| crossing.from == QUEUE && crossing.to != account_of(ADMIN)) {
            for subject in ["CONSUMER.CREATE.JOBS", "CONSUMER.CREATE.KV_LEASE.x", "CONSUMER.DURABLE.CREATE.JOBS.x", "CONSUMER.RESET.JOBS.x"]
            {
                assert!(!collide(&crossing.subject, &format!("$JS.API.{subject}")), "{crossing:?}");
            }
        }
    }

    #[test]
    fn every_account_asks_the_records_account_whether_jetstream_is_on() {
        for user in users() {
            let asks = Crossing::new(Kind::Asked, "$JS.API.INFO", RECORDS, account_of(user));
            assert!(crossings().contains(&asks), "{user}");
        }
    }

    #[test]
    fn no_request_reaches_an_account_twice() {
        let asked: Vec<Crossing> = crossings().into_iter().filter(|crossing| crossing.kind != Kind::Told).collect();
        for (index, crossing) in asked.iter().enumerate() {
            for other in asked[index + 1..].iter().filter(|other| other.from == crossing.from && other.to == crossing.to) {
                // A consumer may not be named like a stream.
                let like_a_stream = crossing.subject.starts_with("$JS.API.CONSUMER.*") && other.subject.starts_with("$JS.API.CONSUMER.*");
                assert!(like_a_stream || !collide(&crossing.subject, &other.subject), "{crossing:?}\n{other:?}");
            }
        }
    }

    #[test]
    fn what_a_user_may_publish_arrives_and_what_it_hears_has_a_sender() {
        for row in &ROWS {
            let own = account_of(row.user);
            for subject in row.publish_allowed().iter().filter(|subject| way(row.user, subject) != Way::Own) {
                let crosses = |crossing: &Crossing| (crossing.from == own || crossing.to == own) && crossing.subject == *subject;
                assert!(crossings().iter().any(crosses), "{} publishes {subject}, which no user hears", row.user);
            }
            for subject in row.subscribe.iter().filter(|subject| !subject.starts_with("$SRV.")) {
                let crosses = |crossing: &Crossing| {
                    let told = crossing.kind == Kind::Told && crossing.to == own;
                    let asked = crossing.kind != Kind::Told && crossing.from == own;
                    (told || asked) && collide(crossing.renamed.unwrap_or(&crossing.subject), subject)
                };
                assert!(crossings().iter().any(crosses), "{} hears {subject}, which no user publishes", row.user);
            }
        }
    }

    #[test]
    fn requests_are_answered_once_but_for_pulls_lists_and_the_services_api() {
        for (subject, kind) in [
            ("$JS.API.STREAM.INFO.JOBS", Kind::Asked),
            ("$JS.API.DIRECT.GET.RESULTS.>", Kind::Asked),
            ("$JS.API.DIRECT.GET.JOBS", Kind::AskedForMany { quiet: Some(QUIET) }),
            ("$JS.API.CONSUMER.MSG.NEXT.JOBS.*", Kind::AskedForMany { quiet: None }),
            ("$JS.API.CONSUMER.*.*.JOBS.*", Kind::AskedForMany { quiet: None }),
            ("$JS.API.CONSUMER.CREATE.RESULTS.>", Kind::Asked),
            ("$SRV.INFO", Kind::AskedForMany { quiet: Some(QUIET) }),
            ("sched.query", Kind::Asked),
        ] {
            assert_eq!(asked(subject), kind, "{subject}");
        }
    }
}
