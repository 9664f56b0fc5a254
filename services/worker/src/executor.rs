//! What a kind of job is to the worker: the `Executor` trait, the registry of kinds, and what an attempt may use while it runs.
//! The kinds themselves are in `executors`; when an attempt starts, times out, commits or is repeated is the agent's business.
//!
//! To add a kind of your own, implement [`Executor`] and register it: `examples/custom_kind.rs` does it in under 40 lines.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use faultline_engine::job::{InvalidJob, JobSpec};
use futures::FutureExt;

mod blocking;
mod conditions;
mod context;
mod error;
pub mod params;

pub use blocking::BlockingControl;
pub use conditions::NodeConditions;
pub use context::{AttemptContext, AttemptIdentity, Progress};
pub use error::{Cancelled, ExecutorError};

/// A future that an executor hands back.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What an attempt leaves behind when it succeeds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// The result in words, kept in the job's terminal record.
    pub result: String,
}

impl Output {
    pub fn new(result: impl Into<String>) -> Self {
        Self { result: result.into() }
    }
}

/// Runs the jobs of one kind. One value serves all attempts of the kind at once.
pub trait Executor: Send + Sync {
    /// The kind, as in [`JobSpec::kind`], or its part before a `:` for all kinds that begin so.
    fn kind(&self) -> &'static str;

    /// Refuses a job that this kind can never run, by its parameters. Called before every attempt.
    fn check(&self, _spec: &JobSpec) -> Result<(), InvalidJob> {
        Ok(())
    }

    /// Runs one attempt. Dropping the future must stop it: whatever runs in [`AttemptContext::blocking`] does.
    /// Work of more than a millisecond without an `await` belongs in there, else it delays heartbeats.
    fn run<'a>(&'a self, ctx: &'a AttemptContext) -> BoxFuture<'a, Result<Output, ExecutorError>>;
}

/// Checks the job and runs one attempt of it; a panic becomes an error of this attempt alone.
pub async fn run_attempt(executor: &dyn Executor, ctx: &AttemptContext) -> Result<Output, ExecutorError> {
    executor.check(&ctx.spec)?;
    // Unwind safety: what the attempt shares with others are atomics, semaphores and watches, sound at any moment.
    match AssertUnwindSafe(async { executor.run(ctx).await }).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(payload) => Err(ExecutorError::Panicked(panic_text(payload.as_ref()))),
    }
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (None, Some(text)) => text.clone(),
        (None, None) => "no message".to_owned(),
    }
}

/// The kinds that a worker can run, by name.
#[derive(Clone, Default)]
pub struct Registry {
    by_kind: BTreeMap<&'static str, Arc<dyn Executor>>,
}

impl Registry {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind; one of the same name is replaced.
    pub fn register(&mut self, executor: impl Executor + 'static) {
        self.by_kind.insert(executor.kind(), Arc::new(executor));
    }

    /// The executor of a job's kind, or of the part before the `:`.
    pub fn get(&self, spec: &JobSpec) -> Option<Arc<dyn Executor>> {
        self.by_kind.get(spec.kind.as_str()).or_else(|| self.by_kind.get(spec.class())).cloned()
    }

    /// All kinds, sorted.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.by_kind.keys().copied()
    }

    /// The executor for this job, if there is one and it accepts the job.
    pub fn find(&self, spec: &JobSpec) -> Result<Arc<dyn Executor>, InvalidJob> {
        let executor = self.get(spec).ok_or_else(|| {
            let known: Vec<_> = self.kinds().collect();
            InvalidJob::new("kind", format!("this worker cannot run `{}`; it knows {}", spec.kind, known.join(", ")))
        })?;
        executor.check(spec)?;
        Ok(executor)
    }
}

#[cfg(test)]
pub(crate) mod tests;
