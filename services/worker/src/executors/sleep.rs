//! `sleep`: does nothing for a while. With a duration of 0 it is the no-op that load tests are made of.
//!
//! Parameters: `duration_ms` (default: what the job is expected to take).

use faultline_engine::job::builtin::{self, duration_ms};
use faultline_engine::job::{InvalidJob, JobSpec};
use faultline_engine::words::limit;

use crate::executor::{AttemptContext, BoxFuture, Executor, ExecutorError, Output};

pub struct Sleep;

impl Executor for Sleep {
    fn kind(&self) -> &'static str {
        "sleep"
    }

    fn check(&self, spec: &JobSpec) -> Result<(), InvalidJob> {
        builtin::check(self.kind(), spec)
    }

    fn run<'a>(&'a self, ctx: &'a AttemptContext) -> BoxFuture<'a, Result<Output, ExecutorError>> {
        Box::pin(async move {
            let duration_ms = duration_ms(&ctx.spec)?;
            ctx.wait_while_hung().await?;
            if duration_ms == 0 {
                return Ok(Output::default());
            }
            ctx.allocate_gpu_memory(ctx.spec.demand.gpu_memory_mib)?;
            ctx.sleep_scaled(duration_ms).await?;
            Ok(Output::new(format!("slept {}", limit(duration_ms))))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use faultline_engine::job::Param;

    use super::*;
    use crate::executor::run_attempt;
    use crate::executor::tests::Bench;

    #[tokio::test(start_paused = true)]
    async fn sleeps_and_reports_progress() {
        let bench = Bench::new("sleep", &[("duration_ms", Param::Int(5_000))]);
        assert_eq!(run_attempt(&Sleep, &bench.ctx).await, Ok(Output::new("slept 5 s")));
        assert_eq!(bench.ctx.progress().permille(), 1000);
        assert_eq!(bench.ctx.gpu_memory_used_mib(), bench.ctx.spec.demand.gpu_memory_mib);
    }

    #[tokio::test]
    async fn no_op_ends_at_once() {
        // Without a paused clock and without time to pass: a timer would have to be waited for.
        let bench = Bench::new("sleep", &[("duration_ms", Param::Int(0))]);
        let mut run = Sleep.run(&bench.ctx);
        let poll = futures::poll!(&mut run);
        assert_eq!(poll, std::task::Poll::Ready(Ok(Output::default())));
    }

    #[tokio::test(start_paused = true)]
    async fn takes_the_expected_time_by_default_and_refuses_nonsense() {
        let bench = Bench::new("sleep", &[]);
        assert_eq!(run_attempt(&Sleep, &bench.ctx).await, Ok(Output::new("slept 1 s")));
        for nonsense in [Param::Int(-1), Param::Float(1.5), Param::Text("long".into()), Param::Int(i64::MAX)] {
            let bench = Bench::new("sleep", &[("duration_ms", nonsense)]);
            let error = run_attempt(&Sleep, &bench.ctx).await.unwrap_err();
            assert!(matches!(&error, ExecutorError::Invalid(invalid) if invalid.problem.contains("duration_ms")), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn stops_when_cancelled() {
        let bench = Bench::new("sleep", &[("duration_ms", Param::Int(60_000))]);
        let (outcome, ()) = tokio::join!(run_attempt(&Sleep, &bench.ctx), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            bench.cancel.cancel();
        });
        assert_eq!(outcome, Err(ExecutorError::Cancelled));
        assert!(bench.ctx.progress().permille() < 100);
    }
}
