//! Migrating a database while components work on it: short waits for locks, and retries.

use crate::db::connect::Target;
use crate::db::database::Database;
use crate::db::retry::Delays;
use crate::error::TxError;
use bmdb_model::migration::{self, Limits, LockHolder, MigrationError};
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel_async::AsyncPgConnection;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often a waiting migration looks for the sessions that block it.
const BLOCKERS_INTERVAL: Duration = Duration::from_millis(250);

/// How long one try waits for another migrator before it reports it.
const MIGRATOR_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a migration waits for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrateOptions {
    /// For how long the migration tries in all to get its locks and, if another migrator is running, its
    /// turn. It does not stop a migration that has begun. Default: five minutes.
    pub give_up_after: Duration,
    /// How long one try waits for a table lock. The waiting lock blocks every later query on the table, so
    /// the try is then rolled back, and repeated after a pause of one to five times this long. Default: two
    /// seconds: less than the spare time of a lease with the default interval, and more than the second
    /// after which the server ends an automatic vacuum in the way.
    pub lock_timeout: Duration,
}

impl Default for MigrateOptions {
    fn default() -> Self {
        Self {
            give_up_after: Duration::from_secs(300),
            lock_timeout: Limits::default().lock,
        }
    }
}

impl MigrateOptions {
    /// The same with another limit for all tries.
    #[must_use]
    pub const fn give_up_after(self, give_up_after: Duration) -> Self {
        Self {
            give_up_after,
            ..self
        }
    }

    /// The same with another limit for each wait for a lock.
    #[must_use]
    pub const fn lock_timeout(self, lock_timeout: Duration) -> Self {
        Self {
            lock_timeout,
            ..self
        }
    }
}

/// A migration source for several tries: Diesel's embedded migrations cannot be cloned.
struct Shared<S>(Arc<S>);

impl<S: MigrationSource<Pg>> MigrationSource<Pg> for Shared<S> {
    fn migrations(&self) -> diesel::migration::Result<Vec<Box<dyn Migration<Pg>>>> {
        self.0.migrations()
    }
}

/// Applies bmdb's pending migrations; returns their versions.
pub(crate) async fn run_pending(
    target: &Target,
    database: &Database,
    options: MigrateOptions,
) -> Result<Vec<String>, MigrationError> {
    retry_while_blocked(target, database, options, migration::run_pending_within).await
}

/// Applies the pending migrations of another source; returns their versions.
pub(crate) async fn run_source<S>(
    target: &Target,
    database: &Database,
    source: S,
) -> Result<Vec<String>, MigrationError>
where
    S: MigrationSource<Pg> + Send + Sync + 'static,
{
    let source = Shared(Arc::new(source));
    let run = |conn, limits| migration::run_all_of_within(conn, Shared(source.0.clone()), limits);
    retry_while_blocked(target, database, MigrateOptions::default(), run).await
}

async fn retry_while_blocked<F: Future<Output = Result<Vec<String>, MigrationError>>>(
    target: &Target,
    database: &Database,
    options: MigrateOptions,
    run: impl Fn(AsyncPgConnection, Limits) -> F,
) -> Result<Vec<String>, MigrationError> {
    let until = Instant::now().checked_add(options.give_up_after);
    let limits = Limits::new(
        MIGRATOR_TIMEOUT.min(options.give_up_after),
        options.lock_timeout,
    );
    let shortest = options.lock_timeout.max(Duration::from_millis(10));
    let mut pauses = Delays::new(shortest, shortest.saturating_mul(4));
    let mut applied = Vec::new();
    loop {
        let mut error = match run_once(target, database, limits, &run).await {
            Ok(rest) => {
                applied.extend(rest);
                return Ok(applied);
            }
            Err(error) => error,
        };
        if let MigrationError::Locked { done, .. } = &mut error {
            applied.append(done);
            done.clone_from(&applied);
        }
        let pause = match error {
            // Another migration is running; waiting for it blocks no other session.
            MigrationError::Busy { .. } => Duration::ZERO,
            _ => shortest.saturating_add(pauses.next()),
        };
        let late = until.is_some_and(|until| Instant::now() + pause >= until);
        if late || !error.is_others_doing() {
            return Err(error);
        }
        tracing::info!(%error, ?pause, "the migration is blocked and will be retried");
        tokio::time::sleep(pause).await;
    }
}

/// One try, which also looks for the sessions that block it.
async fn run_once<F: Future<Output = Result<Vec<String>, MigrationError>>>(
    target: &Target,
    database: &Database,
    limits: Limits,
    run: impl Fn(AsyncPgConnection, Limits) -> F,
) -> Result<Vec<String>, MigrationError> {
    let checked = database.home.check().await;
    checked.map_err(|error| MigrationError::Failed(error.into()))?;
    let conn = target.for_migration().connect().await;
    let (conn, info) = conn.map_err(|error| MigrationError::Failed(error.into()))?;
    let mut seen = Vec::new();
    let mut run = pin!(run(conn, limits));
    loop {
        tokio::select! {
            done = &mut run => return done.map_err(|mut error| {
                if let MigrationError::Locked { holders, .. } = &mut error {
                    holders.append(&mut seen);
                }
                error
            }),
            () = tokio::time::sleep(BLOCKERS_INTERVAL.min(limits.lock / 4)) => {
                let found = blockers(database, info.backend.pid).await;
                if !found.is_empty() {
                    if !found.iter().map(|h| h.pid).eq(seen.iter().map(|h: &LockHolder| h.pid)) {
                        let by = found.iter().map(ToString::to_string).collect::<Vec<_>>();
                        tracing::info!(by = by.join(", "), "the migration waits");
                    }
                    seen = found;
                }
            }
        }
    }
}

/// The sessions that block the connection with this server process, as far as they can be found.
pub(crate) async fn blockers(database: &Database, pid: i32) -> Vec<LockHolder> {
    let found =
        database.run(async |conn| Ok::<_, TxError>(migration::in_the_way_of(conn, pid).await));
    match found.await {
        Ok(Ok(found)) => found,
        _ => Vec::new(),
    }
}
