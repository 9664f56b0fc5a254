//! What one check of `doctor` found, and what to do about it.

use serde::Serialize;

/// How one check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Ok,
    /// Works, but an operator should check it.
    Warn,
    Fail,
    /// Could not be looked at, or is optional and not there.
    Skip,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Finding {
    pub(crate) check: &'static str,
    pub(crate) status: Status,
    /// What was found, for people.
    pub(crate) found: String,
    /// What to do; absent when nothing needs to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remedy: Option<String>,
}

impl Finding {
    fn new(check: &'static str, status: Status, found: impl Into<String>, remedy: Option<String>) -> Self {
        Self { check, status, found: found.into(), remedy }
    }

    /// What only `up` needs is not a failure where NATS, and so perhaps all the rest, runs elsewhere.
    pub(super) fn for_up(self, nats_is_external: bool) -> Self {
        if nats_is_external && self.remedy.is_some() {
            return Self::skip(self.check, format!("{}; only `faultline up` needs that", self.found));
        }
        self
    }

    pub(crate) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, Status::Ok, found, None)
    }

    pub(crate) fn skip(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, Status::Skip, found, None)
    }

    pub(crate) fn warn(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(check, Status::Warn, found, Some(remedy.into()))
    }

    pub(crate) fn fail(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(check, Status::Fail, found, Some(remedy.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_up_needs_fails_only_where_up_starts_nats() {
        let [ok, fail] = [Finding::ok("programs", "all there"), Finding::fail("programs", "none there", "build them")];
        assert_eq!((ok.clone().for_up(true), fail.clone().for_up(false)), (ok, fail.clone()));
        assert_eq!(fail.for_up(true), Finding::skip("programs", "none there; only `faultline up` needs that"));
    }
}
