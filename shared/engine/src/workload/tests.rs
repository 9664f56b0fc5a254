use proptest::prelude::*;

use super::*;
use crate::node::GpuDescriptor;

fn jobs(seed: u64, count: u32) -> Vec<JobSpec> {
    let mut workload = Workload::new(WorkloadConfig::default(), seed);
    (0..count).map(|n| workload.next_job(JobId::new(u64::from(n), 1), u64::from(n))).collect()
}

fn fits(demand: &Demand, gpus: &[GpuDescriptor]) -> bool {
    let suitable =
        |gpu: &&GpuDescriptor| gpu.memory_mib >= demand.gpu_memory_mib && (demand.models.is_empty() || demand.models.contains(&gpu.model));
    gpus.iter().filter(suitable).count() >= demand.gpu_count() as usize
}

#[test]
fn the_shares_are_as_documented() {
    let jobs = jobs(1, 20_000);
    let percent = |wanted: &dyn Fn(&JobSpec) -> bool| jobs.iter().filter(|job| wanted(job)).count() as f64 / 200.0;
    for (kind, expected) in KINDS.into_iter().zip([40.0, 30.0, 20.0, 10.0]) {
        assert!((percent(&|job| job.kind == kind) - expected).abs() < 1.5, "{kind}");
    }
    for (priority, expected) in PRIORITY_PERCENT {
        assert!((percent(&|job| job.priority == priority) - f64::from(expected)).abs() < 1.5, "{priority}");
    }
    assert!((percent(&|job| job.demand.gpu_milli < 1000) - 70.0).abs() < 1.5);
    assert!((percent(&|job| job.demand.gpu_milli == 1000) - 22.0).abs() < 1.5);
    assert!((percent(&|job| job.demand.gpu_milli == 8000) - 1.0).abs() < 0.4);
    assert!((percent(&|job| job.demand.models.is_empty()) - 92.0).abs() < 1.0);
    let mut expected: Vec<u64> = jobs.iter().map(|job| job.expected_ms).collect();
    expected.sort_unstable();
    assert!(expected[10_000].abs_diff(8_000) < 400, "{}", expected[10_000]);
    assert!(jobs.iter().any(|job| job.demand.gpu_milli == 100) && jobs.iter().all(|job| job.demand.gpu_milli >= 100));
}

#[test]
fn names_say_what_people_know() {
    for job in jobs(2, 3_000) {
        let parts: Vec<&str> = job.name.split('-').collect();
        assert_eq!((parts.len(), parts[2].len()), (3, 4), "{}", job.name);
        let (first, second): (&[&str], &[&str]) = match (job.kind.as_str(), job.priority) {
            ("sleep", Priority::Urgent) => (&["wait", "pause", "idle"], &["urgent", "critical"]),
            ("compute", Priority::High) => (&["calc", "process"], &["important", "high"]),
            ("compute", Priority::Normal) => (&["calc", "process"], &["standard", "normal"]),
            ("sleep", Priority::Low) => (&["wait", "pause", "idle"], &["background", "low"]),
            ("matrix", _) => (&["gpu", "matrix", "tensor"], &["algebra", "linear", "product"]),
            ("fault", _) => (&["validate", "check", "inject"], &["test", "verify"]),
            _ => continue,
        };
        assert!(first.contains(&parts[0]) && second.contains(&parts[1]), "{}", job.name);
    }
}

#[test]
fn the_mix_is_parsed_and_refused_with_reason() {
    let mix: WorkloadConfig = "sleep=1, matrix=2.5".parse().unwrap();
    assert_eq!(mix, WorkloadConfig { sleep: 1.0, compute: 0.0, matrix: 2.5, fault: 0.0 });
    assert_eq!(WorkloadConfig::from_weights(&mix.to_weights()), Ok(mix));
    for broken in ["", "sleep", "sleep=x", "sleep=-1", "sleep=NaN", "sleep=0", "sleep=1,sleep=2", "train=1"] {
        let error = broken.parse::<WorkloadConfig>().unwrap_err();
        assert!(error.to_string().starts_with("mix: "), "{error}");
    }
    let mut workload = Workload::new("matrix=1".parse().unwrap(), 1);
    assert!((0..100).all(|n| workload.next_job(JobId::new(0, n), 0).kind == "matrix"));
}

#[test]
fn intervals_have_the_mean_and_the_spread_of_a_poisson_process() {
    let mut workload = Workload::new(WorkloadConfig::default(), 3);
    for rate in [0.1, 2.0, 50.0, 600_000.0] {
        let drawn: Vec<f64> = (0..50_000).map(|_| workload.next_interval_ms(rate) as f64).collect();
        let mean_ms = drawn.iter().sum::<f64>() / drawn.len() as f64;
        let expected_ms = MS_PER_MIN / rate;
        assert!((mean_ms / expected_ms - 1.0).abs() < 0.03, "{rate} a minute: {mean_ms} ms");
        if expected_ms > 100.0 {
            let above_mean = drawn.iter().filter(|ms| **ms > expected_ms).count() as f64 / drawn.len() as f64;
            assert!((above_mean - (-1.0_f64).exp()).abs() < 0.01);
        }
    }
    assert!([0.0, -3.0, f64::NAN].into_iter().all(|rate| workload.next_interval_ms(rate) > 1_000_000));
}

proptest! {
    #[test]
    fn every_job_is_valid_and_fits_on_a_default_node(seed: u64) {
        let nodes: Vec<_> = (1..=DEFAULT_NODES).map(|index| default_node(index).descriptors()).collect();
        for job in jobs(seed, 50) {
            prop_assert_eq!(job.validate(), Ok(()));
            prop_assert!(nodes.iter().any(|gpus| fits(&job.demand, gpus)), "{:?}", job.demand);
            prop_assert!(job.timeout_ms >= 4 * job.expected_ms.min(150_000) && job.max_retries <= 5);
        }
    }

    #[test]
    fn the_seed_decides_everything(seed: u64) {
        prop_assert_eq!(jobs(seed, 20), jobs(seed, 20));
    }
}
