//! Looks after NATS while `up` runs, and puts right what can be put right without losing anything: a server that cannot write any more
//! although there is room again is restarted, and consumers of JOBS that were deleted are made anew. Streams and buckets are not made anew
//! here: that would hide that what they held is gone.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use faultline_protocol::messages::{EventKind, Level};
use faultline_runtime::connect::Nats;
use faultline_runtime::events::EventSink;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::cluster::Cluster;
use super::history::OWN_NAME;
use crate::disk;
use crate::nats_server::store::{self, WriteError};
use crate::provision;

const LOOK_EVERY: Duration = Duration::from_secs(3);
/// A restart with less room than this would only fill the disk again.
const ROOM: u64 = 16 << 20;
/// Between two restarts, doubled each time as long as they do not help.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A NATS server that `up` runs.
pub(crate) struct OwnServer {
    pub(crate) name: String,
    pub(crate) port: u16,
}

pub(crate) struct Caretaker {
    pub(crate) cluster: Arc<Cluster>,
    /// As the administrator.
    pub(crate) nats: Nats,
    /// `None` when `up` does not run NATS.
    pub(crate) servers: Vec<OwnServer>,
    pub(crate) data_dir: PathBuf,
}

/// What one look at the servers found.
#[derive(Debug, Default)]
struct Look {
    errors: Vec<WriteError>,
    /// Servers that have switched JetStream off.
    switched_off: Vec<String>,
    free: u64,
}

impl Look {
    fn is_bad(&self) -> bool {
        !self.errors.is_empty() || !self.switched_off.is_empty()
    }

    /// What is wrong, in words.
    fn trouble(&self) -> String {
        match self.errors.first() {
            Some(first) => {
                let streams: Vec<&str> = self.errors.iter().map(|error| error.stream.as_str()).collect();
                format!("NATS cannot write {}: {}", streams.join(", "), first.reason)
            }
            None => format!("JetStream is off on {}", self.switched_off.join(", ")),
        }
    }
}

/// What follows from a look.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    /// Report once that the disk is full.
    Complain,
    Restart,
    /// It can write again.
    Recovered,
}

/// When the servers are restarted, and when that is only said to be needed.
#[derive(Debug, Default)]
struct Patience {
    is_bad: bool,
    restarts: u32,
    not_before: Option<Instant>,
}

impl Patience {
    fn on_look(&mut self, look: &Look, now: Instant) -> Step {
        if !look.is_bad() {
            self.restarts = 0;
            return if std::mem::take(&mut self.is_bad) { Step::Recovered } else { Step::Nothing };
        }
        let is_news = !std::mem::replace(&mut self.is_bad, true);
        if look.free < ROOM {
            return if is_news { Step::Complain } else { Step::Nothing };
        }
        if self.not_before.is_some_and(|at| now < at) {
            return Step::Nothing;
        }
        self.not_before = Some(now + (FIRST_PAUSE * 2_u32.pow(self.restarts.min(8))).min(LONGEST_PAUSE));
        self.restarts += 1;
        Step::Restart
    }
}

