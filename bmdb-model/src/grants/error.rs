//! Why roles and privileges could not be set up.

use crate::Error;
use diesel::result::Error as DieselError;

/// Why roles and privileges could not be set up. At most roles were created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// A role is missing, and the user may not create it.
    #[error(
        "the role {role} is missing and {user:?} may not create roles: run this as a superuser, or as \
         the database's owner with CREATEROLE"
    )]
    MayNotCreateRoles {
        /// The connected user.
        user: String,
        /// The first missing role.
        role: &'static str,
    },
    /// The user may not grant or revoke a privilege.
    #[error(
        "{user:?} may not ensure that {what}: run this as a superuser, or as the owner of the \
         database, its schema and its tables who is a member of bmdb_owner"
    )]
    NotInForce {
        /// The connected user.
        user: String,
        /// What should hold, and does not.
        what: &'static str,
    },
    /// A statement failed.
    #[error("{statement}: {reason}")]
    Refused {
        /// The statement's text.
        statement: String,
        /// The database's answer.
        reason: Error,
    },
    /// The schema of the connection's `search_path` does not exist.
    #[error("there is no schema to set up: name an existing schema in the URL's search_path")]
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
