//! Migrations of a user of bmdb, who has tables of their own beside it.

use super::{BoxedError, MigrationError, has_all, known, with_harness};
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
    mut conn: AsyncPgConnection,
    source: impl MigrationSource<Pg> + Send + 'static,
) -> Result<Vec<String>, MigrationError> {
    let versions = refuse_same_versions(&source)?;
    if has_all(&mut conn, versions.into_iter()).await? {
        return Ok(Vec::new());
    }
    with_harness(conn, move |harness| {
        let mut done = Vec::new();
        for migration in harness.pending_migrations(source)? {
            let name = migration.name().to_string();
            let ran = harness.run_migration(migration.as_ref());
            let version = ran.map_err(|error| naming(&name, error))?;
            done.push(version.to_string());
        }
        Ok(done)
    })
    .await
}

/// The source's versions, none of which is another migration's.
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

/// Diesel names a migration that is SQL, and none that is code.
fn naming(name: &str, error: BoxedError) -> BoxedError {
    if error.to_string().contains(name) {
        error
    } else {
        format!("{name}: {error}").into()
    }
}
