//! Who may publish and hear what: one row a user. A leaked key of one service must not be able to play another one.
//! What the rows stand for on the wire (JetStream's API subjects) is spelled out here too; the file's syntax is not.

use faultline_protocol::{streams, subjects};

/// One user of the account APP.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) user: &'static str,
    pub(crate) publish: &'static [&'static str],
    pub(crate) subscribe: &'static [&'static str],
    /// Buckets that are read and watched.
    pub(crate) read_buckets: &'static [&'static str],
    pub(crate) write_buckets: &'static [&'static str],
    /// Streams that are read directly and through ephemeral consumers.
    pub(crate) read_streams: &'static [&'static str],
}

/// The user that provisions; it may do everything inside APP.
pub(crate) const ADMIN: &str = "admin";

const READ_JOBS: [&str; 4] =
    ["$JS.API.DIRECT.GET.JOBS", "$JS.API.DIRECT.GET.JOBS.>", "$JS.API.STREAM.MSG.GET.JOBS", "$JS.API.CONSUMER.INFO.JOBS.*"];

/// The user of `faultline up` for experiments.
pub(crate) const UP: &str = "up";

/// The user of programs that run `service:NAME` jobs.
pub(crate) const EXECUTOR: &str = "executor";

/// The rows, one a service.
pub(crate) const ROWS: [Row; 8] = [
    Row {
        user: "generator",
        publish: &["job.q.>", "job.res.*", "job.ev.*", "node.ev.*", subjects::SCHED_QUERY, subjects::SCHED_CANCEL],
        subscribe: &[subjects::DONE_ALL],
        read_buckets: &[streams::KV_CONTROL],
        // A rate given on the command line becomes the setting that everybody sees.
        write_buckets: &[streams::KV_CONTROL],
        read_streams: &[streams::RESULTS],
    },
    Row {
        user: "scheduler",
        publish: &[
            "assign.*",
            "ctl.*.*",
            "job.q.>",
            "job.res.*",
            "job.dead.*",
            "job.ev.*",
            "node.ev.*",
            "sched.*",
            "$JS.ACK.>",
            "$JS.API.CONSUMER.INFO.JOBS.*",
            "$JS.API.CONSUMER.MSG.NEXT.JOBS.*",
            "$JS.API.STREAM.PURGE.JOBS",
            "$JS.API.STREAM.MSG.GET.JOBS",
            "$JS.API.STREAM.MSG.DELETE.JOBS",
            "$JS.API.DIRECT.GET.>",
        ],
        subscribe: &["node.>", subjects::DONE_ALL, "sched.>", subjects::JOB_EVENT_ALL, subjects::FAULT_EVENT_ALL, "$JS.EVENT.ADVISORY.>"],
        read_buckets: &[streams::KV_LEASE, streams::KV_NODES, streams::KV_HEALTH, streams::KV_CONTROL, streams::KV_LEDGER],
        write_buckets: &[streams::KV_LEASE, streams::KV_LEDGER, streams::KV_NODES],
        read_streams: &[streams::RESULTS, streams::EVENTS, streams::DEAD, streams::ADVISORY],
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
            "job.dead.*",
            subjects::SCHED_ENDED,
            subjects::SCHED_SYNCED,
            "$JS.ACK.>",
            "$JS.API.DIRECT.GET.RESULTS.>",
            "$JS.API.DIRECT.GET.RESULTS",
            subjects::EXEC_ALL,
            subjects::EXEC_CANCEL_ALL,
        ],
        subscribe: &["assign.*", "ctl.*.*", subjects::EXEC_REPLY_ALL],
        read_buckets: &[streams::KV_NODES, streams::KV_CONTROL, streams::KV_CLAIMS],
        write_buckets: &[streams::KV_NODES, streams::KV_CLAIMS],
        read_streams: &[],
    },
    Row {
        user: "fault-detector",
        publish: &["node.verdict.*", "ctl.*.ping", "node.ev.*", "fault.ev.*", "job.ev.*", subjects::SCHED_QUERY, "$JS.ACK.>"],
        subscribe: &["node.>", "sysev.>", subjects::FAULT_EVENT_ALL, "$JS.EVENT.ADVISORY.>"],
        read_buckets: &[streams::KV_NODES, streams::KV_HEALTH, streams::KV_CONTROL],
        write_buckets: &[streams::KV_HEALTH],
        read_streams: &[streams::EVENTS, streams::ADVISORY],
    },
    // `faultline up` itself, once it runs: it carries out experiments, and reads what came of them.
    Row {
        user: UP,
        publish: &["fault.ev.*", subjects::CHAOS_PROGRESS_ALL, subjects::SCHED_QUERY, "ctl.*.fault", "ctl.*.ping"],
        subscribe: &[subjects::CHAOS_RUN, subjects::CHAOS_ABORT, subjects::CHAOS_LIST],
        read_buckets: &[streams::KV_NODES, streams::KV_LEDGER],
        write_buckets: &[],
        read_streams: &[streams::RESULTS, streams::EVENTS, streams::DEAD],
    },
    // Other people's programs: they are asked, and answer on subjects that nothing but attempts listens to. `allow_responses` would be one
    // message within two minutes, too little for progress, or without bounds, which the server would have to keep for every request.
    Row {
        user: EXECUTOR,
        publish: &[subjects::EXEC_REPLY_ALL],
        subscribe: &[subjects::EXEC_ALL, subjects::EXEC_CANCEL_ALL],
        read_buckets: &[],
        write_buckets: &[],
        read_streams: &[],
    },
    operator("dashboard"),
    operator("cli"),
];

