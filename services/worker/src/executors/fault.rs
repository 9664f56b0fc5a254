//! `fault`: a job that misbehaves with given odds, to see that the cluster does not. What happens, and when, is drawn from the
//! attempt's seed, so a retry may succeed.
//!
//! Parameters: `fail_odds`, `panic_odds`, `hang_odds`, `oom_odds` (each 0 to 1, default 0, together at most 1), `duration_ms`
//! (default: what the job is expected to take).

use faultline_engine::job::builtin::{self, duration_ms};
use faultline_engine::job::{InvalidJob, JobSpec};
use faultline_engine::words::limit;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::executor::{AttemptContext, BoxFuture, Executor, ExecutorError, Output};

pub struct Fault;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Misbehaviour {
    Fail,
    Panic,
    Hang,
    OutOfMemory,
}

/// In the order of `builtin::ODDS`.
const MISBEHAVIOURS: [Misbehaviour; 4] = [Misbehaviour::Fail, Misbehaviour::Panic, Misbehaviour::Hang, Misbehaviour::OutOfMemory];

impl Executor for Fault {
    fn kind(&self) -> &'static str {
        "fault"
    }

    fn check(&self, spec: &JobSpec) -> Result<(), InvalidJob> {
        builtin::check(self.kind(), spec)
    }

    fn run<'a>(&'a self, ctx: &'a AttemptContext) -> BoxFuture<'a, Result<Output, ExecutorError>> {
        Box::pin(async move {
            let duration_ms = duration_ms(&ctx.spec)?;
            let mut rng = Pcg64Mcg::seed_from_u64(ctx.attempt_seed);
            let Some(misbehaviour) = draw(builtin::odds(&ctx.spec)?, &mut rng) else {
                ctx.sleep_scaled(duration_ms).await?;
                return Ok(Output::new("behaved"));
            };
            let before_ms = (duration_ms as f64 * rng.random::<f64>()) as u64;
            ctx.sleep_scaled(before_ms).await?;
            match misbehaviour {
                Misbehaviour::Fail => Err(ExecutorError::Failed(format!("failed on purpose after {}", limit(before_ms)))),
                // Unwinds as `panic!` does, but without the message on standard error, which would look like a bug.
                Misbehaviour::Panic => std::panic::resume_unwind(Box::new(format!("on purpose after {}", limit(before_ms)))),
                Misbehaviour::Hang => {
                    ctx.cancelled().await;
                    Err(ExecutorError::Cancelled)
                }
                Misbehaviour::OutOfMemory => {
                    let demanded_mib = ctx.spec.demand.gpu_memory_mib;
                    ctx.allocate_gpu_memory(if demanded_mib == 0 { u32::MAX } else { demanded_mib.saturating_add(1024) })?;
                    Err(ExecutorError::Failed("was given more memory than there is".into()))
                }
            }
        })
    }
}

fn draw(odds: [f64; 4], rng: &mut Pcg64Mcg) -> Option<Misbehaviour> {
    let mut left: f64 = rng.random();
    for (odds, misbehaviour) in odds.into_iter().zip(MISBEHAVIOURS) {
        if left < odds {
            return Some(misbehaviour);
        }
        left -= odds;
    }
    None
}

#[cfg(test)]
mod tests {
    use faultline_engine::job::Param;

    use super::*;
    use crate::executor::run_attempt;
    use crate::executor::tests::Bench;

    fn certain(name: &str) -> Bench {
        Bench::new("fault", &[(name, Param::Float(1.0)), ("duration_ms", Param::Int(10))])
    }

    #[tokio::test(start_paused = true)]
    async fn each_misbehaviour_is_an_error_of_its_own() {
        let outcome = run_attempt(&Fault, &certain("fail_odds").ctx).await;
        assert!(matches!(&outcome, Err(ExecutorError::Failed(text)) if text.starts_with("failed on purpose")), "{outcome:?}");
        let outcome = run_attempt(&Fault, &certain("panic_odds").ctx).await;
        assert!(matches!(&outcome, Err(ExecutorError::Panicked(text)) if text.starts_with("on purpose")), "{outcome:?}");
        let outcome = run_attempt(&Fault, &certain("oom_odds").ctx).await;
        assert!(matches!(&outcome, Err(ExecutorError::OutOfMemory { .. })), "{outcome:?}");
        assert_eq!(run_attempt(&Fault, &Bench::new("fault", &[]).ctx).await, Ok(Output::new("behaved")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hang_ends_when_cancelled_and_not_before() {
        let bench = certain("hang_odds");
        let patience = std::time::Duration::from_secs(24 * 3600);
        assert!(tokio::time::timeout(patience, run_attempt(&Fault, &bench.ctx)).await.is_err());
        bench.cancel.cancel();
        assert_eq!(run_attempt(&Fault, &bench.ctx).await, Err(ExecutorError::Cancelled));
    }

    #[tokio::test(start_paused = true)]
    async fn the_attempt_decides_so_that_retries_may_succeed() {
        let bench = Bench::new("fault", &[("fail_odds", Param::Float(0.5)), ("duration_ms", Param::Int(1))]);
        let mut succeeded = 0;
        for seed in 0..200 {
            let outcome = run_attempt(&Fault, &bench.again(seed)).await;
            assert_eq!(outcome, run_attempt(&Fault, &bench.again(seed)).await);
            succeeded += u32::from(outcome.is_ok());
        }
        assert!((70..=130).contains(&succeeded), "{succeeded}");
    }

    #[tokio::test]
    async fn odds_must_be_odds() {
        for params in [
            vec![("fail_odds", Param::Float(1.5))],
            vec![("fail_odds", Param::Float(0.6)), ("hang_odds", Param::Float(0.6))],
            vec![("oom_odds", Param::Text("often".into()))],
        ] {
            assert!(matches!(run_attempt(&Fault, &Bench::new("fault", &params).ctx).await, Err(ExecutorError::Invalid(_))));
        }
    }
}
