//! Who may publish and hear what: one row a user. A leaked key of one service must not be able to play another one.
//! What the rows stand for on the wire (JetStream's API subjects) is spelled out here too; what crosses from one user's account to
//! another one's follows from the rows in [`super::accounts`].

use faultline_protocol::{streams, subjects};

/// One user, the only one of its account.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub user: &'static str,
    pub publish: &'static [&'static str],
    pub subscribe: &'static [&'static str],
    /// What a wildcard must not bring along: the server takes a subscription to `x.>` for one of `x.*`.
    pub deaf_to: &'static [&'static str],
    /// Streams of which single messages are read.
    pub get_streams: &'static [&'static str],
    /// Streams that are read through ephemeral consumers, too. A user that may make a consumer may have the stream's messages delivered to any
    /// subject of the account that holds the stream: so none of those streams is in the queue's account.
    pub follow_streams: &'static [&'static str],
    /// Buckets of which single keys are read.
    pub get_buckets: &'static [&'static str],
    /// Buckets that are read and watched.
    pub follow_buckets: &'static [&'static str],
    pub write_buckets: &'static [&'static str],
    /// Whether the consumers of all streams are listed.
    pub lists_consumers: bool,
}

const NOTHING: Row = Row {
    user: "",
    publish: &[],
    subscribe: &[],
    deaf_to: &[],
    get_streams: &[],
    follow_streams: &[],
    get_buckets: &[],
    follow_buckets: &[],
    write_buckets: &[],
    lists_consumers: false,
};

/// The user that provisions. It may do whatever any service may, and everything with the streams.
pub const ADMIN: &str = "admin";

/// The user of `faultline up` for experiments.
pub const UP: &str = "up";

/// The user of programs that run `service:NAME` jobs.
pub const EXECUTOR: &str = "executor";

/// The user of policy programs.
pub const POLICY: &str = "policy";

/// What a person does, through the page or the command: submit, ask, cancel, experiment, break nodes. With what only one of them does.
macro_rules! operator_publishes {
    ($($more:expr),* $(,)?) => {
        &[
            "job.q.>",
            "job.res.*",
            subjects::SCHED_QUERY,
            subjects::SCHED_CANCEL,
            subjects::CHAOS_RUN,
            subjects::CHAOS_ABORT,
            subjects::CHAOS_LIST,
            "ctl.*.fault",
            "ctl.*.ping",
            $($more),*
        ]
    };
}

/// What both look at, drain, and set: the rest of [`operator_publishes`].
const OPERATOR: Row = Row {
    subscribe: &[subjects::HEARTBEAT_ALL, subjects::DONE_ALL, subjects::CHAOS_PROGRESS_ALL],
    follow_streams: &[streams::RESULTS, streams::EVENTS],
    write_buckets: &[streams::KV_CONTROL],
    ..NOTHING
};

