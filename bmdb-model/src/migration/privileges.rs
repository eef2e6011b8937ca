//! Who may migrate, and as whom.

use super::MigrationError;
use crate::grants::{self, OWNER};
use crate::{Error, internal::connection};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};

/// As whom a migration runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acting {
    /// As the owner, to whom belongs what it makes.
    Owner,
    /// As the user: the roles were never set up.
    User,
}

/// Becomes the owner for the rest of the connection, where the roles were set up; otherwise what a
/// member of it makes would be the member's, and nobody else's.
pub(super) async fn act(conn: &mut AsyncPgConnection) -> Result<Acting, MigrationError> {
    if grants::acts_as_owner(conn).await.map_err(database)? == Some(true) {
        conn.batch_execute(&format!("SET ROLE {OWNER}")).await?;
        return Ok(Acting::Owner);
    }
    match grants::maker(conn).await.map_err(database)? {
        (_, true) => Ok(Acting::User),
        (user, false) => Err(MigrationError::MayNotMigrate { user }),
    }
}

/// Names in migrations are looked up where it is safe.
pub(super) async fn look_up_safely(conn: &mut AsyncPgConnection) -> Result<(), MigrationError> {
    connection::secure_search_path(conn).await.map_err(database)
}

/// Takes from components what they are not to write of what was made.
pub(super) async fn restrict(conn: &mut AsyncPgConnection) -> Result<(), MigrationError> {
    let restricted = grants::restrict(conn).await;
    restricted.map_err(|error| MigrationError::Failed(error.into()))
}

fn database(error: Error) -> MigrationError {
    match error {
        Error::Database(error) => MigrationError::Database(error),
        other => MigrationError::Failed(other.into()),
    }
}
