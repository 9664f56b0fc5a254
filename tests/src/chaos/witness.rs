//! An independent witness: reads every message of RESULTS from the first one on, by itself, and remembers who ended how
//! often. It shares no code with the ledger and the audit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use faultline_engine::job::{JobId, JobState};
use faultline_protocol::codec::HEADER_JOB_STATE;
use faultline_protocol::messages::OPEN;
use faultline_protocol::{streams, subjects};
use faultline_runtime::connect::Nats;
use futures::StreamExt;
use tokio::task::JoinHandle;

const PAUSE: Duration = Duration::from_millis(300);
const SILENCE_LIMIT: Duration = Duration::from_secs(5);

/// All that RESULTS ever said of one job.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Sequences of its open markers: one at most.
    pub openings: Vec<u64>,
    /// Its ends: one at most.
    pub ends: Vec<(u64, JobState)>,
}

#[derive(Debug, Default)]
pub struct Record {
    pub jobs: BTreeMap<JobId, Seen>,
    pub last_seq: u64,
    /// Messages that are neither an opening nor an end.
    pub strange: Vec<String>,
}

/// The reading task and what it has read.
pub struct Witness {
    record: Arc<Mutex<Record>>,
    task: JoinHandle<()>,
}

impl Witness {
    pub fn start(nats: &Nats) -> Witness {
        let record = Arc::new(Mutex::new(Record::default()));
        let (nats, seen) = (nats.clone(), Arc::clone(&record));
        let task = tokio::spawn(async move {
            loop {
                // Every failure begins behind the last message read.
                if read(&nats, &seen).await.is_err() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        });
        Witness { record, task }
    }

    pub fn look(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it has read everything, and no job is open.
    pub async fn nothing_is_open(&self, nats: &Nats) -> bool {
        let Ok(stream) = nats.jetstream.get_stream(streams::RESULTS).await else { return false };
        let record = self.look();
        record.last_seq >= stream.cached_info().state.last_sequence && record.jobs.values().all(|seen| !seen.ends.is_empty())
    }

    /// Ends the reading and hands over what was read.
    pub fn finish(self) -> Record {
        self.task.abort();
        std::mem::take(&mut self.look())
    }
}

async fn read(nats: &Nats, record: &Mutex<Record>) -> Result<(), String> {
    let from = record.lock().unwrap_or_else(PoisonError::into_inner).last_seq + 1;
    let stream = nats.jetstream.get_stream(streams::RESULTS).await.map_err(|error| error.to_string())?;
    let config = pull::OrderedConfig {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from },
        headers_only: true,
        ..pull::OrderedConfig::default()
    };
    let consumer = stream.create_consumer(config).await.map_err(|error| error.to_string())?;
    let mut messages = consumer.messages().await.map_err(|error| error.to_string())?;
    loop {
        let message = tokio::time::timeout(SILENCE_LIMIT, messages.next()).await.map_err(|_| "silence".to_owned())?;
        let message = message.ok_or("the consumer ended")?.map_err(|error| error.to_string())?;
        let seq = message.info().map_err(|error| error.to_string())?.stream_sequence;
        let state = message.headers.as_ref().and_then(|headers| headers.get(HEADER_JOB_STATE)).map(|value| value.as_str().to_owned());
        note(&mut record.lock().unwrap_or_else(PoisonError::into_inner), &message.subject, seq, state.as_deref());
    }
}

fn note(record: &mut Record, subject: &str, seq: u64, state: Option<&str>) {
    if seq <= record.last_seq {
        return;
    }
    record.last_seq = seq;
    let Some(job) = subjects::result_job_id(subject) else { return record.strange.push(format!("{seq}: {subject}")) };
    let seen = record.jobs.entry(job).or_default();
    match (state, state.and_then(JobState::terminal)) {
        (Some(OPEN), _) => seen.openings.push(seq),
        (_, Some(end)) => seen.ends.push((seq, end)),
        _ => record.strange.push(format!("{seq}: {subject} in state {state:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_remembers_every_end() {
        let mut record = Record::default();
        let job = JobId::new(1, 1);
        let subject = subjects::result(job);
        for (seq, state) in [(1, "open"), (2, "committed"), (2, "committed"), (5, "dead"), (6, "lost")] {
            note(&mut record, &subject, seq, Some(state));
        }
        assert_eq!(record.jobs[&job].openings, [1]);
        assert_eq!(record.jobs[&job].ends, [(2, JobState::Committed), (5, JobState::Dead)]);
        assert_eq!(record.strange.len(), 1);
    }
}