/// The rows, one a user: what its code does, and nothing else. tests/tests/it/permissions.rs walks them on a real server, against a table of its own.
pub const ROWS: [Row; 9] = [
    Row {
        user: "generator",
        // A load is a share of the cluster: the leading scheduler tells how many GPUs that has.
        publish: &["job.q.>", "job.res.*", "node.ev.*", subjects::SCHED_QUERY],
        get_streams: &[streams::RESULTS],
        follow_buckets: &[streams::KV_CONTROL],
        // A rate given on the command line becomes the cluster's setting.
        write_buckets: &[streams::KV_CONTROL],
        ..NOTHING
    },
    Row {
        user: "scheduler",
        publish: &[
            "assign.*",
            "ctl.*.kill",
            "ctl.*.sync",
            subjects::POLICY_ALL,
            "job.res.*",
            "job.dead.*",
            "job.ev.*",
            "node.ev.*",
            "$JS.ACK.JOBS.>",
            "$JS.API.CONSUMER.INFO.JOBS.*",
            "$JS.API.CONSUMER.MSG.NEXT.JOBS.*",
            "$JS.API.STREAM.PURGE.JOBS",
            subjects::JOBS_DIRECT_GET,
        ],
        subscribe: &[
            subjects::HEARTBEAT_ALL,
            subjects::GOODBYE_ALL,
            subjects::VERDICT_ALL,
            subjects::SCHED_ENDED,
            subjects::SCHED_SYNCED,
            subjects::SCHED_QUERY,
            subjects::SCHED_CANCEL,
        ],
        get_streams: &[streams::EVENTS],
        follow_streams: &[streams::RESULTS],
        get_buckets: &[streams::KV_LEASE, streams::KV_LEDGER],
        follow_buckets: &[streams::KV_NODES, streams::KV_HEALTH, streams::KV_CONTROL],
        // CONTROL too: a node that is drained stays so when the bucket has lost it.
        write_buckets: &[streams::KV_LEASE, streams::KV_LEDGER, streams::KV_CONTROL],
        ..NOTHING
    },
    Row {
        user: "worker",
        publish: &[
            "node.hb.*",
            "node.bye.*",
            "node.ev.*",
            "fault.ev.*",
            "job.ev.*",
            "job.res.*",
            subjects::SCHED_ENDED,
            subjects::SCHED_SYNCED,
            "$JS.ACK.JOBS.>",
            subjects::EXEC_ALL,
            subjects::EXEC_CANCEL_ALL,
        ],
        subscribe: &["assign.*", "ctl.*.*", subjects::EXEC_REPLY_ALL],
        get_streams: &[streams::RESULTS],
        get_buckets: &[streams::KV_NODES, streams::KV_CLAIMS],
        write_buckets: &[streams::KV_NODES, streams::KV_CLAIMS],
        ..NOTHING
    },
    Row {
        user: "fault-detector",
        publish: &["node.verdict.*", "ctl.*.ping", "node.ev.*", "$SRV.PING.faultline-fault-detector"],
        subscribe: &[subjects::HEARTBEAT_ALL, subjects::GOODBYE_ALL, subjects::SYSTEM_CONNECT, subjects::SYSTEM_DISCONNECT],
        follow_buckets: &[streams::KV_NODES, streams::KV_HEALTH],
        write_buckets: &[streams::KV_HEALTH],
        ..NOTHING
    },
    // `faultline up` itself, once it runs: it kills processes, carries out experiments, tells of its processes, reads what came of them, and writes down who did what.
    Row {
        user: UP,
        publish: &["fault.ev.*", "node.ev.*", subjects::CHAOS_PROGRESS_ALL, subjects::SCHED_QUERY, "ctl.*.fault", "ctl.*.ping"],
        subscribe: &[subjects::CHAOS_KILL, subjects::CHAOS_RUN, subjects::CHAOS_ABORT, subjects::CHAOS_LIST, subjects::UP_PROCESSES],
        follow_streams: &[streams::RESULTS, streams::EVENTS, streams::DEAD],
        get_buckets: &[streams::KV_LEDGER],
        ..NOTHING
    },
    // Other people's programs: they are asked, and answer on subjects that nothing but attempts listens to. `allow_responses` would be one
    // message within two minutes, too little for progress, or without bounds, which the server would have to keep for every request.
    // They may call themselves as they like in the NATS services API.
    Row {
        user: EXECUTOR,
        publish: &[subjects::EXEC_REPLY_ALL],
        subscribe: &[subjects::EXEC_ALL, subjects::EXEC_CANCEL_ALL, "$SRV.>"],
        deaf_to: &[subjects::EXEC_REPLY_ALL],
        ..NOTHING
    },
    // The same for programs that choose nodes: each request is answered once, which `allow_responses` covers. They publish nothing of their own.
    Row { user: POLICY, subscribe: &[subjects::POLICY_ALL], ..NOTHING },
    Row {
        user: "dashboard",
        publish: operator_publishes![subjects::CHAOS_KILL, subjects::UP_PROCESSES],
        subscribe: &[
            subjects::HEARTBEAT_ALL,
            subjects::GOODBYE_ALL,
            subjects::VERDICT_ALL,
            subjects::DONE_ALL,
            subjects::CHAOS_PROGRESS_ALL,
        ],
        // JOBS is a work queue: it refuses ordered consumers, so nothing but direct reads makes sense there.
        get_streams: &[streams::JOBS, streams::DEAD],
        follow_buckets: &[streams::KV_NODES, streams::KV_HEALTH, streams::KV_CONTROL, streams::KV_LEDGER],
        lists_consumers: true,
        ..OPERATOR
    },
    Row {
        user: "cli",
        publish: operator_publishes![
            "$JS.API.INFO",
            "$JS.API.CONSUMER.INFO.JOBS.*",
            // `faultline job` shows what was submitted of a job that waits.
            subjects::JOBS_DIRECT_GET,
            // `faultline doctor` asks who is there, and which account it is in.
            "$SRV.INFO",
            "$SYS.REQ.USER.INFO",
        ],
        follow_streams: &[streams::RESULTS, streams::EVENTS, streams::DEAD],
        get_buckets: &[streams::KV_NODES, streams::KV_CONTROL, streams::KV_LEDGER],
        ..OPERATOR
    },
];

