//! Migrating a database on which a fleet is at work: short waits for locks, tried again.

use crate::bmdb::Bmdb;
use crate::db::deadline::Patience;
use crate::db::retry::Delays;
use crate::error::TxError;
use crate::maintenance::replan::Busy;
use bmdb_model::migration::{self, Limits, LockHolder, MigrationError};
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel_async::AsyncPgConnection;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often somebody is looked for who keeps a migration waiting.
const LOOK: Duration = Duration::from_millis(250);

/// How long one try waits for another migrator before it says so.
const TURN: Duration = Duration::from_secs(5);

/// How long a migration waits for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrateOptions {
    /// For how long in all it is tried to get locks and, where another migrator is at work, a turn. A
    /// migration that has begun is not stopped by it. Default: five minutes.
    pub give_up_after: Duration,
    /// How long one try waits for a lock on a table, and everybody who comes later with it; then it is
    /// rolled back, so that they can go on, and tried again after a pause of one to five times as
    /// long. Default: two seconds, which is less than the lease of a session with the default interval
    /// has to spare, and more than the second after which the server ends a vacuum in the way.
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
    /// The same with another limit to trying.
    #[must_use]
    pub const fn give_up_after(self, give_up_after: Duration) -> Self {
        Self {
            give_up_after,
            ..self
        }
    }

    /// The same with another limit to each wait for a lock.
    #[must_use]
    pub const fn lock_timeout(self, lock_timeout: Duration) -> Self {
        Self {
            lock_timeout,
            ..self
        }
    }
}

/// A source for several tries: Diesel's embedded migrations cannot be cloned.
struct Shared<S>(Arc<S>);

impl<S: MigrationSource<Pg>> MigrationSource<Pg> for Shared<S> {
    fn migrations(&self) -> diesel::migration::Result<Vec<Box<dyn Migration<Pg>>>> {
        self.0.migrations()
    }
}

impl Bmdb {
    /// Applies the pending migrations and returns their versions. Concurrent callers take turns. If
    /// any was applied, the fleet is planned by what it brought.
    ///
    /// Components of the previous release may go on working meanwhile. Where somebody holds what a
    /// migration has to lock, it is rolled back after two seconds and tried again for five minutes;
    /// [`Bmdb::migrate_with`] has it otherwise. What is waited for is traced. Where none is pending any
    /// component may call it; otherwise a member of `bmdb_owner` ([`bmdb_model::grants`]).
    ///
    /// Cancellation: a migration that has begun completes or rolls back in the background. Should the
    /// program end between a migration and the planning, [`Bmdb::replan`] makes up for it.
    ///
    /// # Errors
    /// [`MigrationError`]; of [`MigrationError::Busy`] and [`MigrationError::Locked`] the error says
    /// who is in the way.
    pub async fn migrate(&self) -> Result<Vec<String>, MigrationError> {
        self.migrate_with(MigrateOptions::default()).await
    }

    /// As [`Bmdb::migrate`], waiting for others as these options have it.
    ///
    /// # Errors
    /// As [`Bmdb::migrate`].
    pub async fn migrate_with(
        &self,
        options: MigrateOptions,
    ) -> Result<Vec<String>, MigrationError> {
        let applied = self.until_free(options, migration::run_pending_within);
        let applied = applied.await?;
        if !applied.is_empty() {
            // Those who are just writing may plan by definitions from before.
            let planned = self.plan_fleet(Busy::Wait, |_| {}).await;
            planned.map_err(|error| MigrationError::Failed(error.into()))?;
        }
        Ok(applied)
    }

    /// Applies the pending migrations of a program with tables of its own beside bmdb's, as
    /// [`run_all_of`](migration::run_all_of) does, and waits for others as [`Bmdb::migrate`] does. Run
    /// that first.
    ///
    /// # Errors
    /// [`MigrationError::VersionTaken`], and as [`Bmdb::migrate`].
    pub async fn migrate_with_source<S>(&self, source: S) -> Result<Vec<String>, MigrationError>
    where
        S: MigrationSource<Pg> + Send + Sync + 'static,
    {
        let options = MigrateOptions::default();
        let source = Shared(Arc::new(source));
        let run =
            |conn, limits| migration::run_all_of_within(conn, Shared(source.0.clone()), limits);
        self.until_free(options, run).await
    }

    /// Tries until nobody is in the way, or the time is up.
    async fn until_free<F: Future<Output = Result<Vec<String>, MigrationError>>>(
        &self,
        options: MigrateOptions,
        run: impl Fn(AsyncPgConnection, Limits) -> F,
    ) -> Result<Vec<String>, MigrationError> {
        let deadline = Instant::now().checked_add(options.give_up_after);
        let limits = Limits::new(TURN.min(options.give_up_after), options.lock_timeout);
        let shortest = options.lock_timeout.max(Duration::from_millis(10));
        let mut pauses = Delays::new(shortest, shortest.saturating_mul(4));
        let mut applied = Vec::new();
        loop {
            let mut error = match self.watched(limits, &run).await {
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
                // Its turn is waited for in line, and harms nobody.
                MigrationError::Busy { .. } => Duration::ZERO,
                _ => shortest.saturating_add(pauses.next()),
            };
            let late = deadline.is_some_and(|deadline| Instant::now() + pause >= deadline);
            if late || !error.is_others_doing() {
                return Err(error);
            }
            tracing::info!(%error, ?pause, "migrating is tried again");
            tokio::time::sleep(pause).await;
        }
    }

    /// One try, with an eye on who keeps it waiting.
    async fn watched<F: Future<Output = Result<Vec<String>, MigrationError>>>(
        &self,
        limits: Limits,
        run: impl Fn(AsyncPgConnection, Limits) -> F,
    ) -> Result<Vec<String>, MigrationError> {
        let conn = self.component.connect_for_migration().await;
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
                () = tokio::time::sleep(LOOK.min(limits.lock / 4)) => {
                    let found = self.in_the_way_of(info.backend.pid).await;
                    if !found.is_empty() {
                        let told: Vec<_> = found.iter().map(|holder| holder.pid).collect();
                        if told != seen.iter().map(|holder| holder.pid).collect::<Vec<_>>() {
                            let by = found.iter().map(ToString::to_string).collect::<Vec<_>>();
                            tracing::info!(by = by.join(", "), "migrating waits");
                        }
                        seen = found;
                    }
                }
            }
        }
    }

    /// Who keeps the migrator waiting, as far as that can be found out.
    async fn in_the_way_of(&self, pid: i32) -> Vec<LockHolder> {
        let pool = &self.component.pool;
        let patience = Patience::of_server(pool);
        let Ok(mut conn) = patience.checkout(pool).await else {
            return Vec::new();
        };
        let found = async { Ok::<_, TxError>(migration::in_the_way_of(&mut conn, pid).await) };
        let Ok(found) = patience.answer(found).await else {
            return Vec::new();
        };
        conn.give_back();
        found.unwrap_or_default()
    }
}
