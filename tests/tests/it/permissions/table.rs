//! The table: subjects and the users who may publish or hear them, beside the administrator, who may everything. Written by hand from what each
//! service is for, and not from shared/cluster/src/nats_server/permissions.rs, which it checks.

use faultline_protocol::subjects::matches;

/// All users.
pub(crate) const USERS: [&str; 10] =
    ["admin", "generator", "scheduler", "worker", "fault-detector", "up", "executor", "policy", "dashboard", "cli"];

/// All but the administrator, and the executors and policy programs, which are other people's.
const ALL: &str = "generator scheduler worker fault-detector up dashboard cli";
const NOBODY: &str = "";

/// A subject, and who may use it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) subject: String,
    pub(crate) users: Vec<&'static str>,
}

fn row(subject: impl Into<String>, users: &'static str) -> Row {
    Row { subject: subject.into(), users: users.split_whitespace().collect() }
}

/// Plain subjects, stored ones, buckets, and answers that go to another user.
const PUBLISH: &[(&str, &str)] = &[
    ("job.q.normal.sleep.01", "generator dashboard cli"),
    ("job.q.urgent.matrix.01", "generator dashboard cli"),
    ("job.res.01", "generator scheduler worker dashboard cli"),
    ("job.done.01", NOBODY),
    ("job.ev.01", "scheduler worker"),
    ("job.ev.many", "scheduler worker"),
    ("job.dead.01", "scheduler"),
    ("node.ev.gpu-node-01", "generator scheduler worker fault-detector up"),
    ("node.ev.violations", "generator scheduler worker fault-detector up"),
    ("fault.ev.gpu-node-01", "worker up"),
    ("node.hb.gpu-node-01", "worker"),
    ("node.bye.gpu-node-01", "worker"),
    ("node.verdict.gpu-node-01", "fault-detector"),
    ("assign.worker-01", "scheduler"),
    ("ctl.worker-01.ping", "fault-detector up dashboard cli"),
    ("ctl.worker-01.fault", "up dashboard cli"),
    ("ctl.worker-01.kill", "scheduler"),
    ("ctl.worker-01.sync", "scheduler"),
    ("ctl.all.sync", "scheduler"),
    ("sched.query", "generator up dashboard cli"),
    ("sched.cancel", "dashboard cli"),
    ("sched.ended", "worker"),
    ("sched.synced", "worker"),
    ("chaos.kill", "dashboard"),
    ("chaos.run", "dashboard cli"),
    ("chaos.abort", "dashboard cli"),
    ("chaos.list", "dashboard cli"),
    ("up.processes", "dashboard"),
    ("chaos.progress.01", "up"),
    ("exec.greet", "worker"),
    ("exec.cancel.01", "worker"),
    ("exec.reply.01", "executor"),
    ("policy.mine", "scheduler"),
    ("sysev.connect", NOBODY),
    ("sysev.disconnect", NOBODY),
    ("drain.gpu-node-01", NOBODY),
    ("anything", NOBODY),
    ("$KV.LEASE.scheduler", "scheduler"),
    ("$KV.NODES.gpu-node-01", "worker"),
    ("$KV.HEALTH.gpu-node-01", "fault-detector"),
    ("$KV.CONTROL.rate", "generator scheduler dashboard cli"),
    ("$KV.CONTROL.in-force", "generator scheduler dashboard cli"),
    ("$KV.CONTROL.drain.gpu-node-01", "generator scheduler dashboard cli"),
    ("$KV.LEDGER.snapshot", "scheduler"),
    ("$KV.CLAIMS.worker-03", "worker"),
    ("$KV.OTHER.key", NOBODY),
    ("$JS.ACK.JOBS.sched-high.1.2.3.4.5", "scheduler worker"),
    ("$JS.ACK.RESULTS.any.1.2.3.4.5", NOBODY),
    ("$JS.ACK.EVENTS.any.1.2.3.4.5", NOBODY),
    ("$JS.FC.RESULTS.any.x", NOBODY),
    ("$JS.FC.KV_NODES.any.x", "scheduler fault-detector dashboard"),
    ("$JS.FC.KV_CONTROL.any.x", "generator scheduler dashboard"),
    ("$JS.FC.KV_LEASE.any.x", NOBODY),
    ("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.JOBS.sched-high", NOBODY),
    ("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.JOBS.sched-high", NOBODY),
    ("$SRV.PING", NOBODY),
    ("$SRV.PING.faultline-fault-detector", "fault-detector"),
    ("$SRV.PING.faultline-worker", NOBODY),
    ("$SRV.INFO", "cli"),
    ("$SRV.STATS.faultline-scheduler", NOBODY),
    ("$SYS.REQ.SERVER.PING", NOBODY),
    ("$SYS.REQ.USER.INFO", "cli"),
    ("$SYS.REQ.ACCOUNT.PING.CONNZ", NOBODY),
    ("$SYS.ACCOUNT.WORKER.DISCONNECT", NOBODY),
    ("_INBOX.x", NOBODY),
    ("_INBOX_admin.x", NOBODY),
    ("_INBOX_generator.x", NOBODY),
    ("_INBOX_scheduler.x", NOBODY),
    ("_INBOX_worker.x", NOBODY),
    ("_INBOX_fault_detector.x", NOBODY),
    ("_INBOX_up.x", NOBODY),
    ("_INBOX_executor.x", NOBODY),
    ("_INBOX_policy.x", NOBODY),
    ("_INBOX_dashboard.x", NOBODY),
    ("_INBOX_cli.x", NOBODY),
    ("$JS.API.INFO", "cli"),
    ("$JS.API.STREAM.LIST", NOBODY),
    ("$JS.API.STREAM.NAMES", NOBODY),
    ("$JS.API.STREAM.CREATE.NEW", NOBODY),
    ("$JS.API.STREAM.TEMPLATE.CREATE.NEW", NOBODY),
    ("$JS.API.META.LEADER.STEPDOWN", NOBODY),
    ("$JS.API.SERVER.REMOVE", NOBODY),
    ("$JS.API.ACCOUNT.PURGE.QUEUE", NOBODY),
];

