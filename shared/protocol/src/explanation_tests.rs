use faultline_engine::job::{AttemptId, Choice, Priority, RunnerUp};

use super::*;

fn job(state: JobState) -> JobView {
    JobView { state, ..JobView::queued(JobId::new(0, 1), "train".into(), "sleep".into(), Priority::Normal, 1_000) }
}

fn attempt(outcome: AttemptOutcome, placed_at_ms: u64) -> AttemptSummary {
    let choice = Choice {
        policy: "least-loaded".into(),
        score: 3 << 18,
        full_score: 1 << 20,
        runner_up: Some(RunnerUp { node: "gpu-node-02".into(), score: 1 << 19 }),
        fitting: 2,
        nodes: 3,
    };
    AttemptSummary {
        attempt: AttemptId::new(placed_at_ms, 1),
        node: "gpu-node-01".into(),
        incarnation: 1,
        gpus: vec![0, 1],
        gpu_milli: 2_000,
        placed_at_ms,
        started_at_ms: Some(placed_at_ms),
        ended_at_ms: Some(placed_at_ms + 100),
        outcome,
        detail: String::new(),
        why: String::new(),
        choice: Some(Box::new(choice)),
    }
}

fn place() -> PlaceInLine {
    PlaceInLine { waiting: 31, ahead: 13, ahead_alike: 4, stands_aside: true, placed_meanwhile: 9, able: 2, nodes: 3, given_up_at_ms: None }
}

fn lines(job: &JobView) -> Vec<String> {
    Explanation::of(job, 10_000).lines.into_iter().map(|line| format!("{}: {}", line.about, line.words)).collect()
}

fn waits(place: Option<PlaceInLine>) -> JobView {
    let why = WhyWaiting { since_ms: 2_000, rejects: Vec::new(), summary: "3 nodes: GPU share taken".into(), place };
    JobView { waiting: Some(why), ..job(JobState::Queued) }
}

#[test]
fn a_waiting_job_is_told_why_not_yet_and_what_goes_before_it() {
    assert_eq!(
        lines(&waits(Some(place()))),
        [
            "state: queued, held by this leader for 8.0 s",
            "why not yet: 3 nodes: GPU share taken",
            "order: place 14 of 31: 13 jobs go before it, 4 of them ask for the same",
            "stands aside: until a node has room for it; jobs behind it go ahead when they fit, and 9 have been placed since this leader has held it",
            "possible on: 2 of 3 nodes could run it if they were open and empty",
        ]
    );
    let second = |ahead_alike| PlaceInLine { ahead: 1, ahead_alike, ..place() };
    assert_eq!(lines(&waits(Some(second(1))))[2], "order: place 2 of 31: 1 job goes before it, which asks for the same");
    assert_eq!(lines(&waits(Some(second(0))))[2], "order: place 2 of 31: 1 job goes before it, which asks for something else");
    let first = PlaceInLine { ahead: 0, ahead_alike: 0, able: 0, given_up_at_ms: Some(17_200), ..place() };
    assert_eq!(
        lines(&waits(Some(first)))[2..],
        [
            "order: place 1 of 31: it is tried first",
            "given up: in 7.2 s: no node could ever run it. A node that can, and comes before, changes that",
        ]
    );
    assert_eq!(lines(&waits(None)).len(), 2, "it waits for its retry, or a leader of an earlier version answers");
    assert_eq!(
        lines(&job(JobState::Queued)),
        [
            "state: queued",
            "why not yet: not known: no leading scheduler holds it now. It waits in the queue until one takes it, or its submitter died before it queued it"
        ]
    );
}

#[test]
fn a_job_that_was_placed_is_told_why_there() {
    let running = JobView { attempts: vec![attempt(AttemptOutcome::Running, 1_250)], ..job(JobState::Running) };
    let here = ["why here: least-loaded: 75 % free, best of 2 of 3 nodes", "runner-up: gpu-node-02, 50 % free: 25 points behind"];
    assert_eq!(lines(&running), ["state: running on gpu-node-01, GPU 0 and 1, for 8.7 s", here[0], here[1], "waited: 250 ms"]);
    let again = vec![attempt(AttemptOutcome::Lost, 1_000), attempt(AttemptOutcome::Committed, 1_400)];
    let ended = JobView { attempts: again, ..job(JobState::Committed) };
    assert_eq!(lines(&ended), ["state: committed; it ran on gpu-node-01, GPU 0 and 1", here[0], here[1], "waited: 300 ms"]);
    let back = JobView { attempts: vec![attempt(AttemptOutcome::Failed, 1_000)], ..waits(None) };
    assert_eq!(lines(&back)[0], "state: waiting for a retry, held by this leader for 8.0 s");
    assert_eq!(lines(&back)[2], "why there before: least-loaded: 75 % free, best of 2 of 3 nodes");
    let never = JobView { reason: "no node could ever run it".into(), ..job(JobState::Dead) };
    assert_eq!(lines(&never), ["state: given up; it never ran", "reason: no node could ever run it"]);
    let old = AttemptSummary { choice: None, why: "least loaded".into(), ..attempt(AttemptOutcome::Running, 1_000) };
    assert_eq!(lines(&JobView { attempts: vec![old], ..job(JobState::Running) })[1], "why here: least loaded");
}

#[test]
fn what_would_fit_is_told_node_by_node() {
    let spots: Vec<Spot> = (0..21).map(|number| Spot { node: format!("n{}", number % 10), gpus: vec![0] }).collect();
    assert_eq!(by_node(&spots), "3 to n0, 2 to n1, 2 to n2, 2 to n3, 2 to n4, 2 to n5, 2 to n6, 2 to n7, 4 to 2 other nodes");
}

#[test]
fn of_several_jobs_the_reason_is_the_first_ones() {
    let spots: Vec<Spot> = ["n0", "n1"].map(|node| Spot { node: node.into(), gpus: vec![0] }).to_vec();
    let answer = WouldFit {
        count: 2,
        starts: 2,
        spots,
        choice: attempt(AttemptOutcome::Running, 0).choice.map(|choice| *choice),
        rejects: Vec::new(),
        able: 3,
        nodes: 3,
        untried: 0,
        summary: "2 of 2".into(),
    };
    let words =
        |answer: &WouldFit| would_fit_lines(answer).into_iter().map(|line| format!("{}: {}", line.about, line.words)).collect::<Vec<_>>();
    assert_eq!(words(&answer)[2], "why there: the first: least-loaded: 75 % free, best of 2 of 3 nodes");
    let one = WouldFit { count: 1, starts: 1, spots: answer.spots[..1].to_vec(), ..answer };
    assert_eq!(words(&one)[1], "why there: least-loaded: 75 % free, best of 2 of 3 nodes");
}
