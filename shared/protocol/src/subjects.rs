//! The only place with subject text: build, parse, filter.

use faultline_engine::job::{AttemptId, JobId, Priority, is_token};

pub mod packs;

/// JetStream's direct reads of JOBS, many in one request.
pub const JOBS_DIRECT_GET: &str = "$JS.API.DIRECT.GET.JOBS";
pub const QUEUE_ALL: &str = "job.q.>";
pub const RESULT_ALL: &str = "job.res.*";
pub const DONE_ALL: &str = "job.done.*";
pub const JOB_EVENT_ALL: &str = "job.ev.*";
pub const NODE_EVENT_ALL: &str = "node.ev.*";
pub const FAULT_EVENT_ALL: &str = "fault.ev.*";
pub const DEAD_ALL: &str = "job.dead.*";
pub const HEARTBEAT_ALL: &str = "node.hb.*";
pub const GOODBYE_ALL: &str = "node.bye.*";
pub const VERDICT_ALL: &str = "node.verdict.*";
/// Events about many jobs at once.
pub const JOB_EVENT_MANY: &str = "job.ev.many";
/// Broken invariants: a subject of their own, so that `audit` need not read the whole history.
pub const VIOLATION_EVENT: &str = "node.ev.violations";
pub const SCHED_QUERY: &str = "sched.query";
pub const SCHED_CANCEL: &str = "sched.cancel";
pub const SCHED_ENDED: &str = "sched.ended";
pub const SCHED_SYNCED: &str = "sched.synced";
pub const ASSIGN_ALL: &str = "assign.*";
pub const CTL_ALL: &str = "ctl.*.*";
pub const CTL_ALL_SYNC: &str = "ctl.all.sync";
/// Kills and experiments, answered by `faultline up`.
pub const CHAOS_KILL: &str = "chaos.kill";
pub const CHAOS_RUN: &str = "chaos.run";
pub const CHAOS_ABORT: &str = "chaos.abort";
pub const CHAOS_LIST: &str = "chaos.list";
/// Processes and the last lines of their logs, answered by `faultline up`.
pub const UP_PROCESSES: &str = "up.processes";
pub const CHAOS_PROGRESS_ALL: &str = "chaos.progress.*";
/// What executors of `service:NAME` jobs answer: `exec.<NAME>`.
pub const EXEC_ALL: &str = "exec.*";
pub const EXEC_REPLY_ALL: &str = "exec.reply.*";
pub const EXEC_CANCEL_ALL: &str = "exec.cancel.*";
/// What policy programs answer: `policy.<NAME>`.
pub const POLICY_ALL: &str = "policy.*";
/// The system account's connect and disconnect events, as the application account imports them.
pub const SYSTEM_CONNECT: &str = "sysev.connect";
pub const SYSTEM_DISCONNECT: &str = "sysev.disconnect";
/// JetStream's advisories about JOBS: deliveries exhausted, messages terminated.
pub const ADVISORIES: [&str; 2] =
    ["$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.JOBS.*", "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.JOBS.*"];

/// `job.q.<priority>.<class>.<id>`; `class` must be a token, which [`faultline_engine::job::JobSpec::validate`] sees to.
pub fn queue(priority: Priority, class: &str, job: JobId) -> String {
    format!("job.q.{priority}.{class}.{job}")
}

/// What the consumer of one priority filters on.
pub fn queue_filter(priority: Priority) -> String {
    format!("job.q.{priority}.>")
}

/// Where one job waits, whatever its priority and class: for purging.
pub fn queue_any(job: JobId) -> String {
    format!("job.q.*.*.{job}")
}

/// The last token of a `job.q` subject, which names the job when it is an id.
pub fn queued_job_id(subject: &str) -> Option<JobId> {
    let mut tokens = subject.split('.');
    if tokens.next() != Some("job") || tokens.next() != Some("q") {
        return None;
    }
    tokens.nth(2)?.parse().ok()
}

/// An ack subject of a stream that acts on the message with this stream sequence. The server looks at the consumer's sequence
/// only to see that it lies behind the ack floor and was handed out, so that of the last delivery serves for every message.
pub fn ack_of(stream: &str, consumer: &str, stream_seq: u64, last_delivered_seq: u64) -> String {
    format!("$JS.ACK.{stream}.{consumer}.1.{stream_seq}.{last_delivered_seq}.0.0")
}

/// The stream's sequence in an ack subject. A server that names domain and account puts two tokens more in front, and one behind.
pub fn ack_seq(subject: &str) -> Option<u64> {
    let mut tokens = subject.strip_prefix("$JS.ACK.")?.split('.');
    let count = tokens.clone().count();
    tokens.nth(if count > 7 { 5 } else { 3 })?.parse().ok()
}

