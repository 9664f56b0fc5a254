//! `compute`: real work on the CPU with a result that can be checked. Counts the primes up to a limit with a segmented sieve of
//! Eratosthenes, then counts them again in an unrelated way (Legendre's recurrence over the values of floor(limit / i), which
//! never looks at a single prime above the square root) and fails when the two differ.
//!
//! Parameters: `limit` (default 1,000,000, at most 1,000,000,000), `hold_ms` (default 0).

use faultline_engine::job::{InvalidJob, JobSpec, builtin};

use super::length::{expect_hold, hold};
use crate::executor::{AttemptContext, BlockingControl, BoxFuture, Cancelled, Executor, ExecutorError, Output};

pub struct Compute;

/// Fits into a core's own cache and takes well under a millisecond.
const SEGMENT: u64 = 128 * 1024;

impl Executor for Compute {
    fn kind(&self) -> &'static str {
        "compute"
    }

    fn check(&self, spec: &JobSpec) -> Result<(), InvalidJob> {
        builtin::check(self.kind(), spec)
    }

    fn run<'a>(&'a self, ctx: &'a AttemptContext) -> BoxFuture<'a, Result<Output, ExecutorError>> {
        Box::pin(async move {
            let limit = builtin::compute_limit(&ctx.spec)?;
            expect_hold(ctx)?;
            ctx.allocate_gpu_memory(ctx.spec.demand.gpu_memory_mib)?;
            let (primes, check) = ctx
                .blocking(move |control| {
                    let primes = count_by_sieve(limit, |share| control.checkpoint(share))?;
                    Ok((primes, count_by_recurrence(limit, control)?))
                })
                .await?;
            if primes != check {
                return Err(ExecutorError::Failed(format!("the sieve found {primes} primes up to {limit}, the check {check}")));
            }
            hold(ctx).await?;
            Ok(Output::new(format!("{primes} primes up to {limit}, counted in two ways")))
        })
    }
}

fn count_by_sieve(limit: u64, mut checkpoint: impl FnMut(f64) -> Result<(), Cancelled>) -> Result<u64, Cancelled> {
    let base = small_primes(limit.isqrt());
    let mut count = 0;
    let mut composite = vec![false; SEGMENT as usize];
    let mut low = 2;
    while low <= limit {
        checkpoint(low as f64 / limit as f64)?;
        let high = (low + SEGMENT).min(limit + 1);
        let segment = &mut composite[..(high - low) as usize];
        segment.fill(false);
        for &prime in &base {
            let first = (prime * prime).max(low.next_multiple_of(prime));
            if prime * prime >= high {
                break;
            }
            for multiple in (first..high).step_by(prime as usize) {
                segment[(multiple - low) as usize] = true;
            }
        }
        count += segment.iter().filter(|composite| !**composite).count() as u64;
        low = high;
    }
    Ok(count)
}

fn small_primes(limit: u64) -> Vec<u64> {
    (2..=limit).filter(|n| (2..=n.isqrt()).all(|divisor| !n.is_multiple_of(divisor))).collect()
}

/// After step p, `small[v]` and `large[i]` hold how many numbers from 2 to v, or to limit / i, have no factor below or equal to p
/// other than themselves; when p has reached the square root these are the counts of primes.
fn count_by_recurrence(limit: u64, control: &mut BlockingControl) -> Result<u64, Cancelled> {
    if limit < 2 {
        return Ok(0);
    }
    let root = limit.isqrt();
    let mut small: Vec<u64> = (0..=root).map(|v| v.saturating_sub(1)).collect();
    let mut large: Vec<u64> = (0..=root).map(|i| limit.checked_div(i).map_or(0, |quotient| quotient - 1)).collect();
    for p in 2..=root {
        if small[p as usize] == small[p as usize - 1] {
            continue;
        }
        control.checkpoint(1.0)?;
        let before = small[p as usize - 1];
        let square = p * p;
        for i in 1..=(limit / square).min(root) {
            let rest = if i * p <= root { large[(i * p) as usize] } else { small[(limit / (i * p)) as usize] };
            large[i as usize] -= rest - before;
        }
        for v in (square..=root).rev() {
            small[v as usize] -= small[(v / p) as usize] - before;
        }
    }
    Ok(large[1])
}

#[cfg(test)]
mod tests {
    use faultline_engine::job::Param;

    use super::*;
    use crate::executor::run_attempt;
    use crate::executor::tests::Bench;

    #[tokio::test]
    async fn counts_what_is_known() {
        // OEIS A006880, and the edges around small numbers.
        for (limit, primes) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (25, 9), (100, 25), (131_074, 12_251), (1_000_000, 78_498)] {
            let bench = Bench::new("compute", &[("limit", Param::Int(limit))]);
            let output = run_attempt(&Compute, &bench.ctx).await.unwrap();
            assert!(output.result.starts_with(&format!("{primes} primes up to {limit},")), "{}", output.result);
            assert_eq!(bench.ctx.progress().permille(), 1000);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_takes_its_share_of_the_progress() {
        let bench = Bench::new("compute", &[("limit", Param::Int(100)), ("hold_ms", Param::Int(60_000))]);
        let (outcome, ()) = tokio::join!(run_attempt(&Compute, &bench.ctx), async {
            tokio::time::sleep(std::time::Duration::from_secs(30)).await;
            assert!((400..=600).contains(&bench.ctx.progress().permille()), "{}", bench.ctx.progress().permille());
        });
        assert!(outcome.is_ok() && bench.ctx.progress().permille() == 1000);
    }

    #[tokio::test]
    async fn refuses_an_absurd_limit() {
        let bench = Bench::new("compute", &[("limit", Param::Int(2_000_000_000))]);
        assert!(matches!(run_attempt(&Compute, &bench.ctx).await, Err(ExecutorError::Invalid(_))));
    }

    #[tokio::test]
    async fn stops_at_a_checkpoint_when_cancelled() {
        let bench = Bench::new("compute", &[("limit", Param::Int(1_000_000_000))]);
        let (outcome, ()) = tokio::join!(run_attempt(&Compute, &bench.ctx), async {
            while bench.ctx.progress().permille() == 0 {
                tokio::task::yield_now().await;
            }
            bench.cancel.cancel();
        });
        assert_eq!(outcome, Err(ExecutorError::Cancelled));
    }
}
