//! Applying and reverting migrations: one migrator at a time, without blocking the fleet for long.

use super::blockers::of_advisory;
use super::lock::MIGRATION_LOCK;
use super::privileges::{self, Acting};
use super::{MIGRATIONS, MigrationError, check_not_too_old, has_all, known, newest_known};
use crate::error::is_a_lock;
use diesel::migration::{Migration, MigrationSource, MigrationVersion};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::MigrationHarness;
use std::time::{Duration, Instant};

/// When a migrator has been idle for this long, the server rolls its migration back. The migrator may
/// have been stopped, or its machine may have vanished, while it had tables locked.
const STALLED: Duration = Duration::from_secs(10);

/// How long a migrator waits for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// For another migrator to finish, even one that hangs. Default: one minute.
    pub turn: Duration,
    /// For a lock on a table. While a migration waits for it, later queries on the table wait too, so
    /// this is how long a migration that gets no lock may block the fleet. Default: two seconds, which
    /// is less than the margin of a session's lease, and more than the second after which the server
    /// ends a vacuum that is in the way.
    pub lock: Duration,
}

impl Limits {
    /// Other limits than the default ones.
    #[must_use]
    pub const fn new(turn: Duration, lock: Duration) -> Self {
        Self { turn, lock }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            turn: Duration::from_secs(60),
            lock: Duration::from_secs(2),
        }
    }
}

/// Applies all pending migrations and returns their versions. Concurrent callers take turns.
///
/// It waits for others as [`Limits`] says by default. `Bmdb::migrate` tries again when a table was
/// locked.
///
/// If nothing is pending it only reads, as any member of bmdb's roles may. If the roles have been set
/// up ([`crate::grants`]), migrations run as `bmdb_owner`, which then owns what they create.
///
/// Cancellation: dropping the future does not stop a migration that has begun; it completes or rolls
/// back in the background.
///
/// # Errors
/// [`MigrationError::MayNotMigrate`], [`MigrationError::Busy`], [`MigrationError::Locked`], [`MigrationError::Failed`],
/// [`MigrationError::ComponentTooOld`], [`MigrationError::Database`].
pub async fn run_pending(conn: AsyncPgConnection) -> Result<Vec<String>, MigrationError> {
    run_pending_within(conn, Limits::default()).await
}

/// Like [`run_pending`], with other limits for waiting.
///
/// # Errors
/// As [`run_pending`].
pub async fn run_pending_within(
    conn: AsyncPgConnection,
    limits: Limits,
) -> Result<Vec<String>, MigrationError> {
    apply_up_to(conn, newest_known(), limits).await
}

/// Applies the pending migrations up to and including `version`; see [`run_pending`].
///
/// # Errors
/// As [`run_pending`].
pub async fn run_up_to(
    conn: AsyncPgConnection,
    version: &str,
) -> Result<Vec<String>, MigrationError> {
    apply_up_to(conn, version.to_owned(), Limits::default()).await
}

async fn apply_up_to(
    mut conn: AsyncPgConnection,
    version: String,
    limits: Limits,
) -> Result<Vec<String>, MigrationError> {
    let wanted = known().into_iter().map(|(known, _)| known);
    if has_all(&mut conn, wanted.filter(|known| *known <= version)).await? {
        return Ok(Vec::new());
    }
    with_harness(conn, limits, move |harness| {
        apply(harness, MIGRATIONS, Some(&version))
    })
    .await
}

/// Reverts the newest `count` applied migrations of bmdb and returns their versions, the newest first.
///
/// This drops tables with their contents. Migrations of another source that were applied later may
/// depend on them; revert those first, with [`revert_last_of`](super::revert_last_of).
///
/// # Errors
/// [`MigrationError::BuiltUpon`] if nothing was reverted for that reason; otherwise as [`run_pending`].
pub async fn revert_last(
    conn: AsyncPgConnection,
    count: usize,
) -> Result<Vec<String>, MigrationError> {
    revert_newest(conn, count, None).await
}