/// Streams, those of the buckets among them: who reads single messages, and who makes consumers to read them all.
const READ: &[(&str, &str, &str)] = &[
    ("JOBS", "dashboard", NOBODY),
    ("RESULTS", "generator scheduler worker up dashboard cli", "scheduler up dashboard cli"),
    ("EVENTS", "scheduler up dashboard cli", "up dashboard cli"),
    ("DEAD", "up dashboard cli", "up cli"),
    ("ADVISORY", NOBODY, NOBODY),
    ("KV_LEASE", "scheduler", NOBODY),
    ("KV_NODES", "scheduler worker fault-detector dashboard cli", "scheduler fault-detector dashboard"),
    ("KV_HEALTH", "scheduler fault-detector dashboard", "scheduler fault-detector dashboard"),
    ("KV_CONTROL", "generator scheduler dashboard cli", "generator scheduler dashboard"),
    ("KV_LEDGER", "scheduler up dashboard cli", "dashboard"),
    ("KV_CLAIMS", "worker", NOBODY),
];

/// What is asked of JetStream about one stream, and only the administrator may ask. `{}` is the stream.
const FORBIDDEN: &[&str] = &[
    "STREAM.CREATE.{}",
    "STREAM.UPDATE.{}",
    "STREAM.DELETE.{}",
    "STREAM.PURGE.{}",
    "STREAM.MSG.DELETE.{}",
    "STREAM.SNAPSHOT.{}",
    "STREAM.RESTORE.{}",
    "STREAM.PEER.REMOVE.{}",
    "STREAM.LEADER.STEPDOWN.{}",
    "CONSUMER.DURABLE.CREATE.{}.any",
    "CONSUMER.NAMES.{}",
    "CONSUMER.PAUSE.{}.any",
    "CONSUMER.UNPIN.{}.any",
    "CONSUMER.RESET.{}.any",
    "CONSUMER.LEADER.STEPDOWN.{}.any",
];

