//! `faultline doctor`: everything that a cluster needs, looked at piece by piece. Each finding says what was found and, where that
//! is not good, what to do about it. Nothing is changed. What needs NATS is skipped when NATS is not there; all else is still looked at.

mod cluster;
mod finding;
mod gpus;
mod local;
mod server;
mod writes;

use comfy_table::Table;
use serde::Serialize;

use crate::exit::Failure;
use crate::options::Options;
use crate::output::{Mood, Output, mood, plural, table};
use crate::session::Session;
use finding::{Finding, Status};

/// What `-o json` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Report {
    /// Whether no check failed.
    pub(crate) ok: bool,
    pub(crate) nats_reachable: bool,
    pub(crate) failed: usize,
    pub(crate) warned: usize,
    pub(crate) checks: Vec<Finding>,
}

impl Report {
    fn new(checks: Vec<Finding>, nats_reachable: bool) -> Self {
        let count = |status| checks.iter().filter(|finding| finding.status == status).count();
        let (failed, warned) = (count(Status::Fail), count(Status::Warn));
        Self { ok: failed == 0, nats_reachable, failed, warned, checks }
    }

    fn verdict(&self) -> Result<(), Failure> {
        let failed = || self.checks.iter().filter(|finding| finding.status == Status::Fail).map(|finding| finding.check);
        let text = || format!("{} failed: {}", plural(self.failed as u64, "check"), failed().collect::<Vec<_>>().join(", "));
        match (self.nats_reachable, self.ok) {
            (false, _) => Err(Failure::Unreachable(text())),
            (true, false) => Err(Failure::CheckFailed(text())),
            (true, true) => Ok(()),
        }
    }
}

/// Exit code 0 when nothing failed, 3 when NATS cannot be reached, 5 when something else failed.
pub(crate) async fn run(options: &Options) -> Result<(), Failure> {
    // Broken settings are a finding, and all that does not depend on them is still looked at.
    let (session, mut checks) = match Session::open(options) {
        Ok(session) => (session, vec![local::settings_are_read(options)]),
        Err(failure) => {
            let remedy = "correct it; `faultline config check FILE` checks all sections. The checks below use flags and defaults";
            (Session::without_settings(options), vec![Finding::fail("settings", failure.to_string(), remedy)])
        }
    };
    checks.push(local::programs().for_up(session.nats_is_external));
    checks.push(local::keys(&session));
    checks.push(local::data_folder(&session.data_dir).for_up(session.nats_is_external));
    let (nats, finding) = server::connect(&session).await;
    checks.push(finding);
    checks.push(local::nats_server_binary(nats.is_some()));
    checks.push(local::ports(options, &session, nats.is_some()));
    match &nats {
        Some(nats) => {
            checks.push(server::version(nats));
            checks.push(server::account(nats).await);
            let (is_on, finding) = server::jetstream(nats).await;
            checks.push(finding);
            if is_on {
                checks.push(server::clock(nats).await);
                checks.push(server::streams(nats).await);
                checks.push(server::room(nats).await);
                let writes = writes::look(&session).await;
                let can_write = writes.status != Status::Fail;
                checks.push(writes);
                checks.extend(cluster::look(nats, can_write).await);
            } else {
                checks.extend(
                    ["clock", "streams", "room", "writes", "leader", "jobs", "services", "service clocks"]
                        .map(|check| Finding::skip(check, "needs JetStream")),
                );
            }
        }
        None => {
            let unseen = [
                "server version",
                "accounts",
                "jetstream",
                "clock",
                "streams",
                "room",
                "writes",
                "leader",
                "jobs",
                "services",
                "service clocks",
            ];
            checks.extend(unseen.map(|check| Finding::skip(check, "needs NATS")));
        }
    }
    checks.extend(local::optional_programs());
    let report = Report::new(checks, nats.is_some());
    if let Some(nats) = nats {
        nats.close().await;
    }
    let out = Output::new(session.format, session.common.color);
    out.one(&report, |report| words(report, &out))?;
    report.verdict()
}

fn words(report: &Report, out: &Output) -> String {
    let closing = match (report.failed, report.warned) {
        (0, 0) => "no problem found".to_owned(),
        (failed, warned) => format!("{failed} failed, {}", plural(warned as u64, "warning")),
    };
    format!("{}\n{closing}", out.render(findings_table(&report.checks)))
}

/// The remedy stands under what was found.
fn findings_table(findings: &[Finding]) -> Table {
    let mut rows = table(&["RESULT", "CHECK", "FOUND"]);
    for finding in findings {
        let status = match finding.status {
            Status::Ok => mood("ok", Mood::Good),
            Status::Warn => mood("warn", Mood::Doubtful),
            Status::Fail => mood("FAIL", Mood::Bad),
            Status::Skip => mood("-", Mood::Plain),
        };
        rows.add_row([status, finding.check.into(), (&finding.found).into()]);
        if let Some(remedy) = &finding.remedy {
            rows.add_row(["", "", &format!("-> {remedy}")]);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use faultline_runtime::config::Color;

    use super::*;
    use crate::output::Format;

    fn findings() -> Vec<Finding> {
        vec![
            Finding::ok("nats", "nats://127.0.0.1:4222"),
            Finding::warn("services", "no generator", "`faultline up` starts one"),
            Finding::fail("leader", "no scheduler leads", "start a scheduler"),
            Finding::skip("Chromium", "not there"),
        ]
    }

    #[test]
    fn the_remedy_stands_under_what_was_found() {
        let out = Output::new(Format::Table, Color::Never);
        let expected = "\
RESULT  CHECK     FOUND
ok      nats      nats://127.0.0.1:4222
warn    services  no generator
                  -> `faultline up` starts one
FAIL    leader    no scheduler leads
                  -> start a scheduler
-       Chromium  not there";
        assert_eq!(out.render(findings_table(&findings())), expected);
    }

    #[test]
    fn the_exit_code_says_what_is_wrong() {
        let code = |checks: Vec<Finding>, reachable| Report::new(checks, reachable).verdict().map_or_else(|failure| failure.code(), |()| 0);
        let mut checks = findings();
        assert_eq!(code(checks.clone(), false), 3);
        assert_eq!(code(checks.clone(), true), 5);
        checks.retain(|finding| finding.status != Status::Fail);
        assert_eq!(code(checks, true), 0);
    }
}
