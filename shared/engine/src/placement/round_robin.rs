//! Takes turns: the next node after the last one that could take the job gets it.

use super::{Candidate, Policy};
use crate::job::JobSpec;

#[derive(Debug, Default)]
pub struct RoundRobin {
    next: usize,
}

impl Policy for RoundRobin {
    fn name(&self) -> &'static str {
        "round-robin"
    }

    fn score(&mut self, _job: &JobSpec, candidate: &Candidate) -> f64 {
        // Nodes from `next` on come in order; those before it come after all of them.
        let ahead = candidate.index >= self.next;
        -(candidate.index as f64) + if ahead { 1e9 } else { 0.0 }
    }

    fn placed(&mut self, index: usize) {
        self.next = index + 1;
    }

    fn why(&self, _candidate: &Candidate) -> String {
        "round-robin: its turn".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Demand, JobId, Params, Priority};

    #[test]
    fn turns_go_round() {
        let job = JobSpec {
            id: JobId::new(0, 0),
            name: "x".into(),
            kind: "sleep".into(),
            params: Params::new(),
            priority: Priority::Low,
            demand: Demand::default(),
            expected_ms: 0,
            timeout_ms: 1,
            max_retries: 0,
            submitted_at_ms: 0,
            origin: Default::default(),
        };
        let mut policy = RoundRobin::default();
        let mut turns = Vec::new();
        for _ in 0..5 {
            let best = (0..3)
                .map(|index| {
                    let candidate = Candidate { index, free_milli: 0, total_milli: 0, free_slots: 1, total_slots: 1 };
                    (policy.score(&job, &candidate), index)
                })
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .unwrap()
                .1;
            policy.placed(best);
            turns.push(best);
        }
        assert_eq!(turns, [0, 1, 2, 0, 1]);
    }
}