/// All users, the administrator first.
pub fn users() -> impl Iterator<Item = &'static str> {
    std::iter::once(ADMIN).chain(ROWS.iter().map(|row| row.user))
}

impl Row {
    /// Every subject that this user may publish.
    pub fn publish_allowed(&self) -> Vec<String> {
        let mut allowed: Vec<String> = self.publish.iter().map(|&subject| subject.to_owned()).collect();
        // To see that everything is provisioned, which programs of other people do not need.
        if ![EXECUTOR, POLICY].contains(&self.user) {
            allowed.extend(streams::names().iter().map(|stream| format!("$JS.API.STREAM.INFO.{stream}")));
        }
        if self.lists_consumers {
            allowed.extend(streams::names().iter().map(|stream| format!("$JS.API.CONSUMER.LIST.{stream}")));
        }
        let bucket = |bucket: &&str| format!("KV_{bucket}");
        let get = self.get_streams.iter().map(|&stream| stream.to_owned()).chain(self.get_buckets.iter().map(bucket));
        let follow: Vec<String> =
            self.follow_streams.iter().map(|&stream| stream.to_owned()).chain(self.follow_buckets.iter().map(bucket)).collect();
        allowed.extend(get.chain(follow.iter().cloned()).flat_map(|stream| getting(&stream)));
        allowed.extend(follow.iter().flat_map(|stream| following(stream)));
        allowed.extend(self.write_buckets.iter().map(|bucket| format!("$KV.{bucket}.>")));
        // Watches are pushed with flow control.
        allowed.extend(self.follow_buckets.iter().map(|bucket| format!("$JS.FC.KV_{bucket}.>")));
        allowed.sort();
        allowed.dedup();
        allowed
    }

    /// Every subject that this user may hear.
    pub fn subscribe_allowed(&self) -> Vec<String> {
        let mut allowed: Vec<String> = self.subscribe.iter().map(|&subject| subject.to_owned()).collect();
        let service = service_of(self.user);
        // Its inbox, and the questions of the NATS services API that are meant for all or for it.
        allowed.push(format!("{}.>", subjects::inbox_prefix(self.user)));
        // Word by word: the server takes `$SRV.>` for one of `$SRV.*`.
        for verb in ["PING", "INFO", "STATS"] {
            allowed.extend([format!("$SRV.{verb}"), format!("$SRV.{verb}.{service}"), format!("$SRV.{verb}.{service}.*")]);
        }
        allowed
    }
}

/// The name of a user's service in the NATS services API.
fn service_of(user: &str) -> String {
    format!("faultline-{user}")
}

/// JetStream's API for reading single messages of a stream. The last form asks the stream's leader.
fn getting(stream: &str) -> [String; 3] {
    [format!("$JS.API.DIRECT.GET.{stream}"), format!("$JS.API.DIRECT.GET.{stream}.>"), format!("$JS.API.STREAM.MSG.GET.{stream}")]
}

/// The same for ephemeral consumers, whose creation has two forms.
fn following(stream: &str) -> [String; 5] {
    [
        format!("$JS.API.CONSUMER.CREATE.{stream}"),
        format!("$JS.API.CONSUMER.CREATE.{stream}.>"),
        format!("$JS.API.CONSUMER.INFO.{stream}.*"),
        format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.*"),
        format!("$JS.API.CONSUMER.DELETE.{stream}.*"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(patterns: &[String], subject: &str) -> bool {
        patterns.iter().any(|pattern| subjects::matches(pattern, subject))
    }

    #[test]
    fn only_the_own_inbox_is_heard() {
        for row in ROWS {
            for other in users() {
                let inbox = format!("{}.abc", subjects::inbox_prefix(other));
                assert_eq!(allows(&row.subscribe_allowed(), &inbox), row.user == other, "{} hears {inbox}", row.user);
            }
            assert!(!allows(&row.subscribe_allowed(), "_INBOX.abc"));
        }
    }

    #[test]
    fn nobody_but_the_administrator_may_provision() {
        for row in ROWS {
            for subject in
                ["STREAM.CREATE.X", "STREAM.UPDATE.JOBS", "STREAM.DELETE.JOBS", "CONSUMER.DURABLE.CREATE.JOBS.x", "CONSUMER.CREATE.JOBS.x"]
            {
                assert!(!allows(&row.publish_allowed(), &format!("$JS.API.{subject}")), "{}: {subject}", row.user);
            }
        }
    }
}