/// Like [`revert_last`], if `versions` still are the newest ones, the newest first: only what an
/// operator has agreed to lose is dropped, however long that took.
///
/// # Errors
/// [`MigrationError::NotTheNewest`], and then nothing was reverted; otherwise as [`revert_last`].
pub async fn revert_these(
    conn: AsyncPgConnection,
    versions: Vec<String>,
) -> Result<Vec<String>, MigrationError> {
    revert_newest(conn, versions.len(), Some(versions)).await
}

async fn revert_newest(
    conn: AsyncPgConnection,
    count: usize,
    wanted: Option<Vec<String>>,
) -> Result<Vec<String>, MigrationError> {
    with_harness(conn, Limits::default(), move |harness| {
        let applied = harness.applied_migrations()?;
        let ours = newest_first(&MIGRATIONS, &applied)?;
        let versions: Vec<_> = ours.iter().map(|m| m.name().version()).collect();
        let oldest = versions.iter().take(count).next_back();
        let on_top = oldest.and_then(|oldest| {
            let unknown = applied.iter().filter(|v| !versions.contains(v));
            Some((oldest, unknown.filter(|v| *v > oldest).min()?))
        });
        if let Some((version, newer)) = on_top {
            return Err(Stopped::From(MigrationError::BuiltUpon {
                version: version.to_string(),
                newer: newer.to_string(),
            }));
        }
        let newest: Vec<String> = versions
            .iter()
            .take(count)
            .map(ToString::to_string)
            .collect();
        if let Some(wanted) = wanted
            && wanted != newest
        {
            return Err(Stopped::From(MigrationError::NotTheNewest {
                wanted: wanted.join(", "),
                newest: newest.join(", "),
            }));
        }
        revert(harness, &ours, count)
    })
    .await
}

pub(super) type Harness = AsyncMigrationHarness<AsyncPgConnection>;
pub(super) type BoxedError = Box<dyn std::error::Error + Send + Sync>;

/// Why a change did not complete.
pub(super) enum Stopped {
    /// A statement failed.
    By(BoxedError),
    /// The change was refused.
    From(MigrationError),
}

impl From<BoxedError> for Stopped {
    fn from(error: BoxedError) -> Self {
        Self::By(error)
    }
}

/// Applies a source's pending migrations, up to a version if one is given.
pub(super) fn apply(
    harness: &mut Harness,
    source: impl MigrationSource<Pg>,
    up_to: Option<&str>,
) -> Result<Vec<String>, Stopped> {
    let mut done = Vec::new();
    for migration in harness.pending_migrations(source)? {
        if up_to.is_some_and(|newest| migration.name().version().to_string().as_str() > newest) {
            break;
        }
        let applied = harness.run_migration(migration.as_ref());
        done = and_then(done, migration.as_ref(), applied)?;
    }
    Ok(done)
}

/// Reverts the first `count` of these migrations.
pub(super) fn revert(
    harness: &mut Harness,
    newest_first: &[Box<dyn Migration<Pg>>],
    count: usize,
) -> Result<Vec<String>, Stopped> {
    let mut done = Vec::new();
    for migration in newest_first.iter().take(count) {
        let reverted = harness.revert_migration(migration.as_ref());
        done = and_then(done, migration.as_ref(), reverted)?;
    }
    Ok(done)
}

/// Adds this migration to those that were done before.
fn and_then(
    mut done: Vec<String>,
    migration: &dyn Migration<Pg>,
    this: Result<MigrationVersion<'static>, BoxedError>,
) -> Result<Vec<String>, Stopped> {
    let migration = migration.name().to_string();
    match this {
        Ok(version) => {
            done.push(version.to_string());
            Ok(done)
        }
        Err(error) if is_a_lock(&error.to_string()) => Err(Stopped::From(MigrationError::Locked {
            migration,
            done,
            holders: Vec::new(),
        })),
        // Diesel's error names a migration in SQL, but not one in code.
        Err(error) if error.to_string().contains(&migration) => Err(error.into()),
        Err(error) => Err(BoxedError::from(format!("{migration}: {error}")).into()),
    }
}

