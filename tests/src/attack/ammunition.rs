//! What is sent where. Half of it are golden messages that were cut, flipped, spliced or sent under another kind or version, half is noise.
//! Names in the golden messages are replaced by those of strangers, and what carries authority even from a stranger (an epoch, an order
//! to break something) is only sent when it cannot be read: a message that is well formed and false is a forgery, not garbage.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use async_nats::HeaderMap;
use faultline_protocol::codec::{self, HEADER_JOB_OPEN_SEQ, HEADER_JOB_STATE, HEADER_KIND, HEADER_TRACEPARENT, HEADER_VERSION};
use faultline_protocol::messages::{
    AssignBatch, ChaosRequest, FaultOrder, KillAttempts, KillRequest, LedgerSnapshot, NodeRegistration, ProcessesQuery, SyncOrder, Verdict,
};
use faultline_runtime::clock::unix_ms;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;

/// In the name of whatever is made up.
pub const STRANGER: &str = "nobody";
const MAX_NOISE: usize = 600;
/// Now and then one that fills the server's largest message.
const LARGE_ONE_IN: u32 = 2_000;
const LARGE: usize = 1_000_000;

/// One message.
#[derive(Debug, Clone)]
pub struct Shot {
    pub target: &'static str,
    pub subject: String,
    pub headers: Option<HeaderMap>,
    pub body: Vec<u8>,
}

type Reads = fn(Option<&HeaderMap>, &[u8]) -> bool;

/// Where something is sent, and as what.
struct Target {
    name: &'static str,
    /// `{id}` a job's id, `{node}`, `{worker}` and `{token}` a name, `{priority}` one of the four.
    subject: &'static str,
    kinds: &'static [&'static str],
    /// What must not be readable there.
    never: Option<Reads>,
}

fn reads<M: codec::Message>(headers: Option<&HeaderMap>, body: &[u8]) -> bool {
    codec::decode::<M>(headers, body).is_ok() || codec::decode_body::<M>(body).is_ok()
}

const fn target(name: &'static str, subject: &'static str, kinds: &'static [&'static str], never: Option<Reads>) -> Target {
    Target { name, subject, kinds, never }
}

/// Everything that some process listens to and a key can publish, but RESULTS.
const TARGETS: [Target; 37] = [
    target("job.q", "job.q.{priority}.{token}.{id}", &["queued-job"], None),
    target("job.q", "job.q.{priority}.sleep.{token}", &["queued-job", "open-marker"], None),
    target("job.done", "job.done.{id}", &["open-marker", "terminal-record"], None),
    target("job.ev", "job.ev.{id}", &["event-batch"], None),
    target("job.ev", "job.ev.many", &["event-batch"], None),
    target("node.ev", "node.ev.{node}", &["event-batch"], None),
    target("fault.ev", "fault.ev.{node}", &["event-batch"], None),
    target("job.dead", "job.dead.{id}", &["dead-letter"], None),
    target("assign", "assign.{worker}", &["assign-batch"], Some(reads::<AssignBatch>)),
    target("ctl", "ctl.{worker}.ping", &["ping"], None),
    target("ctl", "ctl.{worker}.kill", &["kill-attempts"], Some(reads::<KillAttempts>)),
    target("ctl", "ctl.{worker}.sync", &["sync-order"], Some(reads::<SyncOrder>)),
    target("ctl", "ctl.{worker}.fault", &["fault-order"], Some(reads::<FaultOrder>)),
    target("ctl", "ctl.{worker}.{token}", &["ping", "sync-order"], None),
    target("ctl", "ctl.all.sync", &["sync-order"], Some(reads::<SyncOrder>)),
    target("node.hb", "node.hb.{node}", &["heartbeat"], None),
    target("node.bye", "node.bye.{node}", &["goodbye"], None),
    target("node.verdict", "node.verdict.{node}", &["verdict"], None),
    target("sched.query", "sched.query", &["query"], None),
    target("sched.cancel", "sched.cancel", &["cancel-request"], None),
    target("sched.ended", "sched.ended", &["ended-batch"], None),
    target("sched.synced", "sched.synced", &["worker-sync"], None),
    target("chaos", "chaos.kill", &["kill-request"], Some(reads::<KillRequest>)),
    target("chaos", "chaos.run", &["chaos-request"], Some(reads::<ChaosRequest>)),
    target("chaos", "chaos.abort", &["chaos-abort"], None),
    target("chaos", "chaos.list", &["chaos-list-query"], None),
    target("up", "up.processes", &["processes-query"], Some(reads::<ProcessesQuery>)),
    target("chaos", "chaos.progress.{token}", &["chaos-progress"], None),
    target("exec", "exec.{token}", &["ping"], None),
    target("exec", "exec.reply.{id}", &["ping"], None),
    target("exec", "exec.cancel.{id}", &["ping"], None),
    target("KV NODES", "$KV.NODES.{stranger}", &["node-registration"], Some(reads::<NodeRegistration>)),
    target("KV HEALTH", "$KV.HEALTH.{stranger}", &["verdict"], Some(reads::<Verdict>)),
    target("KV CONTROL", "$KV.CONTROL.{setting}", &["rate-setting", "kind-mix", "drain-setting"], None),
    target("KV LEASE", "$KV.LEASE.{stranger}", &["lease-record"], None),
    target("KV LEDGER", "$KV.LEDGER.{stranger}", &["ledger-snapshot"], Some(reads::<LedgerSnapshot>)),
    target("$SRV", "$SRV.{srv}", &["ping"], None),
];

