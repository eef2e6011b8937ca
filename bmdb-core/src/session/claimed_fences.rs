//! Claimed fences: the claims of a session that this program knows of.

use crate::lock::lock;
use crate::session::lease::Lease;
use bmdb_model::Fence;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use tokio::sync::RwLock;

/// The fences under which a session's users hold work.
pub(crate) struct ClaimedFences {
    pub(crate) lease: Arc<Lease>,
    /// Every claim holds it shared until its fences are known; the search for unknown claims holds it
    /// exclusively.
    pub(crate) claiming: RwLock<()>,
    /// One for each work, until it has ended or was canceled in the background.
    fences: Mutex<HashSet<Fence>>,
}

impl ClaimedFences {
    pub(crate) fn new(lease: Arc<Lease>) -> Self {
        Self {
            lease,
            claiming: RwLock::new(()),
            fences: Mutex::default(),
        }
    }

    pub(crate) fn remember(&self, fence: Fence) {
        lock(&self.fences).insert(fence);
    }

    pub(crate) fn forget(&self, fence: Fence) {
        lock(&self.fences).remove(&fence);
    }

    pub(crate) fn knows(&self, fence: Fence) -> bool {
        lock(&self.fences).contains(&fence)
    }
}
