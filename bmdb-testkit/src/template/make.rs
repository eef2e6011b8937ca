//! Makes templates, and clones them.

use super::{Template, step};
use crate::TestkitError;
use crate::blocking::{on_own_thread, runtime};
use crate::connect::rows;
use crate::installation::OLDEST_MAJOR;
use crate::manager::{Admin, DatabaseManager};
use crate::timeout::timeout;
use crate::url::with_database;
use crate::wait::within_timeout;
use std::time::{Duration, Instant};
use tokio_postgres::error::SqlState;

/// The key of the advisory lock under which templates are made ("bmdbtpl").
const TEMPLATE_LOCK: i64 = 0x0062_6d64_6274_706c;

/// The start of every template's name; its key follows.
const PREFIX: &str = "bmdb_template_";

const MAKING: &str = "making the template";

/// Creates a database that is a clone of this template, and returns its name.
pub(crate) async fn create_database(
    manager: &DatabaseManager,
    url: &str,
    template: &Template,
) -> Result<String, TestkitError> {
    let admin = manager.admin().await?;
    let name = manager.new_name();
    if template.is_empty() {
        clone(&admin, "template0", &name).await?;
        return Ok(name);
    }
    let source = template.name();
    if !admin.knows(&source) {
        find_or_make(&admin, url, &source, template).await?;
    }
    let cloned = match clone(&admin, &source, &name).await {
        // Another process has dropped it since, as happens after two weeks without use.
        Err(TestkitError::Database(e)) if e.code() == Some(&SqlState::UNDEFINED_DATABASE) => {
            find_or_make(&admin, url, &source, template).await?;
            clone(&admin, &source, &name).await
        }
        cloned => cloned,
    };
    cloned.map(|()| name)
}

impl Template {
    /// Makes the template on a server that no other process uses. Blocks.
    pub(crate) fn make_on(&self, url: &str) -> Result<(), TestkitError> {
        let manager = DatabaseManager::of(url, false);
        let make = async {
            let admin = manager.admin().await?;
            make(&admin, url, &self.name(), self).await
        };
        on_own_thread(MAKING, || runtime(MAKING)?.block_on(make))
    }

    fn name(&self) -> String {
        format!("{PREFIX}{}", self.key())
    }
}

/// The lock under which templates are made. The session holds it, so it is released if the process
/// dies. If a test is canceled while it makes a template, it is released in the background.
struct Locked<'a>(Option<&'a Admin>);

const UNLOCK: &str = "SELECT pg_advisory_unlock($1)";

impl<'a> Locked<'a> {
    async fn wait(admin: &'a Admin) -> Result<Self, TestkitError> {
        // Before the statement: if this future is dropped, the server may still grant the lock.
        let lock = Self(Some(admin));
        let locked = admin.execute("SELECT pg_advisory_lock($1)", &[&TEMPLATE_LOCK]);
        locked.await.map_err(|error| match error.code() {
            Some(&SqlState::QUERY_CANCELED) => {
                TestkitError::timed_out("another process to make a template database")
            }
            _ => error.into(),
        })?;
        Ok(lock)
    }

    async fn unlock(mut self) -> Result<(), TestkitError> {
        if let Some(admin) = self.0 {
            admin.execute(UNLOCK, &[&TEMPLATE_LOCK]).await?;
            self.0 = None;
        }
        Ok(())
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if let Some(admin) = self.0 {
            // If the lock was not granted, the server prints a warning and does nothing.
            admin.run_last(UNLOCK, TEMPLATE_LOCK);
        }
    }
}

/// Makes the template if it is not complete.
async fn find_or_make(
    admin: &Admin,
    url: &str,
    name: &str,
    template: &Template,
) -> Result<(), TestkitError> {
    if !is_complete(admin, name).await? {
        let locked = Locked::wait(admin).await?;
        let made = match is_complete(admin, name).await {
            Ok(false) => make(admin, url, name, template).await,
            Ok(true) => Ok(()),
            Err(error) => Err(error),
        };
        locked.unlock().await?;
        made?;
    }
    admin.remember(name);
    Ok(())
}

