//! Overlong leases: deadlines that are farther away than the lease's interval.
//!
//! Every heartbeat sets the deadline to the interval from now. So a deadline that is farther away was set before
//! the database's clock was set back, and without another heartbeat the lease would last for as much longer.

use crate::statement::statement;
use crate::{Error, SessionId};
use diesel::sql_types::{BigInt, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// A lease that ends later than it can.
#[derive(Debug, Clone, PartialEq, Eq, diesel::Queryable)]
pub struct OverlongLease {
    /// Its session.
    pub session: SessionId,
    /// The deadline as the database writes it: `infinity` is one too.
    pub deadline: String,
    /// How far away the deadline is at most, by a clock that was not set back.
    pub interval_seconds: i64,
}

statement! {
    Overlong = "SELECT session_id, session_deadline::text, session_interval_seconds FROM sessions \
                WHERE session_deadline > clock_timestamp() + (session_interval_seconds + 1) * interval '1 second'";
    () -> (SqlUuid, Text, BigInt)
}

/// Lists the leases that end later than they can.
///
/// # Errors
/// [`Error::Database`].
pub async fn all(conn: &mut AsyncPgConnection) -> Result<Vec<OverlongLease>, Error> {
    Ok(Overlong {}.load(conn).await?)
}

statement! {
    End<'a> = "UPDATE sessions SET session_deadline = clock_timestamp() \
               WHERE session_id = $1 AND session_deadline::text = $2 \
                 AND session_deadline > clock_timestamp() + (session_interval_seconds + 1) * interval '1 second'";
    (session: SessionId => SqlUuid, deadline: &'a str => Text) -> ()
}

/// Ends an overlong lease now, unless its deadline has changed since it was listed; returns whether it was ended.
///
/// One statement, which judges the row that it locks: a heartbeat that comes first changes the deadline, and
/// one that comes later finds the lease ended.
///
/// # Errors
/// [`Error::Database`].
pub async fn end(conn: &mut AsyncPgConnection, lease: &OverlongLease) -> Result<bool, Error> {
    let end = End {
        session: lease.session,
        deadline: &lease.deadline,
    };
    Ok(end.execute(conn).await? == 1)
}