/// What differs from the rule for the stream: the whole row instead of the one above.
const EXCEPTIONS: &[(&str, &str)] = &[
    // Of a cancelled job.
    ("$JS.API.STREAM.PURGE.JOBS", "scheduler"),
    // Many in one request: what a former leader had pulled. Or one: what was submitted of a job that waits.
    ("$JS.API.DIRECT.GET.JOBS", "scheduler dashboard cli"),
    ("$JS.API.CONSUMER.INFO.JOBS.any", "scheduler cli"),
    ("$JS.API.CONSUMER.MSG.NEXT.JOBS.any", "scheduler"),
];

/// Everything that is tried to publish.
pub(crate) fn publish() -> Vec<Row> {
    let mut rows: Vec<Row> = PUBLISH.iter().map(|&(subject, users)| row(subject, users)).collect();
    for &(stream, get, follow) in READ {
        let verbs = [
            ("STREAM.INFO.{}", ALL),
            ("CONSUMER.LIST.{}", "dashboard"),
            ("DIRECT.GET.{}", get),
            ("DIRECT.GET.{}.some.subject", get),
            ("STREAM.MSG.GET.{}", get),
            ("CONSUMER.CREATE.{}", follow),
            ("CONSUMER.CREATE.{}.any", follow),
            ("CONSUMER.CREATE.{}.any.some.filter", follow),
            ("CONSUMER.INFO.{}.any", follow),
            ("CONSUMER.MSG.NEXT.{}.any", follow),
            ("CONSUMER.DELETE.{}.any", follow),
        ];
        let forbidden = FORBIDDEN.iter().map(|&verb| (verb, NOBODY));
        rows.extend(verbs.into_iter().chain(forbidden).map(|(verb, users)| row(format!("$JS.API.{}", verb.replace("{}", stream)), users)));
    }
    for &(subject, users) in EXCEPTIONS {
        let found = rows.iter_mut().find(|row| row.subject == subject).unwrap_or_else(|| panic!("no rule for the exception {subject}"));
        *found = row(subject, users);
    }
    rows
}

