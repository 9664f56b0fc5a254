//! From what a person writes for a job to the job: whole ids are taken as they are, parts are looked up among the jobs that are known.

use std::collections::BTreeSet;

use faultline_client::Leader;
use faultline_engine::job::{JobId, JobRef};
use faultline_runtime::connect::Nats;

use super::jobs::known_jobs;
use crate::exit::Failure;

/// How many candidates of an ambiguous part are named.
const MOST_NAMED: usize = 5;

/// The job that is meant.
pub(super) async fn resolve(nats: &Nats, job: &JobRef) -> Result<JobId, Failure> {
    if let JobRef::Whole(id) = job {
        return Ok(*id);
    }
    let mut known: BTreeSet<JobId> = known_jobs(nats).await?.into_keys().collect();
    match Leader::of(nats).active_jobs().await {
        Ok(active) => known.extend(active.into_iter().map(|row| row.id)),
        Err(error) => tracing::debug!(%error, "ids are looked for in RESULTS alone"),
    }
    only_one(job, known.into_iter())
}

/// All that are meant.
pub(super) async fn resolve_all(nats: &Nats, jobs: &[JobRef]) -> Result<Vec<JobId>, Failure> {
    let mut found = Vec::with_capacity(jobs.len());
    for job in jobs {
        found.push(resolve(nats, job).await?);
    }
    Ok(found)
}

/// The one job that is meant, among those that are known.
pub(super) fn only_one(job: &JobRef, known: impl Iterator<Item = JobId>) -> Result<JobId, Failure> {
    let candidates: BTreeSet<JobId> = known.filter(|id| job.is_of(*id)).collect();
    match (candidates.len(), candidates.first()) {
        (1, Some(id)) => Ok(*id),
        (0, _) | (_, None) => Err(unknown(job)),
        (number, _) => {
            let named: Vec<String> = candidates.iter().take(MOST_NAMED).map(JobId::to_string).collect();
            let more = if number > MOST_NAMED { format!(" and {} more", number - MOST_NAMED) } else { String::new() };
            Err(Failure::Usage(format!("the id {job} is ambiguous: it fits {}{more}; write more of it", named.join(", "))))
        }
    }
}

pub(super) fn unknown(job: &JobRef) -> Failure {
    let what = match job {
        JobRef::Whole(id) => format!("no job has the id {id}"),
        JobRef::Part(part) => format!("no job has an id that begins or ends with {part}"),
    };
    Failure::NotFound(format!("{what}: records expire ten minutes after a job's end; `faultline jobs` lists those that are known"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_means_the_only_job_that_it_fits() {
        let jobs = ["01M8NRP1V0AAAM1FBTTF2P0ABC", "01M8NRP1V0BBBM1FBTTF2P0ABC", "01M8NRP2V0CCCM1FBTTF2P0XYZ"]
            .map(|id| id.parse::<JobId>().unwrap());
        let find = |text: &str| only_one(&text.parse().unwrap(), jobs.into_iter());
        assert_eq!(find("TF2P0XYZ").unwrap(), jobs[2]);
        assert_eq!(find("01m8nrp1v0b").unwrap(), jobs[1]);
        let ambiguous = find("...TTF2P0ABC").unwrap_err();
        assert_eq!(ambiguous.code(), 2);
        let words = ambiguous.to_string();
        assert!(words.contains("ambiguous") && words.contains(&jobs[0].to_string()) && words.contains(&jobs[1].to_string()), "{words}");
        let unknown = find("01M8NRP9").unwrap_err();
        assert!(unknown.code() == 4 && unknown.to_string().contains("begins or ends with 01M8NRP9"), "{unknown}");
    }

    #[test]
    fn jobs_of_a_pack_are_told_apart_by_their_index() {
        let pack = JobId::new(1_764_000_000_000, 77).pack();
        let jobs: Vec<JobId> = (0..20).map(|idx| JobId::of(pack, idx, 20)).collect();
        let find = |text: &str| only_one(&text.parse().unwrap(), jobs.iter().copied());
        for job in &jobs {
            assert_eq!(find(&faultline_engine::job::short_id(job)).unwrap(), *job, "what a table shows can be typed");
        }
        assert!(find(&pack.to_string()[..12]).unwrap_err().to_string().contains("ambiguous"));
    }

    #[test]
    fn of_many_candidates_some_are_named() {
        let many = (0..20).map(|random| JobId::new(1_000_000, random << 50));
        let words = only_one(&"0000000000".parse().unwrap(), many).unwrap_err().to_string();
        assert!(words.contains("and 15 more"), "{words}");
    }
}
