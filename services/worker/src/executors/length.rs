//! How long the jobs of several kinds run, by their parameters.

use faultline_engine::job::{InvalidJob, JobSpec, MAX_TIMEOUT_MS};

use crate::executor::{AttemptContext, ExecutorError, params};

/// `hold_ms`: for how long the job keeps its GPUs besides its real work, in milliseconds. Lets a small calculation stand for
/// a large one on a simulated GPU.
pub(super) fn hold_ms(spec: &JobSpec) -> Result<u64, InvalidJob> {
    params::whole(spec, "hold_ms", 0, 0, MAX_TIMEOUT_MS)
}

/// How much of the progress the real work makes when the job is held afterwards.
const WORK_BEFORE_HOLD: f64 = 0.1;

/// To be called before the real work: leaves room in the progress for [`hold`].
pub(super) fn expect_hold(ctx: &AttemptContext) -> Result<(), InvalidJob> {
    if hold_ms(&ctx.spec)? > 0 {
        ctx.progress().phase(0.0, WORK_BEFORE_HOLD);
    }
    Ok(())
}

/// To be called after the real work: stands still for `hold_ms`.
pub(super) async fn hold(ctx: &AttemptContext) -> Result<(), ExecutorError> {
    let hold_ms = hold_ms(&ctx.spec)?;
    if hold_ms > 0 {
        ctx.progress().phase(WORK_BEFORE_HOLD, 1.0);
    }
    Ok(ctx.sleep_scaled(hold_ms).await?)
}

/// `duration_ms`: for how long the job runs, in milliseconds; as long as it is expected to, when it does not say.
pub(super) fn duration_ms(spec: &JobSpec) -> Result<u64, InvalidJob> {
    params::whole(spec, "duration_ms", spec.expected_ms.min(MAX_TIMEOUT_MS), 0, MAX_TIMEOUT_MS)
}