async fn make(
    admin: &Admin,
    url: &str,
    name: &str,
    template: &Template,
) -> Result<(), TestkitError> {
    // A template without the mark of completeness was left by a process that died while making it.
    let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
    admin.batch_execute(&drop).await?;
    clone(admin, "template0", name).await?;
    let made = fill(admin, &with_database(url, name), name, template).await;
    if made.is_err() {
        // Best effort: the first error is the useful one. Without this the database would stay: a
        // corrected step has another key, so no process would look for this name again.
        let _ = admin.batch_execute(&drop).await;
    }
    made
}

async fn fill(
    admin: &Admin,
    url: &str,
    name: &str,
    template: &Template,
) -> Result<(), TestkitError> {
    if let Some(version) = &template.version {
        step::migrate(url, version).await?;
    }
    for step in &template.steps {
        // A step may hang, and other processes wait for the lock.
        let what = format!("{} of a template database", step.name());
        within_timeout(&what, step.run(url)).await??;
    }
    wait_for_disconnects(admin, name).await?;
    // The mark of completeness comes last.
    admin
        .batch_execute(&format!(
            "ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false IS_TEMPLATE true"
        ))
        .await?;
    Ok(())
}

/// Waits until the database has no connection. CREATE DATABASE would wait as well, but in steps of
/// 100 ms.
async fn wait_for_disconnects(admin: &Admin, name: &str) -> Result<(), TestkitError> {
    let connected = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1";
    let begun = Instant::now();
    while admin.query_one(connected, &[&name]).await?.get::<_, i64>(0) > 0 {
        if begun.elapsed() > timeout() {
            let what = "the connections of a template's seed to be closed";
            return Err(TestkitError::timed_out(what));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// Whether the template exists and is complete. If so, it is marked once a day as still in use.
async fn is_complete(admin: &Admin, name: &str) -> Result<bool, TestkitError> {
    // Without parameters, so that it is one message. The name consists of letters and digits.
    let marks = format!(
        "SELECT shobj_description(oid, 'pg_database') IS NOT DISTINCT FROM today, today
         FROM pg_database, to_char(current_date, '\"last used \"YYYY-MM-DD') today
         WHERE datname = '{name}' AND datistemplate"
    );
    let rows = rows(admin, &marks).await?;
    let Some(row) = rows.first() else {
        return Ok(false);
    };
    if let (Some("f"), Some(today)) = (row.get(0), row.get(1)) {
        let mark = format!("COMMENT ON DATABASE {name} IS '{today}'");
        // If two processes do this at the same time, one fails and the mark is set.
        let _ = admin.batch_execute(&mark).await;
    }
    Ok(true)
}

async fn clone(admin: &Admin, template: &str, name: &str) -> Result<(), TestkitError> {
    let strategy = strategy(admin.major())?;
    let create = format!("CREATE DATABASE {name} TEMPLATE {template} {strategy}");
    let created = admin.batch_execute(&create).await;
    created.map_err(|error| match error.code() {
        Some(&SqlState::DISK_FULL) => TestkitError::NoRoom {
            reason: TestkitError::from(error).to_string(),
        },
        _ => error.into(),
    })
}

/// How a server of this major version clones a database fastest.
fn strategy(major: u32) -> Result<&'static str, TestkitError> {
    match major {
        // Copying files is 2 to 4 times as fast as writing them through the log if fsync is off. The
        // copy by the kernel that 18 has (file_copy_method = clone) is not faster in memory, as
        // `cargo xtask bench testkit --only clone` shows.
        15.. => Ok("STRATEGY file_copy"),
        // These versions have no choice.
        OLDEST_MAJOR.. => Ok(""),
        _ => Err(TestkitError::WrongUrl {
            reason: format!("the server is PostgreSQL {major}, older than {OLDEST_MAJOR}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::strategy;

    #[test]
    fn the_error_about_an_unsupported_server_names_its_version() {
        let error = strategy(13).unwrap_err().to_string();
        assert!(error.contains("PostgreSQL 13, older than 14"), "{error}");
        assert!(strategy(14).unwrap().is_empty() && strategy(18).unwrap().contains("file_copy"));
    }
}
