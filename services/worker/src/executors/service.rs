//! `service:NAME`: run by the program, in any language, that answers the NATS service `exec.NAME`. Here the request goes out and the
//! answers come in; what they mean is decided in `conversation`.
//!
//! The executor is not part of the worker: it may die alone, keep running when the worker no longer waits for it, or answer nonsense. None of
//! it costs more than this attempt, and only the commit decides whose result counts.

mod conversation;

use std::time::Duration;

use async_nats::{Client, Message, StatusCode, Subject};
use bytes::Bytes;
use faultline_engine::job::{InvalidJob, JobSpec};
use faultline_protocol::batch::HEADER_BYTES;
use faultline_protocol::messages::exec::{ExecCancel, ExecReceipt, ExecReply, ExecRequest, to_json};
use faultline_protocol::subjects;
use faultline_runtime::clock::{ms, unix_ms};
use faultline_runtime::trace::traceparent;
use futures::StreamExt;
use tokio::time::Instant;

use crate::executor::{AttemptContext, BoxFuture, Executor, ExecutorError, Output};
use conversation::{Conversation, Step};

/// Where a receipt may be sent: the inboxes of executors, and what the server makes of them for a request from another account. An executor
/// that could name any subject could have the worker, which may write to many, write there in its place.
const RECEIPT_PREFIXES: [&str; 3] = ["_INBOX_executor.", "_INBOX.", "_R_."];

/// Hands jobs to executors over NATS.
pub struct Service {
    client: Client,
    silence: Duration,
}

impl Service {
    /// An executor that says nothing for as long as `silence` counts as dead.
    pub fn new(client: Client, silence: Duration) -> Self {
        Self { client, silence }
    }

    async fn converse(&self, ctx: &AttemptContext, name: &str) -> Result<Output, ExecutorError> {
        let (subject, request) = (subjects::exec(name), self.request(ctx));
        let (began, silence_ms) = (Instant::now(), ms(self.silence));
        let now_ms = || ms(began.elapsed());
        let lost = |error: &dyn std::fmt::Display| ExecutorError::Failed(format!("{subject} could not be asked: {error}"));
        let body = to_json(&request);
        let most = self.client.max_payload().saturating_sub(HEADER_BYTES);
        if body.len() > most {
            return Err(ExecutorError::Final(format!(
                "the request to {subject} has {} bytes, more than the {most} that the NATS server allows: shorten the job's parameters, or \
                 raise the server's max_payload",
                body.len()
            )));
        }
        let mut replies = self.client.subscribe(request.reply.clone()).await.map_err(|error| lost(&error))?;
        let mut stop = StopOnDrop::new(&self.client, &request, began);
        let headers = request.headers(&traceparent(request.job));
        let sent = self.client.publish_with_reply_and_headers(subject.clone(), request.reply.clone(), headers, body).await;
        sent.map_err(|error| lost(&error))?;
        let mut talk = Conversation::new(subject.clone(), silence_ms);
        let outcome = loop {
            let silent_at = began + Duration::from_millis(talk.silent_at_ms());
            let step = tokio::select! {
                () = ctx.cancelled() => return Err(ExecutorError::Cancelled),
                message = replies.next() => match message {
                    Some(message) if message.status == Some(StatusCode::NO_RESPONDERS) => talk.on_nobody(),
                    Some(message) => {
                        let step = talk.on_reply(ExecReply::read(message.headers.as_ref(), &message.payload), now_ms());
                        self.receipt(&message, &step).await;
                        step
                    }
                    None => return Err(lost(&"the connection is closed")),
                },
                () = tokio::time::sleep_until(silent_at) => talk.on_time(now_ms()),
            };
            match step {
                Step::GoOn { progress } => ctx.progress().set(progress),
                Step::Over { outcome, still_works } => {
                    stop.is_armed = still_works;
                    break outcome;
                }
            }
        };
        drop(stop);
        // A node that hangs hands over nothing.
        ctx.wait_while_hung().await?;
        outcome
    }