/// The applied migrations of a source.
pub(super) fn newest_first(
    source: &impl MigrationSource<Pg>,
    applied: &[MigrationVersion<'static>],
) -> Result<Vec<Box<dyn Migration<Pg>>>, BoxedError> {
    let mut migrations = source.migrations()?;
    migrations.retain(|m| applied.contains(&m.name().version()));
    migrations.sort_by(|a, b| b.name().version().cmp(&a.name().version()));
    Ok(migrations)
}

/// Runs the synchronous migration code under the lock, outside of the caller's runtime.
///
/// Diesel's harness blocks in place, which panics on a current-thread runtime. A separate runtime on a
/// blocking thread works in both kinds. Without the lock, concurrent migrators race for the same
/// catalog rows, and all but one fail.
pub(super) async fn with_harness<T: Send + 'static>(
    mut conn: AsyncPgConnection,
    limits: Limits,
    run: impl FnOnce(&mut Harness) -> Result<T, Stopped> + Send + 'static,
) -> Result<T, MigrationError> {
    privileges::look_up_safely(&mut conn).await?;
    set_up(&mut conn).await?;
    take_turn(&mut conn, limits.turn).await?;
    set_lock_timeout(&mut conn, limits.lock).await?;
    check_not_too_old(&mut conn).await?;
    let acting = privileges::act(&mut conn).await?;
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
        privileges::restrict(&mut conn).await?;
    }
    let unlocked = advisory(&mut conn, "SELECT pg_advisory_unlock($1)").await;
    match result {
        Ok(done) => Ok(unlocked.map(|()| done)?),
        Err(Stopped::By(error)) => Err(MigrationError::Failed(error)),
        Err(Stopped::From(error)) => Err(error),
    }
}

async fn take_turn(conn: &mut AsyncPgConnection, limit: Duration) -> Result<(), MigrationError> {
    set_lock_timeout(conn, limit).await?;
    let started = Instant::now();
    loop {
        let Err(error) = advisory(conn, "SELECT pg_advisory_lock($1)").await else {
            return Ok(());
        };
        if !is_a_lock(&error.to_string()) {
            return Err(error.into());
        }
        // If the lock is free now, its holder has just released it: try again.
        if let Some(holder) = of_advisory(conn, MIGRATION_LOCK).await? {
            let waited = started.elapsed();
            return Err(MigrationError::Busy { holder, waited });
        }
    }
}

async fn set_up(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    // On a connection that bmdb-core did not make, failures to get a lock are recognised by their message,
    // which must be English. Not every user may set this.
    let _refused = conn.batch_execute("SET lc_messages = 'C'").await;
    // The server then notices soon that a migrator was killed, and releases its lock. Not every
    // platform supports this.
    let _unsupported = conn
        .batch_execute("SET client_connection_check_interval = '500ms'")
        .await;
    let (stalled, third) = (STALLED.as_millis(), STALLED.as_secs() / 3);
    conn.batch_execute(&format!(
        "SET idle_in_transaction_session_timeout = {stalled}; \
         SET tcp_keepalives_idle = {third}; SET tcp_keepalives_interval = {third}; \
         SET tcp_keepalives_count = 2"
    ))
    .await
}

/// In whole milliseconds, and at least one, because zero means no limit.
async fn set_lock_timeout(conn: &mut AsyncPgConnection, limit: Duration) -> QueryResult<()> {
    let millis = limit.as_millis().clamp(1, 2_147_483_647);
    conn.batch_execute(&format!("SET lock_timeout = {millis}"))
        .await
}

async fn advisory(conn: &mut AsyncPgConnection, sql: &str) -> QueryResult<()> {
    diesel::sql_query(sql)
        .bind::<diesel::sql_types::BigInt, _>(MIGRATION_LOCK)
        .execute(conn)
        .await
        .map(drop)
}
