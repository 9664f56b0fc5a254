//! `audit`: reads the ledger, RESULTS and JOBS, and has `audit_check` compare them, again and again while they do not agree.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::{Context, anyhow};
use comfy_table::Table;
use faultline_protocol::codec::{self, HEADER_JOB_STATE};
use faultline_protocol::messages::{EventBatch, LedgerSnapshot, TerminalRecord};
use faultline_protocol::streams::{self, KEY_LEDGER, KV_LEDGER};
use faultline_protocol::subjects;
use faultline_runtime::clock;
use faultline_runtime::connect::{Nats, kv_get};
use faultline_runtime::record::{OPEN, each_queued};
use tokio::time::Instant;

use super::ask::Link;
use super::audit_check::{AuditReport, Check, Queue, Record, RecordState, Results, Verdict, look};
use super::control::bucket_failure;
use super::read::{From, Reader, Row};
use super::{audit_watch, parse};
use crate::exit::Failure;
use crate::output::{Mood, mood, plural, table};

const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// A server that restarts is back by then.
const READ_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AuditFlags {
    /// How long something that does not agree may last before it counts: the cluster moves while it is audited
    #[arg(long, default_value = "20s", value_name = "DURATION", value_parser = parse::duration, allow_hyphen_values = true)]
    wait: Duration,
    /// Go on checking as things happen, until Ctrl-C
    #[arg(long, conflicts_with = "wait")]
    watch: bool,
    /// With --watch: for so long
    #[arg(long = "for", requires = "watch", value_name = "DURATION", value_parser = parse::positive_duration, allow_hyphen_values = true)]
    length: Option<Duration>,
}