/// Whether this is an ack subject of JOBS: a worker publishes to what an assignment names, and to nothing else.
pub fn is_ack(subject: &str) -> bool {
    subject.strip_prefix("$JS.ACK.JOBS.").is_some_and(|rest| rest.split('.').all(is_token))
}

pub fn result(job: JobId) -> String {
    format!("job.res.{job}")
}

pub fn done(job: JobId) -> String {
    format!("job.done.{job}")
}

/// The job named by `job.res.<id>` or `job.done.<id>`.
pub fn result_job_id(subject: &str) -> Option<JobId> {
    subject.strip_prefix("job.res.").or_else(|| subject.strip_prefix("job.done."))?.parse().ok()
}

pub fn job_event(job: JobId) -> String {
    format!("job.ev.{job}")
}

/// The job's interrupted attempts, apart from its last event: that one may be a failure which is read back, and must not be covered up.
pub fn job_interrupted_event(job: JobId) -> String {
    format!("job.ev.{job}-interrupted")
}

pub fn node_event(node: &str) -> String {
    format!("node.ev.{}", token(node))
}

pub fn fault_event(node: &str) -> String {
    format!("fault.ev.{}", token(node))
}

/// `job.dead.<id>`; anything else than a token is replaced.
pub fn dead(id: &str) -> String {
    format!("job.dead.{}", token(id))
}

pub fn heartbeat(node: &str) -> String {
    format!("node.hb.{}", token(node))
}

pub fn goodbye(node: &str) -> String {
    format!("node.bye.{}", token(node))
}

pub fn verdict(node: &str) -> String {
    format!("node.verdict.{}", token(node))
}

pub fn assign(worker: &str) -> String {
    format!("assign.{}", token(worker))
}

/// `ctl.<worker>.*`, what a worker listens to.
pub fn ctl_filter(worker: &str) -> String {
    format!("ctl.{}.*", token(worker))
}

pub fn ctl(worker: &str, verb: ControlVerb) -> String {
    format!("ctl.{}.{}", token(worker), verb.as_str())
}

/// What is told of one experiment while it runs.
pub fn chaos_progress(run: &str) -> String {
    format!("chaos.progress.{}", token(run))
}

/// Where the executor of `service:<name>` jobs is asked.
pub fn exec(name: &str) -> String {
    format!("exec.{}", token(name))
}

/// Where an executor says how one attempt goes. Of its own, not in the worker's inbox: who may answer here can answer nothing else.
pub fn exec_reply(attempt: AttemptId) -> String {
    format!("exec.reply.{attempt}")
}

/// Where an executor hears that an attempt shall stop.
pub fn exec_cancel(attempt: AttemptId) -> String {
    format!("exec.cancel.{attempt}")
}

/// Where the policy program `service:<name>` is asked.
pub fn policy(name: &str) -> String {
    format!("policy.{}", token(name))
}

/// What can be asked of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlVerb {
    Ping,
    Sync,
    Kill,
    Fault,
}

impl ControlVerb {
    pub fn as_str(self) -> &'static str {
        match self {
            ControlVerb::Ping => "ping",
            ControlVerb::Sync => "sync",
            ControlVerb::Kill => "kill",
            ControlVerb::Fault => "fault",
        }
    }

    /// The verb of a `ctl.<worker>.<verb>` subject.
    pub fn of_subject(subject: &str) -> Option<Self> {
        let verb = subject.strip_prefix("ctl.")?.split_once('.')?.1;
        [Self::Ping, Self::Sync, Self::Kill, Self::Fault].into_iter().find(|known| known.as_str() == verb)
    }
}

/// The inbox prefix of one service's user; its permissions allow this one alone.
pub fn inbox_prefix(user: &str) -> String {
    format!("_INBOX_{}", token(user).replace('-', "_"))
}

/// Where every process of a service answers by itself (NATS services API); whether or not one is there, a server that answers is.
pub fn service_ping(service: &str) -> String {
    format!("$SRV.PING.faultline-{}", token(service))
}

/// KV CONTROL key under which a node is drained.
pub fn drain_key(node: &str) -> String {
    format!("drain.{}", token(node))
}

/// The node named by a KV CONTROL drain key.
pub fn drained_node(key: &str) -> Option<&str> {
    key.strip_prefix("drain.").filter(|node| is_token(node))
}

/// Whether a subject is one of those that a filter with `*` and `>` stands for.
pub fn matches(filter: &str, subject: &str) -> bool {
    fn tokens(text: &str) -> impl Iterator<Item = &[u8]> {
        text.as_bytes().split(|byte| *byte == b'.')
    }
    let (mut filter, mut subject) = (tokens(filter), tokens(subject));
    loop {
        match (filter.next(), subject.next()) {
            (Some(b">"), Some(_)) | (None, None) => return true,
            (Some(b"*"), Some(_)) => {}
            (Some(wanted), Some(found)) if wanted == found => {}
            _ => return false,
        }
    }
}

