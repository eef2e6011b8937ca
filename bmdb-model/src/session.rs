//! Sessions: the leases of components, and lists of them.

mod list;

pub use list::{ClaimedCount, ListedSession, SessionKey, find, page};

use crate::SessionId;
use crate::schema::sessions;
use crate::time::Stored;
use chrono::{DateTime, Utc};
use diesel::prelude::*;

/// A row of `sessions`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[diesel(table_name = sessions, check_for_backend(diesel::pg::Pg))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct SessionRow {
    #[diesel(column_name = session_id)]
    pub id: SessionId,
    /// The name of the component, a label.
    #[diesel(column_name = session_component_name)]
    pub component_name: String,
    /// Where and how it runs, a label.
    #[diesel(column_name = session_runtime_info)]
    pub runtime_info: String,
    #[diesel(column_name = session_created_at, deserialize_as = Stored)]
    pub created_at: DateTime<Utc>,
    /// For how many seconds from now each heartbeat extends the deadline.
    #[diesel(column_name = session_interval_seconds)]
    pub interval_seconds: i64,
    /// When the lease ends if no further heartbeat comes.
    #[diesel(column_name = session_deadline, deserialize_as = Stored)]
    pub deadline: DateTime<Utc>,
}
