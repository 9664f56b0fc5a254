//! `matrix`: multiplies two seeded matrices with `ndarray` and checks the product with Freivalds' method (R. Freivalds,
//! "Probabilistic Machines Can Use Less Running Time", IFIP Congress 1977): for a random vector r of zeros and ones,
//! A(Br) = Cr holds for a wrong C with probability one half at most, and costs three products of matrix and vector instead of one
//! of matrices. The entries are small whole numbers, so all sums are exact in `f64` and the comparison is too.
//!
//! Parameters: `size` (rows and columns, default 256, 1 to 4096), `seed` (default: from the job's id), `hold_ms` (default 0).

use faultline_engine::fault::cause::WRONG_PRODUCT;
use faultline_engine::job::{InvalidJob, JobSpec, builtin};
use ndarray::{Array1, Array2, s};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::length::{expect_hold, hold};
use crate::executor::{AttemptContext, BlockingControl, BoxFuture, Cancelled, Executor, ExecutorError, Output};

pub struct Matrix;

/// A wrong product passes with a probability of at most 1 in 2 to the power of this.
const ROUNDS: u32 = 20;
/// Multiplications between two checkpoints: some milliseconds.
const PRODUCTS_PER_STEP: usize = 20_000_000;
/// Below this many rows at a time `ndarray` spends its time on packing.
const MIN_ROWS_PER_STEP: usize = 8;
const BYTES_PER_MIB: u64 = 1 << 20;

impl Executor for Matrix {
    fn kind(&self) -> &'static str {
        "matrix"
    }

    fn check(&self, spec: &JobSpec) -> Result<(), InvalidJob> {
        builtin::check(self.kind(), spec)
    }

    fn run<'a>(&'a self, ctx: &'a AttemptContext) -> BoxFuture<'a, Result<Output, ExecutorError>> {
        Box::pin(async move {
            let size = builtin::matrix_size(&ctx.spec)?;
            let seed = builtin::matrix_seed(&ctx.spec)?.unwrap_or_else(|| ctx.job_seed());
            expect_hold(ctx)?;
            let three_matrices = (3 * size * size * size_of::<f64>() as u64).div_ceil(BYTES_PER_MIB) as u32;
            ctx.allocate_gpu_memory(three_matrices)?;
            let check_seed = ctx.attempt_seed;
            let trace = ctx.blocking(move |control| multiply_and_check(size as usize, seed, check_seed, control)).await?;
            hold(ctx).await?;
            Ok(Output::new(format!("product of two {size}x{size} matrices has trace {trace}, passed {ROUNDS} rounds of Freivalds' check")))
        })
    }
}

fn multiply_and_check(size: usize, seed: u64, check_seed: u64, control: &mut BlockingControl) -> Result<f64, ExecutorError> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let left = random_matrix(size, &mut rng, control)?;
    let right = random_matrix(size, &mut rng, control)?;
    let mut product = multiply(&left, &right, control)?;
    if control.computes_wrong() {
        product[[size / 2, size / 2]] += 1.0;
    }
    if !is_product(&left, &right, &product, &mut Pcg64Mcg::seed_from_u64(check_seed), control)? {
        return Err(ExecutorError::Failed(format!("the product of the {size}x{size} matrices {WRONG_PRODUCT}")));
    }
    Ok(product.diag().sum())
}

fn random_matrix(size: usize, rng: &mut Pcg64Mcg, control: &mut BlockingControl) -> Result<Array2<f64>, Cancelled> {
    control.checkpoint(0.0)?;
    Ok(Array2::from_shape_simple_fn((size, size), || f64::from(rng.random_range(-8..=8_i8))))
}