pub(crate) async fn run(link: &Link, flags: &AuditFlags) -> Result<(), Failure> {
    if flags.watch {
        return audit_watch::run(link, flags.length).await;
    }
    let give_up = Instant::now() + flags.wait;
    let mut verdict = Verdict::default();
    loop {
        let results = read_results(&link.nats).await?;
        let queue = jobs_in_queue(&link.nats).await?;
        let found = look(&results, &queue, clock::unix_ms());
        verdict.add(&results, found);
        verdict.add_violations(read_violations(&link.nats).await?);
        if !verdict.may_change() || Instant::now() >= give_up {
            break;
        }
        tracing::debug!(looks = verdict.looks, "something does not agree: looking again");
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    let report = verdict.report();
    link.out.one(&report, |report| words(link, report))?;
    let failed: Vec<&str> = report.checks.iter().filter(|check| !check.ok).map(|check| check.check).collect();
    if report.ok { Ok(()) } else { Err(Failure::CheckFailed(format!("audit failed: {}", failed.join("; ")))) }
}

/// Broken invariants that schedulers have reported within the last hour, in words.
pub(crate) async fn read_violations(nats: &Nats) -> Result<BTreeSet<String>, Failure> {
    let mut violations = BTreeSet::new();
    let mut reader = Reader::new(nats, streams::EVENTS, From::Start).filters(vec![subjects::VIOLATION_EVENT.to_owned()]);
    reader
        .read_to_end(|row| {
            match codec::decode::<EventBatch>(Some(&row.headers), &row.body) {
                Ok(batch) => violations.extend(batch.events.into_iter().map(|event| event.detail)),
                Err(error) => drop(violations.insert(format!("a report that cannot be read: {error}"))),
            }
            ControlFlow::Continue(())
        })
        .await?;
    Ok(violations)
}

/// The ledger first, then every message of RESULTS: so the ledger can only be behind what is read.
async fn read_results(nats: &Nats) -> Result<Results, Failure> {
    let store = nats.bucket(KV_LEDGER).await.map_err(bucket_failure)?;
    let ledger: LedgerSnapshot = kv_get(&store, KEY_LEDGER).await.map_err(bucket_failure)?.unwrap_or_default();
    let last_seq = last_sequence(nats).await?;
    let through = ledger.through_seq;
    let mut results = Results::new(ledger, last_seq);
    // Bodies matter only behind the ledger's sequence, and may be large in number before it.
    if through > 0 {
        let mut reader = Reader::new(nats, streams::RESULTS, From::Start).headers_only();
        reader
            .read_to_end(|row| {
                if row.seq > through {
                    return ControlFlow::Break(());
                }
                add(&mut results, &row, false);
                ControlFlow::Continue(())
            })
            .await?;
    }
    let mut reader = Reader::new(nats, streams::RESULTS, From::Seq(through + 1));
    reader
        .read_to_end(|row| {
            add(&mut results, &row, true);
            ControlFlow::Continue(())
        })
        .await?;
    Ok(results)
}

pub(crate) async fn last_sequence(nats: &Nats) -> Result<u64, Failure> {
    patiently(|| async {
        let stream = nats.jetstream.get_stream_no_info(streams::RESULTS).await.context("RESULTS cannot be looked at")?;
        let info = stream.get_info().await.context("RESULTS cannot be looked at; run `faultline setup` if it does not exist")?;
        Ok(info.state.last_sequence)
    })
    .await
}

fn add(results: &mut Results, row: &Row, with_body: bool) {
    let Some(job) = subjects::result_job_id(&row.subject) else {
        return results.add_unreadable(row.seq, "its subject names no job");
    };
    let header = row.headers.get(HEADER_JOB_STATE).map(|state| state.as_str());
    let state = match header.map(|state| (state, parse::state_of(state))) {
        Some((OPEN, _)) => RecordState::Open,
        Some((_, Some(state))) if state.is_terminal() => {
            let open_seq = if with_body {
                match codec::decode::<TerminalRecord>(Some(&row.headers), &row.body) {
                    Ok(record) => Some(record.open_seq),
                    Err(error) => return results.add_unreadable(row.seq, &error.to_string()),
                }
            } else {
                None
            };
            RecordState::Ended { state, open_seq }
        }
        Some(_) | None => return results.add_unreadable(row.seq, "its header Job-State is missing or unknown"),
    };
    results.add(Record { job, seq: row.seq, stored_at_ms: row.stored_at_ms, state });
}

/// The jobs that JOBS holds, waiting or being worked on.
pub(crate) async fn jobs_in_queue(nats: &Nats) -> Result<Queue, Failure> {
    patiently(|| async {
        let mut queue = Queue::default();
        let take = |subject: String| match subjects::queued_job_id(&subject) {
            Some(job) => drop(queue.jobs.insert(job)),
            None => drop(queue.strange.insert(subject)),
        };
        each_queued(nats, take).await?;
        Ok(queue)
    })
    .await
}

/// Repeats a read through a short absence of the server.
async fn patiently<T, F: Future<Output = anyhow::Result<T>>>(mut read: impl FnMut() -> F) -> Result<T, Failure> {
    let give_up = Instant::now() + READ_LIMIT;
    loop {
        match read().await {
            Ok(value) => return Ok(value),
            Err(error) => {
                let permanent = format!("{error:#}").contains("stream not found");
                if permanent || Instant::now() >= give_up {
                    return Err(Failure::Failed(anyhow!(error)));
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        }
    }
}

fn checks_table(checks: &[Check]) -> Table {
    let mut rows = table(&["CHECK", "RESULT", "FIGURES"]);
    for check in checks {
        let result = if check.ok { mood("ok", Mood::Good) } else { mood("FAILED", Mood::Bad) };
        rows.add_row([check.check.into(), result, check.figures.as_str().into()]);
        for wrong in &check.wrong {
            rows.add_row(["", "", wrong]);
        }
    }
    rows
}

fn words(link: &Link, report: &AuditReport) -> String {
    let closing = match (report.ok, report.looks) {
        (true, 1) => "every job is accounted for".to_owned(),
        (true, looks) => format!("every job is accounted for, after {}: the cluster moved", plural(looks, "look")),
        (false, looks) => format!("not every job is accounted for, after {}", plural(looks, "look")),
    };
    format!("{}\n{closing}", link.out.render(checks_table(&report.checks)))
}

#[cfg(test)]
mod tests {
    use comfy_table::ContentArrangement;

    use super::*;

    #[test]
    fn a_failed_check_names_what_is_wrong() {
        let checks = [
            Check { check: "no job ended twice", ok: true, figures: "0 second ends".into(), wrong: vec![] },
            Check { check: "every open job is in JOBS", ok: false, figures: "2 open".into(), wrong: vec!["a".into(), "b".into()] },
        ];
        let mut rows = checks_table(&checks);
        rows.force_no_tty().set_content_arrangement(ContentArrangement::Disabled);
        let expected = "\
CHECK                      RESULT  FIGURES
no job ended twice         ok      0 second ends
every open job is in JOBS  FAILED  2 open
                                   a
                                   b";
        assert_eq!(rows.trim_fmt(), expected);
    }
}
