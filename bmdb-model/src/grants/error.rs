//! Why roles and privileges could not be set up.

use crate::Error;
use diesel::result::Error as DieselError;

/// Why roles and privileges could not be set up. Nothing but roles was made then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// A role is missing, and the user may not make it.
    #[error(
        "the role {role} is missing and {user:?} may not make roles: run this as a superuser, or as \
         the database's owner with CREATEROLE"
    )]
    MayNotCreateRoles {
        /// Who is connected.
        user: String,
        /// The first role that is missing.
        role: &'static str,
    },
    /// The user may not grant or revoke something.
    #[error(
        "{user:?} cannot see to it that {what}: run this as a superuser, or as the owner of the \
         database, its schema and its tables who is a member of bmdb_owner"
    )]
    NotInForce {
        /// Who is connected.
        user: String,
        /// What would have to hold.
        what: &'static str,
    },
    /// A statement failed.
    #[error("{statement}: {reason}")]
    Refused {
        /// Its text.
        statement: String,
        /// The database's answer.
        reason: Error,
    },
    /// The schema of the connection's `search_path` does not exist.
    #[error("there is no schema to set up: does the URL's search_path name one that exists?")]
    NoSchema,
    /// The database refused a query.
    #[error(transparent)]
    Database(#[from] Error),
}

impl From<DieselError> for GrantError {
    fn from(error: DieselError) -> Self {
        Self::Database(error.into())
    }
}
