//! Why migrating, or judging a database's version, failed.

use super::LockHolder;
use diesel::result::Error as DieselError;
use std::time::Duration;

/// Why migrating, or judging a database's version, failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrationError {
    /// The database has moved past what this release can work with.
    #[error(
        "the database requires components that know migration {required} or newer; \
         this one knows only up to {known}: upgrade this component"
    )]
    ComponentTooOld {
        /// The oldest migration a component must know.
        required: String,
        /// The newest migration this release knows.
        known: String,
    },
    /// The database lacks migrations that this release needs.
    #[error(
        "the database is not migrated: {} of this release's migrations are missing (first {}): \
         run `bmdb migrate up` (`Bmdb::migrate`)", pending.len(), pending.iter().next().map_or("none", String::as_str)
    )]
    DatabaseTooOld {
        /// The missing versions, oldest first.
        pending: Vec<String>,
    },
    /// Two migrations have the same version, and the database knows a migration by nothing else, so
    /// the second would be passed over without a word: give yours another one.
    #[error("the migrations {name} and {taken_by} have the same version: rename the one of yours")]
    VersionTaken {
        /// The migration that cannot be told apart.
        name: String,
        /// The migration that has its version.
        taken_by: String,
    },
    /// Another migrator is at work, and has been for as long as this one may wait for its turn.
    #[error(
        "another migrator has been at work for {} s: {}; wait for it, or, if it hangs, end it with \
         SELECT pg_terminate_backend(pid)", waited.as_secs_f64(), named(std::slice::from_ref(holder))
    )]
    Busy {
        /// Who it is.
        holder: LockHolder,
        /// How long it was waited for.
        waited: Duration,
    },
    /// Somebody holds what the migration has to lock. It was rolled back whole, so that the fleet
    /// does not queue up behind it; the ones before it stay applied.
    #[error(
        "{migration} was rolled back, for it did not get a lock in time: {}; try again when they are \
         done, or end them with SELECT pg_terminate_backend(pid)",
        named(holders)
    )]
    Locked {
        /// The migration's name.
        migration: String,
        /// The versions that were applied, or reverted, before it.
        done: Vec<String>,
        /// Who was in the way, where that was looked for meanwhile ([`in_the_way_of`](super::in_the_way_of)).
        holders: Vec<LockHolder>,
    },
    /// What was applied later may build on this migration, and this release does not know it: it is
    /// a newer release's, or that of another source.
    #[error(
        "{version} cannot be reverted: {newer} was applied on top of it, which this release does not \
         know: revert that first, with the release or the program that has it"
    )]
    BuiltUpon {
        /// The migration that was to be reverted.
        version: String,
        /// The oldest one on top of it.
        newer: String,
    },
    /// Somebody else has migrated or reverted meanwhile.
    #[error(
        "{wanted} cannot be reverted: the newest is {newest:?} by now; look at what there is, and begin \
         again"
    )]
    NotTheNewest {
        /// What was to be reverted.
        wanted: String,
        /// What is the newest now.
        newest: String,
    },
    /// The user may not make or change tables.
    #[error(
        "{user:?} may not change the schema: migrate as a login that is a member of bmdb_owner, and \
         components find the database migrated"
    )]
    MayNotMigrate {
        /// Who is connected.
        user: String,
    },
    /// A migration failed; it was rolled back, the ones before it stay applied.
    #[error("a migration failed: {0}")]
    Failed(Box<dyn std::error::Error + Send + Sync>),
    /// The database refused a query.
    #[error(transparent)]
    Database(#[from] DieselError),
}

impl MigrationError {
    /// Whether others were in the way, so that the same may succeed later.
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
