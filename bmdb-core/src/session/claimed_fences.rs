//! What a session holds, as far as this program knows.

use crate::session::lease::Lease;
use bmdb_model::Fence;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::RwLock;

/// The fences a session's users know of.
pub(crate) struct Holdings {
    pub(crate) lease: Arc<Lease>,
    /// Held shared by every claim until its fences are known, and exclusively by the search for
    /// claims that nobody knows of.
    pub(crate) claiming: RwLock<()>,
    /// One for each work until it has ended or been given back.
    fences: Mutex<HashSet<Fence>>,
}

impl Holdings {
    pub(crate) fn new(lease: Arc<Lease>) -> Self {
        Self {
            lease,
            claiming: RwLock::new(()),
            fences: Mutex::default(),
        }
    }

    pub(crate) fn remember(&self, fence: Fence) {
        self.fences().insert(fence);
    }

    pub(crate) fn forget(&self, fence: Fence) {
        self.fences().remove(&fence);
    }

    pub(crate) fn knows(&self, fence: Fence) -> bool {
        self.fences().contains(&fence)
    }

    fn fences(&self) -> MutexGuard<'_, HashSet<Fence>> {
        // Nothing panics while it is held.
        self.fences.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
