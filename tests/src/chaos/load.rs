//! The jobs of a chaos run. A job follows from its id alone, so that a submitter that was killed can repeat it with nothing
//! but the id, and so that the check afterwards knows how it should have ended.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use faultline_engine::job::{Demand, JobId, JobSpec, JobState, Param, Params, Priority};

const LONGEST_SLEEP_MS: f64 = 2_000.0;

/// The bits of an id, mixed (SplitMix64's finaliser: neighbours in time must not look alike).
fn mixed(id: JobId) -> u64 {
    let bits = id.pack().to_u128();
    let mut x = (bits as u64) ^ ((bits >> 64) as u64) ^ u64::from(id.idx());
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Whether the job is cancelled soon after its submission.
pub fn is_cancelled(id: JobId) -> bool {
    mixed(id) >> 40 & 0x7f == 0
}

/// The job of an id: mostly sleeps of 1 to 2,000 ms, the shorter the more; some work, some that fail, a few that must die.
pub fn job_of(id: JobId) -> JobSpec {
    let bits = mixed(id);
    let (kind, params, max_retries) = match bits % 1000 {
        0..850 => {
            let share = (bits >> 10 & 0xffff) as f64 / 65_535.0;
            let duration_ms = LONGEST_SLEEP_MS.powf(share).round() as i64;
            ("sleep", Params::from([("duration_ms".into(), Param::Int(duration_ms))]), 3)
        }
        850..900 => ("matrix", Params::from([("size".into(), Param::Int(48))]), 3),
        900..940 => ("compute", Params::from([("limit".into(), Param::Int(20_000))]), 3),
        940..990 => {
            let odds = |name: &str, odds: f64| (name.to_owned(), Param::Float(odds));
            let params = [odds("fail_odds", 0.3), odds("panic_odds", 0.1), ("duration_ms".into(), Param::Int(20))];
            ("fault", Params::from(params), 3)
        }
        _ => ("fault", Params::from([("fail_odds".into(), Param::Float(1.0)), ("duration_ms".into(), Param::Int(5))]), 1),
    };
    let priority = Priority::ALL[(bits >> 30) as usize % Priority::ALL.len()];
    JobSpec {
        id,
        name: format!("chaos-{kind}"),
        kind: kind.into(),
        params,
        priority,
        demand: Demand { gpu_milli: [50, 100, 200][(bits >> 33) as usize % 3], gpu_memory_mib: 64, models: vec![] },
        expected_ms: 100,
        timeout_ms: 60_000,
        max_retries,
        submitted_at_ms: id.unix_ms(),
        origin: Default::default(),
    }
}

/// Whether this is how the job may end.
pub fn may_end(id: JobId, state: JobState) -> bool {
    let spec = job_of(id);
    let fails = spec.kind == "fault";
    let must_die = fails && spec.max_retries == 1;
    match state {
        JobState::Committed => !must_die,
        JobState::Dead => fails,
        JobState::Cancelled => is_cancelled(id),
        // Its submitter died between the two writes and came back too late to repeat it.
        JobState::Abandoned => true,
        JobState::Queued | JobState::Running => false,
    }
}

/// What a submitter has done, one line a job and step, written before another process can see the step's effect: it
/// outlives the submitter.
pub struct Journal {
    file: File,
}

/// A journal as it is read back.
#[derive(Debug, Default)]
pub struct Entries {
    /// Every id that was ever going to be submitted, in that order.
    pub ids: Vec<JobId>,
    /// Those whose submission was confirmed.
    pub confirmed: std::collections::BTreeSet<JobId>,
    /// Those that were refused because they had become too old to be repeated.
    pub refused: std::collections::BTreeSet<JobId>,
}

impl Journal {
    pub fn open(path: &Path) -> std::io::Result<(Journal, Entries)> {
        let entries = Self::read(path)?;
        let mut file = File::options().create(true).append(true).open(path)?;
        // The last line may be half of one.
        writeln!(file)?;
        Ok((Journal { file }, entries))
    }

    pub fn read(path: &Path) -> std::io::Result<Entries> {
        let mut entries = Entries::default();
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(entries),
            Err(error) => return Err(error),
        };
        for line in BufReader::new(file).lines() {
            let line = line?;
            let Some((word, id)) = line.split_once(' ').and_then(|(word, id)| Some((word, id.parse().ok()?))) else { continue };
            match word {
                "id" => entries.ids.push(id),
                "ok" => drop(entries.confirmed.insert(id)),
                "refused" => drop(entries.refused.insert(id)),
                _ => {}
            }
        }
        Ok(entries)
    }

    pub fn write(&mut self, word: &str, ids: &[JobId]) -> std::io::Result<()> {
        let text: String = ids.iter().map(|id| format!("{word} {id}\n")).collect();
        self.file.write_all(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_a_mix_and_follow_from_their_ids() {
        let ids: Vec<JobId> = (0..20_000_u128).map(|n| JobId::new(1_800_000_000_000 + n as u64, n)).collect();
        let share = |wanted: fn(&JobSpec) -> bool| ids.iter().filter(|id| wanted(&job_of(**id))).count() as f64 / ids.len() as f64;
        assert!((0.8..0.9).contains(&share(|spec| spec.kind == "sleep")));
        assert!((0.03..0.07).contains(&share(|spec| spec.kind == "matrix")));
        assert!((0.005..0.02).contains(&share(|spec| spec.kind == "fault" && spec.max_retries == 1)));
        assert!(Priority::ALL.iter().all(|priority| ids.iter().any(|id| job_of(*id).priority == *priority)));
        let cancelled = ids.iter().filter(|id| is_cancelled(**id)).count();
        assert!((50..400).contains(&cancelled), "{cancelled}");
        for id in &ids[..200] {
            job_of(*id).validate().unwrap();
            assert_eq!(job_of(*id), job_of(*id));
        }
    }

    #[test]
    fn a_journal_survives_a_half_written_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (a, b) = (JobId::new(1, 1), JobId::new(2, 2));
        std::fs::write(&path, format!("id {a}\nid {b}\nok {a}\nok {}", &b.to_string()[..10])).unwrap();
        let (mut journal, entries) = Journal::open(&path).unwrap();
        assert_eq!((entries.ids.len(), entries.confirmed.len()), (2, 1));
        journal.write("ok", &[b]).unwrap();
        assert_eq!(Journal::read(&path).unwrap().confirmed.len(), 2);
    }
}
