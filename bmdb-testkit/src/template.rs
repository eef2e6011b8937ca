//! Template databases: migrated once per server, then cloned for every test.

use crate::TestkitError;
use crate::hash::fnv;
use crate::installation::OLDEST_MAJOR;
use crate::keeper::connect;
use crate::url::with_database;
use bmdb_model::migration;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use std::time::Duration;
use tokio_postgres::Client;

/// The key of the advisory lock under which templates are made ("bmdbtpl").
const TEMPLATE_LOCK: i64 = 0x0062_6d64_6274_706c;

/// How far a test's database is migrated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Level {
    Empty,
    UpTo(String),
}

impl Level {
    /// The level of this migration version.
    pub(crate) fn at(version: &str) -> Result<Self, TestkitError> {
        let known: Vec<String> = migration::known().into_iter().map(|(v, _)| v).collect();
        if known.iter().any(|known| known == version) {
            return Ok(Self::UpTo(version.to_owned()));
        }
        Err(TestkitError::UnknownVersion {
            version: version.to_owned(),
            known,
        })
    }
}

/// Creates the database `name` at this level on the server with this URL.
pub(crate) async fn create_database(
    url: &str,
    name: &str,
    level: &Level,
) -> Result<(), TestkitError> {
    let admin = connect(&config(url)?).await?;
    let template = match level {
        Level::Empty => "template0".to_owned(),
        Level::UpTo(version) => template(&admin, url, version).await?,
    };
    clone(&admin, &template, name).await
}

/// The name of the complete template of this version, made first where there is none.
async fn template(admin: &Client, url: &str, version: &str) -> Result<String, TestkitError> {
    let name = template_name(version);
    if is_complete(admin, &name).await? {
        return Ok(name);
    }
    // Held by the session, so that a maker that dies lets go of it.
    admin
        .execute("SELECT pg_advisory_lock($1)", &[&TEMPLATE_LOCK])
        .await?;
    let made = match is_complete(admin, &name).await {
        Ok(false) => make(admin, url, &name, version).await,
        Ok(true) => Ok(()),
        Err(error) => Err(error),
    };
    admin
        .execute("SELECT pg_advisory_unlock($1)", &[&TEMPLATE_LOCK])
        .await?;
    made.map(|()| name)
}

async fn make(admin: &Client, url: &str, name: &str, version: &str) -> Result<(), TestkitError> {
    // What is there without the mark was left by a maker that died half way.
    admin
        .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        .await?;
    clone(admin, "template0", name).await?;
    let conn = AsyncPgConnection::establish(&with_database(url, name)).await?;
    migration::run_up_to(conn, version).await?;
    // CREATE DATABASE waits in steps of 100 ms for the sessions of its template to end.
    let leaving = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1";
    while admin.query_one(leaving, &[&name]).await?.get::<_, i64>(0) > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The mark of completeness comes last.
    admin
        .batch_execute(&format!(
            "ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false IS_TEMPLATE true"
        ))
        .await?;
    Ok(())
}

async fn is_complete(admin: &Client, name: &str) -> Result<bool, TestkitError> {
    let mark = "SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1 AND datistemplate)";
    Ok(admin.query_one(mark, &[&name]).await?.get(0))
}

async fn clone(admin: &Client, template: &str, name: &str) -> Result<(), TestkitError> {
    let version: i32 = admin
        .query_one("SELECT current_setting('server_version_num')::int", &[])
        .await?
        .get(0);
    let major = u32::try_from(version / 10_000).unwrap_or_default();
    if major < OLDEST_MAJOR {
        return Err(TestkitError::WrongUrl {
            reason: format!("the server is PostgreSQL {major}, older than {OLDEST_MAJOR}"),
        });
    }
    // Copying files beats writing them through the log by 2 to 4 times where fsync is off.
    let strategy = if major >= 15 {
        "STRATEGY file_copy"
    } else {
        ""
    };
    admin
        .batch_execute(&format!(
            "CREATE DATABASE {name} TEMPLATE {template} {strategy}"
        ))
        .await?;
    Ok(())
}

/// Contains the version, the names of the migrations up to it and their SQL.
fn template_name(version: &str) -> String {
    let known = migration::known();
    let parts = known
        .iter()
        .filter(|(known, _)| known.as_str() <= version)
        .map(|(_, name)| name.as_bytes())
        .chain([env!("BMDB_MIGRATIONS_SQL_HASH").as_bytes()]);
    format!("bmdb_template_{:016x}", fnv(parts))
}

fn config(url: &str) -> Result<tokio_postgres::Config, TestkitError> {
    url.parse()
        .map_err(|error: tokio_postgres::Error| TestkitError::WrongUrl {
            reason: error.to_string(),
        })
}