    fn request(&self, ctx: &AttemptContext) -> ExecRequest {
        let (spec, identity) = (&ctx.spec, &ctx.identity);
        ExecRequest {
            job: spec.id,
            attempt: identity.id,
            number: identity.number,
            name: spec.name.clone(),
            kind: spec.kind.clone(),
            params: spec.params.clone(),
            node: identity.node.clone(),
            gpus: ctx.gpus.clone(),
            gpu_memory_mib: spec.demand.gpu_memory_mib,
            timeout_ms: spec.timeout_ms,
            deadline_ms: unix_ms().saturating_add(spec.timeout_ms),
            silence_ms: ms(self.silence),
            reply: subjects::exec_reply(identity.id),
            cancel: subjects::exec_cancel(identity.id),
        }
    }

    /// Tells an executor that asks whether its answer arrived and the attempt goes on.
    async fn receipt(&self, message: &Message, step: &Step) {
        let Some(reply) = message.reply.as_ref().filter(|reply| takes_receipts(reply)) else { return };
        let receipt = ExecReceipt { running: matches!(step, Step::GoOn { .. }) };
        if let Err(error) = self.client.publish(reply.clone(), to_json(&receipt)).await {
            tracing::debug!(%error, "a receipt was not sent");
        }
    }
}

impl Executor for Service {
    fn kind(&self) -> &'static str {
        faultline_engine::job::SERVICE_CLASS
    }

    fn check(&self, spec: &JobSpec) -> Result<(), InvalidJob> {
        spec.validate()?;
        name_of(spec).map(drop)
    }

    fn run<'a>(&'a self, ctx: &'a AttemptContext) -> BoxFuture<'a, Result<Output, ExecutorError>> {
        Box::pin(async move {
            let name = name_of(&ctx.spec)?;
            ctx.wait_while_hung().await?;
            ctx.wait_while_cut_off().await;
            ctx.allocate_gpu_memory(ctx.spec.demand.gpu_memory_mib)?;
            self.converse(ctx, name).await
        })
    }
}

fn name_of(spec: &JobSpec) -> Result<&str, InvalidJob> {
    spec.service().ok_or_else(|| InvalidJob::new("kind", format!("`{}` is not `service:NAME`", spec.kind)))
}

fn takes_receipts(reply: &Subject) -> bool {
    RECEIPT_PREFIXES.iter().any(|prefix| reply.starts_with(prefix))
}

/// Tells the executor to stop when the attempt ends before it has come to an end itself, however that happens: a cancelled
/// attempt is a future that is dropped.
struct StopOnDrop {
    client: Client,
    subject: String,
    order: ExecCancel,
    deadline: Instant,
    is_armed: bool,
}

impl StopOnDrop {
    fn new(client: &Client, request: &ExecRequest, began: Instant) -> Self {
        let order = ExecCancel { job: request.job, attempt: request.attempt, reason: String::new() };
        let deadline = began + Duration::from_millis(request.timeout_ms);
        Self { client: client.clone(), subject: request.cancel.clone(), order, deadline, is_armed: true }
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !self.is_armed {
            return;
        }
        let is_late = Instant::now() >= self.deadline;
        self.order.reason = if is_late { "its time is over" } else { "the worker no longer waits for this attempt" }.into();
        let (client, subject, order): (Client, String, Bytes) = (self.client.clone(), self.subject.clone(), to_json(&self.order));
        runtime.spawn(async move {
            if let Err(error) = client.publish(subject, order).await {
                tracing::debug!(%error, "order to stop not sent to the executor");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_go_to_inboxes_of_executors_only() {
        for (reply, is_fine) in [
            ("_INBOX_executor.abc.1", true),
            ("_INBOX.abc", true),
            ("_R_.abc.def", true),
            ("_INBOX_worker.abc", false),
            ("job.res.01", false),
            ("$JS.ACK.JOBS.sched-high.1.2.3.4.5", false),
            ("assign.worker-02", false),
        ] {
            assert_eq!(takes_receipts(&Subject::from(reply)), is_fine, "{reply}");
        }
    }
}
