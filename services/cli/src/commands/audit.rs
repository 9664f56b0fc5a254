//! `audit`: whether every job is accounted for, now or as things happen.

use std::time::Duration;

use comfy_table::Table;
use faultline_client::audit::{self, AuditReport, Check};

use super::link::Link;
use super::{audit_watch, parse};
use crate::exit::Failure;
use crate::output::{Mood, mood, plural, table};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AuditFlags {
    /// How long something that does not agree may last before it counts: the cluster moves while it is audited
    #[arg(long, default_value = "20s", value_name = "DURATION", value_parser = parse::duration, allow_hyphen_values = true)]
    wait: Duration,
    /// Keep checking until Ctrl-C
    #[arg(long, conflicts_with = "wait")]
    watch: bool,
    /// With --watch: for so long
    #[arg(long = "for", requires = "watch", value_name = "DURATION", value_parser = parse::positive_duration, allow_hyphen_values = true)]
    length: Option<Duration>,
}

pub(crate) async fn run(link: &Link, flags: &AuditFlags) -> Result<(), Failure> {
    if flags.watch {
        return audit_watch::run(link, flags.length).await;
    }
    let report = audit::run(&link.nats, flags.wait).await?;
    link.out.one(&report, |report| words(link, report))?;
    let failed: Vec<&str> = report.checks.iter().filter(|check| !check.ok).map(|check| check.check).collect();
    if report.ok { Ok(()) } else { Err(Failure::CheckFailed(format!("audit failed: {}", failed.join("; ")))) }
}

fn checks_table(checks: &[Check]) -> Table {
    let mut rows = table(&["CHECK", "RESULT", "FIGURES"]);
    for check in checks {
        let result = if check.ok { mood("ok", Mood::Good) } else { mood("FAILED", Mood::Bad) };
        rows.add_row([check.check.into(), result, check.figures.as_str().into()]);
        for wrong in &check.wrong {
            rows.add_row(["", "", wrong]);
        }
    }
    rows
}

fn words(link: &Link, report: &AuditReport) -> String {
    let whole = match report.figures.missed {
        0 => "every job is accounted for".to_owned(),
        missed => format!("every job is accounted for, except {} that expired before they were counted", plural(missed, "ended job")),
    };
    let closing = match (report.ok, report.looks) {
        (true, 1) => whole,
        (true, looks) => format!("{whole}, after {}: the cluster moved", plural(looks, "look")),
        (false, looks) => format!("not every job is accounted for, after {}", plural(looks, "look")),
    };
    let closing = report.absence().into_iter().chain([closing]).collect::<Vec<_>>().join("\n");
    format!("{}\n{closing}", link.out.render(checks_table(&report.checks)))
}

#[cfg(test)]
mod tests {
    use comfy_table::ContentArrangement;

    use super::*;

    #[test]
    fn a_failed_check_names_what_is_wrong() {
        let checks = [
            Check { check: "no job ended twice", ok: true, figures: "0 second ends".into(), wrong: vec![] },
            Check { check: "every open job is in JOBS", ok: false, figures: "2 open".into(), wrong: vec!["a".into(), "b".into()] },
        ];
        let mut rows = checks_table(&checks);
        rows.force_no_tty().set_content_arrangement(ContentArrangement::Disabled);
        let expected = "\
CHECK                      RESULT  FIGURES
no job ended twice         ok      0 second ends
every open job is in JOBS  FAILED  2 open
                                   a
                                   b";
        assert_eq!(rows.trim_fmt(), expected);
    }
}
