//! Being asked to stop: Ctrl-C, and SIGTERM, which a CI job that runs out of time gets. Both mean: put everything right, then end.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Failure;

/// The signals that end a command in order. Heard from the moment of [`Interrupts::listen`] on, so that none gets lost between two waits.
pub(crate) struct Interrupts(Vec<Signal>);

impl Interrupts {
    /// Ctrl-C and SIGTERM.
    pub(crate) fn listen() -> Result<Self, Failure> {
        Self::listen_to(&[SignalKind::interrupt(), SignalKind::terminate()])
    }

    /// Those, the end of the terminal and SIGQUIT: for a program that must give the terminal back. Not for what may go on under `nohup`.
    pub(crate) fn listen_for_terminal() -> Result<Self, Failure> {
        Self::listen_to(&[SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()])
    }

    fn listen_to(kinds: &[SignalKind]) -> Result<Self, Failure> {
        let signals = kinds.iter().map(|kind| signal(*kind)).collect::<std::io::Result<_>>();
        Ok(Self(signals.context("listening to signals")?))
    }

    /// Returns when one of them arrives.
    pub(crate) async fn next(&mut self) {
        let arrivals = self.0.iter_mut().map(|signal| Box::pin(signal.recv()));
        futures::future::select_all(arrivals).await;
    }
}
