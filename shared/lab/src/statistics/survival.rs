//! Times of which some are only known to be longer than something: jobs that still wait or run when a run ends. Leaving them out would make
//! the policy look best that leaves the longest jobs behind.
//!
//! The estimate is Kaplan and Meier's, "Nonparametric Estimation from Incomplete Observations", JASA 53, 1958.

/// One job's time, in any unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    pub time: f64,
    /// Whether it ended then; otherwise it was still going.
    pub ended: bool,
}

/// From this time on, until the next step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    pub time: f64,
    /// The estimated share that takes longer.
    pub longer: f64,
}

/// The estimated distribution.
#[derive(Debug, Clone, PartialEq)]
pub struct KaplanMeier {
    steps: Vec<Step>,
}

impl KaplanMeier {
    pub fn new(mut observations: Vec<Observation>) -> Self {
        observations.sort_unstable_by(|a, b| a.time.total_cmp(&b.time));
        let (mut longer, mut steps) = (1.0, Vec::new());
        let mut at_risk = observations.len();
        for together in observations.chunk_by(|a, b| a.time == b.time) {
            let ended = together.iter().filter(|one| one.ended).count();
            if ended > 0 {
                longer *= 1.0 - ended as f64 / at_risk as f64;
                steps.push(Step { time: together[0].time, longer });
            }
            // Those that were still going at this instant count as at risk in it.
            at_risk -= together.len();
        }
        Self { steps }
    }

    /// Ascending in time; before the first, all take longer.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The time within which a share ends. `None` when fewer are known to have ended: the tail is open.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        // A share such as 0.9 is reached although the product of the steps misses it by a rounding.
        self.steps.iter().find(|step| 1.0 - step.longer >= share - 1e-12).map(|step| step.time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weeks of remission with 6-MP of 21 patients (Freireich et al., Blood 21, 1963); the estimates stand in Kleinbaum and Klein, "Survival
    /// Analysis", table 2.1: S(6) = 0.8571, S(7) = 0.8067, S(10) = 0.7529, S(13) = 0.6902, S(16) = 0.6275, S(22) = 0.5378, S(23) = 0.4482.
    #[test]
    fn remission_of_leukemia() {
        let ended = [6, 6, 6, 7, 10, 13, 16, 22, 23];
        let still_going = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35];
        let all = ended.map(|time| (time, true)).into_iter().chain(still_going.map(|time| (time, false)));
        let estimate = KaplanMeier::new(all.map(|(time, ended)| Observation { time: f64::from(time), ended }).collect());
        let steps: Vec<(f64, String)> = estimate.steps().iter().map(|step| (step.time, format!("{:.4}", step.longer))).collect();
        let expected =
            [(6.0, "0.8571"), (7.0, "0.8067"), (10.0, "0.7529"), (13.0, "0.6902"), (16.0, "0.6275"), (22.0, "0.5378"), (23.0, "0.4482")];
        assert_eq!(steps, expected.map(|(time, longer)| (time, longer.to_owned())));
        assert_eq!(estimate.quantile(0.5), Some(23.0));
        assert_eq!(estimate.quantile(0.9), None, "more than a tenth was still in remission");
    }

    /// Without open ends it is the empirical distribution.
    #[test]
    fn all_known() {
        let known = |time| Observation { time, ended: true };
        let estimate = KaplanMeier::new([1.0, 2.0, 2.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0].map(known).to_vec());
        assert_eq!(estimate.quantile(0.9), Some(9.0));
        assert_eq!((estimate.quantile(0.1), estimate.quantile(1.0)), (Some(1.0), Some(10.0)));
        assert!((estimate.steps()[1].longer - 0.7).abs() < 1e-12);
        assert!(KaplanMeier::new(Vec::new()).steps().is_empty());
    }
}