const SUBSCRIBE: &[(&str, &str)] = &[
    (">", NOBODY),
    ("job.>", NOBODY),
    ("job.q.>", NOBODY),
    ("job.res.*", NOBODY),
    ("job.done.*", "dashboard cli"),
    ("job.ev.*", NOBODY),
    ("job.dead.*", NOBODY),
    ("node.>", NOBODY),
    ("node.ev.*", NOBODY),
    ("fault.ev.*", NOBODY),
    ("node.hb.*", "scheduler fault-detector dashboard cli"),
    ("node.bye.*", "scheduler fault-detector dashboard"),
    ("node.verdict.*", "scheduler dashboard"),
    ("assign.*", "worker"),
    ("assign.worker-01", "worker"),
    ("ctl.worker-01.*", "worker"),
    ("ctl.all.sync", "worker"),
    ("ctl.>", NOBODY),
    ("sched.query", "scheduler"),
    ("sched.cancel", "scheduler"),
    ("sched.ended", "scheduler"),
    ("sched.synced", "scheduler"),
    ("sched.>", NOBODY),
    ("chaos.kill", "up"),
    ("chaos.run", "up"),
    ("chaos.abort", "up"),
    ("chaos.list", "up"),
    ("up.processes", "up"),
    ("chaos.progress.*", "dashboard cli"),
    ("exec.*", "executor"),
    ("exec.greet", "executor"),
    ("exec.cancel.*", "executor"),
    ("exec.reply.*", "worker"),
    // The server takes `>` for one of `*`; there is nothing more to hear by it.
    ("exec.>", "executor"),
    ("policy.*", "policy"),
    ("policy.mine", "policy"),
    ("policy.>", "policy"),
    ("sysev.connect", "fault-detector"),
    ("sysev.disconnect", "fault-detector"),
    ("$KV.>", NOBODY),
    ("$KV.LEASE.>", NOBODY),
    ("$KV.NODES.>", NOBODY),
    ("$KV.HEALTH.>", NOBODY),
    ("$KV.CONTROL.>", NOBODY),
    ("$KV.LEDGER.>", NOBODY),
    ("$KV.CLAIMS.>", NOBODY),
    ("$JS.>", NOBODY),
    ("$JS.ACK.>", NOBODY),
    ("$JS.API.>", NOBODY),
    ("$JS.EVENT.ADVISORY.>", NOBODY),
    ("$SYS.ACCOUNT.WORKER.CONNECT", NOBODY),
    // An executor may call itself as it likes.
    ("$SRV.>", "executor"),
    ("$SRV.PING", "generator scheduler worker fault-detector up executor policy dashboard cli"),
    ("$SRV.INFO", "generator scheduler worker fault-detector up executor policy dashboard cli"),
    ("$SRV.PING.faultline-fault-detector", "fault-detector executor"),
    ("$SRV.INFO.faultline-generator", "generator executor"),
    ("$SRV.INFO.faultline-scheduler", "scheduler executor"),
    ("$SRV.INFO.faultline-worker", "worker executor"),
    ("$SRV.PING.faultline-fault-detector.x", "fault-detector executor"),
    ("$SRV.STATS.faultline-dashboard.x", "dashboard executor"),
    ("_INBOX.>", NOBODY),
    ("_INBOX_admin.>", NOBODY),
    ("_INBOX_generator.>", "generator"),
    ("_INBOX_scheduler.>", "scheduler"),
    ("_INBOX_worker.>", "worker"),
    ("_INBOX_fault_detector.>", "fault-detector"),
    ("_INBOX_up.>", "up"),
    ("_INBOX_executor.>", "executor"),
    ("_INBOX_policy.>", "policy"),
    ("_INBOX_dashboard.>", "dashboard"),
    ("_INBOX_cli.>", "cli"),
];

/// Requests that a service answers.
pub(crate) const ANSWERED: [&str; 10] = [
    "sched.query",
    "sched.cancel",
    "ctl.worker-01.ping",
    "chaos.kill",
    "chaos.run",
    "chaos.abort",
    "chaos.list",
    "up.processes",
    "exec.reply.01",
    "policy.mine",
];

/// The account that stores what is published on a subject.
pub(crate) fn stored_in(subject: &str) -> Option<&'static str> {
    let start = subject.rsplit_once('.').map_or(subject, |(start, _)| start);
    match start {
        _ if subject.starts_with("job.q.") => Some("QUEUE"),
        "job.res" | "job.ev" | "job.dead" | "node.ev" | "fault.ev" => Some("RECORDS"),
        _ => None,
    }
}

/// The users who hear a plain subject.
pub(crate) fn hearers(subject: &str) -> impl Iterator<Item = &'static str> {
    // What the server takes for a part of `exec.*` and `policy.*` brings nothing more.
    let rows = SUBSCRIBE.iter().filter(|(filter, _)| !["exec.>", "policy.>"].contains(filter) && matches(filter, subject));
    rows.flat_map(|(_, users)| users.split_whitespace())
}

/// Everything that is tried to hear.
pub(crate) fn subscribe() -> Vec<Row> {
    SUBSCRIBE.iter().map(|&(subject, users)| row(subject, users)).collect()
}

/// A subject that a filter stands for.
pub(crate) fn one_of(filter: &str) -> String {
    filter.replace('*', "x").replace('>', "x.y")
}
