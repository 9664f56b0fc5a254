//! The past as the tasks of this process share it.

use std::sync::{Arc, PoisonError, RwLock};

use super::Past;

/// What is kept, as the tasks of this process share it. Held for moments only.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedPast(Arc<RwLock<Past>>);

impl SharedPast {
    /// Looks at it, or changes it. A panic meanwhile leaves a past that is merely shorter than it could be.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Past) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn write<T>(&self, change: impl FnOnce(&mut Past) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}
