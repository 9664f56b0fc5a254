use proptest::prelude::*;

use super::*;

/// What can happen, with numbers that are brought into bounds when it is played.
#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Node { node: usize, gpus: u32, condition: Condition, broken: u32 },
    Free { node: usize, class: usize },
    Start { job: usize, nodes: Vec<usize>, milli: u32 },
    Enter { job: usize, phase: Phase, late_ms: u64 },
    Rounds { job: usize, rounds: u64, work_ms: u64, write_ms: u64 },
    Durable { job: usize },
    End { job: usize, ending: Ending },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let condition = prop_oneof![
        Just(Condition::Up),
        Just(Condition::Down),
        Just(Condition::DownUnseen),
        Just(Condition::Quarantined),
        Just(Condition::Draining)
    ];
    let phase = prop_oneof![
        Just(Phase::Handover),
        Just(Phase::GangWait),
        Just(Phase::Restore),
        Just(Phase::FULL),
        Just(Phase::Work { speed_milli: 333 }),
        Just(Phase::Checkpoint),
        Just(Phase::Stalled)
    ];
    let ending = prop_oneof![
        Just(Ending::Committed),
        Just(Ending::Interrupted(LossCause::NodeFault)),
        Just(Ending::Abandoned(LossCause::OwnFailure))
    ];
    let step = prop_oneof![
        3 => (0..5000_u64).prop_map(Step::Wait),
        1 => (0..4_usize, 0..9_u32, condition, 0..9_u32)
            .prop_map(|(node, gpus, condition, broken)| Step::Node { node, gpus, condition, broken }),
        1 => (0..4_usize, 13..22_usize).prop_map(|(node, class)| Step::Free { node, class }),
        3 => (0..6_usize, prop::collection::vec(0..4_usize, 1..4), 1..4000_u32)
            .prop_map(|(job, nodes, milli)| Step::Start { job, nodes, milli }),
        3 => (0..6_usize, phase, 0..500_u64).prop_map(|(job, phase, late_ms)| Step::Enter { job, phase, late_ms }),
        1 => (0..6_usize, 0..9_u64, 1..200_u64, 0..50_u64)
            .prop_map(|(job, rounds, work_ms, write_ms)| Step::Rounds { job, rounds, work_ms, write_ms }),
        1 => (0..6_usize).prop_map(|job| Step::Durable { job }),
        2 => (0..6_usize, ending).prop_map(|(job, ending)| Step::End { job, ending }),
    ];
    prop::collection::vec(step, 1..80)
}

#[derive(Default)]
struct Job {
    account: Account,
    holdings: Vec<(usize, u32)>,
}

