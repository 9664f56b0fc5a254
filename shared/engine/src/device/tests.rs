use proptest::prelude::*;

use super::*;

const FULL: GpuLoad = GpuLoad { utilisation: 1.0, memory_used_mib: 4096, memory_intensity: 1.0 };
const HOUR_MS: u64 = 3_600_000;

fn after(device: &mut GpuDevice, duration_ms: u64, load: GpuLoad) -> GpuTelemetry {
    let start_ms = device.stepped_at_ms.unwrap_or(0);
    device.step(start_ms, load);
    device.step(start_ms + duration_ms, load)
}

#[test]
fn an_idle_gpu_reads_idle_for_ever() {
    for model in CATALOGUE {
        let mut device = GpuDevice::new(model, 23.0);
        let before_c = device.temperature_c();
        let report = after(&mut device, HOUR_MS, GpuLoad::default());
        assert_eq!(report.utilisation_percent, Some(0.0));
        assert_eq!(report.memory_used_mib, Some(0));
        assert_eq!(report.power_w.map(f64::from), Some(model.idle_w));
        assert_eq!((report.sm_clock_mhz, report.memory_clock_mhz), (Some(model.idle_sm_clock_mhz), Some(model.idle_memory_clock_mhz)));
        assert!((device.temperature_c() - before_c).abs() < 1e-9);
        assert!((report.energy_j.unwrap() - model.idle_w * 3600.0).abs() < 1e-3);
    }
}

#[test]
fn full_load_in_cool_air_settles_at_full_power_and_does_not_throttle() {
    for model in CATALOGUE {
        let mut device = GpuDevice::new(model, 23.0);
        let report = after(&mut device, HOUR_MS, FULL);
        assert!((f64::from(report.power_w.unwrap()) - model.tdp_w).abs() < 1e-3);
        assert_eq!(report.sm_clock_mhz, Some(model.max_sm_clock_mhz));
        assert!(report.throttled == Some(false) && device.slowdown_factor() == 1.0);
        assert!((device.temperature_c() - (model.slowdown_c - 12.0)).abs() < 0.01);
    }
}

#[test]
fn warming_follows_one_time_constant() {
    let mut device = GpuDevice::new(&A100_80GB, 23.0);
    let cold_c = device.temperature_c();
    let settled_c = device.settled_c(A100_80GB.tdp_w);
    after(&mut device, (THERMAL_TIME_CONSTANT_S * 1000.0) as u64, FULL);
    let done = (device.temperature_c() - cold_c) / (settled_c - cold_c);
    assert!((done - 0.632).abs() < 0.001, "{done}");
}

#[test]
fn hot_air_throttles_and_cooling_recovers() {
    let mut device = GpuDevice::new(&H100_80GB, 40.0);
    let mut throttled_at = None;
    for second in 0..600 {
        let report = device.step(second * 1000, FULL);
        if report.throttled == Some(true) && throttled_at.is_none() {
            throttled_at = Some(second);
            assert!(report.temperature_c >= Some(88.9));
            assert_eq!(report.sm_clock_mhz, Some(990));
            assert_eq!(device.slowdown_factor(), 2.0);
        }
    }
    assert!(throttled_at.is_some());
    let rested = after(&mut device, HOUR_MS, GpuLoad::default());
    assert!(rested.throttled == Some(false) && device.slowdown_factor() == 1.0);
}

#[test]
fn only_the_warm_corner_of_the_default_nodes_throttles() {
    for index in 1..=DEFAULT_NODES {
        let mut throttling = 0;
        for mut device in default_node(index).devices() {
            throttling += u32::from((0..1800).any(|second| device.step(second * 1000, FULL).throttled == Some(true)));
        }
        assert_eq!(throttling > 0, index == 4, "node {index}: {throttling} throttle");
    }
}

#[test]
fn held_memory_alone_leaves_deep_idle() {
    let mut device = GpuDevice::new(&L40S, 23.0);
    let report = after(&mut device, 1000, GpuLoad { memory_used_mib: 100, ..GpuLoad::default() });
    assert!(f64::from(report.power_w.unwrap()) > L40S.idle_w && report.sm_clock_mhz == Some(L40S.max_sm_clock_mhz));
    assert_eq!(report.utilisation_percent, Some(0.0));
}

