//! What RESULTS holds of a job: an open marker, or how the job ended. The header Job-State tells which of the two, before the body is read.

use async_nats::HeaderMap;
use faultline_engine::ledger::Took;

use super::{JobState, OpenMarker, TerminalRecord, possible_time};
use crate::codec::{self, DecodeError, HEADER_JOB_MESSAGE, HEADER_JOB_STATE};

/// The header's value on an open marker.
pub const OPEN: &str = "open";

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordState {
    Open,
    Ended(JobState),
}

impl RecordState {
    /// None where the header is missing or has an unknown value.
    pub fn of(headers: Option<&HeaderMap>) -> Option<Self> {
        match headers?.get(HEADER_JOB_STATE)?.as_str() {
            OPEN => Some(RecordState::Open),
            text => JobState::terminal(text).map(RecordState::Ended),
        }
    }
}

/// Whether this record only closes an opening that NATS brought back after the job had ended. It says nothing of the job, and is in no list.
pub fn is_returned(headers: Option<&HeaderMap>) -> bool {
    let message = headers.and_then(|headers| headers.get(HEADER_JOB_MESSAGE));
    message.is_some_and(|message| message.as_str() == Took::Returned.as_str())
}

/// One message of RESULTS.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    Open(OpenMarker),
    Ended(Box<TerminalRecord>),
}

impl Record {
    /// Reads the body according to the header.
    pub fn decode(headers: Option<&HeaderMap>, body: &[u8]) -> Result<Self, DecodeError> {
        if RecordState::of(headers) == Some(RecordState::Open) {
            return codec::decode(headers, body).map(Record::Open);
        }
        codec::decode(headers, body).map(|record| Record::Ended(Box::new(record)))
    }

    /// The end, if the job has one.
    pub fn ended(&self) -> Option<&TerminalRecord> {
        match self {
            Record::Ended(record) => Some(record),
            Record::Open(_) => None,
        }
    }

    /// The same, with times that can be true of a record that JetStream stored at `stored_at_ms`: figures and charts must not depend on the
    /// clock of a submitter or a worker.
    #[must_use]
    pub fn stored_at(self, stored_at_ms: u64) -> Self {
        match self {
            Record::Open(marker) => {
                Record::Open(OpenMarker { submitted_at_ms: possible_time(marker.submitted_at_ms, stored_at_ms), ..marker })
            }
            Record::Ended(mut record) => {
                record.ended_at_ms = possible_time(record.ended_at_ms, stored_at_ms);
                record.submitted_at_ms = record.submitted_at_ms.min(record.ended_at_ms);
                Record::Ended(record)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use faultline_engine::job::{JobId, Priority};

    use super::*;

    #[test]
    fn the_header_tells_an_open_marker_from_an_end() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER_JOB_STATE, value);
            RecordState::of(Some(&headers))
        };
        assert_eq!(of("open"), Some(RecordState::Open));
        assert_eq!(of("committed"), Some(RecordState::Ended(JobState::Committed)));
        assert_eq!([of("queued"), of("OPEN"), of(""), RecordState::of(None), RecordState::of(Some(&HeaderMap::new()))], [None; 5]);
    }

    #[test]
    fn what_a_submitters_clock_says_is_believed_as_far_as_the_time_of_storing_allows() {
        let stored_at_ms = 1_700_000_000_000;
        let shown = |submitted_at_ms| {
            let marker =
                OpenMarker { job: JobId::new(1, 1), name: "a".into(), kind: "sleep".into(), priority: Priority::Normal, submitted_at_ms };
            match Record::Open(marker).stored_at(stored_at_ms) {
                Record::Open(marker) => marker.submitted_at_ms,
                Record::Ended(_) => unreachable!("it is open"),
            }
        };
        assert_eq!(shown(stored_at_ms - 40), stored_at_ms - 40);
        assert_eq!(shown(stored_at_ms + 3_600_000), stored_at_ms);
        assert_eq!(shown(stored_at_ms - 3_600_000), stored_at_ms);
    }
}
