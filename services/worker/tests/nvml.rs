//! Real GPUs as a stand-in for NVIDIA's library gives them: boards that leave readings out, a GPU that is lost, a driver that does not fit.

use std::path::PathBuf;
use std::process::Command;

use faultline_engine::fault::GpuNews;
use faultline_engine::node::GpuTelemetry;
use faultline_worker::telemetry::{DeviceSource, NvmlDevices};
use tempfile::TempDir;

/// The stand-in, compiled into a folder of its own, with what it answers.
struct Stub {
    folder: TempDir,
}

impl Stub {
    fn new(state: &str) -> Self {
        let stub = Self { folder: TempDir::new().unwrap() };
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nvml/stub.c");
        let compiler = Command::new("cc").args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]).arg(stub.library()).arg(source).status();
        assert!(compiler.expect("a C compiler, which linking Rust programs needs as well").success());
        stub.answer(state);
        stub
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("libnvidia-ml.so.1")
    }

    fn answer(&self, state: &str) {
        std::fs::write(self.folder.path().join("libnvidia-ml.so.1.state"), state).unwrap();
    }

    fn open(&self) -> NvmlDevices {
        NvmlDevices::open_library(&self.library()).unwrap()
    }
}

fn full() -> GpuTelemetry {
    GpuTelemetry {
        utilisation_percent: Some(37.0),
        memory_utilisation_percent: Some(11.0),
        memory_used_mib: Some(1000),
        memory_total_mib: Some(81_559),
        temperature_c: Some(54.0),
        memory_temperature_c: Some(61.0),
        power_w: Some(123.456),
        energy_j: Some(5.0),
        sm_clock_mhz: Some(1980),
        memory_clock_mhz: Some(2619),
        throttled: Some(false),
        xid: Some(0),
        out_of_service: false,
    }
}

#[test]
fn a_reading_that_a_board_does_not_give_is_absent_and_hides_no_other() {
    let stub = Stub::new("count=4\n1.kind=nosensor\n2.kind=mig\n3.kind=vgpu\n3.name=GRID T4-16Q\n");
    let mut devices = stub.open();
    assert_eq!((devices.kind(), devices.problem(), devices.descriptors().len()), ("nvml", None, 4));
    assert_eq!(devices.descriptors()[0].model, "H100-80GB");
    let reports = devices.sample(0, &[]);
    assert_eq!(reports[0], full());
    assert_eq!(reports[1], GpuTelemetry { memory_temperature_c: None, ..full() });
    assert_eq!(reports[2], GpuTelemetry { utilisation_percent: None, memory_utilisation_percent: None, ..full() });
    let of_vgpu = GpuTelemetry {
        utilisation_percent: Some(37.0),
        memory_utilisation_percent: Some(11.0),
        memory_used_mib: Some(1000),
        memory_total_mib: Some(81_559),
        ..GpuTelemetry::default()
    };
    assert_eq!(reports[3], of_vgpu, "no clocks, no sensors, no XIDs");
    assert_eq!(devices.news(), []);
}

#[test]
fn a_gpu_that_is_lost_while_it_is_used_is_news_until_it_is_back() {
    let stub = Stub::new("count=2\n");
    let mut devices = stub.open();
    devices.sample(0, &[]);
    for kind in ["lost", "reset"] {
        stub.answer(&format!("count=2\n1.kind={kind}\n"));
        for _ in 0..2 {
            let reports = devices.sample(1_000, &[]);
            assert_eq!(reports[0], full(), "the other one goes on");
            assert_eq!(reports[1], full().of_unreachable());
            assert_eq!(devices.news(), [(1, GpuNews::Lost)], "{kind}");
        }
        stub.answer("count=2\n");
        assert_eq!(devices.sample(2_000, &[]), [full(), full()]);
        assert_eq!((devices.news(), devices.news()), (vec![(1, GpuNews::Back)], vec![]));
    }
}

#[test]
fn a_gpu_that_is_lost_from_the_start_hides_no_other() {
    let stub = Stub::new("count=3\n1.kind=lost\n2.kind=forbidden\n");
    let mut devices = stub.open();
    let models: Vec<String> = devices.descriptors().into_iter().map(|gpu| gpu.model).collect();
    assert_eq!(models, ["H100-80GB", "unknown"], "the third belongs to another container");
    assert_eq!(devices.sample(0, &[]), [full(), GpuTelemetry::default()]);
    assert_eq!(devices.news(), [(1, GpuNews::Lost)]);
}

#[test]
fn xids_are_told_once_and_a_reset_is_noticed() {
    let stub = Stub::new("count=2\n");
    let mut devices = stub.open();
    devices.sample(0, &[]);
    stub.answer("count=2\n0.xids=31\n1.xids=48 43\n");
    assert_eq!(devices.news(), [(0, GpuNews::Xid(31)), (1, GpuNews::Xid(48)), (1, GpuNews::Xid(43))]);
    assert_eq!(devices.news(), []);
    stub.answer("count=2\n0.xids=31\n1.xids=48 43\n1.energy=0\n");
    devices.sample(1_000, &[]);
    assert_eq!(devices.news(), [(1, GpuNews::Back)], "its energy counter began anew");
}

#[test]
fn a_driver_that_does_not_fit_is_an_error_with_its_remedy() {
    for (state, wanted) in [
        ("init=18\n", ["NVML failed: RM detects a driver/library version mismatch", "reload the NVIDIA kernel module or reboot"]),
        ("count=1\n0.kind=forbidden\n", ["the current user does not have permission", "let this user open /dev/nvidia*"]),
        ("count=0\n", ["NVML found no GPU", "`nvidia-smi`"]),
    ] {
        let Err(error) = NvmlDevices::open_library(&Stub::new(state).library()) else { panic!("{state}") };
        let words = error.to_string();
        assert!(wanted.iter().all(|part| words.contains(part)), "{words}");
    }
}