/// What a person does through the page or the command: submit, ask, cancel, drain, set the rate, break nodes, look at everything.
const fn operator(user: &'static str) -> Row {
    Row {
        user,
        publish: &[
            "job.q.>",
            "job.res.*",
            "job.ev.*",
            "node.ev.*",
            subjects::SCHED_QUERY,
            subjects::SCHED_CANCEL,
            subjects::CHAOS_RUN,
            subjects::CHAOS_ABORT,
            subjects::CHAOS_LIST,
            "ctl.*.fault",
            "ctl.*.ping",
            "$JS.ACK.>",
            "$JS.API.INFO",
            "$JS.API.STREAM.NAMES",
            "$JS.API.STREAM.LIST",
            "$JS.API.CONSUMER.LIST.*",
            // JOBS is a work queue: it refuses ordered consumers, so nothing but direct reads makes sense there.
            READ_JOBS[0],
            READ_JOBS[1],
            READ_JOBS[2],
            READ_JOBS[3],
        ],
        subscribe: &[subjects::DONE_ALL, subjects::JOB_EVENT_ALL, "node.>", subjects::FAULT_EVENT_ALL, subjects::CHAOS_PROGRESS_ALL],
        read_buckets: &[streams::KV_LEASE, streams::KV_NODES, streams::KV_HEALTH, streams::KV_CONTROL, streams::KV_LEDGER],
        write_buckets: &[streams::KV_CONTROL],
        read_streams: &[streams::RESULTS, streams::EVENTS, streams::DEAD, streams::ADVISORY],
    }
}

/// All users, the administrator first.
pub(crate) fn users() -> impl Iterator<Item = &'static str> {
    std::iter::once(ADMIN).chain(ROWS.iter().map(|row| row.user))
}

impl Row {
    /// Every subject that this user may publish.
    pub(crate) fn publish_allowed(&self) -> Vec<String> {
        let mut allowed: Vec<String> = self.publish.iter().map(|&subject| subject.to_owned()).collect();
        // To ask the NATS services API, and to see that everything is provisioned. An executor needs neither to be asked.
        if self.user != EXECUTOR {
            allowed.extend(["$SRV.>", "$JS.API.STREAM.INFO.*"].map(String::from));
        }
        for stream in self.read_streams {
            allowed.extend(reading(stream));
        }
        for bucket in self.read_buckets {
            allowed.extend(reading(&format!("KV_{bucket}")));
        }
        allowed.extend(self.write_buckets.iter().map(|bucket| format!("$KV.{bucket}.>")));
        if !self.read_buckets.is_empty() || !self.read_streams.is_empty() {
            // Watches are pushed with flow control.
            allowed.push("$JS.FC.>".into());
        }
        allowed.sort();
        allowed.dedup();
        allowed
    }

    /// Every subject that this user may hear.
    pub(crate) fn subscribe_allowed(&self) -> Vec<String> {
        let mut allowed: Vec<String> = self.subscribe.iter().map(|&subject| subject.to_owned()).collect();
        allowed.extend([format!("{}.>", subjects::inbox_prefix(self.user)), "$SRV.>".into()]);
        allowed
    }
}

