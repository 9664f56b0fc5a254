//! Ids as people write them: whole, or a part from either end that is long enough to name one job.

use std::fmt;
use std::str::FromStr;

use super::{InvalidJob, JobId, MAX_TASKS, clip};

/// The fewest characters of a part.
pub const MIN_PART_CHARS: usize = 8;
const WHOLE: usize = ulid::ULID_LEN;
/// What a shortened id is shown with: its random end and its index, since the ids of one second begin alike.
const SHOWN_CHARS: usize = 9;
/// Letters and digits of Crockford's base 32.
const ALPHABET: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// An id in a place of ten characters: `…M1FBTTF2P`.
pub fn short_id(id: impl fmt::Display) -> String {
    let id = id.to_string();
    format!("…{}", id.get(id.len().saturating_sub(SHOWN_CHARS)..).unwrap_or(&id))
}

/// What a person writes for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobRef {
    Whole(JobId),
    /// The beginning or the end of an id, in capitals.
    Part(String),
}

impl JobRef {
    /// Whether this means the job.
    pub fn is_of(&self, job: JobId) -> bool {
        match self {
            JobRef::Whole(id) => *id == job,
            JobRef::Part(part) => {
                let text = job.to_string();
                text.starts_with(part) || text.ends_with(part)
            }
        }
    }
}

impl fmt::Display for JobRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobRef::Whole(id) => id.fmt(f),
            JobRef::Part(part) => f.pad(part),
        }
    }
}

impl FromStr for JobRef {
    type Err = InvalidJob;

    fn from_str(text: &str) -> Result<Self, InvalidJob> {
        let part = text.trim_matches('.').trim_matches('…').to_ascii_uppercase();
        if part.len() >= WHOLE {
            return text.parse().map(JobRef::Whole);
        }
        // Only an end has the index of a job in its pack.
        let ulid = part.split_once('-').filter(|(_, index)| is_index(index)).map_or(part.as_str(), |(ulid, _)| ulid);
        if part.len() < MIN_PART_CHARS || ulid.is_empty() || !ulid.chars().all(|c| ALPHABET.contains(c)) {
            let problem = format!(
                "invalid id `{}`: expected a job's id of {WHOLE} letters and digits, with `-` and a number behind it where there is one, \
                 or at least {MIN_PART_CHARS} characters from its beginning or end",
                clip(text)
            );
            return Err(InvalidJob::new("id", problem));
        }
        Ok(JobRef::Part(part))
    }
}

fn is_index(text: &str) -> bool {
    let is_canonical = text.len() == 1 || !text.starts_with('0');
    is_canonical && text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|idx| idx < MAX_TASKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_from_either_end_means_the_job() {
        let job: JobId = "01M8NRP1V0QQQM1FBTTF2P0ABC".parse().unwrap();
        for text in ["01M8NRP1", "F2P0ABCX", "TF2P0ABC", "...TF2P0ABC", "…BTTF2P0ABC", "tf2p0abc", "01M8NRP1V0QQQM1FBTTF2P0ABC"] {
            let means: JobRef = text.parse().unwrap();
            assert_eq!(means.is_of(job), text != "F2P0ABCX", "{text}");
        }
        assert!(short_id(job).parse::<JobRef>().unwrap().is_of(job), "what is shown can be typed");
        assert_eq!(short_id(job), "…TTF2P0ABC");
    }

    #[test]
    fn a_part_of_a_job_of_a_pack_has_its_index_at_the_end() {
        let job: JobId = "01M8NRP1V0QQQM1FBTTF2P0ABC-17".parse().unwrap();
        for text in
            ["01M8NRP1V0QQQM1FBTTF2P0ABC-17", "01m8nrp1v0qqqm1fbttf2p0abc-17", "01M8NRP1", "…P0ABC-17", "f2p0abc-17", "TTF2P0ABC-17"]
        {
            assert!(text.parse::<JobRef>().unwrap().is_of(job), "{text}");
        }
        for text in ["01M8NRP1V0QQQM1FBTTF2P0ABC", "01M8NRP1V0QQQM1FBTTF2P0ABC-1", "2P0ABC-7", "TF2P0ABC", "F2P0ABC-1"] {
            assert!(!text.parse::<JobRef>().unwrap().is_of(job), "{text} is another job, or not only this one");
        }
        assert_eq!(short_id(job), "…2P0ABC-17");
        assert!(short_id(job).parse::<JobRef>().unwrap().is_of(job), "what is shown can be typed");
        for wrong in ["2P0ABC-017", "P0ABC-256", "2P0ABC--1", "2P0ABC-1-", "01M8-RP1-7", "-12345678", "2P0ABC-", "ABC-17"] {
            assert!(wrong.parse::<JobRef>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_too_short_or_no_id_is_refused_with_the_remedy() {
        for text in ["", "TF2P0AB", "TF2P0ABU", "01M8-RP1", "münchen1", "ZZZZZZZZZZZZZZZZZZZZZZZZZZ", "01M8NRP1V0QQQM1FBTTF2P0ABCD"] {
            let refused = text.parse::<JobRef>().unwrap_err();
            assert!(refused.field == "id" && refused.problem.contains("invalid id"), "{text}: {refused}");
        }
        assert!("TF2P0AB".parse::<JobRef>().unwrap_err().problem.contains("at least 8"));
    }
}
