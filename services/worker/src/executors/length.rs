//! How long the jobs of several kinds keep their GPUs besides their real work: a small calculation stands for a large one on a simulated GPU.

use faultline_engine::job::InvalidJob;
use faultline_engine::job::builtin::hold_ms;

use crate::executor::{AttemptContext, ExecutorError};

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