/// The records: what is written there stays in the books.
const RECORDS: [Target; 2] = [
    target("job.res", "job.res.{id}", &["open-marker", "terminal-record"], None),
    target("job.res", "job.res.{token}", &["terminal-record"], None),
];

/// The golden messages and a seed.
pub struct Arsenal {
    seed: u64,
    workers: usize,
    /// By kind, all its variants.
    golden: BTreeMap<String, Vec<Vec<u8>>>,
}

impl Arsenal {
    /// Reads tests/golden.
    pub fn load(seed: u64, workers: usize) -> anyhow::Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
        let mut golden: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        let kinds = || TARGETS.iter().chain(&RECORDS).flat_map(|target| target.kinds);
        for entry in std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            let name =
                path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".v1.msgpack")).unwrap_or_default();
            // Longest first: `query-reply` is not a variant of `query`.
            let kind = kinds().filter(|kind| name == **kind || name.starts_with(&format!("{kind}-"))).max_by_key(|kind| kind.len());
            if let Some(kind) = kind {
                golden.entry((*kind).to_owned()).or_default().push(with_strangers(std::fs::read(&path)?));
            }
        }
        for kind in kinds() {
            anyhow::ensure!(golden.contains_key(*kind), "there is no golden file of the kind {kind}");
        }
        Ok(Self { seed, workers, golden })
    }

    /// Endless garbage for everything but RESULTS.
    pub fn shots(&self) -> impl Iterator<Item = Shot> {
        self.draw(&TARGETS, self.seed)
    }

    /// The same for RESULTS.
    pub fn records(&self) -> impl Iterator<Item = Shot> {
        self.draw(&RECORDS, self.seed ^ 1)
    }

    fn draw(&self, targets: &'static [Target], seed: u64) -> impl Iterator<Item = Shot> {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        std::iter::repeat_with(move || {
            let target = targets.choose(&mut rng).expect("there are targets");
            let subject = self.subject(target.subject, &mut rng);
            let (headers, mut body) = self.message(target, &mut rng);
            if target.never.is_some_and(|reads| reads(headers.as_ref(), &body)) {
                // No MessagePack begins with this byte.
                body.insert(0, 0xc1);
            }
            Shot { target: target.name, subject, headers, body }
        })
    }

    fn subject(&self, pattern: &str, rng: &mut Pcg64Mcg) -> String {
        let mut subject = pattern.to_owned();
        if subject.contains("{id}") {
            let id = faultline_engine::job::JobId::new(unix_ms(), u128::from(rng.next_u64()));
            subject = subject.replace("{id}", &id.to_string());
        }
        // Real names with false bodies, and names that no process has.
        let number = rng.random_range(1..=self.workers * 2);
        let name = |real: &str| if number > self.workers { format!("{STRANGER}-{number:02}") } else { format!("{real}-{number:02}") };
        subject = subject.replace("{node}", &name("gpu-node")).replace("{worker}", &name("worker"));
        for (part, choices) in [
            ("{priority}", &["urgent", "high", "normal", "low"][..]),
            ("{token}", &["x", "_", "-", "nobody", "SLEEP", "0", "many", "\u{fffd}", "%s%n", "$(id)", "%2f"][..]),
            ("{stranger}", &["nobody-01", "nobody-02", "nobody_x", "nobody=/a"][..]),
            ("{setting}", &["rate", "mix", "drain.nobody-01", "nobody", "drain.nobody/x"][..]),
            ("{srv}", &["PING", "INFO", "STATS", "PING.faultline-scheduler", "INFO.faultline-worker", "STATS.nobody"][..]),
        ] {
            if subject.contains(part) {
                subject = subject.replace(part, one_of(rng, choices));
            }
        }
        subject
    }

    fn message(&self, target: &Target, rng: &mut Pcg64Mcg) -> (Option<HeaderMap>, Vec<u8>) {
        let kind = one_of(rng, target.kinds);
        if rng.random_bool(0.5) {
            let body = noise(rng);
            return (rng.random_bool(0.7).then(|| headers(kind, rng)), body);
        }
        let mut body = self.golden[kind].choose(rng).expect("there are files").clone();
        for _ in 0..rng.random_range(0..3) {
            damage(&mut body, rng);
        }
        (Some(headers(kind, rng)), body)
    }
}

