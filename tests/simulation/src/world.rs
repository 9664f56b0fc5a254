//! The stage, as all processes of a seed share it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use faultline_runtime::clock::ms;
use tokio::time::Instant;

use super::stage::Stage;

/// A stage that all processes of a seed share.
#[derive(Clone)]
pub(crate) struct World {
    stage: Arc<Mutex<Stage>>,
    /// Virtual time began here.
    began: Instant,
    passage: Passage,
}

/// Whether time may have passed: it does so only while the runtime's thread is parked.
#[derive(Clone, Default)]
pub(crate) struct Passage(Arc<AtomicBool>);

impl Passage {
    pub(crate) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        let is_noted = self.0.load(Ordering::Relaxed);
        if is_noted {
            self.0.store(false, Ordering::Relaxed);
        }
        is_noted
    }
}

impl World {
    /// `passage` is noted after each time that the runtime's thread was parked.
    pub(crate) fn new(stage: Stage, began: Instant, passage: Passage) -> Self {
        Self { stage: Arc::new(Mutex::new(stage)), began, passage }
    }

    pub(crate) fn at(&self, at: u64) -> Instant {
        self.began + Duration::from_millis(at)
    }

    /// The stage as it was left.
    pub(crate) fn lock_after(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stage, at the present time.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Stage> {
        let mut stage = self.lock_after();
        if self.passage.take() {
            stage.net.now = ms(self.began.elapsed());
        }
        stage
    }
}
