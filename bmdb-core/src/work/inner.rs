//! What the claims, ends and pollers of a session share.

use crate::session::component::Component;
use crate::session::core::SessionCore;
use crate::session::lease::Lease;
use crate::work::end_batcher::EndBatcher;
use crate::work::queue_cursor::QueueCursors;
use std::ops::Deref;
use std::sync::Arc;

/// A session with its end batcher and queue cursors. It dereferences to the session's core.
pub(crate) struct SessionInner {
    core: SessionCore,
    pub(crate) end_batcher: Arc<EndBatcher>,
    pub(crate) cursors: QueueCursors,
}

impl Deref for SessionInner {
    type Target = SessionCore;

    fn deref(&self) -> &SessionCore {
        &self.core
    }
}

impl SessionInner {
    pub(crate) fn new(component: Arc<Component>, lease: Arc<Lease>) -> Self {
        let (database, counts) = (component.database.clone(), component.attempt_counts.clone());
        Self {
            end_batcher: EndBatcher::new(database, lease.clone(), counts),
            core: SessionCore::new(component, lease),
            cursors: QueueCursors::default(),
        }
    }
}
