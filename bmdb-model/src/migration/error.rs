//! Why a migration, or the check of a database's version, failed.

use super::LockHolder;
use crate::NotUtf8;
use diesel::result::Error as DieselError;
use std::time::Duration;

/// Why a migration, or the check of a database's version, failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrationError {
    /// The database requires a newer release.
    #[error(
        "the database requires components that know migration {required} or newer; \
         this one knows only up to {known}: upgrade this component"
    )]
    ComponentTooOld {
        /// The oldest migration that a component must know.
        required: String,
        /// The newest migration that this release knows.
        known: String,
    },
    /// The database lacks migrations that this release needs.
    #[error(
        "the database is not migrated: {} of this release's migrations are missing (first {}): \
         run `bmdb migrate up` (`Bmdb::migrate`)", pending.len(), pending.iter().next().map_or("none", String::as_str)
    )]
    DatabaseTooOld {
        /// The missing versions, the oldest first.
        pending: Vec<String>,
    },
    /// Two migrations have the same version. The database identifies a migration by its version only,
    /// so the second one would be skipped silently: give yours another version.
    #[error("the migrations {name} and {taken_by} have the same version: rename yours")]
    VersionTaken {
        /// The migration whose version is taken.
        name: String,
        /// The migration that has this version.
        taken_by: String,
    },
    /// Another migrator is running, and has been for longer than this one may wait.
    #[error(
        "another migrator has been at work for {} s: {}; wait for it, or, if it hangs, end it with \
         SELECT pg_terminate_backend(pid)", waited.as_secs_f64(), named(std::slice::from_ref(holder))
    )]
    Busy {
        /// The other migrator.
        holder: LockHolder,
        /// How long this one has waited.
        waited: Duration,
    },
    /// Another connection has locked what the migration must lock. The migration was rolled back as a
    /// whole, so that the fleet does not queue behind it; earlier ones stay applied.
    #[error(
        "{migration} was rolled back because it did not get a lock in time: {}; try again when they are \
         done, or end them with SELECT pg_terminate_backend(pid)",
        named(holders)
    )]
    Locked {
        /// The migration's name.
        migration: String,
        /// The versions that were applied, or reverted, before it.
        done: Vec<String>,
        /// The connections in the way, if the caller looked for them
        /// ([`in_the_way_of`](super::in_the_way_of)).
        holders: Vec<LockHolder>,
    },
    /// A later migration may depend on this one, and this release does not know it: it belongs to a
    /// newer release or to another source.
    #[error(
        "{version} cannot be reverted: {newer} was applied on top of it, which this release does not \
         know: revert that first, with the release or the program that has it"
    )]
    BuiltUpon {
        /// The migration that was to be reverted.
        version: String,
        /// The oldest migration that was applied later.
        newer: String,
    },
    /// Another migrator has applied or reverted migrations meanwhile.
    #[error(
        "{wanted} cannot be reverted: the newest migration is now {newest:?}; check \
         `bmdb migrate status` and try again"
    )]
    NotTheNewest {
        /// What was to be reverted.
        wanted: String,
        /// What is the newest now.
        newest: String,
    },
    /// The database cannot store every text. Nothing was changed.
    #[error(transparent)]
    NotUtf8(#[from] NotUtf8),
    /// The user may not create or change tables.
    #[error(
        "{user:?} may not change the schema: migrate as a login that is a member of bmdb_owner"
    )]
    MayNotMigrate {
        /// The connected user.
        user: String,
    },
    /// A migration failed. It was rolled back; earlier ones stay applied.
    #[error("a migration failed: {0}")]
    Failed(Box<dyn std::error::Error + Send + Sync>),
    /// The database refused a query.
    #[error(transparent)]
    Database(#[from] DieselError),
}

impl MigrationError {
    /// Whether others were in the way, so that the same call may succeed later.
    #[must_use]
    pub const fn is_others_doing(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Locked { .. })
    }
}

fn named(holders: &[LockHolder]) -> String {
    if holders.is_empty() {
        return "others hold it".to_owned();
    }
    let named: Vec<String> = holders.iter().map(ToString::to_string).collect();
    format!("held by {}", named.join(", "))
}
