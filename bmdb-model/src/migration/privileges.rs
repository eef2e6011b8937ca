//! Who may migrate, and as which role.

use super::MigrationError;
use crate::grants::{self, OWNER};
use crate::{Error, internal::connection};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};

/// The role that a migration runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acting {
    /// The owner, which then owns what the migration creates.
    Owner,
    /// The connected user, because the roles were never set up.
    User,
}

/// Becomes the owner for the rest of the connection if the roles were set up. Otherwise a member of the
/// owner would own what it creates.
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

/// Makes names in migrations be looked up in safe schemas.
pub(super) async fn look_up_safely(conn: &mut AsyncPgConnection) -> Result<(), MigrationError> {
    connection::secure_search_path(conn).await.map_err(database)
}

/// Revokes from components what they must not write of what was created.
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