fn play(steps: &[Step]) -> Books {
    let mut books = Books::new(1_000, Some(700));
    let mut now_ms = 1_000;
    let mut jobs: Vec<Job> = (0..6).map(|_| Job::default()).collect();
    for step in steps {
        match step {
            Step::Wait(ms) => now_ms += ms,
            Step::Node { node, gpus, condition, broken } => books.node(now_ms, *node, gpus * 1000, *condition, broken * 1000),
            Step::Free { node, class } => books.free_class(now_ms, *node, Class::ALL[*class]),
            Step::Start { job, nodes, milli } => {
                let job = &mut jobs[*job];
                if job.holdings.is_empty() {
                    job.holdings = nodes.iter().map(|node| (*node, *milli)).collect();
                    books.start(now_ms, &mut job.account, job.holdings.iter().copied(), Phase::Restore);
                }
            }
            Step::Enter { job, phase, late_ms } => {
                let job = &mut jobs[*job];
                if !job.holdings.is_empty() {
                    let at_ms = now_ms.saturating_sub(*late_ms).max(job.account.since_ms());
                    books.enter(at_ms, &mut job.account, *phase);
                }
            }
            Step::Rounds { job, rounds, work_ms, write_ms } => {
                let account = &mut jobs[*job].account;
                if account.phase() == Phase::FULL && account.since_ms() + rounds * (work_ms + write_ms) <= now_ms {
                    books.rounds(account, *rounds, *work_ms, *write_ms);
                }
            }
            Step::Durable { job } => jobs[*job].account.durable(),
            Step::End { job, ending } => {
                let job = &mut jobs[*job];
                let holdings = std::mem::take(&mut job.holdings);
                books.end(now_ms, &mut job.account, holdings, *ending);
            }
        }
    }
    jobs.iter_mut().for_each(|job| books.close_account(now_ms, &mut job.account));
    books.close(now_ms);
    books
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_classes_are_a_partition_of_the_capacity(steps in steps()) {
        let books = play(&steps);
        let totals = books.totals();
        prop_assert!(totals.is_exact(), "{totals:?}");
        for class in Class::ALL {
            let in_rows: u128 = books.series().unwrap().rows().map(|(_, row)| row[class.at()]).sum();
            // Within a stretch of several kinds the rows are rounded; sums over all classes are not.
            let tolerance = if class.group() == Group::Booked { totals.sum() / 50 + 4_000_000 } else { 0 };
            prop_assert!(in_rows.abs_diff(totals.of(class)) <= tolerance, "{class}: {in_rows} of {}", totals.of(class));
        }
        let rows: u128 = books.series().unwrap().rows().flat_map(|(_, row)| row).sum();
        prop_assert_eq!(rows, totals.sum());
    }

    #[test]
    fn rounds_are_what_entering_each_of_them_is(
        rounds in 0..20_u64, work_ms in 1..500_u64, write_ms in 0..90_u64, rest_ms in 0..400_u64, speed_milli in 200..1001_u16,
    ) {
        let for_ms = (work_ms * 1000).div_ceil(speed_milli.into());
        let work = Phase::Work { speed_milli };
        let play = |at_once: bool| {
            let mut books = Books::new(0, Some(333));
            let mut account = Account::default();
            books.node(0, 0, 8000, Condition::Up, 0);
            books.start(0, &mut account, [(0, 3000)], work);
            let mut at_ms = 0;
            if at_once {
                books.slow_rounds(&mut account, rounds, work_ms, for_ms, write_ms);
                at_ms = rounds * (for_ms + write_ms);
            } else {
                for _ in 0..rounds {
                    books.enter(at_ms + for_ms, &mut account, Phase::Checkpoint);
                    at_ms += for_ms + write_ms;
                    books.enter(at_ms, &mut account, work);
                    account.durable();
                }
            }
            books.end(at_ms + rest_ms, &mut account, [(0, 3000)], Ending::Interrupted(LossCause::NodeFault));
            books.close_account(at_ms + rest_ms, &mut account);
            (books.close(at_ms + rest_ms).clone(), *account.spent())
        };
        prop_assert_eq!(play(true), play(false));
    }
}

