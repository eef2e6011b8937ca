//! Making templates, and cloning them.

use super::{Level, Template, step};
use crate::TestkitError;
use crate::installation::OLDEST_MAJOR;
use crate::limit::{limit, within_limit};
use crate::supervisor::{Admin, Keeper};
use crate::url::with_database;
use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant};
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::SqlState;

/// The key of the advisory lock under which templates are made ("bmdbtpl").
const TEMPLATE_LOCK: i64 = 0x0062_6d64_6274_706c;

/// The start of every template's name; then its key.
pub(crate) const PREFIX: &str = "bmdb_template_";

/// Creates a database that is a clone of this template and returns its name.
pub(crate) async fn create_database(
    keeper: &Keeper,
    url: &str,
    template: &Template,
) -> Result<String, TestkitError> {
    let admin = keeper.admin().await?;
    let name = keeper.new_name();
    if template.is_empty() {
        clone(&admin, "template0", &name).await?;
        return Ok(name);
    }
    let made_from = format!("{PREFIX}{}", template.key());
    if !admin.knows(&made_from) {
        find_or_make(&admin, url, &made_from, template).await?;
    }
    let cloned = match clone(&admin, &made_from, &name).await {
        // Somebody has dropped it since, as after two weeks without use.
        Err(TestkitError::Database(e)) if e.code() == Some(&SqlState::UNDEFINED_DATABASE) => {
            find_or_make(&admin, url, &made_from, template).await?;
            clone(&admin, &made_from, &name).await
        }
        cloned => cloned,
    };
    cloned.map(|()| name)
}

impl Template {
    /// Makes it on a server that nobody else uses. Blocks.
    pub(crate) fn make_on(&self, url: &str) -> Result<(), TestkitError> {
        let name = format!("{PREFIX}{}", self.key());
        let keeper = Keeper::of(url, false);
        let make = async {
            let admin = keeper.admin().await?;
            make(&admin, url, &name, self).await
        };
        let failed = |error: std::io::Error| TestkitError::boot("making the template", error);
        // On a thread of its own: whoever blocks here may do so inside a runtime.
        thread::scope(|scope| {
            let made = thread::Builder::new().spawn_scoped(scope, || {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(failed)?
                    .block_on(make)
            });
            let made = made.map_err(failed)?.join();
            made.unwrap_or_else(|panic| resume_unwind(panic))
        })
    }
}

/// The lock under which templates are made. Held by the session, so that a process that dies lets go
/// of it; and let go of in the background where a test is given up while it makes one.
struct Locked<'a>(Option<&'a Admin>);

const UNLOCK: &str = "SELECT pg_advisory_unlock($1)";

impl<'a> Locked<'a> {
    async fn wait(admin: &'a Admin) -> Result<Self, TestkitError> {
        // From here on, for it may be got by a statement whose answer nobody waits for any more.
        let lock = Self(Some(admin));
        let locked = admin.execute("SELECT pg_advisory_lock($1)", &[&TEMPLATE_LOCK]);
        locked.await.map_err(|error| match error.code() {
            Some(&SqlState::QUERY_CANCELED) => TestkitError::TimedOut {
                what: "another process to make a template database".to_owned(),
                limit: limit(),
            },
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
            // Where it was not got after all, the server warns and nothing happens.
            admin.conclude_with(UNLOCK, TEMPLATE_LOCK);
        }
    }
}

/// Makes the template where it is not complete.
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
    // What is there without the mark was left by a maker that died half way.
    let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
    admin.batch_execute(&drop).await?;
    clone(admin, "template0", name).await?;
    let made = fill(admin, &with_database(url, name), name, template).await;
    if made.is_err() {
        // Best effort: the first error is the one worth reading. An edited step has another key, so
        // that nobody would ever come by again.
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
    if let Level::UpTo(version) = &template.level {
        step::migrate(url, version).await?;
    }
    for step in &template.steps {
        // It may hang on itself, and others wait for it under the lock.
        let what = format!("{} of a template database", step.name());
        within_limit(&what, step.run(url)).await??;
    }
    leave(admin, name).await?;
    // The mark of completeness comes last.
    admin
        .batch_execute(&format!(
            "ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false IS_TEMPLATE true"
        ))
        .await?;
    Ok(())
}

/// Waits until nobody is connected: CREATE DATABASE would wait too, but in steps of 100 ms.
async fn leave(admin: &Admin, name: &str) -> Result<(), TestkitError> {
    let connected = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1";
    let begun = Instant::now();
    while admin.query_one(connected, &[&name]).await?.get::<_, i64>(0) > 0 {
        if begun.elapsed() > limit() {
            return Err(TestkitError::TimedOut {
                what: "the connections of a template's seed to be closed".to_owned(),
                limit: limit(),
            });
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// Whether it is there and whole; if so it is marked, once a day, as still in use.
async fn is_complete(admin: &Admin, name: &str) -> Result<bool, TestkitError> {
    // In one message, without parameters; a name is letters and digits.
    let marks = format!(
        "SELECT shobj_description(oid, 'pg_database') IS NOT DISTINCT FROM today, today
         FROM pg_database, to_char(current_date, '\"last used \"YYYY-MM-DD') today
         WHERE datname = '{name}' AND datistemplate"
    );
    let answer = admin.simple_query(&marks).await?;
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).zip(row.get(1)),
        _ => None,
    });
    let Some((is_marked, today)) = row else {
        return Ok(false);
    };
    if is_marked != "t" {
        // Of two that do it at the same time one fails, and it is done.
        let _ = admin
            .batch_execute(&format!("COMMENT ON DATABASE {name} IS '{today}'"))
            .await;
    }
    Ok(true)
}

async fn clone(admin: &Admin, template: &str, name: &str) -> Result<(), TestkitError> {
    let strategy = strategy(admin.major())?;
    let create = format!("CREATE DATABASE {name} TEMPLATE {template} {strategy}");
    admin
        .batch_execute(&create)
        .await
        .map_err(|error| match error.code() {
            Some(&SqlState::DISK_FULL) => TestkitError::NoRoom {
                reason: TestkitError::from(error).to_string(),
            },
            _ => error.into(),
        })
}

/// How a server of this major version is to clone.
fn strategy(major: u32) -> Result<&'static str, TestkitError> {
    match major {
        // Copying files beats writing them through the log by 2 to 4 times where fsync is off. That
        // 18 can let the kernel copy them (file_copy_method = clone) gains nothing in memory, as
        // `cargo xtask bench testkit --only clone` shows.
        15.. => Ok("STRATEGY file_copy"),
        // The only way there was.
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
    fn a_running_server_of_an_unsupported_version_is_refused_with_its_version() {
        let error = strategy(13).unwrap_err().to_string();
        assert!(error.contains("PostgreSQL 13, older than 14"), "{error}");
        assert!(strategy(14).unwrap().is_empty() && strategy(18).unwrap().contains("file_copy"));
    }
}
