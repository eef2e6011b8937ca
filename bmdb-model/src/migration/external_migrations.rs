//! Migrations of downstream users, who have tables beside bmdb's.

use super::change::{Limits, apply, newest_first, revert, with_harness};
use super::{MigrationError, has_all, known};
use diesel::migration::MigrationSource;
use diesel::pg::Pg;
use diesel_async::AsyncPgConnection;
use diesel_migrations::MigrationHarness;
use std::collections::BTreeMap;

/// Applies the pending migrations of another source: those of a user of bmdb with tables of its own,
/// which may refer to bmdb's. Returns their versions; see [`run_pending`](super::run_pending).
///
/// Run bmdb's first, by `Bmdb::migrate` or [`run_pending`](super::run_pending). The versions go into the same table as
/// bmdb's, which has nothing but versions, so no two migrations may share one. Those of [`known`](super::known) are
/// compared with; those of further sources cannot be, so begin yours with the second at which they
/// were written, as Diesel's command line does.
///
/// One that is not run in a transaction, to build an index concurrently say, waits for every statement
/// that runs, and so for migrators that wait for their turn: run it from one place only. One that is
/// code must not pause for ten seconds between two statements: the server takes it for dead then.
///
/// ```
/// use bmdb_model::migration::run_all_of;
/// use diesel_async::{AsyncConnection, AsyncPgConnection};
/// # use diesel::migration::MigrationSource;
/// # use diesel::pg::Pg;
///
/// # async fn example(
/// #     url: &str,
/// #     migrations: impl MigrationSource<Pg> + Send + 'static,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// // `migrations` as in: const MIGRATIONS: EmbeddedMigrations = embed_migrations!();
/// let conn = AsyncPgConnection::establish(url).await?;
/// for version in run_all_of(conn, migrations).await? {
///     println!("applied {version}");
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`MigrationError::VersionTaken`], and as [`run_pending`](super::run_pending); the failed migration is named.
pub async fn run_all_of(
    conn: AsyncPgConnection,
    source: impl MigrationSource<Pg> + Send + 'static,
) -> Result<Vec<String>, MigrationError> {
    run_all_of_within(conn, source, Limits::default()).await
}

/// Like [`run_all_of`], with other limits for waiting.
///
/// # Errors
/// As [`run_all_of`].
pub async fn run_all_of_within(
    mut conn: AsyncPgConnection,
    source: impl MigrationSource<Pg> + Send + 'static,
    limits: Limits,
) -> Result<Vec<String>, MigrationError> {
    let versions = refuse_same_versions(&source)?;
    if has_all(&mut conn, versions.into_iter()).await? {
        return Ok(Vec::new());
    }
    with_harness(conn, limits, move |harness| apply(harness, source, None)).await
}

/// Reverts the newest `count` applied migrations of another source and returns their versions, the
/// newest first: the counterpart of [`run_all_of`]. Later migrations of bmdb stay, because they never
/// depend on yours.
///
/// This drops tables with their contents. A migration whose view is a process's workflow must delete
/// the process's definition first; otherwise no tag can be written any more.
///
/// # Errors
/// As [`run_all_of`].
pub async fn revert_last_of(
    conn: AsyncPgConnection,
    source: impl MigrationSource<Pg> + Send + 'static,
    count: usize,
) -> Result<Vec<String>, MigrationError> {
    refuse_same_versions(&source)?;
    with_harness(conn, Limits::default(), move |harness| {
        let applied = harness.applied_migrations()?;
        revert(harness, &newest_first(&source, &applied)?, count)
    })
    .await
}

/// The source's versions, if none of them belongs to another migration.
fn refuse_same_versions(source: &impl MigrationSource<Pg>) -> Result<Vec<String>, MigrationError> {
    let mut versions = Vec::new();
    let mut names: BTreeMap<String, String> = known().into_iter().collect();
    for migration in source.migrations().map_err(MigrationError::Failed)? {
        let name = migration.name().to_string();
        let version = migration.name().version().to_string();
        versions.push(version.clone());
        if let Some(taken_by) = names.insert(version, name.clone())
            && taken_by != name
        {
            return Err(MigrationError::VersionTaken { name, taken_by });
        }
    }
    Ok(versions)
}
