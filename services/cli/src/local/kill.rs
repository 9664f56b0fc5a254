//! `faultline kill`: a signal to a process of the cluster, and what came of it.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use faultline_cluster::up::remote;
use faultline_cluster::up::signal::KillSignal;
use faultline_protocol::messages::ProcessSignalled;
use faultline_runtime::clock::unix_ms;
use tokio::time::{Duration, Instant};

use crate::commands::incidents;
use crate::commands::link::Link;
use crate::exit::Failure;
use crate::output;
use crate::session::Session;

const KILL_COMMAND: &str = "faultline kill";
/// A NATS server that was killed is back within this time.
const BACK_LIMIT: Duration = Duration::from_secs(15);
const ASK_EVERY: Duration = Duration::from_millis(250);

/// Flags of `kill`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct KillFlags {
    /// Its name in `faultline status`, such as worker-03
    service: String,
    /// What the process is sent
    #[arg(long, default_value = "kill", value_parser = kill_signal())]
    signal: KillSignal,
    /// Show what comes of it, until all is well and the interrupted jobs have ended, or for 60 s
    #[arg(short, long)]
    watch: bool,
}

/// The signals by name, with what they do.
fn kill_signal() -> impl TypedValueParser<Value = KillSignal> {
    let named = |name: &'static str, help: &'static str| PossibleValue::new(name).help(help);
    let all = [
        named("kill", "SIGKILL: ends at once, without a goodbye"),
        named("term", "SIGTERM: may say goodbye"),
        named("stop", "SIGSTOP: frozen"),
        named("cont", "SIGCONT: goes on"),
    ];
    PossibleValuesParser::new(all).map(|name| match name.as_str() {
        "term" => KillSignal::Term,
        "stop" => KillSignal::Stop,
        "cont" => KillSignal::Cont,
        _ => KillSignal::Kill,
    })
}

/// `faultline kill NAME`: tells what really happened.
pub(crate) async fn run(session: &Session, flags: KillFlags) -> Result<(), Failure> {
    let since_ms = unix_ms();
    if flags.watch && flags.signal == KillSignal::Cont {
        return Err(Failure::Usage("--watch: SIGCONT breaks nothing; `faultline incidents` shows what the freeze did".to_owned()));
    }
    note!("{}", send(session, flags.service.clone(), flags.signal, KILL_COMMAND).await?);
    if !flags.watch {
        return Ok(());
    }
    let link = link_again(session).await?;
    let watched = incidents::watch(&link, &flags.service, since_ms).await;
    link.nats.close().await;
    watched
}

/// What was killed may be NATS.
async fn link_again(session: &Session) -> Result<Link, Failure> {
    let give_up = Instant::now() + BACK_LIMIT;
    loop {
        match Link::open(session).await {
            Err(Failure::Unreachable(_)) if Instant::now() < give_up => tokio::time::sleep(ASK_EVERY).await,
            opened => return opened,
        }
    }
}

/// Has `up` send a signal. `via` names the command that asks.
pub(crate) async fn send(session: &Session, service: String, signal: KillSignal, via: &str) -> Result<String, Failure> {
    let told = remote::kill(&session.running()?, service, signal, via).await?;
    Ok(signalled_words(&told, signal))
}

fn signalled_words(told: &ProcessSignalled, signal: KillSignal) -> String {
    let ProcessSignalled { service, pid, .. } = told;
    let who = format!("{service} (process {pid})");
    let back = match (&told.ended_after_ms, &told.back) {
        (_, Some(back)) => format!("runs again as process {} after {}", back.pid, output::span(back.after_ms)),
        (Some(_), None) => "does not run yet: `faultline status` shows when it does".to_owned(),
        (None, None) => "`up` starts it again once it has ended".to_owned(),
    };
    match (signal, told.ended_after_ms) {
        (KillSignal::Stop, _) => format!("{who} is frozen (SIGSTOP): `faultline kill {service} --signal cont` resumes it"),
        (KillSignal::Cont, _) => format!("{who} goes on (SIGCONT)"),
        (KillSignal::Kill | KillSignal::Term, Some(after_ms)) => {
            format!("{who} ended {} after {}; {service} {back}", output::span(after_ms), signal.name())
        }
        (KillSignal::Kill | KillSignal::Term, None) => format!("{who} got {} and finishes what it runs; {back}", signal.name()),
    }
}

#[cfg(test)]
mod tests {
    use faultline_protocol::messages::ProcessBack;

    use super::*;

    #[test]
    fn a_kill_is_told_as_far_as_it_has_happened() {
        let told =
            |ended_after_ms, back| ProcessSignalled { service: "worker-03".into(), signal: String::new(), pid: 12, ended_after_ms, back };
        let back = Some(ProcessBack { pid: 34, after_ms: 260 });
        for (told, signal, words) in [
            (
                told(Some(2), back),
                KillSignal::Kill,
                "worker-03 (process 12) ended 2 ms after SIGKILL; worker-03 runs again as process 34 after 260 ms",
            ),
            (
                told(Some(2), None),
                KillSignal::Kill,
                "worker-03 (process 12) ended 2 ms after SIGKILL; worker-03 does not run yet: `faultline status` shows when it does",
            ),
            (
                told(None, None),
                KillSignal::Term,
                "worker-03 (process 12) got SIGTERM and finishes what it runs; `up` starts it again once it has ended",
            ),
            (told(None, None), KillSignal::Cont, "worker-03 (process 12) goes on (SIGCONT)"),
        ] {
            assert_eq!(signalled_words(&told, signal), words);
        }
        assert!(signalled_words(&told(None, None), KillSignal::Stop).contains("--signal cont"));
    }
}
