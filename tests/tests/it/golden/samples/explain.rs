//! Why jobs wait or run where they do, and questions about jobs that are not submitted.

use faultline_engine::job::{Assignment, AttemptSummary, Choice, Demand, RunnerUp};
use faultline_engine::scheduler::{PlaceInLine, Reject, RejectReason, Spot, WhyWaiting, WouldFit};
use faultline_protocol::messages::{AssignBatch, JobView, Query, QueryReply, WouldFitQuery};

use super::sample::{Sample, T, sample};

fn choice() -> Choice {
    Choice {
        policy: "least-loaded".into(),
        score: 917_504,
        full_score: 1_048_576,
        runner_up: Some(RunnerUp { node: "gpu-node-02".into(), score: 786_432 }),
        fitting: 5,
        nodes: 8,
    }
}

fn place() -> PlaceInLine {
    PlaceInLine {
        waiting: 31,
        ahead: 13,
        ahead_alike: 4,
        stands_aside: true,
        placed_meanwhile: 9,
        able: 0,
        nodes: 8,
        given_up_at_ms: Some(T + 10_000),
    }
}

pub(super) fn all(assignment: Assignment, job: JobView) -> Vec<Sample> {
    let rejects = vec![Reject { reason: RejectReason::TooFewGpus, nodes: 6 }, Reject { reason: RejectReason::GpuShareTaken, nodes: 2 }];
    let chosen = |row: AttemptSummary| AttemptSummary { why: String::new(), choice: Some(Box::new(choice())), ..row };
    let placed = Assignment { why: String::new(), choice: Some(Box::new(choice())), ..assignment };
    let why = WhyWaiting { since_ms: T, rejects: rejects.clone(), summary: "6 nodes: too few GPUs".into(), place: Some(place()) };
    let explained = JobView { waiting: Some(why), attempts: job.attempts.iter().cloned().map(chosen).collect(), ..job };
    let demand = Demand { gpu_milli: 2_000, gpu_memory_mib: 40_960, models: vec!["H100-80GB".into()] };
    let answer = WouldFit {
        count: 3,
        starts: 2,
        spots: vec![Spot { node: "gpu-node-01".into(), gpus: vec![1, 2] }, Spot { node: "gpu-node-02".into(), gpus: vec![0, 3] }],
        choice: Some(choice()),
        rejects,
        able: 4,
        nodes: 8,
        untried: 1,
        summary: "2 of 3 would start now, on 2 nodes".into(),
    };
    vec![
        sample("choice", AssignBatch { epoch: 3, assignments: vec![placed] }),
        sample("would-fit", Query::WouldFit(WouldFitQuery { demand, kind: "matrix".into(), count: 3 })),
        sample("explained", QueryReply::Jobs(vec![explained])),
        sample("would-fit", QueryReply::WouldFit(Box::new(answer))),
    ]
}
