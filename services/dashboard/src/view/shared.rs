//! The view as the tasks of this process share it.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::View;

/// The view behind its lock. Held for moments only, never across an await.
#[derive(Debug, Clone)]
pub(crate) struct SharedView(Arc<RwLock<View>>);

impl SharedView {
    pub(crate) fn new(view: View) -> Self {
        Self(Arc::new(RwLock::new(view)))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, View> {
        // A panic while it was held leaves a view that is merely older than it could be.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, View> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
