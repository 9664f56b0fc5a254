use super::*;
use crate::tests::{Bench, gpu_task};

/// Half of the tasks want 500 milli and 4 cores, a quarter a whole GPU and 8 cores, a quarter no GPU.
fn target() -> Vec<(TaskClass, u64)> {
    vec![(gpu_task(1, 500, 4_000), 2), (gpu_task(1, 1000, 8_000), 1), (gpu_task(0, 0, 1_000), 1)]
}

fn fgd(scores: Scores) -> Fgd {
    Fgd::new(&target(), scores).unwrap()
}

#[test]
fn fragmentation_by_hand() {
    let mut bench = Bench::new(fgd(Scores::Exact));
    let node = bench.join("n", 2, Some(16_000), None);
    let fragmentation = |bench: &Bench<Fgd>| {
        let mut policy = fgd(Scores::Exact);
        policy.learn(bench.planner.world.shapes());
        policy.fragmentation(&bench.planner.world, node)
    };
    // Empty: nothing is lost to shares and whole GPUs, all 2,000 to tasks without a GPU.
    assert_eq!(fragmentation(&bench), 500.0);
    bench.place(node, gpu_task(1, 400, 4_000));
    // 600 and 1,000 free, 12 cores: shares use both; whole GPUs lose the 600; others lose 1,600.
    assert_eq!(fragmentation(&bench), 0.25 * 600.0 + 0.25 * 1600.0);
    bench.place(node, gpu_task(0, 0, 6_000));
    // 6 cores left: whole GPUs lose all of it too.
    assert_eq!(fragmentation(&bench), 0.25 * 1600.0 + 0.25 * 1600.0);
}

#[test]
fn the_score_and_the_gpu_by_hand() {
    let mut bench = Bench::new(fgd(Scores::Cut));
    let node = bench.join("n", 2, Some(64_000), None);
    bench.place(node, gpu_task(1, 500, 4_000));
    // F is 0.25 * 500 + 0.25 * 1500 = 500. The other half of the used GPU leaves 250: sigmoid(0.25) = 0.562.
    // On the idle GPU it would leave 0.25 * 1000 + 0.25 * 1000 = 500: sigmoid(0) = 0.5.
    assert_eq!(bench.score(node, gpu_task(1, 500, 4_000)), 56);
    let (_, placement) = bench.take(gpu_task(1, 500, 4_000)).unwrap();
    assert_eq!(placement.gpus.iter().collect::<Vec<_>>(), [0]);
}

#[test]
fn the_target_is_what_comes_most_often() {
    let workload = [(gpu_task(1, 500, 1), 90), (gpu_task(1, 600, 1), 4), (gpu_task(1, 700, 1), 4), (gpu_task(1, 800, 1), 2)];
    assert_eq!(Target::new(&workload).unwrap().tasks(), 98, "94 of 100 are too few");
    assert!(Target::new(&[]).is_none() && Target::new(&[(gpu_task(1, 500, 1), 0)]).is_none());
}

/// The definition, word for word, without any table.
fn as_defined(target: &[(TaskClass, u64)], cpu_milli: u32, free: &[(u16, &str)]) -> f64 {
    let all: u64 = target.iter().map(|(_, count)| count).sum();
    let total: f64 = free.iter().map(|(milli, _)| f64::from(*milli)).sum();
    let of_class = |class: &TaskClass| {
        let would_do = |(milli, model): &&(u16, &str)| {
            *milli >= class.gpu_milli && (class.models.is_empty() || class.models.iter().any(|name| name == model))
        };
        if class.gpus == 0 || cpu_milli < class.cpu_milli || free.iter().filter(would_do).count() < class.gpus.into() {
            return total;
        }
        total - free.iter().filter(would_do).map(|(milli, _)| f64::from(*milli)).sum::<f64>()
    };
    target.iter().map(|(class, count)| of_class(class) * *count as f64 / all as f64).sum()
}

