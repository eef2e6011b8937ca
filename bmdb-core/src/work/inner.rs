//! What the claims, ends and pollers of a session share.

use crate::session::component::Component;
use crate::session::core::SessionCore;
use crate::session::lease::Lease;
use crate::work::end_batcher::{Awaited, End, Ends};
use crate::work::queue_cursor::QueueCursors;
use bmdb_model::work::Attempt;
use std::ops::Deref;
use std::sync::Arc;

/// A session with its end batcher and queue cursors. It dereferences to the session's core.
pub(crate) struct SessionInner {
    core: SessionCore,
    ends: Arc<Ends>,
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
        Self {
            core: SessionCore::new(component, lease),
            ends: Arc::default(),
            cursors: QueueCursors::default(),
        }
    }

    /// Sends ends of this session's attempts, in as few statements as possible.
    pub(crate) fn begin_ends(
        &self,
        ends: impl IntoIterator<Item = (Attempt, End)>,
    ) -> Vec<Awaited> {
        let Component {
            database,
            attempt_counts,
            ..
        } = &*self.component;
        self.ends
            .begin(database, self.lease(), attempt_counts, ends)
    }
}