/// JetStream's API for looking at a stream: direct reads, and ephemeral consumers, whose creation has two forms.
fn reading(stream: &str) -> [String; 8] {
    [
        format!("$JS.API.DIRECT.GET.{stream}"),
        format!("$JS.API.DIRECT.GET.{stream}.>"),
        format!("$JS.API.STREAM.MSG.GET.{stream}"),
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

    fn matches(pattern: &str, subject: &str) -> bool {
        let mut pattern = pattern.split('.');
        let mut subject = subject.split('.');
        loop {
            match (pattern.next(), subject.next()) {
                (Some(">"), Some(_)) | (None, None) => return true,
                (Some("*"), Some(_)) => {}
                (Some(wanted), Some(found)) if wanted == found => {}
                _ => return false,
            }
        }
    }

    fn may_publish(user: &str, subject: &str) -> bool {
        let row = ROWS.iter().find(|row| row.user == user).unwrap();
        row.publish_allowed().iter().any(|pattern| matches(pattern, subject))
    }

    fn may_hear(user: &str, subject: &str) -> bool {
        let row = ROWS.iter().find(|row| row.user == user).unwrap();
        row.subscribe_allowed().iter().any(|pattern| matches(pattern, subject))
    }

    #[test]
    fn each_service_may_do_its_own_work() {
        for (user, subject) in [
            ("generator", "job.q.high.sleep.01"),
            ("scheduler", "assign.worker-01"),
            ("scheduler", "$JS.API.CONSUMER.MSG.NEXT.JOBS.sched-high"),
            ("scheduler", "$KV.LEASE.scheduler"),
            ("scheduler", "$JS.API.CONSUMER.CREATE.KV_NODES.name.$KV.NODES.>"),
            ("worker", "$JS.ACK.JOBS.sched-high.1.2.3.4.5"),
            ("worker", "$JS.API.DIRECT.GET.RESULTS.job.res.01"),
            ("worker", "sched.ended"),
            ("worker", "$KV.CLAIMS.worker-03"),
            ("fault-detector", "ctl.worker-01.ping"),
            ("fault-detector", "$KV.HEALTH.gpu-node-01"),
            ("dashboard", "$KV.CONTROL.rate"),
            ("dashboard", "ctl.worker-01.fault"),
            ("dashboard", "$JS.API.CONSUMER.LIST.JOBS"),
            ("dashboard", "$JS.API.DIRECT.GET.JOBS.job.q.high.sleep.01"),
            ("cli", "ctl.worker-01.fault"),
            ("cli", "sched.query"),
            ("cli", "chaos.run"),
            ("dashboard", "chaos.abort"),
            ("up", "fault.ev.worker-01"),
            ("up", "ctl.worker-01.fault"),
            ("up", "chaos.progress.01"),
            ("worker", "exec.greet"),
            ("worker", "exec.cancel.01"),
            ("executor", "exec.reply.01"),
        ] {
            assert!(may_publish(user, subject), "{user} must be able to publish {subject}");
        }
        assert!(may_hear("worker", "assign.worker-01") && may_hear("fault-detector", "sysev.disconnect"));
        assert!(may_hear("executor", "exec.greet") && may_hear("executor", "exec.cancel.01") && may_hear("worker", "exec.reply.01"));
        assert!(may_hear("up", "chaos.run") && may_hear("dashboard", "chaos.progress.01"));
    }

    #[test]
    fn no_service_may_play_another() {
        for (user, subject) in [
            ("worker", "job.q.high.sleep.01"),
            ("worker", "node.verdict.gpu-node-01"),
            ("worker", "assign.worker-02"),
            ("worker", "$KV.LEASE.scheduler"),
            ("worker", "$JS.API.STREAM.DELETE.JOBS"),
            ("scheduler", "$KV.CLAIMS.worker-03"),
            ("generator", "$JS.ACK.JOBS.sched-high.1.2.3.4.5"),
            ("generator", "assign.worker-01"),
            ("fault-detector", "job.res.01"),
            ("fault-detector", "ctl.worker-01.kill"),
            ("dashboard", "assign.worker-01"),
            ("worker", "chaos.run"),
            ("up", "ctl.worker-01.kill"),
            ("up", "job.q.high.sleep.01"),
            ("up", "job.res.01"),
            ("cli", "chaos.progress.01"),
            ("cli", "ctl.worker-01.kill"),
            ("cli", "$KV.LEASE.scheduler"),
            ("cli", "$JS.API.CONSUMER.DELETE.JOBS.sched-high"),
            ("cli", "$JS.API.STREAM.PURGE.JOBS"),
            ("worker", "exec.reply.01"),
            ("executor", "exec.greet"),
            ("executor", "exec.cancel.01"),
            ("executor", "job.res.01"),
            ("executor", "job.q.high.sleep.01"),
            ("executor", "assign.worker-01"),
            ("executor", "$JS.ACK.JOBS.sched-high.1.2.3.4.5"),
            ("executor", "$JS.API.STREAM.INFO.JOBS"),
            ("executor", "_INBOX_worker.abc"),
        ] {
            assert!(!may_publish(user, subject), "{user} must not be able to publish {subject}");
        }
    }

    #[test]
    fn an_executor_hears_its_jobs_and_nothing_else() {
        for subject in ["job.res.01", "job.q.high.sleep.01", "node.hb.gpu-node-01", "exec.reply.01", "assign.worker-01"] {
            assert!(!may_hear("executor", subject), "{subject}");
        }
    }

    #[test]
    fn only_the_own_inbox_is_heard() {
        for row in ROWS {
            for other in users() {
                let inbox = format!("{}.abc", subjects::inbox_prefix(other));
                assert_eq!(may_hear(row.user, &inbox), row.user == other, "{} hears {inbox}", row.user);
            }
            assert!(!may_hear(row.user, "_INBOX.abc"));
        }
    }
}