/// Golden messages name nodes and workers that there really are.
fn with_strangers(mut body: Vec<u8>) -> Vec<u8> {
    for (real, stranger) in [(&b"gpu-node-"[..], &b"nobody-x-"[..]), (b"worker-0", b"nobody-0")] {
        for at in 0..body.len().saturating_sub(real.len()) {
            if body[at..].starts_with(real) {
                body[at..at + real.len()].copy_from_slice(stranger);
            }
        }
    }
    body
}

fn headers(kind: &str, rng: &mut Pcg64Mcg) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let other = ["", "heartbeat", "Verdict", "\u{1b}]0;title\u{7}", "assign-batch; rm -rf /", "%s%s%s%n", "../../x"];
    headers.insert(HEADER_KIND, if rng.random_bool(0.8) { kind } else { one_of(rng, &other) });
    headers.insert(HEADER_VERSION, one_of(rng, &["1", "1", "1", "1", "0", "2", "-1", "4294967296", "one", ""]));
    if rng.random_bool(0.5) {
        headers.insert(HEADER_JOB_OPEN_SEQ, one_of(rng, &["1", "0", "18446744073709551615", "18446744073709551616", "-1", "x"]));
        headers.insert(HEADER_JOB_STATE, one_of(rng, &["open", "committed", "dead", "OPEN", "\u{1b}[2J"]));
        headers.insert(HEADER_TRACEPARENT, "00-not-a-trace");
    }
    headers
}

fn one_of(rng: &mut Pcg64Mcg, choices: &[&'static str]) -> &'static str {
    choices.choose(rng).copied().unwrap_or_default()
}

fn noise(rng: &mut Pcg64Mcg) -> Vec<u8> {
    if rng.random_ratio(1, LARGE_ONE_IN) {
        let heads = [0x91, 0x81, 0xdd, 0x00, 0xff];
        return vec![heads[rng.random_range(0..heads.len())]; LARGE];
    }
    let mut body = vec![0; rng.random_range(0..MAX_NOISE)];
    rng.fill_bytes(&mut body);
    match rng.random_range(0..8) {
        // Promises of four billion entries, deep nesting, JSON that is cut off, a terminal's orders.
        0 => [&b"\xdd\xff\xff\xff\xff"[..], &body].concat(),
        1 => [&b"\xdf\xff\xff\xff\xff"[..], &body].concat(),
        2 => vec![0x91; 4_000],
        3 => br#"{"client":{"name":"nobody","id":"#.to_vec(),
        4 => b"\xa9\x1b]0;owned\x07\r\n\x1b[2J%s%n$(reboot)`id`".to_vec(),
        _ => body,
    }
}

fn damage(body: &mut Vec<u8>, rng: &mut Pcg64Mcg) {
    if body.is_empty() {
        return;
    }
    let at = rng.random_range(0..body.len());
    match rng.random_range(0..4) {
        0 => body.truncate(at),
        1 => body[at] ^= rng.random_range(1..=255u8),
        2 => body.insert(at, rng.random()),
        _ => {
            let part = body[..at].to_vec();
            body.extend(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_and_every_target_is_hit() {
        let draw = |seed| Arsenal::load(seed, 2).unwrap().shots().take(3_000).map(|shot| (shot.target, shot.body)).collect::<Vec<_>>();
        assert!(draw(7) == draw(7) && draw(7) != draw(8));
        let hit: std::collections::BTreeSet<_> = draw(7).into_iter().map(|(target, _)| target).collect();
        assert_eq!(hit, TARGETS.iter().map(|target| target.name).collect::<std::collections::BTreeSet<_>>());
    }

    #[test]
    fn nothing_that_carries_authority_can_be_read() {
        for shot in Arsenal::load(7, 2).unwrap().shots().take(20_000) {
            if shot.subject.ends_with(".sync") {
                assert!(codec::decode::<SyncOrder>(shot.headers.as_ref(), &shot.body).is_err(), "{shot:?}");
            }
            assert!(!shot.body.windows(9).any(|part| part == b"gpu-node-"), "{shot:?}");
        }
    }
}
