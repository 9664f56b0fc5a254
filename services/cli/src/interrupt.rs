//! Being asked to stop: Ctrl-C, and SIGTERM, which a CI job that runs out of time gets. Both mean: put everything right, then end.

use tokio::signal::unix::{SignalKind, signal};

/// Returns when one of the two arrives.
pub(crate) async fn interrupted() -> std::io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
