//! Load as a share of a cluster's GPU time: how many jobs a minute fill so much of it, and what would run by now had they come for a while.

use super::{EXPECTED_BOUNDS_MS, MS_PER_MIN, Workload, WorkloadConfig};
use crate::job::builtin::odds;
use crate::job::{JobId, JobSpec, Param};

/// The share of a cluster's GPU time that is asked for while nothing else is set, in percent.
pub const DEFAULT_LOAD_PERCENT: f64 = 60.0;
/// The loads that are offered, in percent: quiet, usual, full, too much.
pub const LOADS_PERCENT: [f64; 4] = [30.0, 60.0, 90.0, 120.0];
const LOAD_BOUNDS_PERCENT: (f64, f64) = (1.0, 200.0);

/// So many jobs tell their mean to about one in a hundred.
const SAMPLES: u32 = 20_000;
const SAMPLE_SEED: u64 = 1;

/// Whether a share of the cluster's GPU time makes sense; or what is wrong with it.
pub fn check_load(percent: f64) -> Result<(), String> {
    let (low, high) = LOAD_BOUNDS_PERCENT;
    if (low..=high).contains(&percent) { Ok(()) } else { Err(format!("a load of {percent} % is outside {low} to {high}")) }
}

/// The time for which a job of this mix occupies a GPU, in milliseconds of a whole one and on average. Attempts that fail on purpose
/// count; faults of nodes do not.
pub fn mean_gpu_ms(mix: WorkloadConfig) -> f64 {
    let mut workload = Workload::new(mix, SAMPLE_SEED);
    let total: f64 = (0..SAMPLES).map(|number| gpu_ms(&workload.next_job(JobId::new(0, u128::from(number)), 0))).sum();
    total / f64::from(SAMPLES)
}

/// The rate at which jobs fill `percent` of the time of so many GPUs, rounded to tenths of a job a minute.
pub fn jobs_per_minute(percent: f64, gpus: u32, mean_gpu_ms: f64) -> f64 {
    let exact = percent / 100.0 * f64::from(gpus) * MS_PER_MIN / mean_gpu_ms;
    (exact * 10.0).round() / 10.0
}

fn gpu_ms(job: &JobSpec) -> f64 {
    f64::from(job.demand.gpu_milli) / 1000.0 * occupied_ms(job)
}

/// How long the job runs in all its attempts, on average: a failure comes at any moment of the attempt, a hang lasts until the time limit.
fn occupied_ms(job: &JobSpec) -> f64 {
    let length_ms = job.expected_ms as f64;
    let [fail, panic, hang, oom] = odds(job).unwrap_or_default();
    let fails = fail + panic + oom;
    let attempt_ms = (1.0 - fails - hang) * length_ms + fails * length_ms / 2.0 + hang * job.timeout_ms as f64;
    let attempts: f64 = (0..=job.max_retries).map(|retry| (fails + hang).powi(retry as i32)).sum();
    attempts * attempt_ms
}

impl Workload {
    /// The jobs that would run by now had they come at this rate for a while: each with what would be left of it.
    pub fn under_way(&mut self, per_minute: f64, mut id: impl FnMut() -> JobId, now_ms: u64) -> Vec<JobSpec> {
        let mut jobs = Vec::new();
        let mut ago_ms = self.next_interval_ms(per_minute);
        while (ago_ms as f64) < EXPECTED_BOUNDS_MS.1 {
            let mut job = self.next_job(id(), now_ms);
            let rest_ms = job.expected_ms.saturating_sub(ago_ms);
            if rest_ms > 0 {
                shorten(&mut job, rest_ms);
                jobs.push(job);
            }
            ago_ms = ago_ms.saturating_add(self.next_interval_ms(per_minute));
        }
        jobs
    }
}

