//! The embedded migrations, the versions that a database has, and which versions are compatible.

mod blockers;
mod change;
mod error;
mod external_migrations;
mod lock;
mod lock_holder;
mod privileges;

pub use blockers::in_the_way_of;
pub use change::{Limits, revert_last, revert_these, run_pending, run_pending_within, run_up_to};
pub use error::MigrationError;
pub use external_migrations::{revert_last_of, run_all_of, run_all_of_within};
pub(crate) use lock::MIGRATION_LOCK;
pub use lock_holder::LockHolder;

use crate::encoding;
use crate::schema::{__diesel_schema_migrations, schema_compatibility};
use crate::statement::statement;
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

/// All migrations of this release, the oldest first.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// A migration, and whether the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct MigrationStatus {
    /// The version; versions sort as text.
    pub version: String,
    /// The folder's name; the version, if this release does not know it.
    pub name: String,
    /// Whether the database has it.
    pub applied: bool,
    /// Whether this release knows it.
    pub known: bool,
}

/// The versions and folder names of this release's migrations, the oldest first.
#[must_use]
pub fn known() -> Vec<(String, String)> {
    let migrations: Vec<Box<dyn Migration<Pg>>> =
        MigrationSource::<Pg>::migrations(&MIGRATIONS).unwrap_or_default();
    let mut known: Vec<_> = migrations
        .iter()
        .map(|m| (m.name().version().to_string(), m.name().to_string()))
        .collect();
    known.sort();
    known
}

/// What an operator should know about a migration that has been applied, in a sentence.
#[must_use]
pub fn note(version: &str) -> Option<&'static str> {
    match version {
        "20261130000400" => Some(
            "ShepherdRecovery has limits and a breaker now: `bmdb process show ShepherdRecovery` shows them, \
             and the changelog says how to go back",
        ),
        _ => None,
    }
}

/// The newest version that this release knows.
#[must_use]
pub fn newest_known() -> String {
    known()
        .pop()
        .map_or_else(String::new, |(version, _)| version)
}

/// Lists every known or applied migration, the oldest first.
///
/// # Errors
/// [`MigrationError::Database`].
pub async fn status(conn: &mut AsyncPgConnection) -> Result<Vec<MigrationStatus>, MigrationError> {
    let applied = applied(conn).await?;
    let mut all: Vec<MigrationStatus> = known()
        .into_iter()
        .map(|(version, name)| MigrationStatus {
            applied: applied.contains(&version),
            known: true,
            version,
            name,
        })
        .collect();
    for version in applied {
        if !all.iter().any(|m| m.version == version) {
            all.push(MigrationStatus {
                name: version.clone(),
                version,
                applied: true,
                known: false,
            });
        }
    }
    all.sort_by(|a, b| a.version.cmp(&b.version));
    Ok(all)
}

/// Checks that this release is compatible with the database.
///
/// # Errors
/// [`MigrationError::ComponentTooOld`], [`MigrationError::DatabaseTooOld`],
/// [`MigrationError::Database`].
pub async fn check(conn: &mut AsyncPgConnection) -> Result<(), MigrationError> {
    check_not_too_old(conn).await?;
    let applied = applied(conn).await?;
    let pending: Vec<String> = known()
        .into_iter()
        .map(|(version, _)| version)
        .filter(|v| !applied.contains(v))
        .collect();
    if pending.is_empty() {
        Ok(())
    } else {
        Err(MigrationError::DatabaseTooOld { pending })
    }
}

/// Checks only that the database does not require a newer release; an empty database passes.
///
/// # Errors
/// [`MigrationError::ComponentTooOld`], [`MigrationError::Database`].
pub async fn check_not_too_old(conn: &mut AsyncPgConnection) -> Result<(), MigrationError> {
    let exists: bool = TableExists {
        table: "schema_compatibility",
    }
    .get_result(conn)
    .await?;
    if !exists {
        return Ok(());
    }
    let required: Option<String> = schema_compatibility::table
        .select(schema_compatibility::oldest_compatible)
        .first(conn)
        .await
        .optional()?;
    let known = newest_known();
    match required {
        Some(required) if required > known => {
            Err(MigrationError::ComponentTooOld { required, known })
        }
        _ => Ok(()),
    }
}

async fn applied(conn: &mut AsyncPgConnection) -> Result<Vec<String>, MigrationError> {
    let exists: bool = TableExists {
        table: "__diesel_schema_migrations",
    }
    .get_result(conn)
    .await?;
    if !exists {
        return Ok(Vec::new());
    }
    Ok(__diesel_schema_migrations::table
        .select(__diesel_schema_migrations::version)
        .order(__diesel_schema_migrations::version)
        .load(conn)
        .await?)
}

/// Whether these migrations are applied already, so that nothing has to be done and no privilege is
/// needed.
async fn has_all(
    conn: &mut AsyncPgConnection,
    mut versions: impl Iterator<Item = String>,
) -> Result<bool, MigrationError> {
    privileges::look_up_safely(conn).await?;
    encoding::check(&Encoding {}.get_result::<String>(conn).await?)?;
    check_not_too_old(conn).await?;
    let applied = applied(conn).await?;
    Ok(versions.all(|version| applied.contains(&version)))
}

statement! {
    Encoding = "SELECT current_setting('server_encoding')";
    () -> Text
}

statement! {
    TableExists<'a> = "SELECT to_regclass(quote_ident($1)) IS NOT NULL";
    (table: &'a str => Text) -> Bool
}
