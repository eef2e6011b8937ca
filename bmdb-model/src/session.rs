//! Sessions: a component's lease, its heartbeat, and the check that fences every transaction.

mod list;

pub use list::{ClaimedCount, ListedSession, SessionKey, find, page};

use crate::SessionId;
use crate::schema::sessions;
use chrono::{DateTime, Utc};
use diesel::prelude::*;

/// A row of `sessions`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = sessions, check_for_backend(diesel::pg::Pg))]
pub struct SessionRow {
    /// The session.
    #[diesel(column_name = session_id)]
    pub id: SessionId,
    /// Which program it is, a label.
    #[diesel(column_name = session_component_name)]
    pub component_name: String,
    /// Where and how it runs, a label.
    #[diesel(column_name = session_runtime_info)]
    pub runtime_info: String,
    /// When it was started.
    #[diesel(column_name = session_created_at)]
    pub created_at: DateTime<Utc>,
    /// How far each heartbeat moves the deadline, in seconds.
    #[diesel(column_name = session_interval_seconds)]
    pub interval_seconds: i64,
    /// When the lease ends if no further heartbeat comes.
    #[diesel(column_name = session_deadline)]
    pub deadline: DateTime<Utc>,
}