/// Some rows at a time, so that a large product can be stopped.
fn multiply(left: &Array2<f64>, right: &Array2<f64>, control: &mut BlockingControl) -> Result<Array2<f64>, Cancelled> {
    let size = left.nrows();
    let mut product = Array2::zeros((size, size));
    let rows = (PRODUCTS_PER_STEP / (size * size)).max(MIN_ROWS_PER_STEP);
    let mut first = 0;
    while first < size {
        control.checkpoint(first as f64 / size as f64)?;
        let last = (first + rows).min(size);
        ndarray::linalg::general_mat_mul(1.0, &left.slice(s![first..last, ..]), right, 0.0, &mut product.slice_mut(s![first..last, ..]));
        first = last;
    }
    Ok(product)
}

fn is_product(
    left: &Array2<f64>,
    right: &Array2<f64>,
    product: &Array2<f64>,
    rng: &mut Pcg64Mcg,
    control: &mut BlockingControl,
) -> Result<bool, Cancelled> {
    for _ in 0..ROUNDS {
        control.checkpoint(1.0)?;
        let chosen: Array1<f64> = Array1::from_shape_simple_fn(left.nrows(), || f64::from(u8::from(rng.random::<bool>())));
        if left.dot(&right.dot(&chosen)) != product.dot(&chosen) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use faultline_engine::job::Param;

    use super::*;
    use crate::executor::run_attempt;
    use crate::executor::tests::Bench;

    #[tokio::test]
    async fn multiplies_and_passes_the_check() {
        for size in [1, 7, 64, 200] {
            let bench = Bench::new("matrix", &[("size", Param::Int(size)), ("seed", Param::Int(3))]);
            let output = run_attempt(&Matrix, &bench.ctx).await.unwrap();
            assert!(output.result.starts_with(&format!("product of two {size}x{size}")), "{}", output.result);
            // Another attempt gives the same result.
            assert_eq!(run_attempt(&Matrix, &bench.again(99)).await, Ok(output));
        }
    }

    #[tokio::test]
    async fn one_wrong_entry_is_found() {
        let bench = Bench::new("matrix", &[]);
        let found = bench
            .ctx
            .blocking(|control| {
                let mut rng = Pcg64Mcg::seed_from_u64(1);
                let left = random_matrix(50, &mut rng, control)?;
                let right = random_matrix(50, &mut rng, control)?;
                let mut product = multiply(&left, &right, control)?;
                let right_passes = is_product(&left, &right, &product, &mut rng, control)?;
                product[[17, 42]] += 1.0;
                Ok((right_passes, is_product(&left, &right, &product, &mut rng, control)?))
            })
            .await;
        assert_eq!(found, Ok((true, false)));
    }

    #[tokio::test]
    async fn a_gpu_that_computes_wrong_is_found_by_the_check() {
        let bench = Bench::new("matrix", &[("size", Param::Int(64))]);
        bench.node.set_gpu_wrong(1, true);
        let error = run_attempt(&Matrix, &bench.ctx).await.unwrap_err();
        assert!(matches!(&error, ExecutorError::Failed(text) if text.contains("did not pass Freivalds' check")), "{error}");
        bench.node.set_gpu_wrong(1, false);
        assert!(run_attempt(&Matrix, &bench.again(2)).await.is_ok());
    }

    #[tokio::test]
    async fn a_product_that_does_not_fit_runs_out_of_memory() {
        // 3 x 8 MiB, but the test's job demands 16 MiB.
        let bench = Bench::new("matrix", &[("size", Param::Int(1024))]);
        let error = run_attempt(&Matrix, &bench.ctx).await.unwrap_err();
        assert_eq!(error, ExecutorError::OutOfMemory { wanted_mib: 24, used_mib: 0, limit_mib: 16 });
    }

    #[tokio::test]
    async fn sizes_out_of_bounds_are_refused() {
        for size in [0, 4097, -5] {
            let bench = Bench::new("matrix", &[("size", Param::Int(size))]);
            assert!(matches!(run_attempt(&Matrix, &bench.ctx).await, Err(ExecutorError::Invalid(_))));
        }
    }
}