#[test]
fn heat_raises_the_hazard() {
    assert!((hazard_factor(60.0) - 1.0).abs() < 1e-12);
    assert!(hazard_factor(30.0) > 0.4 && hazard_factor(30.0) < 0.6);
    assert!(hazard_factor(90.0) > 1.6 && hazard_factor(90.0) < 2.0);
    assert!(hazard_factor(-1e9) > 0.2 && hazard_factor(1e9) < 2.7);
}

proptest! {
    #[test]
    fn reports_stay_within_bounds_and_energy_never_falls(
        model in 0..CATALOGUE.len(),
        inlet_c in 10.0..50.0_f64,
        steps in prop::collection::vec((0_u64..120_000, -1.0..2.0_f64, 0..200_000_u32, -1.0..2.0_f64), 1..60),
    ) {
        let model = CATALOGUE[model];
        let mut device = GpuDevice::new(model, inlet_c);
        let (mut now_ms, mut energy_j) = (1_000_000, 0.0);
        for (pause_ms, utilisation, memory_used_mib, memory_intensity) in steps {
            now_ms += pause_ms;
            let report = device.step(now_ms, GpuLoad { utilisation, memory_used_mib, memory_intensity });
            prop_assert!((0.0..=100.0).contains(&report.utilisation_percent.unwrap()));
            prop_assert!((0.0..=100.0).contains(&report.memory_utilisation_percent.unwrap()));
            prop_assert!(report.memory_used_mib <= report.memory_total_mib);
            let power_w = f64::from(report.power_w.unwrap());
            prop_assert!(power_w >= model.idle_w - 1e-3 && power_w <= model.tdp_w + 1e-3);
            prop_assert!(device.temperature_c() >= inlet_c - 1e-9 && device.temperature_c() <= device.settled_c(model.tdp_w) + 1e-9);
            prop_assert!(report.energy_j.unwrap() >= energy_j);
            prop_assert!(report.sm_clock_mhz.unwrap() <= model.max_sm_clock_mhz);
            prop_assert!(device.slowdown_factor() >= 1.0);
            energy_j = report.energy_j.unwrap();
        }
    }

    #[test]
    fn a_steady_load_reaches_a_steady_state(model in 0..CATALOGUE.len(), inlet_c in 15.0..35.0_f64, utilisation in 0.0..1.0_f64) {
        // Below the slowdown temperature there is exactly one state to settle in, wherever the GPU comes from.
        let load = GpuLoad { utilisation, memory_used_mib: 1, memory_intensity: 0.5 };
        let mut cold = GpuDevice::new(CATALOGUE[model], inlet_c);
        let mut warm = cold.clone();
        after(&mut warm, 30_000, FULL);
        after(&mut cold, HOUR_MS, load);
        after(&mut warm, HOUR_MS, load);
        prop_assert!((cold.temperature_c() - warm.temperature_c()).abs() < 1e-6);
    }

    #[test]
    fn the_same_steps_give_the_same_report(pauses in prop::collection::vec(0_u64..5_000, 1..40)) {
        let run = || {
            let mut device = GpuDevice::new(&T4, 25.0);
            let mut now_ms = 0;
            pauses.iter().map(|pause_ms| { now_ms += pause_ms; device.step(now_ms, FULL) }).collect::<Vec<_>>()
        };
        prop_assert_eq!(run(), run());
    }
}

#[test]
fn without_its_heat_sink_a_gpu_throttles_under_load_within_seconds() {
    for model in CATALOGUE {
        let mut device = GpuDevice::new(model, 23.0);
        device.set_cooled(false);
        assert_eq!(after(&mut device, HOUR_MS, GpuLoad::default()).throttled, Some(false), "{}: idle", model.name);
        let report = after(&mut device, 15_000, FULL);
        assert!(report.throttled == Some(true) && device.slowdown_factor() > 1.0, "{}", model.name);
        assert!(device.temperature_c() <= model.slowdown_c + HELD_ABOVE_SLOWDOWN_K, "{}", model.name);
        device.set_cooled(true);
        assert_eq!(after(&mut device, 300_000, GpuLoad::default()).throttled, Some(false), "{}: cooled again", model.name);
    }
}
