use std::time::Duration;

use faultline_engine::job::{AttemptId, Demand, JobId, Param, Priority};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;

/// One attempt on a node of its own with two GPUs; the job demands half a GPU and 16 MiB.
pub(crate) struct Bench {
    pub(crate) ctx: AttemptContext,
    pub(crate) node: Arc<NodeConditions>,
    pub(crate) cancel: CancellationToken,
}

impl Bench {
    pub(crate) fn new(kind: &str, params: &[(&str, Param)]) -> Self {
        let spec = JobSpec {
            id: JobId::new(1, 2),
            name: "test".into(),
            kind: kind.into(),
            params: params.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            priority: Priority::Normal,
            demand: Demand { gpu_milli: 500, gpu_memory_mib: 16, models: vec![] },
            expected_ms: 1000,
            timeout_ms: 10_000,
            max_retries: 0,
            submitted_at_ms: 1,
            origin: Default::default(),
        };
        let node = Arc::new(NodeConditions::new(2));
        let cancel = CancellationToken::new();
        let ctx = AttemptContext::new(Arc::new(spec), AttemptIdentity::first(AttemptId::new(0, 7)), vec![1], node.clone(), cancel.clone());
        Self { ctx, node, cancel }
    }

    /// Another attempt of the same job.
    pub(crate) fn again(&self, attempt_seed: u64) -> AttemptContext {
        let identity = AttemptIdentity::first(AttemptId::new(0, attempt_seed.into()));
        AttemptContext::new(self.ctx.spec.clone(), identity, vec![1], self.node.clone(), self.cancel.clone())
    }
}

// The clock of these tests is paused: time is virtual and passes only when everything waits.

#[tokio::test(start_paused = true)]
async fn slow_nodes_and_throttled_gpus_stretch_the_work() {
    let bench = Bench::new("sleep", &[]);
    bench.node.set_slow_factor(3.0);
    bench.node.set_gpu_slowdown(0, 5.0);
    bench.node.set_gpu_slowdown(1, 2.0);
    assert_eq!(bench.ctx.slow_factor(), 6.0);
    let started = Instant::now();
    bench.ctx.sleep_scaled(1000).await.unwrap();
    assert!(started.elapsed().abs_diff(Duration::from_secs(6)) < Duration::from_millis(100), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_change_counts_from_its_moment_on() {
    let bench = Bench::new("sleep", &[]);
    let started = Instant::now();
    let (slept, ()) = tokio::join!(bench.ctx.sleep_scaled(10_000), async {
        tokio::time::sleep(Duration::from_millis(5_550)).await;
        bench.node.set_slow_factor(2.0);
    });
    assert_eq!(slept, Ok(()));
    assert!(started.elapsed().abs_diff(Duration::from_millis(14_450)) < Duration::from_millis(100), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_hung_node_stands_still_and_goes_on() {
    let bench = Bench::new("sleep", &[]);
    bench.node.set_hung(true);
    let started = Instant::now();
    let (slept, ()) = tokio::join!(bench.ctx.sleep_scaled(1000), async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(bench.ctx.progress().permille(), 0);
        bench.node.set_hung(false);
    });
    assert_eq!(slept, Ok(()));
    assert!(started.elapsed() >= Duration::from_secs(3601));
}

#[tokio::test]
async fn hung_blocking_work_waits_without_a_core_and_can_be_cancelled() {
    let bench = Bench::new("compute", &[]);
    let work = |control: &mut BlockingControl| -> Result<(), ExecutorError> {
        loop {
            control.checkpoint(0.5)?;
            std::thread::yield_now();
        }
    };
    let elsewhere = Bench::new("compute", &[]);
    // More than there are cores: with the cores held, the work on the healthy node could never run.
    let attempts: Vec<_> = (0..64).map(|seed| bench.again(seed)).collect();
    let hung = futures::future::join_all(attempts.iter().map(|ctx| ctx.blocking(work)));
    let (outcomes, ()) = tokio::join!(hung, async {
        while !attempts.iter().any(|ctx| ctx.progress().permille() == 500) {
            tokio::task::yield_now().await;
        }
        bench.node.set_hung(true);
        assert_eq!(elsewhere.ctx.blocking(|_| Ok(42)).await, Ok(42));
        bench.cancel.cancel();
    });
    assert!(outcomes.iter().all(|outcome| *outcome == Err(ExecutorError::Cancelled)));
}

#[tokio::test]
async fn dropped_blocking_work_stops() {
    let bench = Bench::new("compute", &[]);
    let (stopped, mut seen) = tokio::sync::mpsc::channel(1);
    let mut work = Box::pin(bench.ctx.blocking(move |control| -> Result<(), ExecutorError> {
        while control.checkpoint(0.5).is_ok() {
            std::thread::yield_now();
        }
        stopped.blocking_send(()).unwrap();
        Ok(())
    }));
    while bench.ctx.progress().permille() == 0 {
        assert!(futures::poll!(&mut work).is_pending());
        tokio::task::yield_now().await;
    }
    drop(work);
    assert_eq!(seen.recv().await, Some(()));
}

struct Broken;

impl Executor for Broken {
    fn kind(&self) -> &'static str {
        "broken"
    }

    fn run<'a>(&'a self, ctx: &'a AttemptContext) -> BoxFuture<'a, Result<Output, ExecutorError>> {
        // One panics before there is a future, the other one on a blocking thread.
        assert!(ctx.attempt_seed != 1, "early");
        Box::pin(async { ctx.blocking(|_| -> Result<Output, ExecutorError> { panic!("late") }).await })
    }
}

#[tokio::test]
async fn a_panic_is_an_error_of_its_attempt_alone() {
    let bench = Bench::new("broken", &[]);
    assert_eq!(run_attempt(&Broken, &bench.again(1)).await, Err(ExecutorError::Panicked("early".into())));
    assert_eq!(run_attempt(&Broken, &bench.again(2)).await, Err(ExecutorError::Panicked("late".into())));
}

#[test]
fn memory_is_counted_against_the_demand() {
    let bench = Bench::new("sleep", &[]);
    assert_eq!(bench.ctx.allocate_gpu_memory(10), Ok(()));
    assert_eq!(bench.ctx.allocate_gpu_memory(7), Err(ExecutorError::OutOfMemory { wanted_mib: 7, used_mib: 10, limit_mib: 16 }));
    assert_eq!(bench.ctx.allocate_gpu_memory(6), Ok(()));
    assert_eq!(bench.ctx.gpu_memory_used_mib(), 16);
}

#[test]
fn the_registry_finds_kinds_and_names_what_it_knows() {
    let mut registry = crate::executors::defaults();
    registry.register(Broken);
    assert_eq!(registry.kinds().collect::<Vec<_>>(), ["broken", "compute", "fault", "matrix", "sleep"]);
    assert!(registry.find(&Bench::new("matrix", &[]).ctx.spec).is_ok());
    let unknown = registry.find(&Bench::new("train", &[]).ctx.spec).err().unwrap();
    assert_eq!(unknown.field, "kind");
    assert!(unknown.problem.contains("broken, compute, fault, matrix, sleep"));
    let odd = registry.find(&Bench::new("matrix", &[("size", Param::Int(0))]).ctx.spec).err().unwrap();
    assert_eq!(odd.field, "params");
}
