//! What a command that waits for jobs says while no scheduler answers. It goes on waiting: the jobs are queued, and the next scheduler runs them.

use std::convert::Infallible;

use faultline_client::absence::{self, Standing};
use faultline_runtime::connect::Nats;
use indicatif::ProgressBar;

fn words(standing: Standing) -> &'static str {
    match standing {
        Standing::Led => "a scheduler answers again",
        Standing::NoScheduler => {
            "no scheduler answers: the jobs are queued, and run once one does; `faultline status` shows what runs, `faultline up` starts \
             it; Ctrl-C ends the wait and leaves the jobs queued"
        }
        Standing::NoNats => "NATS does not answer: the wait goes on once it does; `faultline doctor` looks for the cause",
    }
}

/// For as long as the command waits.
pub(crate) async fn tell(nats: &Nats, bar: &ProgressBar) -> Infallible {
    absence::follow(nats, |standing| bar.suspend(|| note!("faultline: {}", words(standing)))).await
}
