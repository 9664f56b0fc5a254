//! Plain subscriptions (heartbeats, goodbyes, verdicts, republished results, progress of experiments) and the buckets' values.

use std::sync::Arc;

use async_nats::datetime::parse_rfc3339;
use async_nats::header;
use async_nats::jetstream::kv;
use async_nats::{Message, Subject};
use faultline_protocol::codec::{self, DecodeError};
use faultline_protocol::messages::{
    ChaosProgress, DemoScene, Goodbye, GoodputHistory, Heartbeat, InForce, LedgerSnapshot, NodeRegistration, RateSetting, Verdict,
    is_returned,
};
use faultline_protocol::{streams, subjects};
use faultline_runtime::clock::unix_ms;
use faultline_runtime::clock_check::stored_ms;
use faultline_runtime::connect::Nats;
use faultline_runtime::watch::Watched;
use futures::StreamExt;
use futures::stream::select_all;
use tokio::sync::mpsc;

use super::sink::{PAUSE, Sink};
use super::tail::ResultsGap;
use crate::cluster::Record;
use crate::view::View;

/// Messages that are put into the view under one lock.
const BATCH: usize = 256;
const SUBJECTS: [&str; 5] =
    [subjects::HEARTBEAT_ALL, subjects::GOODBYE_ALL, subjects::VERDICT_ALL, subjects::DONE_ALL, subjects::CHAOS_PROGRESS_ALL];

