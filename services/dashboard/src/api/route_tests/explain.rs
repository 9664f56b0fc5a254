//! Explanations, and questions about jobs that are not submitted.

use faultline_engine::job::{AttemptId, AttemptOutcome, AttemptSummary, Choice};
use faultline_engine::scheduler::{PlaceInLine, WhyWaiting};
use faultline_protocol::messages::{JobView, WouldFitQuery};

use super::*;

fn waiting() -> JobView {
    let place = PlaceInLine {
        waiting: 3,
        ahead: 2,
        ahead_alike: 1,
        stands_aside: true,
        placed_meanwhile: 5,
        able: 4,
        nodes: 8,
        given_up_at_ms: None,
    };
    let why = WhyWaiting { since_ms: 0, rejects: Vec::new(), summary: "8 nodes: GPU share taken".into(), place: Some(place) };
    JobView { waiting: Some(why), ..JobView::queued(JobId::new(0, 5), "train".into(), "sleep".into(), Priority::Normal, 0) }
}

#[tokio::test]
async fn a_waiting_job_is_explained_in_words_and_numbers() {
    let (app, cluster) = local();
    let job = waiting();
    cluster.held.lock().unwrap().insert(job.id, job.clone());
    let (status, body) = get(&app, &format!("/api/v1/jobs/{}/explain", job.id)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["lines"][1], json!({"about": "why not yet", "words": "8 nodes: GPU share taken"}));
    assert_eq!((&body["waiting"]["place"]["ahead"], &body["waiting"]["place"]["able"]), (&json!(2), &json!(4)));
    assert_eq!(get(&app, &format!("/api/v1/jobs/{}/explain", JobId::new(0, 6))).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_running_job_is_shown_with_the_words_for_its_numbers() {
    let (app, cluster) = local();
    let choice = Choice { policy: "best-fit".into(), score: 1, full_score: 2, runner_up: None, fitting: 1, nodes: 3 };
    let attempt = AttemptSummary {
        attempt: AttemptId::new(0, 1),
        node: "gpu-node-01".into(),
        incarnation: 1,
        gpus: vec![0],
        gpu_milli: 100,
        placed_at_ms: 7,
        started_at_ms: None,
        ended_at_ms: None,
        outcome: AttemptOutcome::Running,
        detail: String::new(),
        why: String::new(),
        choice: Some(Box::new(choice)),
    };
    let job = JobView { state: JobState::Running, waiting: None, attempts: vec![attempt], ..waiting() };
    cluster.held.lock().unwrap().insert(job.id, job.clone());
    let words = "best-fit: score 50 of 100, the only one of 3 nodes with room";
    let (_, shown) = get(&app, &format!("/api/v1/jobs/{}", job.id)).await;
    assert_eq!((&shown["attempts"][0]["why"], &shown["attempts"][0]["choice"]["fitting"]), (&json!(words), &json!(1)));
    let (_, explained) = get(&app, &format!("/api/v1/jobs/{}/explain", job.id)).await;
    assert_eq!(explained["lines"][1]["words"], words);
    assert_eq!(explained["lines"][2], json!({"about": "runner-up", "words": "none: no other node had room"}));
}

#[tokio::test]
async fn a_question_reaches_the_leader_and_nonsense_does_not() {
    let (app, cluster) = local();
    let (status, body) = get(&app, "/api/v1/would-fit?gpus=2&gpu_memory_mib=9&models=A100,H100&kind=sleep&count=3").await;
    assert_eq!((status, &body["count"], &body["starts"]), (StatusCode::OK, &json!(3), &json!(3)), "{body}");
    let asked = cluster.asked_to_fit.lock().unwrap().pop().unwrap();
    assert_eq!((asked.demand.gpu_milli, asked.demand.gpu_memory_mib, asked.demand.models.len()), (2_000, 9, 2));
    let (_, body) = get(&app, "/api/v1/would-fit").await;
    assert_eq!(body["count"], 1);
    assert_eq!(cluster.asked_to_fit.lock().unwrap().pop(), Some(WouldFitQuery { demand: demand(100), kind: String::new(), count: 1 }));
    for (query, field) in [
        ("gpus=1.5", "gpus"),
        ("gpus=9", "gpus"),
        ("gpus=abc", "gpus"),
        ("count=0", "count"),
        ("count=1001", "count"),
        ("kind=a.b", "kind"),
        ("models=*", "models"),
        ("x=1", "x"),
    ] {
        let (status, body) = get(&app, &format!("/api/v1/would-fit?{query}")).await;
        assert_eq!((status, &body["error"]["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(field)), "{query}: {body}");
    }
    for (query, problem) in [
        ("gpus=abc", "unexpected `abc`: write a number, such as 2 or 0.5"),
        ("count=many", "unexpected `many`: write a whole number"),
        ("gpu_memory_mib=-1", "unexpected `-1`: write a whole number"),
    ] {
        let (_, body) = get(&app, &format!("/api/v1/would-fit?{query}")).await;
        assert_eq!(body["error"]["message"], json!(problem), "{query}: {body}");
    }
    cluster.silent.store(true, Ordering::Relaxed);
    assert_eq!(get(&app, "/api/v1/would-fit").await.0, StatusCode::SERVICE_UNAVAILABLE);
}

fn demand(gpu_milli: u32) -> faultline_engine::job::Demand {
    faultline_engine::job::Demand { gpu_milli, ..Default::default() }
}
