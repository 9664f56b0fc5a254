//! A kind of your own: implement `Executor`, register it, done. Here it runs one job in this process, without a cluster.
//! Run it with `cargo run -p faultline-worker --example custom_kind`.

use std::sync::Arc;

use faultline_engine::job::{AttemptId, Demand, JobId, JobSpec, Origin, Params, Priority};
use faultline_worker::executor::{
    AttemptContext, AttemptIdentity, BoxFuture, Executor, ExecutorError, NodeConditions, Output, run_attempt,
};
use faultline_worker::executors;
use tokio_util::sync::CancellationToken;

struct Greet;

impl Executor for Greet {
    fn kind(&self) -> &'static str {
        "greet"
    }

    fn run<'a>(&'a self, ctx: &'a AttemptContext) -> BoxFuture<'a, Result<Output, ExecutorError>> {
        Box::pin(async move {
            ctx.sleep_scaled(100).await?;
            Ok(Output::new(format!("hello, {}", ctx.spec.name)))
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut registry = executors::defaults();
    registry.register(Greet);
    let (id, kind, priority) = (JobId::new(1, 1), "greet".to_owned(), Priority::Normal);
    let demand = Demand { gpu_milli: 100, ..Demand::default() };
    let (timeout_ms, expected_ms, params) = (1000, 100, Params::new());
    let spec = JobSpec {
        id,
        name: "world".into(),
        kind,
        params,
        priority,
        demand,
        expected_ms,
        timeout_ms,
        max_retries: 0,
        submitted_at_ms: 1,
        origin: Origin::default(),
    };
    let executor = registry.find(&spec).expect("it was registered above");
    let identity = AttemptIdentity::first(AttemptId::new(1, 1));
    let ctx = AttemptContext::new(Arc::new(spec), identity, vec![0], Arc::new(NodeConditions::new(1)), CancellationToken::new());
    println!("{:?}", run_attempt(executor.as_ref(), &ctx).await);
}