/// Caps what a generated job says of its length.
pub fn shorten(job: &mut JobSpec, limit_ms: u64) {
    job.expected_ms = job.expected_ms.min(limit_ms);
    for key in ["duration_ms", "hold_ms"] {
        if let Some(Param::Int(ms)) = job.params.get_mut(key) {
            *ms = (*ms).min(i64::try_from(limit_ms).unwrap_or(i64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    fn mix(text: &str) -> WorkloadConfig {
        text.parse().unwrap()
    }

    #[test]
    fn the_mean_is_that_of_the_distributions() {
        // GPUs: 0.7 of 0.525, 0.22 of 1, 0.05 of 2, 0.02 of 4, 0.01 of 8. Length: 8 s times e^(0.8^2 / 2), but for what the bounds cut off.
        let expected_ms = 0.8475 * 8_000.0 * (0.32_f64).exp();
        let mean_ms = mean_gpu_ms(mix("sleep=1"));
        assert!((mean_ms / expected_ms - 1.0).abs() < 0.04, "{mean_ms} where {expected_ms} were expected");
        assert!((mean_gpu_ms(mix("matrix=1")) / mean_ms - 1.0).abs() < 0.04);
        assert_eq!(mean_gpu_ms(WorkloadConfig::default()), mean_gpu_ms(WorkloadConfig::default()));
    }

    #[test]
    fn attempts_that_fail_count_as_they_are_played() {
        let mut workload = Workload::new(mix("fault=1"), 3);
        let mut rng = Pcg64Mcg::seed_from_u64(4);
        let (mut played_ms, mut computed_ms) = (0.0, 0.0);
        for number in 0..20_000 {
            let job = workload.next_job(JobId::new(0, number), 0);
            let [fail, panic, hang, oom] = odds(&job).unwrap();
            computed_ms += occupied_ms(&job);
            for _ in 0..=job.max_retries {
                let (drawn, moment): (f64, f64) = (rng.random(), rng.random());
                if drawn < hang {
                    played_ms += job.timeout_ms as f64;
                } else if drawn < fail + panic + hang + oom {
                    played_ms += moment * job.expected_ms as f64;
                } else {
                    played_ms += job.expected_ms as f64;
                    break;
                }
            }
        }
        assert!((played_ms / computed_ms - 1.0).abs() < 0.05, "played {played_ms}, computed {computed_ms}");
    }

    #[test]
    fn the_rate_grows_with_the_share_and_with_the_cluster() {
        assert_eq!(jobs_per_minute(60.0, 46, 9_200.0), 180.0);
        assert_eq!(jobs_per_minute(120.0, 46, 9_200.0), 360.0);
        assert_eq!(jobs_per_minute(60.0, 460, 9_200.0), 1_800.0);
        assert_eq!(jobs_per_minute(60.0, 0, 9_200.0), 0.0);
        for percent in LOADS_PERCENT.into_iter().chain([DEFAULT_LOAD_PERCENT, 1.0, 200.0]) {
            assert_eq!(check_load(percent), Ok(()));
        }
        for percent in [0.0, -60.0, 200.1, f64::NAN, f64::INFINITY] {
            assert!(check_load(percent).unwrap_err().contains("outside 1 to 200"), "{percent}");
        }
    }

    #[test]
    fn a_cluster_begins_as_full_as_it_stays() {
        let gpus = 46_000;
        let rate = jobs_per_minute(60.0, gpus, mean_gpu_ms(mix("sleep=1")));
        let mut workload = Workload::new(mix("sleep=1"), 5);
        let mut number = 0;
        let mut id = || {
            number += 1;
            JobId::new(0, number)
        };
        let jobs = workload.under_way(rate, &mut id, 7);
        let milli: u64 = jobs.iter().map(|job| u64::from(job.demand.gpu_milli)).sum();
        let share = milli as f64 / 1000.0 / f64::from(gpus);
        assert!((share - 0.6).abs() < 0.02, "{share}");
        for job in &jobs {
            assert_eq!((job.validate(), job.submitted_at_ms), (Ok(()), 7));
            assert_eq!(job.params.get("duration_ms").and_then(Param::as_u64), Some(job.expected_ms));
        }
        assert!(workload.under_way(0.0, || JobId::new(0, 1), 7).is_empty());
    }
}