/// Reads the plain subscriptions for ever. The client renews them after a reconnect by itself.
pub(crate) async fn run(nats: Nats, sink: Sink, gap: Arc<ResultsGap>) {
    loop {
        match subscribe(&nats).await {
            Ok(subscriptions) => {
                let mut batches = select_all(subscriptions).ready_chunks(BATCH);
                while let Some(batch) = batches.next().await {
                    take(&sink, &gap, &batch);
                }
            }
            Err(reason) => tracing::warn!(reason, "subscribing failed: trying again"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn subscribe(nats: &Nats) -> Result<Vec<async_nats::Subscriber>, String> {
    let mut subscriptions = Vec::new();
    for subject in SUBJECTS {
        subscriptions.push(nats.client.subscribe(subject).await.map_err(|error| error.to_string())?);
    }
    Ok(subscriptions)
}

fn take(sink: &Sink, gap: &ResultsGap, batch: &[Message]) {
    let now_ms = unix_ms();
    // Decoding needs no lock.
    let news: Vec<(&Subject, Result<News, DecodeError>)> = batch
        .iter()
        .filter(|message| !is_returned(message.headers.as_ref()))
        .map(|message| (&message.subject, News::decode(message, now_ms)))
        .collect();
    for message in batch.iter().filter(|message| message.subject.starts_with("job.done.")) {
        gap.saw(sequence(message));
    }
    let mut bad = Vec::new();
    {
        let mut view = sink.view.write();
        for (subject, item) in news {
            match item {
                Ok(item) => item.apply(&mut view, now_ms),
                Err(error) => bad.push((subject, error)),
            }
        }
    }
    for (subject, error) in bad {
        sink.undecodable(subject, &error);
    }
}

/// The sequence in RESULTS of a republished record.
fn sequence(message: &Message) -> Option<u64> {
    message.headers.as_ref()?.get(header::NATS_SEQUENCE)?.as_str().parse().ok()
}

/// When a republished record was stored.
fn republished_ms(message: &Message) -> Option<u64> {
    let text = message.headers.as_ref()?.get(header::NATS_TIME_STAMP)?.as_str();
    parse_rfc3339(text).ok().map(stored_ms)
}

enum News {
    Heartbeat(Heartbeat),
    Goodbye(Goodbye),
    Verdict(Verdict),
    Record(Record),
    Chaos(Box<ChaosProgress>),
}

impl News {
    fn decode(message: &Message, now_ms: u64) -> Result<Self, DecodeError> {
        match message.subject.as_str() {
            subject if subject.starts_with("node.hb.") => codec::decode_plain(subjects::HEARTBEAT_ALL, message).map(News::Heartbeat),
            subject if subject.starts_with("node.bye.") => codec::decode_plain(subjects::GOODBYE_ALL, message).map(News::Goodbye),
            subject if subject.starts_with("node.verdict.") => codec::decode_plain(subjects::VERDICT_ALL, message).map(News::Verdict),
            subject if subject.starts_with("chaos.") => {
                codec::decode_plain(subjects::CHAOS_PROGRESS_ALL, message).map(|progress| News::Chaos(Box::new(progress)))
            }
            _ => Record::decode(message.headers.as_ref(), &message.payload)
                .map(|record| News::Record(record.stored_at(republished_ms(message).unwrap_or(now_ms)))),
        }
    }

    fn apply(self, view: &mut View, now_ms: u64) {
        match self {
            News::Heartbeat(heartbeat) => view.on_heartbeat(heartbeat, now_ms),
            News::Goodbye(goodbye) => view.on_goodbye(&goodbye),
            News::Verdict(verdict) => view.on_verdict(verdict),
            News::Chaos(progress) => view.chaos.on_progress(*progress),
            News::Record(Record::Open(marker)) => view.jobs.on_open(marker),
            News::Record(Record::Ended(record)) => view.on_end(*record),
        }
    }
}

/// The buckets that are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bucket {
    Nodes,
    Health,
    Control,
    Ledger,
}

impl Bucket {
    pub(crate) const ALL: [Bucket; 4] = [Bucket::Nodes, Bucket::Health, Bucket::Control, Bucket::Ledger];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Bucket::Nodes => streams::KV_NODES,
            Bucket::Health => streams::KV_HEALTH,
            Bucket::Control => streams::KV_CONTROL,
            Bucket::Ledger => streams::KV_LEDGER,
        }
    }
}

/// Takes the values of one bucket, the present ones first, until the watch ends.
pub(crate) async fn run_bucket(sink: Sink, bucket: Bucket, mut entries: mpsc::Receiver<Watched>) {
    while let Some(watched) = entries.recv().await {
        let entry = match watched {
            Watched::Entry(entry) => entry,
            Watched::Vanished(key) => {
                forget_entry(&mut sink.view.write(), bucket, &key, unix_ms());
                continue;
            }
            Watched::BeganAgain => continue,
        };
        // The lock must be free again before a failure is counted.
        let outcome = apply_entry(&mut sink.view.write(), bucket, &entry);
        if let Err(error) = outcome {
            sink.undecodable(&format!("{}.{}", bucket.name(), entry.key), &error);
        }
    }
}

/// A key has vanished without having been deleted. Its writer, if it lives, writes it again; until then the bucket says nothing.
fn forget_entry(view: &mut View, bucket: Bucket, key: &str, now_ms: u64) {
    match bucket {
        Bucket::Nodes if !view.nodes.is_heard(key, now_ms) => view.nodes.remove(key),
        Bucket::Control if key == streams::KEY_RATE => view.on_rate(None),
        Bucket::Control if key == streams::KEY_DEMO => view.on_demo(None),
        Bucket::Control => {
            if let Some(node) = subjects::drained_node(key) {
                view.nodes.set_draining(node, false);
            }
        }
        Bucket::Nodes | Bucket::Health | Bucket::Ledger => {}
    }
}

/// Puts one value of a bucket into the view.
fn apply_entry(view: &mut View, bucket: Bucket, entry: &kv::Entry) -> Result<(), DecodeError> {
    let there = entry.operation == kv::Operation::Put;
    match bucket {
        Bucket::Nodes if there => view.on_registration(codec::decode_body::<NodeRegistration>(&entry.value)?),
        Bucket::Nodes => view.nodes.remove(&entry.key),
        Bucket::Health if there => view.on_verdict(codec::decode_body::<Verdict>(&entry.value)?),
        Bucket::Ledger if there && entry.key == streams::KEY_LEDGER => view.on_ledger(codec::decode_body::<LedgerSnapshot>(&entry.value)?),
        Bucket::Ledger if there && entry.key == streams::KEY_GOODPUT => {
            view.on_goodput(codec::decode_body::<GoodputHistory>(&entry.value)?)
        }
        Bucket::Health | Bucket::Ledger => {}
        Bucket::Control if entry.key == streams::KEY_RATE => {
            let rate = there.then(|| codec::decode_body::<RateSetting>(&entry.value)).transpose()?;
            view.on_rate(rate);
        }
        Bucket::Control if entry.key == streams::KEY_DEMO => {
            view.on_demo(there.then(|| codec::decode_body::<DemoScene>(&entry.value)).transpose()?);
        }
        Bucket::Control if entry.key == streams::KEY_IN_FORCE => {
            let said = there.then(|| codec::decode_body::<InForce>(&entry.value)).transpose()?;
            view.on_in_force(said, unix_ms());
        }
        Bucket::Control => {
            if let Some(node) = subjects::drained_node(&entry.key) {
                view.nodes.set_draining(node, there);
            }
        }
    }
    Ok(())
}