#[test]
fn the_table_agrees_with_the_definition() {
    let with_model =
        |gpus, gpu_milli, cpu_milli, model: &str| TaskClass { models: vec![model.into()], ..gpu_task(gpus, gpu_milli, cpu_milli) };
    let target = [
        (gpu_task(1, 300, 2_000), 20),
        (gpu_task(1, 1000, 8_000), 20),
        (gpu_task(2, 1000, 9_000), 20),
        (gpu_task(2, 400, 3_000), 20),
        (gpu_task(0, 0, 4_000), 20),
        (with_model(1, 700, 4_000, "A"), 20),
        (with_model(4, 1000, 4_000, "B"), 20),
    ];
    let models = ["A", "A", "B", "B", "B", "C"];
    let gpus = models.iter().map(|model| crate::machine::Gpu { model: (*model).into(), memory_mib: 0 }).collect();
    let shape = Shape { cpu_milli: None, memory_mib: None, slots: None, gpus, kinds: vec![] };
    let built = Target::new(&target).unwrap();
    assert_eq!(built.tasks(), 140);
    let table = Table::new(&built, &shape);
    let mut rng = Pcg64Mcg::new(7);
    for _ in 0..2_000 {
        use rand::RngExt;
        let milli: Vec<u16> = models.iter().map(|_| [0, 250, 300, 400, 699, 700, 1000, 1000][rng.random_range(0..8)]).collect();
        let cpu_milli = rng.random_range(0..10_000);
        let fast = table.fragmentation(&built, cpu_milli, &milli) as f64 / 140.0;
        let free: Vec<(u16, &str)> = milli.into_iter().zip(models).collect();
        let slow = as_defined(&target, cpu_milli, &free);
        assert!((fast - slow).abs() < 1e-6, "{fast} and {slow}: {cpu_milli} {free:?}");
    }
}

/// The score of a node as defined: F before, less the smallest F that a choice of GPUs leaves.
#[test]
fn the_score_agrees_with_the_definition() {
    use rand::RngExt;
    let target =
        [(gpu_task(1, 300, 2_000), 30), (gpu_task(1, 1000, 8_000), 30), (gpu_task(2, 1000, 9_000), 20), (gpu_task(0, 0, 4_000), 20)];
    let mut rng = Pcg64Mcg::new(11);
    let mut seen = [0; 3];
    for _ in 0..300 {
        let mut bench = Bench::new(Fgd::new(&target, Scores::Exact).unwrap());
        let node = bench.join("n", 4, Some(32_000), None);
        for _ in 0..rng.random_range(0..5) {
            let milli = [200, 500, 700, 1000][rng.random_range(0..4)];
            if bench.fits(node, &gpu_task(1, milli, 2_000)) {
                bench.place(node, gpu_task(1, milli, 2_000));
            }
        }
        let gpus = rng.random_range(0..3);
        let task = gpu_task(gpus, [0, [300, 500, 1000][rng.random_range(0..3)], 1000][usize::from(gpus)], rng.random_range(0..12_000));
        if !bench.fits(node, &task) {
            continue;
        }
        let hot = bench.planner.world.hot(node).clone();
        let fragmentation = |cpu_milli: u32, milli: &[u16]| {
            let free: Vec<(u16, &str)> = milli.iter().map(|milli| (*milli, "T4")).collect();
            as_defined(&target, cpu_milli, &free)
        };
        let free = &hot.free_milli[..4];
        let fitting: Vec<usize> = (0..4).filter(|gpu| free[*gpu] >= task.gpu_milli).collect();
        let choices: Vec<Vec<usize>> = match gpus {
            1 => fitting.iter().map(|gpu| vec![*gpu]).collect(),
            _ => vec![fitting.into_iter().take(gpus.into()).collect()],
        };
        let left = choices.iter().map(|choice| {
            let mut free = free.to_vec();
            choice.iter().for_each(|gpu| free[*gpu] -= task.gpu_milli);
            fragmentation(hot.free_cpu_milli - task.cpu_milli, &free)
        });
        let fall = fragmentation(hot.free_cpu_milli, free) - left.fold(f64::INFINITY, f64::min);
        let expected = (fall + LARGEST_FALL_MILLI) * f64::from(MAX_SCORE) / (2.0 * LARGEST_FALL_MILLI);
        let score = f64::from(bench.score(node, task.clone()));
        assert!((score - expected).abs() < 10.0, "{score} and {expected}: {task:?} {hot:?}");
        seen[usize::from(gpus)] += 1;
    }
    assert!(seen.iter().all(|count| *count > 30), "{seen:?}");
}
