//! Division of what there is: Dominant Resource Fairness (Ghodsi et al., NSDI'11) by progressive filling.
//!
//! All claims grow at once, each by its weight as seen in the resource of which it wants the largest part of the cluster, until it has what it
//! asks for. When a resource runs out, claims keep what they have of it and go on growing in the others: a queue's jobs differ, and those
//! that do without this resource need not wait. So whatever is wanted and is there is given to someone.

use super::amounts::Parts;

/// What one queue wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub(super) demand: Parts,
    pub(super) weight: f64,
}

/// The largest part of the cluster that this is, over the resources that the cluster has; 0 where it has more than can be counted.
pub(super) fn dominant(amounts: &Parts, cluster: &Parts) -> f64 {
    amounts.iter().zip(cluster).filter(|(_, whole)| **whole > 0.0).map(|(amount, whole)| amount / whole).fold(0.0, f64::max)
}

/// Gives each claim its part of what is left, and takes it from there.
pub(super) fn fill(left: &mut Parts, cluster: &Parts, claims: &[Claim]) -> Vec<Parts> {
    let mut given = vec![Parts::default(); claims.len()];
    // How much of itself a claim gets as the common level rises by one, and how much of itself it has not got yet.
    let mut speeds = vec![0.0; claims.len()];
    let mut missing = vec![0.0; claims.len()];
    for (at, claim) in claims.iter().enumerate().filter(|(_, claim)| claim.weight > 0.0) {
        match dominant(&claim.demand, cluster) {
            0.0 => given[at] = [0, 1, 2].map(|resource| if cluster[resource] > 0.0 { claim.demand[resource] } else { 0.0 }),
            part => (speeds[at], missing[at]) = (claim.weight / part, 1.0),
        }
    }
    let mut is_left = left.map(|left| left > 0.0);
    loop {
        let grows = |claim: usize| {
            let wants = claims[claim].demand.iter().zip(is_left).any(|(demand, is_left)| is_left && *demand > 0.0);
            missing[claim] > 0.0 && wants
        };
        let growing: Vec<usize> = (0..claims.len()).filter(|claim| grows(*claim)).collect();
        let Some(first_full) = growing.iter().copied().min_by(|a, b| (missing[*a] / speeds[*a]).total_cmp(&(missing[*b] / speeds[*b])))
        else {
            return given;
        };
        let rate = |resource: usize| growing.iter().map(|claim| speeds[*claim] * claims[*claim].demand[resource]).sum::<f64>();
        let lasting = (0..left.len()).filter(|at| is_left[*at]).map(|at| (at, left[at] / rate(at)));
        let first_empty = lasting.min_by(|(_, a), (_, b)| a.total_cmp(b));
        let rise = missing[first_full] / speeds[first_full];
        let runs_out = first_empty.filter(|(_, lasts)| *lasts < rise);
        let rise = runs_out.map_or(rise, |(_, lasts)| lasts);
        for claim in growing {
            let part = (speeds[claim] * rise).min(missing[claim]);
            missing[claim] -= part;
            for at in (0..left.len()).filter(|at| is_left[*at]) {
                let more = part * claims[claim].demand[at];
                given[claim][at] += more;
                left[at] = (left[at] - more).max(0.0);
            }
        }
        match runs_out {
            Some((at, _)) => (left[at], is_left[at]) = (0.0, false),
            None => missing[first_full] = 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paper's first example: nine processors and 18 GB; the tasks of one user take <1 CPU, 4 GB>, those of the other <3 CPU, 1 GB>. Both
    /// get two thirds of what is scarce to them: three tasks, and two.
    #[test]
    fn the_example_of_the_paper_comes_out() {
        let cluster = [0.0, 9.0, 18.0];
        let claim = |demand| Claim { demand, weight: 1.0 };
        let mut left = cluster;
        let given = fill(&mut left, &cluster, &[claim([0.0, 100.0, 400.0]), claim([0.0, 300.0, 100.0])]);
        // Processors run out at that point. Memory, of which 4 GB are left, goes to both in the ratio of their demand and their pace.
        assert!((given[0][1] - 3.0).abs() < 1e-9 && (given[1][1] - 6.0).abs() < 1e-9, "{given:?}");
        assert!((given[0][2] + given[1][2] - 18.0).abs() < 1e-9 && given[0][2] > 12.0 && given[1][2] > 2.0, "{given:?}");
        assert!(left[1] == 0.0 && left[2] < 1e-9, "{left:?}");
    }

    #[test]
    fn weights_divide_what_is_scarce_and_nothing_is_given_twice() {
        let cluster = [8.0, f64::INFINITY, 0.0];
        let mut left = cluster;
        let claims = [
            Claim { demand: [1.0, 50.0, 0.0], weight: 1.0 },
            Claim { demand: [10.0, 0.0, 0.0], weight: 3.0 },
            Claim { demand: [10.0, 0.0, 5.0], weight: 1.0 },
            Claim { demand: [0.0, 7.0, 0.0], weight: 1.0 },
            Claim { demand: [4.0, 0.0, 0.0], weight: 0.0 },
        ];
        let given = fill(&mut left, &cluster, &claims);
        // The first has enough with 1, and 7 are left for the second and the third, whose memory there is none of.
        assert!((given[0][0] - 1.0).abs() < 1e-9 && (given[0][1] - 50.0).abs() < 1e-9, "{given:?}");
        assert!((given[1][0] - 5.25).abs() < 1e-9 && (given[2][0] - 1.75).abs() < 1e-9 && given[2][2] == 0.0, "{given:?}");
        assert!(given[3] == [0.0, 7.0, 0.0] && given[4] == [0.0; 3] && left[0].abs() < 1e-9, "{given:?}");
    }
}
