//! The stage, as all processes of a seed share it.

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
}

impl World {
    pub(crate) fn new(stage: Stage) -> Self {
        Self { stage: Arc::new(Mutex::new(stage)), began: Instant::now() }
    }

    pub(crate) fn now(&self) -> u64 {
        ms(self.began.elapsed())
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
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        stage.net.now = self.now();
        stage
    }
}