#[test]
fn one_job_with_a_fault_by_hand() {
    let mut books = Books::new(0, None);
    let mut account = Account::default();
    books.node(0, 0, 8000, Condition::Up, 0);
    books.node(0, 1, 8000, Condition::Up, 2000);
    // Four GPUs: 10 s to start, 100 s of work, 5 s for a checkpoint, 20 s of work, then the node dies and is detected after 3 s.
    books.start(0, &mut account, [(0, 4000)], Phase::Restore);
    books.enter(10_000, &mut account, Phase::FULL);
    books.enter(110_000, &mut account, Phase::Checkpoint);
    books.enter(115_000, &mut account, Phase::FULL);
    account.durable();
    books.node(135_000, 0, 8000, Condition::DownUnseen, 0);
    books.enter(135_000, &mut account, Phase::Stalled);
    books.end(138_000, &mut account, [(0, 4000)], Ending::Interrupted(LossCause::NodeFault));
    books.node(138_000, 0, 8000, Condition::Down, 0);
    // On the other node: 8 s to restore, 50 s of work at half speed, then it is committed.
    books.start(138_000, &mut account, [(1, 4000)], Phase::Restore);
    books.enter(146_000, &mut account, Phase::Work { speed_milli: 500 });
    books.end(196_000, &mut account, [(1, 4000)], Ending::Committed);
    let totals = books.close(200_000).clone();
    assert!(totals.is_exact());
    let gpu_seconds = |class: Class| totals.of(class) / 1_000_000;
    let booked = [
        (Class::Restore, 4 * 18),
        (Class::Productive, 4 * 125),
        (Class::Checkpoint, 4 * 5),
        (Class::Lost, 4 * 20),
        (Class::Stalled, 4 * 3),
        (Class::Straggling, 4 * 25),
    ];
    for (class, expected) in booked {
        assert_eq!(gpu_seconds(class), expected, "{class}");
    }
    assert_eq!((gpu_seconds(Class::DownUnseen), gpu_seconds(Class::Down)), (4 * 3, 8 * 62 + 2 * 200));
    assert_eq!(totals.lost_by(LossCause::NodeFault), totals.of(Class::Lost));
    let spent = account.spent();
    assert_eq!((spent.productive_ms, spent.lost_ms, spent.stalled_ms, spent.straggling_ms), (125_000, 20_000, 3_000, 25_000));
    let ratios = Ratios::of(&totals);
    assert_eq!(ratios.goodput.value, Some(500.0 / 3200.0));
    assert_eq!(ratios.runtime_goodput.value, Some(500.0 / 784.0));
}

#[test]
fn a_job_that_ends_without_a_commit_loses_what_its_checkpoints_have() {
    let mut books = Books::new(0, None);
    let mut account = Account::default();
    books.node(0, 0, 1000, Condition::Up, 0);
    books.start(0, &mut account, [(0, 1000)], Phase::FULL);
    books.rounds(&mut account, 3, 100, 10);
    books.end(400, &mut account, [(0, 1000)], Ending::Interrupted(LossCause::Preemption));
    assert_eq!((books.totals().of(Class::Lost), books.totals().of(Class::Productive)), (70_000, 0));
    books.abandon(&mut account, LossCause::Cancel);
    let totals = books.close(400);
    assert_eq!((totals.lost_by(LossCause::Cancel), totals.of(Class::Checkpoint)), (300_000, 30_000));
    assert!(totals.is_exact());
}

/// One node of four GPUs. A job has two of them, and a third one for a while; a free GPU breaks, and is found out.
#[test]
fn an_attempt_that_gets_and_gives_back_a_gpu_by_hand() {
    let mut books = Books::new(0, None);
    let mut account = Account::default();
    books.node(0, 0, 4000, Condition::Up, 0);
    books.start(0, &mut account, [(0, 2000)], Phase::FULL);
    books.exchange(10, &mut account, [(0, 2000)], [(0, 3000)], Phase::Checkpoint);
    books.enter(15, &mut account, Phase::FULL);
    account.durable();
    books.broken(20, 0, 0, 1000);
    books.broken(23, 0, 1000, 0);
    // The job gives a GPU back without a checkpoint: what it did since the last one is lost.
    books.end(35, &mut account, [(0, 3000)], Ending::Interrupted(LossCause::Preemption));
    books.start(35, &mut account, [(0, 2000)], Phase::FULL);
    books.broken(40, 0, 0, 0);
    books.end(45, &mut account, [(0, 2000)], Ending::Committed);
    let totals = books.close(50).clone();
    assert!(totals.is_exact());
    let of = |class: Class| totals.of(class) / 1000;
    assert_eq!((of(Class::Productive), of(Class::Lost), of(Class::Checkpoint)), (2 * 10 + 2 * 10, 3 * 20, 3 * 5));
    assert_eq!((of(Class::DownUnseen), of(Class::Down)), (3, 17));
    assert_eq!(of(Class::NoDemand), 2 * 10 + 5 + 5 + 5 + 2 * 5 + 4 * 5);
}
