//! The embedded migrations, the versions a database has, and which versions get along.

mod further;
mod rights;

pub use further::run_all_of;

use crate::schema::{__diesel_schema_migrations, schema_compatibility};
use crate::statement::statement;
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_types::{Bool, Text};
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use rights::Acting;

/// All migrations of this release, oldest first.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// The key of the session-level advisory lock that makes concurrent migrators take turns ("bmdb").
pub(crate) const MIGRATION_LOCK: i64 = 0x626d_6462;

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
         run `Bmdb::migrate` or `cargo xtask migrate up`", pending.len(), pending.iter().next().map_or("none", String::as_str)
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

/// One migration and whether the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationStatus {
    /// The version, which sorts as text.
    pub version: String,
    /// The folder's name; for a version this release does not know, the version.
    pub name: String,
    /// Whether the database has it.
    pub applied: bool,
    /// Whether this release knows it.
    pub known: bool,
}

/// Versions and folder names of this release's migrations, oldest first.
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

/// The newest version this release knows.
#[must_use]
pub fn newest_known() -> String {
    known()
        .pop()
        .map_or_else(String::new, |(version, _)| version)
}

/// Every known or applied migration, oldest first.
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

/// Applies all pending migrations and returns their versions; concurrent callers take turns.
///
/// Cancellation: dropping the future does not stop a migration that has begun; it completes or
/// rolls back in the background.
///
/// Where nothing is pending it only reads, as any member of bmdb's roles may. Where the roles have been
/// set up ([`crate::grants`]), migrations run as `bmdb_owner`, and to that role belongs what they make.
///
/// # Errors
/// [`MigrationError::MayNotMigrate`], [`MigrationError::Failed`], [`MigrationError::ComponentTooOld`],
/// [`MigrationError::Database`].
pub async fn run_pending(conn: AsyncPgConnection) -> Result<Vec<String>, MigrationError> {
    run_up_to(conn, &newest_known()).await
}

/// Applies the pending migrations up to and including `version`; see [`run_pending`].
///
/// # Errors
/// As [`run_pending`].
pub async fn run_up_to(
    mut conn: AsyncPgConnection,
    version: &str,
) -> Result<Vec<String>, MigrationError> {
    let version = version.to_owned();
    let wanted = known().into_iter().map(|(known, _)| known);
    if has_all(&mut conn, wanted.filter(|known| *known <= version)).await? {
        return Ok(Vec::new());
    }
    with_harness(conn, move |harness| {
        let pending = harness.pending_migrations(MIGRATIONS)?;
        let mut done = Vec::new();
        for migration in pending
            .iter()
            .filter(|m| m.name().version().to_string() <= version)
        {
            done.push(harness.run_migration(migration.as_ref())?.to_string());
        }
        Ok(done)
    })
    .await
}

/// Reverts the newest `count` applied migrations and returns their versions, newest first.
///
/// This drops tables with their contents.
///
/// # Errors
/// As [`run_pending`]; a version this release does not know cannot be reverted by it.
pub async fn revert_last(
    conn: AsyncPgConnection,
    count: usize,
) -> Result<Vec<String>, MigrationError> {
    with_harness(conn, move |harness| {
        let applied = harness.applied_migrations()?.len();
        (0..count.min(applied))
            .map(|_| {
                harness
                    .revert_last_migration(MIGRATIONS)
                    .map(|v| v.to_string())
            })
            .collect()
    })
    .await
}

/// Checks that this release may work with the database as it is.
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

/// Checks only that the database has not moved past this release; an empty database passes.
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

/// Whether these migrations are applied already, so that nothing has to be done, nor to be allowed.
async fn has_all(
    conn: &mut AsyncPgConnection,
    mut versions: impl Iterator<Item = String>,
) -> Result<bool, MigrationError> {
    rights::look_up_safely(conn).await?;
    check_not_too_old(conn).await?;
    let applied = applied(conn).await?;
    Ok(versions.all(|version| applied.contains(&version)))
}

statement! {
    TableExists<'a> = "SELECT to_regclass(quote_ident($1)) IS NOT NULL";
    (table: &'a str => Text) -> Bool
}

type Harness = AsyncMigrationHarness<AsyncPgConnection>;
type BoxedError = Box<dyn std::error::Error + Send + Sync>;

/// Runs the synchronous migration code under the lock, off the caller's runtime.
///
/// Diesel's harness blocks in place, which panics on a current-thread runtime; a runtime of its own
/// on a blocking thread works under every flavour. Concurrent migrators without the lock race for
/// the same catalog rows, and all but one fail.
async fn with_harness<T: Send + 'static>(
    mut conn: AsyncPgConnection,
    run: impl FnOnce(&mut Harness) -> Result<T, BoxedError> + Send + 'static,
) -> Result<T, MigrationError> {
    rights::look_up_safely(&mut conn).await?;
    advisory(&mut conn, "SELECT pg_advisory_lock($1)").await?;
    check_not_too_old(&mut conn).await?;
    let acting = rights::act(&mut conn).await?;
    let (result, mut conn) = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(BoxedError::from)?;
        let _guard = runtime.enter();
        runtime.block_on(async {
            let mut harness = AsyncMigrationHarness::new(conn);
            let result = run(&mut harness);
            Ok((result, harness.into_inner()))
        })
    })
    .await
    .map_err(BoxedError::from)
    .and_then(|done| done)
    .map_err(MigrationError::Failed)?;
    if acting == Acting::Owner {
        rights::restrict(&mut conn).await?;
    }
    advisory(&mut conn, "SELECT pg_advisory_unlock($1)").await?;
    result.map_err(MigrationError::Failed)
}

async fn advisory(conn: &mut AsyncPgConnection, sql: &str) -> QueryResult<()> {
    diesel::sql_query(sql)
        .bind::<diesel::sql_types::BigInt, _>(MIGRATION_LOCK)
        .execute(conn)
        .await
        .map(drop)
}
