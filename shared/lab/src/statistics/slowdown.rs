//! How much longer a job took than alone.

/// Jobs that run shorter than this do not make their slowdown larger.
const BOUND_MS: u64 = 10_000;

/// `max(1, (wait + run) / max(run, 10 s))`: Feitelson et al., "Theory and Practice in Parallel Job Scheduling", JSSPP 1997.
pub fn bounded_slowdown(wait_ms: u64, run_ms: u64) -> f64 {
    ((wait_ms + run_ms) as f64 / run_ms.max(BOUND_MS) as f64).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_jobs_count_as_ten_seconds() {
        assert_eq!(bounded_slowdown(30_000, 30_000), 2.0);
        assert_eq!(bounded_slowdown(9_000, 1_000), 1.0, "(9 + 1) / 10");
        assert_eq!(bounded_slowdown(1_000, 1_000), 1.0, "never below 1");
        assert_eq!(bounded_slowdown(99_000, 1_000), 10.0);
    }
}