/// Names come from validated places; an invalid one must not widen a subject.
fn token(name: &str) -> std::borrow::Cow<'_, str> {
    if is_token(name) {
        return name.into();
    }
    let clean: String = name.chars().take(64).map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    if clean.is_empty() { "_".into() } else { clean.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_subject_gives_its_job_back() {
        let job = JobId::new(5, 6);
        assert_eq!(queued_job_id(&queue(Priority::High, "matrix", job)), Some(job));
        assert_eq!(queued_job_id("job.q.high.matrix.nonsense"), None);
        assert_eq!(queued_job_id("other"), None);
        assert_eq!(result_job_id(&result(job)), Some(job));
        assert_eq!(result_job_id(&done(job)), Some(job));
    }

    #[test]
    fn a_job_of_a_pack_has_subjects_and_keys_of_its_own() {
        let job: JobId = "01M8NRP1V0QQQM1FBTTF2P0ABC-17".parse().unwrap();
        assert!(is_token(&job.to_string()), "one token of a subject, one key of a bucket, one segment of a path");
        assert_eq!(queued_job_id(&queue(Priority::High, "matrix", job)), Some(job));
        assert_eq!([result_job_id(&result(job)), result_job_id(&done(job))], [Some(job); 2]);
        assert_eq!(dead(&job.to_string()), "job.dead.01M8NRP1V0QQQM1FBTTF2P0ABC-17", "nothing of it is replaced");
        assert!(matches(&queue_any(job), &queue(Priority::Low, "sleep", job)) && matches(JOB_EVENT_ALL, &job_interrupted_event(job)));
        let others = [JobId::alone(job.pack()), JobId::of(job.pack(), 1, 256), JobId::of(job.pack(), 171, 256)];
        for other in others {
            assert!(!matches(&queue_any(other), &queue(Priority::Low, "sleep", job)), "a purge of one removes no other");
            assert!(job_event(other) != job_event(job) && job_interrupted_event(other) != job_interrupted_event(job));
        }
    }

    #[test]
    fn an_ack_subject_is_one_of_jobs_and_nothing_else() {
        assert!(is_ack("$JS.ACK.JOBS.sched-high.1.2.3.4.5") && is_ack(&ack_of("JOBS", "sched-low", 7, 9)));
        assert_eq!((ack_seq(&ack_of("JOBS", "sched-low", 7, 9)), ack_seq("$JS.ACK._.hash.JOBS.sched-low.1.7.9.0.0.x")), (Some(7), Some(7)));
        assert_eq!((ack_seq("assign.worker-01"), ack_seq("$JS.ACK.JOBS")), (None, None));
        for other in [
            "",
            "assign.worker-01",
            "$JS.ACK.RESULTS.x.1",
            "$JS.ACK.JOBS",
            "$JS.ACK.JOBS.a b",
            "$JS.ACK.JOBS.*",
            "$JS.ACK.JOBS.a\r\nPUB x 0",
        ] {
            assert!(!is_ack(other), "{other:?}");
        }
    }

    #[test]
    fn names_cannot_widen_a_subject() {
        assert_eq!(heartbeat("a.b.>"), "node.hb.a_b__");
        assert_eq!(assign(""), "assign._");
        assert_eq!(exec("reply.*"), "exec.reply__");
        assert_eq!(policy("mine.>"), "policy.mine__");
        assert_eq!(ControlVerb::of_subject("ctl.worker-01.kill"), Some(ControlVerb::Kill));
        assert_eq!(ControlVerb::of_subject("ctl.worker-01.explode"), None);
        assert_eq!(drained_node("drain.gpu-node-01"), Some("gpu-node-01"));
    }

    #[test]
    fn a_filter_stands_for_whole_tokens() {
        for (filter, subject, does) in [
            ("node.hb.*", "node.hb.gpu-node-01", true),
            ("node.hb.*", "node.hb", false),
            ("node.hb.*", "node.hb.a.b", false),
            ("job.q.>", "job.q.high.sleep.01", true),
            ("job.q.>", "job.q", false),
            ("sched.query", "sched.query", true),
            ("sched.query", "sched.cancel", false),
        ] {
            assert_eq!(matches(filter, subject), does, "{filter} and {subject}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_subject_parser_panics(text in ".{0,80}") {
            let _ = queued_job_id(&text);
            let _ = result_job_id(&text);
            let _ = ControlVerb::of_subject(&text);
            let _ = drained_node(&text);
            proptest::prop_assert_eq!(assign(&text).matches('.').count(), 1);
        }
    }
}