impl Caretaker {
    pub(crate) async fn run(self, cancel: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut patience = Patience::default();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = looks.tick() => {}
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.look_after_writes(&mut patience) => {}
            }
            if !patience.is_bad {
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = self.look_after_consumers() => {}
                }
            }
        }
    }

    async fn look_after_writes(&self, patience: &mut Patience) {
        if self.servers.is_empty() {
            return;
        }
        let Some(look) = self.look().await else { return };
        let (free_mib, dir) = (look.free >> 20, self.data_dir.display());
        match patience.on_look(&look, Instant::now()) {
            Step::Nothing => {}
            Step::Complain => tracing::error!(
                "{}: the disk of {dir} is full ({free_mib} MiB free); no job can be submitted or end until there is room. Free at least {} MiB: \
                 `up` then restarts nats-server by itself",
                look.trouble(),
                ROOM >> 20
            ),
            Step::Restart => {
                let detail = format!(
                    "{}, although {free_mib} MiB are free in {dir}: nats-server keeps such an error until it restarts, so `up` restarted it",
                    look.trouble()
                );
                tracing::warn!("{detail}");
                for server in &self.servers {
                    if look.switched_off.is_empty() || look.switched_off.contains(&server.name) {
                        self.cluster.restart(&server.name);
                    }
                }
                self.tell(detail);
            }
            Step::Recovered => tracing::info!("NATS can write again"),
        }
    }

    /// `None` when a server does not answer: whether it can write is not known then.
    async fn look(&self) -> Option<Look> {
        let (mut switched_off, mut is_silent) = (Vec::new(), false);
        for server in &self.servers {
            match store::has_jetstream(server.port).await {
                Some(true) => {}
                Some(false) => switched_off.push(server.name.clone()),
                None => is_silent = true,
            }
        }
        let errors = match (switched_off.is_empty(), is_silent || !self.nats.is_connected()) {
            (true, true) => return None,
            (true, false) => store::write_errors(&self.nats).await?,
            // A server without JetStream would not answer.
            (false, _) => Vec::new(),
        };
        let free = disk::free(&self.data_dir).unwrap_or_else(|error| {
            tracing::debug!(%error, "the free space is not known");
            u64::MAX
        });
        Some(Look { errors, switched_off, free })
    }

    async fn look_after_consumers(&self) {
        match provision::restore_consumers(&self.nats).await {
            Ok(restored) if !restored.is_empty() => {
                let detail =
                    format!("{} had been deleted: recreated; JetStream delivers their jobs again from the start", restored.join(", "));
                tracing::warn!("{detail}");
                self.tell(detail);
            }
            Ok(_) => {}
            Err(reason) => tracing::debug!(%reason, "the consumers of JOBS could not be looked for"),
        }
    }

    fn tell(&self, detail: String) {
        let event = EventSink::new(&self.nats, OWN_NAME).event(Level::Warn, EventKind::Repaired, detail);
        self.cluster.tell(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(free: u64) -> Look {
        let reason = "write /data/1.blk: no space left on device".into();
        Look { errors: vec![WriteError { stream: "LEASE".into(), reason }], free, ..Look::default() }
    }

    #[test]
    fn a_full_disk_is_told_once_and_the_server_restarted_when_there_is_room() {
        let (mut patience, now) = (Patience::default(), Instant::now());
        let fine = Look { free: 0, ..Look::default() };
        assert_eq!(patience.on_look(&fine, now), Step::Nothing, "a full disk is not a failure as long as everything is written");
        assert_eq!(patience.on_look(&bad(0), now), Step::Complain);
        assert_eq!(patience.on_look(&bad(ROOM - 1), now), Step::Nothing);
        assert_eq!(patience.on_look(&bad(ROOM), now), Step::Restart);
        assert_eq!(patience.on_look(&fine, now), Step::Recovered);
        assert_eq!(patience.on_look(&fine, now), Step::Nothing);
    }

    #[test]
    fn restarts_that_do_not_help_become_rarer() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        let mut restarts = Vec::new();
        for second in 0..200 {
            if patience.on_look(&bad(u64::MAX), start + Duration::from_secs(second)) == Step::Restart {
                restarts.push(second);
            }
        }
        assert_eq!(restarts, [0, 10, 30, 70, 150]);
    }

    #[test]
    fn a_server_without_jetstream_is_named() {
        let look = Look { switched_off: vec!["nats-2".into()], free: ROOM, ..Look::default() };
        assert_eq!(look.trouble(), "JetStream is off on nats-2");
        assert_eq!(Patience::default().on_look(&look, Instant::now()), Step::Restart);
        assert_eq!(bad(0).trouble(), "NATS cannot write LEASE: write /data/1.blk: no space left on device");
    }
}
